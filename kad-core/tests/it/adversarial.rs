//! Laws that rules and sums have trouble with: one-hot, uniform, tied, with zeros, with numbers
//! below the smallest normal one, of a single token, and as wide as a real vocabulary.

use kad_core::Law;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

/// Most tokens of a law that is drawn: few enough to try every subset.
const WIDEST: usize = 10;

/// Laws of 1 to 10 tokens.
pub(crate) fn laws() -> impl Strategy<Value = Law> {
    (1..=WIDEST).prop_flat_map(law_over)
}

/// Two laws over one vocabulary, sometimes the same law twice.
pub(crate) fn pairs() -> impl Strategy<Value = (Law, Law)> {
    (1..=WIDEST).prop_flat_map(|n| {
        let different = (law_over(n), law_over(n));
        prop_oneof![7 => different, 1 => law_over(n).prop_map(|law| (law.clone(), law))]
    })
}

/// Two laws over one vocabulary in which no two tokens of a law are equally probable, and none is
/// so improbable that its order against another hangs on rounding.
pub(crate) fn pairs_without_ties() -> impl Strategy<Value = (Law, Law)> {
    let apart = |law: &Law| {
        let mut sorted = law.probs().to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.windows(2).all(|pair| pair[1] - pair[0] > 1e-9)
    };
    let one = move |n| collection(0.001..1.0f64, n).prop_filter("no ties", apart);
    (1..=WIDEST).prop_flat_map(move |n| (one(n), one(n)))
}

/// Parameters in [0, 1], the ends included.
pub(crate) fn unit() -> impl Strategy<Value = f64> {
    prop_oneof![8 => 0.0..=1.0f64, 1 => Just(0.0), 1 => Just(1.0), 1 => Just(1e-12)]
}

/// Parameters at which comparisons with this law are decided by equality: the ends, `x`, the
/// probability of a token, and what the tokens up to it add up to by rising probability.
pub(crate) fn parameters(law: &Law, x: f64, token: usize) -> [f64; 5] {
    let mut sorted = law.probs().to_vec();
    sorted.sort_by(f64::total_cmp);
    let token = token % law.len();
    let sum: f64 = sorted[..=token].iter().sum();
    [0.0, 1.0, x, law.probs()[token].min(1.0), sum.min(1.0)]
}

/// Weights over 300 orders of magnitude, two of them below the smallest normal number.
const TINY: [f64; 8] = [5e-324, 1e-310, f64::MIN_POSITIVE, 1e-300, 1e-17, 1e-9, 0.5, 1.0];

fn law_over(n: usize) -> BoxedStrategy<Law> {
    let plain = collection(1e-6..1.0f64, n);
    let tied = collection(prop_oneof![Just(1.0), Just(2.0), Just(4.0), Just(3.0)], n);
    let gaps = collection(prop_oneof![1 => Just(0.0), 1 => 1e-6..1.0f64], n);
    let tiny = collection(proptest::sample::select(&TINY), n);
    let one_hot = (0..n).prop_map(move |at| {
        Law::from_probs((0..n).map(|i| f64::from(u8::from(i == at))).collect()).unwrap()
    });
    let uniform = Just(Law::proportional(vec![1.0; n]).unwrap());
    prop_oneof![3 => plain, 2 => tied, 2 => gaps, 2 => tiny, 1 => one_hot, 1 => uniform].boxed()
}

fn collection(weight: impl Strategy<Value = f64> + 'static, n: usize) -> BoxedStrategy<Law> {
    let possible = |weights: Vec<f64>| Law::proportional(weights);
    proptest::collection::vec(weight, n).prop_filter_map("some token is possible", possible).boxed()
}

/// As wide as the vocabulary of the Qwen2 family.
pub(crate) const WIDE: usize = 151_936;

/// Laws of 151,936 tokens, by name: peaked with a long tail, near uniform with many ties, mostly
/// zeros, and with a tail below the smallest normal number. Fixed seeds.
pub(crate) fn wide_laws() -> Vec<(&'static str, Law)> {
    let mut generator = ChaCha12Rng::seed_from_u64(7);
    let mut law = |weight: &mut dyn FnMut(usize, f64) -> f64| {
        Law::proportional((0..WIDE).map(|i| weight(i, generator.random::<f64>()))).unwrap()
    };
    vec![
        ("zipf", law(&mut |i, u| (0.5 + u) / (i as f64 + 1.0))),
        ("ties", law(&mut |_, u| 1.0 + (3.0 * u).floor())),
        ("zeros", law(&mut |i, u| if i % 50 == 7 { u } else { 0.0 })),
        ("denormal", law(&mut |i, u| if i < 4 { 1.0 + u } else { u * 1e-306 })),
    ]
}

/// `count` plain laws of `size` tokens, no two alike. Fixed seed.
pub(crate) fn seeded_laws(count: usize, size: usize, seed: u64) -> Vec<Law> {
    let mut generator = ChaCha12Rng::seed_from_u64(seed);
    let mut law = || Law::proportional((0..size).map(|_| generator.random::<f64>().powi(3) + 1e-9));
    (0..count).map(|_| law().unwrap()).collect()
}
