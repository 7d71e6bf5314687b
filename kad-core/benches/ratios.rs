//! Cost of a deferral decision relative to the softmax before it, as a table.
//!
//! `cargo bench -p kad-core --bench ratios`. Each repetition times the softmax, the decision alone
//! and both in turn on the same row, so that a slow moment of the machine affects all three. The
//! table shows the median of the repetitions and their quartiles in brackets: `alone` is decision /
//! softmax, `both` is (softmax + decision) / softmax.

#![allow(clippy::print_stdout, reason = "the table is the result")]

mod cases;

use std::hint::black_box;
use std::time::Instant;

use cases::{SHAPES, SIZES, rules};
use kad_core::deferral::{Deferral, Rule};
use kad_core::{Distribution, Sampling};

/// Odd, so that the median is one of them.
const REPETITIONS: usize = 41;

/// Calls per measurement.
const CALLS: u32 = 8;

fn main() {
    // `cargo bench -- --test` and the like ask for a check, not for measurements.
    let repetitions = if std::env::args().any(|arg| arg == "--test") { 1 } else { REPETITIONS };
    let rules = rules().expect("in range");
    println!(
        "{:<22} {:<7} {:>7} {:>12} {:>12}  {:<21} {:<21}",
        "rule", "shape", "vocab", "softmax [us]", "alone [us]", "alone / softmax", "both / softmax"
    );
    for (name, rule) in &rules {
        for (shape, logits) in SHAPES {
            for vocab in SIZES {
                let row = measure(rule, &logits(vocab), repetitions);
                println!("{name:<22} {shape:<7} {vocab:>7} {row}");
            }
        }
    }
}

/// The columns after the vocabulary size.
fn measure(rule: &Rule, logits: &[f32], repetitions: usize) -> String {
    let softmax = Sampling::at_temperature(1.0).expect("in range");
    let (mut distribution, mut deferral) = (Distribution::default(), Deferral::default());
    let (mut base, mut alone, mut both) = (Vec::new(), Vec::new(), Vec::new());
    // The first repetition warms up.
    for _ in 0..=repetitions {
        base.push(seconds(|| {
            softmax.distribution(black_box(logits), &[], &mut distribution).expect("finite")
        }));
        alone.push(seconds(|| rule.decide(black_box(&distribution), &distribution, &mut deferral)));
        both.push(seconds(|| {
            softmax.distribution(black_box(logits), &[], &mut distribution).expect("finite");
            rule.decide(black_box(&distribution), &distribution, &mut deferral);
        }));
    }
    let ratio = |times: &[f64]| times.iter().zip(&base).skip(1).map(|(t, b)| t / b).collect();
    let micros = |times: &[f64]| 1e6 * quartiles(times[1..].to_vec())[1];
    let (alone_us, base_us) = (micros(&alone), micros(&base));
    let columns = [ratio(&alone), ratio(&both)].map(|ratios| {
        let [low, median, high] = quartiles(ratios);
        format!("{median:>6.3} [{low:.3}, {high:.3}]")
    });
    format!("{base_us:>12.1} {alone_us:>12.1}  {:<21} {:<21}", columns[0], columns[1])
}

/// Mean time of one call.
fn seconds(mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..CALLS).for_each(|_| f());
    start.elapsed().as_secs_f64() / f64::from(CALLS)
}

fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}
