//! Selection against a full sort with exact sums.

use proptest::prelude::*;

use super::*;

/// An exact sum of non-negative `f64`: an integer multiple of `2^−1074` in 64-bit words. Holds up
/// to 2^77.
#[derive(Clone, Default)]
struct Exact([u64; 18]);

impl Exact {
    fn add(&mut self, term: f64) {
        let bits = term.abs().to_bits();
        let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
        let (mantissa, shift) =
            if exponent == 0 { (fraction, 0) } else { (fraction | 1 << 52, exponent - 1) };
        let (word, wide) = (shift as usize / 64, u128::from(mantissa) << (shift % 64));
        let mut carry = 0;
        for (i, word) in self.0[word..].iter_mut().enumerate() {
            let part = match i {
                0 => wide as u64,
                1 => (wide >> 64) as u64,
                _ => 0,
            };
            let sum = u128::from(*word) + u128::from(part) + carry;
            *word = sum as u64;
            carry = sum >> 64;
        }
    }

    fn is_at_most(&self, limit: f64) -> bool {
        let mut other = Exact::default();
        other.add(limit);
        self.0.iter().rev().le(other.0.iter().rev())
    }
}

/// Token ids by rising probability, the higher id first among equals.
fn sorted(probs: &[f64]) -> Vec<TokenId> {
    let mut order: Vec<TokenId> = (0..probs.len() as TokenId).collect();
    order.sort_by(|&a, &b| {
        let (p, q) = (probs[a as usize], probs[b as usize]);
        p.partial_cmp(&q).unwrap().then(b.cmp(&a))
    });
    order
}

/// The number of sorted tokens that fit.
fn fitting(probs: &[f64], order: &[TokenId], limit: f64) -> usize {
    let mut sum = Exact::default();
    let fits = order.iter().take_while(|&&token| {
        sum.add(probs[token as usize]);
        sum.is_at_most(limit)
    });
    fits.count()
}

/// Checks that the selection is the sorted prefix. If the exact sum is within 1e-13 of the limit (a
/// tenth of the slack), either neighbour is accepted.
fn check(probs: &[f64], order: &[TokenId], budget: f64) {
    let limit = budget * (1.0 + BUDGET_SLACK);
    let mut all: Vec<TokenId> = (0..probs.len() as TokenId).collect();
    // With sampled bands and with quickselect alone.
    check_one(probs, order, limit, tail_boundary(probs, budget, &mut Vec::new()));
    check_one(
        probs,
        order,
        limit,
        one_by_one::<Mass>(probs, &mut all, CompensatedSum::default(), limit),
    );
}

fn check_one(probs: &[f64], order: &[TokenId], limit: f64, found: Option<Boundary>) {
    let length = found.map_or(probs.len(), |boundary| {
        let critical = boundary.critical;
        assert_eq!(boundary.threshold, probs[critical as usize]);
        let inside = |token: TokenId| boundary.contains(token, probs[token as usize]);
        let length = order.iter().position(|&token| token == critical).unwrap();
        assert!(order[..length].iter().all(|&token| inside(token)));
        assert!(!order[length..].iter().any(|&token| inside(token)));
        // Each sum is accurate to 1e-14 for every distribution.
        assert_eq!(fitting(probs, &order[..length], boundary.spent * (1.0 + 1e-14)), length);
        let less = boundary.spent * (1.0 - 1e-14);
        // Subnormal sums are exact, and there is no smaller number to compare with.
        assert!(less == boundary.spent || fitting(probs, &order[..length], less) < length);
        length
    });
    let least = fitting(probs, order, limit * (1.0 - 1e-13));
    let most = fitting(probs, order, limit * (1.0 + 1e-13));
    assert!((least..=most).contains(&length), "{length} fit, not {least}..={most} of {limit}");
}

fn normal(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let weights: Vec<f64> = weights.into_iter().collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// Uniform numbers in (0, 1), the same at every call.
fn noise(n: usize) -> impl Iterator<Item = f64> {
    (0..n as u64).map(|i| {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    })
}

/// Weights that make selection hard: ties, zeros, subnormals, a spike.
fn weights() -> impl Strategy<Value = Vec<f64>> {
    let weight = prop_oneof![
        2 => Just(0.0),
        2 => (1..5u64).prop_map(f64::from_bits),
        4 => (1..4u8).prop_map(f64::from),
        4 => 0.0..1.0f64,
        2 => (-700.0..0.0f64).prop_map(f64::exp),
        1 => Just(1e3),
    ];
    proptest::collection::vec(weight, 1..700)
        .prop_filter("some token is possible", |weights| weights.iter().any(|&w| w > 1e-300))
}

proptest! {
    #[test]
    fn selection_is_the_sorted_prefix(weights in weights(), budget in 0.0..1.0f64, at in 0.0..1.0f64) {
        let probs = normal(weights);
        let order = sorted(&probs);
        check(&probs, &order, budget);
        check(&probs, &order, budget.powi(40));
        // A budget that some prefix spends exactly, summed in `f64` like a user's.
        let length = (at * probs.len() as f64) as usize;
        let spent: f64 = order[..length].iter().map(|&token| probs[token as usize]).sum();
        check(&probs, &order, spent.min(1.0));
    }

    /// With counts as costs, the boundary of the `n` least probable tokens is the next one.
    #[test]
    fn counting_finds_the_rank(weights in weights(), at in 0.0..1.0f64) {
        let (order, n) = (sorted(&weights), (at * weights.len() as f64) as usize);
        let found = boundary::<Count>(&weights, n as f64, &mut Vec::new()).unwrap();
        prop_assert_eq!((found.critical, found.spent), (order[n], n as f64));
    }
}

const LARGE: usize = 151_936;

fn large_distributions() -> Vec<(&'static str, Vec<f64>)> {
    let zipf = |i: usize| 1.0 / (i * 7919 % LARGE + 1) as f64;
    let ties = |digits: f64| move |u: f64| (u.ln() * digits).round() / digits;
    vec![
        ("flat", normal(noise(LARGE).map(|u| 1.0 + 0.1 * u))),
        ("uniform", normal(vec![1.0; LARGE])),
        ("zipf", normal((0..LARGE).map(zipf))),
        ("zipf, rising", normal((0..LARGE).map(|i| 1.0 / (LARGE - i) as f64))),
        ("zipf, falling", normal((0..LARGE).map(|i| 1.0 / (i + 1) as f64))),
        ("peaked", normal(noise(LARGE).enumerate().map(|(i, u)| if i == 9 { 6e5 } else { u }))),
        ("one-hot", (0..LARGE).map(|i| f64::from(u8::from(i == 77))).collect()),
        ("two", normal((0..LARGE).map(|i| if i % 2 == 0 { 1.0 } else { 3.0 }))),
        ("few values", normal(noise(LARGE).map(ties(4.0)).map(f64::exp))),
        ("hundreds of values", normal(noise(LARGE).map(ties(128.0)).map(f64::exp))),
        ("cut", normal(noise(LARGE).map(|u| if u < 0.999 { 0.0 } else { u }))),
        ("wide", normal(noise(LARGE).map(|u| (-800.0 * u).exp()))),
        // The sampled ids are the only expensive, or the only cheap, tokens.
        ("expensive where sampled", misleading(1e4, 1.0)),
        ("cheap where sampled", misleading(1e-4, 1.0)),
    ]
}

fn misleading(looked_at: f64, elsewhere: f64) -> Vec<f64> {
    let mut weights: Vec<f64> = noise(LARGE).map(|u| (1.0 + u) * elsewhere).collect();
    for i in 0..LARGEST_SAMPLE {
        weights[i * LARGE / LARGEST_SAMPLE] *= looked_at;
    }
    normal(weights)
}

#[test]
fn large_distributions_are_selected_as_sorted() {
    for (name, probs) in large_distributions() {
        let order = sorted(&probs);
        for budget in [0.0, 1e-9, 0.1, 0.4, 0.75, 0.999_999] {
            check(&probs, &order, budget);
        }
        for n in [0, 1, LARGE / 2, LARGE - 50, LARGE - 1] {
            let found = boundary::<Count>(&probs, n as f64, &mut Vec::new()).unwrap();
            assert_eq!(found.critical, order[n], "{name}, {n}");
        }
    }
}

/// Ten times 0.03 is 0.3 in decimals and not in `f64`.
#[test]
fn decimals_that_sum_to_the_budget_fit() {
    let mut probs = vec![0.03; 10];
    probs.push(0.7);
    assert!(probs[..10].iter().sum::<f64>() != 0.3);
    assert_eq!(tail_boundary(&probs, 0.3, &mut Vec::new()).unwrap().critical, 10);
    let probs = [0.1, 0.2, 0.7];
    assert!(probs[0] + probs[1] > 0.3);
    assert_eq!(tail_boundary(&probs, 0.3, &mut Vec::new()).unwrap().critical, 2);
    // The slack covers rounding only, not a token.
    assert_eq!(tail_boundary(&probs, 0.3 - 1e-11, &mut Vec::new()).unwrap().critical, 1);
}

#[test]
fn the_smallest_distributions_are_selected() {
    assert_eq!(tail_boundary(&[], 0.5, &mut Vec::new()), None);
    assert_eq!(tail_boundary(&[1.0], 1.0, &mut Vec::new()), None);
    let found = tail_boundary(&[1.0], 0.999, &mut Vec::new());
    assert_eq!(found, Some(Boundary { critical: 0, threshold: 1.0, spent: 0.0 }));
}

/// Sums in two orders may disagree about the last candidate; there is a boundary all the same.
#[test]
fn candidates_that_all_fit_end_with_the_most_expensive() {
    let (probs, mut scratch) = ([0.1, 0.4, 0.2, 0.2], [2, 3, 0]);
    let spent = CompensatedSum::default();
    let search = Search { probs: &probs, limit: 0.5, spent, open: Some(3), scratch: &mut scratch };
    assert_eq!(search.finish::<Mass>().unwrap().critical, 2);
}

/// Scratch memory of one call does not affect the next.
#[test]
fn scratch_memory_does_not_affect_results() {
    let (mut scratch, long) = (Vec::new(), normal(noise(5000)));
    let short = normal(noise(300));
    tail_boundary(&long, 0.5, &mut scratch);
    let capacity = scratch.capacity();
    assert_eq!(
        tail_boundary(&short, 0.5, &mut scratch),
        tail_boundary(&short, 0.5, &mut Vec::new())
    );
    tail_boundary(&long, 0.1, &mut scratch);
    assert_eq!(scratch.capacity(), capacity);
}
