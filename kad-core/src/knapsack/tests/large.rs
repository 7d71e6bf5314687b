//! Vocabularies of real size.

use super::super::{exact, relax};
use super::*;

/// The vocabulary of Qwen2.
const VOCAB: usize = 151_936;

fn softmax_of_normal(vocab: usize, spread: f64) -> Distribution {
    let mut numbers = Numbers(7);
    distribution(&(0..vocab).map(|_| (spread * numbers.normal()).exp()).collect::<Vec<_>>())
}

fn zipf(vocab: usize, exponent: f64) -> Distribution {
    distribution(&(1..=vocab).map(|rank| (rank as f64).powf(-exponent)).collect::<Vec<_>>())
}

/// Solves within the limit and returns what is consistent in itself.
fn solve(distribution: &Distribution, budget: f64) -> Exact {
    let items = Items::surprisal(distribution);
    let found = exact(&items, budget, &ExactLimits::default());
    // This crate knows no clock: the work is bounded instead, a state being 0.1 µs or less.
    assert!(found.states <= ExactLimits::default().states);
    let relaxed = relax(&items, budget);
    assert!(found.used <= budget * (1.0 + 2.0 * BUDGET_SLACK));
    assert!((found.used - sum(items.weights(), &found.taken)).abs() < 1e-11);
    assert!((found.value - sum(items.values(), &found.taken)).abs() < 1e-11);
    assert!(found.value >= relaxed.value && found.bound >= found.value);
    assert!(found.bound <= relaxed.bound * (1.0 + 1e-11));
    found
}

/// Peaked distributions with long tails are solved to the end.
#[test]
fn a_long_tail_does_not_keep_the_optimum_from_being_proved() {
    for budget in [0.05, 0.2, 0.4, 0.7] {
        assert!(solve(&zipf(VOCAB, 2.0), budget).proved);
    }
    for budget in [0.4, 0.7] {
        assert!(solve(&softmax_of_normal(VOCAB, 4.0), budget).proved);
    }
}

/// Flat distributions have more near-optimal sets than can be looked at; the bracket is narrow all
/// the same.
#[test]
fn a_flat_distribution_runs_into_the_limit_and_says_so() {
    for budget in [0.05, 0.4] {
        let found = solve(&softmax_of_normal(VOCAB, 1.0), budget);
        assert!(!found.proved && found.states > ExactLimits::default().states / 2);
        assert!(found.bound - found.value < 1e-4);
    }
}

/// All sets of a size are alike: ⌊b V⌋ tokens, each worth `ln V / V`.
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

/// The sums lose nothing: rank-ordered closed form of how many fit, to the last token.
#[test]
fn a_tail_of_tiny_tokens_is_counted_to_the_last() {
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

/// Dominated states are dropped: the work on fixed distributions, with a little to spare for other
/// `ln`s.
#[test]
fn the_work_has_not_grown() {
    let tied = distribution(&(0..400).map(|token| f64::from(1 + token % 7)).collect::<Vec<_>>());
    let measured =
        [(zipf(1000, 2.0), 0.05, 3740), (zipf(1000, 1.0), 0.4, 18_212), (tied, 0.2503, 27_184)];
    for (distribution, budget, states) in measured {
        let found = solve(&distribution, budget);
        assert!(found.proved && found.states <= states + states / 20, "{} states", found.states);
    }
}
