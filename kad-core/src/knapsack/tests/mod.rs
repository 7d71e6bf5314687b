//! Solutions against all subsets, full sorts, dynamic programming and closed forms; invariants K2
//! to K8 of the theory.

mod exact;
mod items;
mod large;
mod relax;

use proptest::prelude::*;

use super::*;
use crate::distribution::Distribution;

/// Rounding error of a few sums of numbers of order 1.
const ROUNDING: f64 = 1e-12;

fn distribution(weights: &[f64]) -> Distribution {
    let total: f64 = weights.iter().sum();
    Distribution::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
}

/// Distributions of 1 to 14 tokens with zeros, ties and the smallest positive numbers.
fn distributions() -> impl Strategy<Value = Distribution> {
    let weight = prop_oneof![
        1 => Just(0.0),
        1 => Just(5e-324),
        2 => (-300.0..0.0f64).prop_map(|exponent| 10f64.powf(exponent)),
        3 => (1..5u8).prop_map(f64::from),
        6 => 1e-4..4.0f64,
    ];
    let some_likely = |w: &Vec<f64>| w.iter().any(|&w| w > 1e-9);
    proptest::collection::vec(weight, 1..=14)
        .prop_filter("some token is likely", some_likely)
        .prop_map(|weights| distribution(&weights))
}

/// Up to 14 items of any kind: of weight 0, of value 0, of negative value, tied.
fn any_items() -> impl Strategy<Value = Items> {
    let eighths = (0..8u8).prop_map(|k| f64::from(k) / 8.0);
    let weight = prop_oneof![1 => Just(0.0), 3 => eighths, 6 => 0.0..1.0f64];
    let value = prop_oneof![1 => Just(0.0), 3 => (-2..6i8).prop_map(f64::from), 6 => -0.5..2.0f64];
    proptest::collection::vec((weight, value), 0..=14).prop_map(|pairs| {
        let (weights, values) = pairs.into_iter().unzip();
        Items::new(weights, values).unwrap()
    })
}

/// Items of a distribution or of any kind, and a budget for them.
fn knapsacks() -> impl Strategy<Value = (Items, f64)> {
    let items = prop_oneof![
        distributions().prop_map(|distribution| Items::surprisal(&distribution)),
        any_items()
    ];
    let eighths = (0..=8u8).prop_map(|k| f64::from(k) / 8.0);
    let share = prop_oneof![1 => Just(0.0), 2 => eighths, 7 => 0.0..1.1f64];
    (items, share).prop_map(|(items, share)| {
        let budget = share * items.total_weight().max(0.1);
        (items, budget)
    })
}

/// The optimum by all subsets.
fn brute_force(items: &Items, budget: f64) -> f64 {
    let limit = budget * (1.0 + BUDGET_SLACK);
    let mut best = 0.0;
    for subset in 0u32..1 << items.len() {
        let chosen = |buffer: &[f64]| -> f64 {
            (0..items.len()).filter(|i| subset >> i & 1 == 1).map(|i| buffer[i]).sum()
        };
        if chosen(items.weights()) <= limit {
            best = chosen(items.values()).max(best);
        }
    }
    best
}

/// Plain sum over the items taken.
fn sum(buffer: &[f64], taken: &[bool]) -> f64 {
    buffer.iter().zip(taken).filter(|(_, taken)| **taken).map(|(x, _)| x).sum()
}

/// A small generator for fixed inputs: Knuth's linear congruential generator, upper bits.
struct Numbers(u64);

impl Numbers {
    fn uniform(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal, by Box and Muller.
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }
}
