//! Time of the deferral knapsack, and the value that the greedy solution misses.
//!
//! `cargo run --release -p kad-core --example knapsack`
//!
//! Synthetic distributions: softmax of normal logits with a given spread, and Zipf's. One line per
//! distribution and budget: times of `relax` and `exact`, states examined, proved or not, nats
//! above the greedy value, and `bound − value`.

// The output is the purpose of this program; the library prints nothing.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use kad_core::knapsack::{ExactLimits, Items, exact, relax};
use kad_core::{Distribution, DistributionError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn main() -> Result<(), DistributionError> {
    for vocab in [1_000, 151_936] {
        for spread in [1.0, 2.5, 4.0, 6.0] {
            report(&format!("softmax {spread:.1}"), &softmax_of_normal(vocab, spread)?);
        }
        for exponent in [1.0, 1.5, 2.0] {
            let ranks = 1..=vocab;
            let weights = ranks.map(|rank| (rank as f64).powf(-exponent)).collect();
            report(&format!("Zipf {exponent:.1}"), &normalised(weights)?);
        }
    }
    Ok(())
}

fn report(name: &str, distribution: &Distribution) {
    let items = Items::surprisal(distribution);
    let entropy: f64 = items.values().iter().sum();
    for budget in [0.05, 0.2, 0.4, 0.7] {
        let start = Instant::now();
        let relaxed = relax(&items, budget);
        let relaxing = start.elapsed();
        let start = Instant::now();
        let found = exact(&items, budget, &ExactLimits::default());
        let solving = start.elapsed();
        println!(
            "V {:6} {name:11} H {entropy:4.1} b {budget:.2}: relax {relaxing:9.1?} exact \
             {solving:9.1?} {:6} states, proved {:5}; greedy misses {:.1e}, bracket {:.1e}",
            distribution.len(),
            found.states,
            found.proved,
            found.value - relaxed.value,
            found.bound - found.value,
        );
    }
}

/// `p ∝ e^(spread · z)`, `z` standard normal (Box and Muller), always the same.
fn softmax_of_normal(vocab: usize, spread: f64) -> Result<Distribution, DistributionError> {
    let mut numbers = ChaCha8Rng::seed_from_u64(7);
    let mut normal = || {
        let (radius, angle): (f64, f64) = (numbers.random(), numbers.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    normalised((0..vocab).map(|_| (spread * normal()).exp()).collect())
}

fn normalised(weights: Vec<f64>) -> Result<Distribution, DistributionError> {
    let total: f64 = weights.iter().sum();
    Distribution::from_probs(weights.iter().map(|weight| weight / total).collect())
}
