//! P5: the capped geometric distribution against sums over its outcomes, its limits and its peaks.

use kad_polybasic::theory::{CappedGeometric, expected_tokens};

use crate::theory_support::close;

fn draft(rate: f64, cap: usize) -> CappedGeometric {
    CappedGeometric::new(rate, cap).unwrap()
}

/// The probabilities P(N = 0), …, P(N = n), written out.
fn outcomes(rate: f64, cap: usize) -> Vec<f64> {
    let mut left = 1.0;
    let mut distribution = Vec::new();
    for _ in 0..cap {
        distribution.push(left * (1.0 - rate));
        left *= rate;
    }
    distribution.push(left);
    distribution
}

/// Mean and variance, also where `1 − a` is tiny and the closed form would cancel. Relative
/// tolerance 1e-10: the sum itself loses `n / (1 − a)` roundings at the cap, the closed form
/// `(1 − a)³ n³`, down to 1e-3, before the other branch is taken.
#[test]
fn p5_moments_are_those_of_the_outcomes() {
    for cap in 0..=24 {
        for rate in [0.0, 0.1, 0.5, 0.7, 0.95, 0.99, 0.995, 0.997, 0.9999, 1.0 - 1e-9] {
            let distribution = outcomes(rate, cap);
            let found = draft(rate, cap);
            distribution
                .iter()
                .enumerate()
                .for_each(|(k, p)| close(found.probability(k), *p, "P(N = k)"));
            assert_eq!(found.probability(cap + 1), 0.0);
            let mean: f64 = distribution.iter().enumerate().map(|(k, p)| k as f64 * p).sum();
            let square = |(k, p): (usize, &f64)| (k as f64 - mean).powi(2) * p;
            let variance: f64 = distribution.iter().enumerate().map(square).sum();
            close(found.mean(), mean, "mean");
            let off = (found.variance() - variance).abs();
            assert!(off <= 1e-10 * variance, "{rate} {cap}: {} {variance}", found.variance());
            let emitted = |bonus: usize| -> f64 {
                // One corrected or bonus token more; without bonus, none after a fully accepted
                // draft.
                let more = |k: usize| if k < cap || cap == 0 { 1 } else { bonus };
                distribution.iter().enumerate().map(|(k, p)| (k + more(k)) as f64 * p).sum()
            };
            close(expected_tokens(rate, cap, true).unwrap(), emitted(1), "tokens with bonus");
            close(expected_tokens(rate, cap, false).unwrap(), emitted(0), "tokens without bonus");
        }
    }
    assert_eq!((draft(1.0, 8).mean(), draft(1.0, 8).variance()), (8.0, 0.0));
    assert_eq!(expected_tokens(1.0, 8, true).unwrap(), 9.0);
    assert!(CappedGeometric::new(f64::NAN, 3).is_err() && expected_tokens(1.1, 3, true).is_err());
}

/// `Var ≈ α n (n + 1)(2n + 1) / 6` and `σ/μ ≈ √(α (n + 1)(2n + 1) / 6n)` as α → 0, with an error of
/// the order of αn.
#[test]
fn p5_the_variation_vanishes_as_rejection_goes_to_0() {
    for cap in [1, 3, 8, 16, 64] {
        for alpha in [1e-5, 1e-8, 1e-11] {
            let n = cap as f64;
            let found = draft(1.0 - alpha, cap);
            // The rejection probability that `1 − α` was rounded to.
            let alpha = 1.0 - (1.0 - alpha);
            let wanted = n * (n + 1.0) * (2.0 * n + 1.0) / 6.0;
            assert!((found.variance() / alpha / wanted - 1.0).abs() < 2.0 * n * alpha + 1e-12);
            let variation = (alpha * (n + 1.0) * (2.0 * n + 1.0) / (6.0 * n)).sqrt();
            assert!(
                (found.coefficient_of_variation() / variation - 1.0).abs()
                    < 2.0 * n * alpha + 1e-12
            );
        }
    }
}

/// The variance is not monotone. Peaks and values as printed by another program (Python, rates in
/// steps of 0.001). The variance is smaller on both sides of the peak, rises to it and falls from
/// it.
#[test]
fn p5_the_variance_rises_and_falls() {
    for (cap, rate, value) in [
        (4, 0.78, 2.582266876521447),
        (8, 0.876, 9.325681644663963),
        (16, 0.934, 35.262665760182585),
    ] {
        close(draft(rate, cap).variance(), value, "variance");
        let peak = CappedGeometric::variance_peak(cap);
        assert!((peak - rate).abs() < 0.001, "{cap}: {peak}");
        let grid: Vec<f64> =
            (0..=1000).map(|i| draft(f64::from(i) / 1000.0, cap).variance()).collect();
        let top = (peak * 1000.0) as usize;
        assert!(grid[..=top].is_sorted() && grid[top + 1..].is_sorted_by(|a, b| a >= b));
        assert!(draft(peak, cap).variance() >= value);
    }
    // n = 1: a (1 − a).
    assert!((CappedGeometric::variance_peak(1) - 0.5).abs() < 1e-7);
    assert_eq!(CappedGeometric::variance_peak(0), 0.0);
}

/// The coefficient of variation of accepted tokens falls with the rate. That of emitted tokens, one
/// more, has a peak at .52, .64, .76 (two digits).
#[test]
fn p5_the_variation_of_emitted_tokens_has_a_peak() {
    for (cap, peak) in [(4, 52), (8, 64), (16, 76)] {
        let rates = || (1..100).map(|i| f64::from(i) / 100.0);
        let accepted: Vec<f64> =
            rates().map(|a| draft(a, cap).coefficient_of_variation()).collect();
        assert!(accepted.is_sorted_by(|a, b| a > b), "{cap}");
        let emitted: Vec<f64> =
            rates().map(|a| draft(a, cap).emitted_coefficient_of_variation()).collect();
        let top = (0..99).max_by(|&a, &b| emitted[a].total_cmp(&emitted[b])).unwrap();
        assert_eq!(top + 1, peak, "cap {cap}");
    }
    assert_eq!(draft(0.0, 4).coefficient_of_variation(), f64::INFINITY);
}
