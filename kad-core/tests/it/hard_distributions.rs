//! Distributions that are hard for rules and sums: one-hot, uniform, tied, with zeros, with
//! subnormal probabilities, of a single token, and as wide as a real vocabulary.

use kad_core::Distribution;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Most tokens of a generated distribution: few enough to try every subset.
const WIDEST: usize = 10;

/// Distributions of 1 to 10 tokens.
pub(crate) fn distributions() -> impl Strategy<Value = Distribution> {
    (1..=WIDEST).prop_flat_map(distribution_over)
}

/// Two distributions over one vocabulary, sometimes the same one twice.
pub(crate) fn pairs() -> impl Strategy<Value = (Distribution, Distribution)> {
    (1..=WIDEST).prop_flat_map(|n| {
        let different = (distribution_over(n), distribution_over(n));
        prop_oneof![7 => different, 1 => distribution_over(n).prop_map(|distribution| (distribution.clone(), distribution))]
    })
}

/// Two distributions over one vocabulary, each without equal probabilities and without
/// probabilities so small that their order depends on rounding.
pub(crate) fn pairs_without_ties() -> impl Strategy<Value = (Distribution, Distribution)> {
    let apart = |distribution: &Distribution| {
        let mut sorted = distribution.probs().to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.windows(2).all(|pair| pair[1] - pair[0] > 1e-9)
    };
    let one = move |n| collection(0.001..1.0f64, n).prop_filter("no ties", apart);
    (1..=WIDEST).prop_flat_map(move |n| (one(n), one(n)))
}

/// Parameters in [0, 1], ends included.
pub(crate) fn unit() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0f64, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(1e-12)]
}

/// Parameters at which comparisons with this distribution are tight: the ends, `x`, the probability
/// of a token, and the total probability of the tokens up to it.
pub(crate) fn parameters(distribution: &Distribution, x: f64, token: usize) -> [f64; 5] {
    let mut sorted = distribution.probs().to_vec();
    sorted.sort_by(f64::total_cmp);
    let token = token % distribution.len();
    let sum: f64 = sorted[..=token].iter().sum();
    [0.0, 1.0, x, distribution.probs()[token].min(1.0), sum.min(1.0)]
}

/// Weights over 300 orders of magnitude, two of them subnormal.
const TINY: [f64; 8] = [5e-324, 1e-310, f64::MIN_POSITIVE, 1e-300, 1e-17, 1e-9, 0.5, 1.0];

fn distribution_over(n: usize) -> BoxedStrategy<Distribution> {
    let plain = collection(1e-6..1.0f64, n);
    let tied = collection(prop_oneof![Just(1.0), Just(2.0), Just(4.0), Just(3.0)], n);
    let gaps = collection(prop_oneof![1 => Just(0.0), 1 => 1e-6..1.0f64], n);
    let tiny = collection(proptest::sample::select(&TINY), n);
    let one_hot = (0..n).prop_map(move |at| {
        Distribution::from_probs((0..n).map(|i| f64::from(u8::from(i == at))).collect()).unwrap()
    });
    let uniform = Just(Distribution::proportional(vec![1.0; n]).unwrap());
    prop_oneof![3 => plain, 2 => tied, 2 => gaps, 2 => tiny, 1 => one_hot, 1 => uniform].boxed()
}

fn collection(
    weight: impl Strategy<Value = f64> + 'static,
    n: usize,
) -> BoxedStrategy<Distribution> {
    let possible = |weights: Vec<f64>| Distribution::proportional(weights);
    proptest::collection::vec(weight, n).prop_filter_map("some token is possible", possible).boxed()
}

/// Vocabulary size of the Qwen2 family.
pub(crate) const WIDE: usize = 151_936;

/// Named distributions of 151,936 tokens: peaked with a long tail, near uniform with many ties,
/// mostly zeros, and with a subnormal tail. Fixed seeds.
pub(crate) fn wide_distributions() -> Vec<(&'static str, Distribution)> {
    let mut generator = ChaCha12Rng::seed_from_u64(7);
    let mut distribution = |weight: &mut dyn FnMut(usize, f64) -> f64| {
        Distribution::proportional((0..WIDE).map(|i| weight(i, generator.random::<f64>()))).unwrap()
    };
    vec![
        ("zipf", distribution(&mut |i, u| (0.5 + u) / (i as f64 + 1.0))),
        ("ties", distribution(&mut |_, u| 1.0 + (3.0 * u).floor())),
        ("zeros", distribution(&mut |i, u| if i % 50 == 7 { u } else { 0.0 })),
        ("denormal", distribution(&mut |i, u| if i < 4 { 1.0 + u } else { u * 1e-306 })),
    ]
}

/// `count` distinct distributions of `size` tokens. Fixed seed.
pub(crate) fn seeded_distributions(count: usize, size: usize, seed: u64) -> Vec<Distribution> {
    let mut generator = ChaCha12Rng::seed_from_u64(seed);
    let mut distribution =
        || Distribution::proportional((0..size).map(|_| generator.random::<f64>().powi(3) + 1e-9));
    (0..count).map(|_| distribution().unwrap()).collect()
}
