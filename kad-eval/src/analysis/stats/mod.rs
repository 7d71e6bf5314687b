//! Confidence intervals and tests for results on a sample of items: shares, ratios, and differences
//! between two decoders on the same items.

mod paired;

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

pub use crate::numbers::Interval;
pub use paired::{POWER, detectable, detectable_mean, mcnemar, sign_flip, tango};

/// Two-sided confidence level of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 10_000;

/// Wilson's score interval for a share: `successes` of `n` trials, at [`CONFIDENCE`].
///
/// With p̂ = `successes` / `n` and z = z₀.₉₇₅ the ends are
///
/// (p̂ + z²/2n ± z·√(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n),
///
/// within [0, 1]. For `n = 0` it is [0, 1]. Source: Wilson 1927; Brown, Cai and DasGupta 2001,
/// Statistical Science 16, equation 4.
///
/// ```
/// let interval = kad_eval::stats::wilson(81, 263);
/// assert!((interval.low - 0.2553).abs() < 5e-5 && (interval.high - 0.3662).abs() < 5e-5);
/// ```
pub fn wilson(successes: u64, n: u64) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let z = quantile(0.5 + CONFIDENCE / 2.0);
    let (n, share) = (n as f64, successes as f64 / n as f64);
    let centre = share + z * z / (2.0 * n);
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Interval {
        low: ((centre - spread) / scale).max(0.0),
        high: ((centre + spread) / scale).min(1.0),
    }
}

/// The quantile of the standard normal distribution at probability `share`.
fn quantile(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// Percentile bootstrap interval for the ratio Σ aᵢ / Σ bᵢ of `pairs` (aᵢ, bᵢ), at [`CONFIDENCE`].
///
/// 10,000 seeded resamples draw whole pairs, with replacement. A resample with Σ bᵢ ≤ 0 counts as
/// ratio 0. Fewer than two pairs give (−∞, ∞). Source: Efron and Tibshirani 1993, *An Introduction
/// to the Bootstrap*, chapter 13.
///
/// ```
/// // Tokens and seconds of three texts: 10 tokens per second each.
/// let interval = kad_eval::stats::ratio_bootstrap(&[(20.0, 2.0), (30.0, 3.0), (5.0, 0.5)], 1);
/// assert_eq!((interval.low, interval.high), (10.0, 10.0));
/// ```
pub fn ratio_bootstrap(pairs: &[(f64, f64)], seed: u64) -> Interval {
    if pairs.len() < 2 {
        return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    bootstrap(RESAMPLES, seed, |rng| {
        let picked = (0..pairs.len()).map(|_| pairs[rng.random_range(0..pairs.len())]);
        let (a, b) = picked.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        if b > 0.0 { a / b } else { 0.0 }
    })
}

/// The middle 95 % of `resamples` values of a statistic, each of a resample that `value` draws from
/// a generator seeded with `seed`.
pub(crate) fn bootstrap(
    resamples: usize,
    seed: u64,
    mut value: impl FnMut(&mut ChaCha8Rng) -> f64,
) -> Interval {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    middle((0..resamples).map(|_| value(&mut rng)).collect())
}

/// Percentile bootstrap interval for the mean of `differences` of two decoders on the same items, at
/// [`CONFIDENCE`].
///
/// It is the [`ratio_bootstrap`] of the differences to 1 each.
///
/// ```
/// let interval = kad_eval::stats::paired_bootstrap(&[0.0, 1.0, 1.0, 0.5, -0.5], 1);
/// assert!(interval.low < 0.4 && 0.4 < interval.high);
/// ```
pub fn paired_bootstrap(differences: &[f64], seed: u64) -> Interval {
    ratio_bootstrap(&differences.iter().map(|it| (*it, 1.0)).collect::<Vec<_>>(), seed)
}

/// The middle 95 % of `values`, of which there is at least one.
fn middle(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Interval { low: at(0.5 - CONFIDENCE / 2.0), high: at(0.5 + CONFIDENCE / 2.0) }
}

/// Holm's step-down adjustment of the p-values of several tests, in the order given.
///
/// For p₍₁₎ ≤ … ≤ p₍ₘ₎ it is p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1)·p₍ⱼ₎). Rejecting every
/// hypothesis with p̃ ≤ α rejects a true one with probability at most α. Source: Holm 1979,
/// Scandinavian Journal of Statistics 6.
///
/// ```
/// let adjusted = kad_eval::stats::holm(&[0.01, 0.5]);
/// assert_eq!(adjusted, [0.02, 0.5]);
/// ```
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(((p_values.len() - rank) as f64 * p_values[index]).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998 (Statistics in Medicine 17), table I, method 3, four digits.
    #[test]
    fn wilson_matches_the_published_examples() {
        for (x, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let found = wilson(x, n);
            assert!(
                (found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5,
                "{found:?}"
            );
        }
        assert_eq!(wilson(0, 0), Interval { low: 0.0, high: 1.0 });
    }

    /// For large n the bootstrap interval of a mean is the normal one; 10,000 resamples leave noise
    /// of about 2 % of its width.
    #[test]
    fn bootstrap_agrees_with_the_normal_interval() {
        let differences: Vec<f64> = (0..900).map(|i| f64::from(i % 3) - 1.0).collect();
        let found = paired_bootstrap(&differences, 3);
        let half_width = 1.96 * (2.0f64 / 3.0 / 900.0).sqrt();
        assert!((found.high - half_width).abs() < 0.06 * half_width, "{found:?}");
        assert!((found.low + half_width).abs() < 0.06 * half_width, "{found:?}");
        assert_eq!(found, paired_bootstrap(&differences, 3), "seeded");
    }

    /// With equal denominators the ratio is a mean.
    #[test]
    fn a_ratio_of_equal_parts_is_a_mean() {
        let values: Vec<f64> = (0..90).map(|i| f64::from(i % 7)).collect();
        let pairs: Vec<(f64, f64)> = values.iter().map(|&v| (v, 2.0)).collect();
        let (ratio, mean) = (ratio_bootstrap(&pairs, 5), paired_bootstrap(&values, 5));
        assert!((2.0 * ratio.low - mean.low).abs() < 1e-12);
        assert!((2.0 * ratio.high - mean.high).abs() < 1e-12);
        let nothing = Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
        assert_eq!((ratio_bootstrap(&[], 5), paired_bootstrap(&[], 5)), (nothing, nothing));
    }

    /// By hand: 4·0.005, 3·0.01, 2·0.03, and 1·0.04, which may not fall below the one before.
    #[test]
    fn holm_steps_down() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        let wanted = [0.03, 0.06, 0.06, 0.02];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
