//! Knapsacks over vocabularies of real size.

use super::super::{exact, relax};
use super::*;

/// Vocabulary size of Qwen2.
const VOCAB: usize = 151_936;

fn softmax_of_normal(vocab: usize, spread: f64) -> Distribution {
    let mut numbers = Numbers(7);
    distribution(&(0..vocab).map(|_| (spread * numbers.normal()).exp()).collect::<Vec<_>>())
}

fn zipf(vocab: usize, exponent: f64) -> Distribution {
    distribution(&(1..=vocab).map(|rank| (rank as f64).powf(-exponent)).collect::<Vec<_>>())
}

/// Solves within the default limits and checks the consistency of the answer.
fn solve(distribution: &Distribution, budget: f64) -> Exact {
    let items = Items::surprisal(distribution);
    let found = exact(&items, budget, &ExactLimits::default());
    // This crate has no clock; the number of states bounds the work, at 0.1 µs or less each.
    assert!(found.states <= ExactLimits::default().states);
    let relaxed = relax(&items, budget);
    assert!(found.used <= budget * (1.0 + 2.0 * BUDGET_SLACK));
    assert!((found.used - sum(items.weights(), &found.taken)).abs() < 1e-11);
    assert!((found.value - sum(items.values(), &found.taken)).abs() < 1e-11);
    assert!(found.value >= relaxed.value && found.bound >= found.value);
    assert!(found.bound <= relaxed.bound * (1.0 + 1e-11));
    found
}

/// Peaked distributions with long tails are solved exactly.
#[test]
fn long_tails_are_proved_optimal() {
    for budget in [0.05, 0.2, 0.4, 0.7] {
        assert!(solve(&zipf(VOCAB, 2.0), budget).proved);
    }
    for budget in [0.4, 0.7] {
        assert!(solve(&softmax_of_normal(VOCAB, 4.0), budget).proved);
    }
}

/// Flat distributions have more near-optimal sets than the limit allows; the bracket is narrow all
/// the same.
#[test]
fn flat_distributions_reach_the_limit_and_report_it() {
    for budget in [0.05, 0.4] {
        let found = solve(&softmax_of_normal(VOCAB, 1.0), budget);
        assert!(!found.proved && found.states > ExactLimits::default().states / 2);
        assert!(found.bound - found.value < 1e-4);
    }
}

/// All sets of one size are alike: ⌊b V⌋ tokens of value `ln V / V` each.
#[test]
fn a_uniform_distribution_is_settled_by_counting() {
    let uniform = distribution(&vec![1.0; VOCAB]);
    for budget in [0.001, 0.3, 0.99] {
        let found = solve(&uniform, budget);
        let value = (budget * VOCAB as f64).floor() / VOCAB as f64 * (VOCAB as f64).ln();
        assert!(
            found.proved && (found.value - value).abs() < 1e-10,
            "{found:?}",
            found = found.value
        );
    }
}

/// Sums are exact: the number of tokens that fit, in closed form.
#[test]
fn tiny_tokens_are_counted_exactly() {
    // 2^17 tokens of 2^-18 and one of 1/2: every sum is exact in binary.
    let count = 1usize << 17;
    let mut probs = vec![0.5 / count as f64; count];
    probs.push(0.5);
    let items = Items::surprisal(&Distribution::from_probs(probs).unwrap());
    for fitting in [0, 1, 12_345, count - 1, count] {
        let relaxed = relax(&items, fitting as f64 * 0.5 / count as f64);
        assert_eq!(relaxed.taken.iter().filter(|&&taken| taken).count(), fitting);
        assert_eq!(relaxed.used, fitting as f64 * 0.5 / count as f64);
    }
}

/// Dominated states are dropped: the number of states on fixed distributions, with 5 % to spare for
/// other implementations of `ln`.
#[test]
fn the_number_of_states_has_not_grown() {
    let tied = distribution(&(0..400).map(|token| f64::from(1 + token % 7)).collect::<Vec<_>>());
    let measured =
        [(zipf(1000, 2.0), 0.05, 3740), (zipf(1000, 1.0), 0.4, 18_212), (tied, 0.2503, 27_184)];
    for (distribution, budget, states) in measured {
        let found = solve(&distribution, budget);
        assert!(found.proved && found.states <= states + states / 20, "{} states", found.states);
    }
}
