//! Intervals for what is measured on a sample of items, and tests of what is compared on it.

mod paired;

use rand::RngExt;
use rand::SeedableRng;
use statrs::distribution::{ContinuousCDF, Normal};

pub(crate) use crate::numbers::{Interval, null_is_infinite, null_is_nan};
pub(crate) use paired::{detectable, detectable_mean, mcnemar, sign_flip, tango};

/// All intervals are two-sided at this confidence.
pub(crate) const CONFIDENCE: f64 = 0.95;

const RESAMPLES: usize = 10_000;

/// Wilson's score interval for `successes` of `n` (Wilson 1927; Brown, Cai, DasGupta 2001, eq. 4).
///
/// `n = 0` says nothing: [0, 1].
pub(crate) fn wilson(successes: u64, n: u64) -> Interval {
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

/// z of the standard normal distribution.
fn quantile(share: f64) -> f64 {
    Normal::standard().inverse_cdf(share)
}

/// Percentile bootstrap interval for `Σ a / Σ b` over pairs (a, b), resampled together: 10,000
/// resamples, seeded. A resample without denominator counts as 0. Fewer than two pairs say nothing:
/// (−∞, ∞).
pub(crate) fn ratio_bootstrap(pairs: &[(f64, f64)], seed: u64) -> Interval {
    bootstrap(pairs.len(), seed, |picked| {
        let (a, b) = picked.fold((0.0, 0.0), |sum, i| (sum.0 + pairs[i].0, sum.1 + pairs[i].1));
        if b > 0.0 { a / b } else { 0.0 }
    })
}

/// Percentile bootstrap interval for the mean of `differences` between two decoders on the same
/// items (Efron and Tibshirani 1993, chapter 13): 10,000 resamples, seeded. Fewer than two
/// items say nothing: (−∞, ∞).
pub(crate) fn paired_bootstrap(differences: &[f64], seed: u64) -> Interval {
    let n = differences.len();
    bootstrap(n, seed, |picked| picked.map(|i| differences[i]).sum::<f64>() / n as f64)
}

/// The middle 95 % of `statistic` over resamples of `n` indices.
fn bootstrap(
    n: usize,
    seed: u64,
    statistic: impl Fn(&mut dyn Iterator<Item = usize>) -> f64,
) -> Interval {
    if n < 2 {
        return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut values: Vec<f64> =
        (0..RESAMPLES).map(|_| statistic(&mut (0..n).map(|_| rng.random_range(0..n)))).collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { low: at(0.5 - CONFIDENCE / 2.0), high: at(0.5 + CONFIDENCE / 2.0) }
}

/// Holm's step-down adjustment of the p-values of tests that were made together: the chance that
/// any true hypothesis is among those with an adjusted value of at most α is at most α (Holm 1979).
///
/// p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1)·p₍ⱼ₎), for p₍₁₎ ≤ … ≤ p₍ₘ₎; in the order given.
pub(crate) fn holm(p_values: &[f64]) -> Vec<f64> {
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

    /// The examples of Newcombe 1998 (Statistics in Medicine 17), table I, method 3, four digits.
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

    /// For n large the bootstrap of a mean is the normal interval; 10,000 resamples leave about
    /// 2 % of its width as noise.
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

    /// The example of Holm's paper's kind, by hand: 4·0.005, 3·0.01, 2·0.03, and what may not fall.
    #[test]
    fn holm_steps_down() {
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        let wanted = [0.03, 0.06, 0.06, 0.02];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
