//! Two decoders on the same items: confidence interval and test of their difference, and the
//! minimum detectable difference.

use rand::{RngExt, SeedableRng};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::{CONFIDENCE, Interval, quantile};

/// Tango's score interval for the difference of two shares on the same `items`, at [`CONFIDENCE`].
///
/// `wins` of the items are right for the first decoder only, `losses` for the second only. The
/// interval holds every δ in [−1, 1] with |T(δ)| ≤ z₀.₉₇₅, where
///
/// T(δ) = (wins − losses − n·δ) / √(n·(2q + δ(1 − δ)))
///
/// and q is the maximum-likelihood probability of a loss given δ. Without wins and losses it is
/// ±z²/(n + z²), not a point. No items give [−1, 1]. Source: Tango 1998, Statistics in Medicine 17,
/// 891–908.
///
/// ```
/// let interval = kad_eval::stats::tango(1, 7, 21);
/// assert!((interval.low + 0.517).abs() < 5e-4 && (interval.high + 0.026).abs() < 5e-4);
/// ```
pub fn tango(wins: u64, losses: u64, items: u64) -> Interval {
    if items == 0 {
        return Interval { low: -1.0, high: 1.0 };
    }
    let z = quantile(0.5 + CONFIDENCE / 2.0);
    let found = (wins as f64 - losses as f64) / items as f64;
    // T falls with δ.
    let root = |mut above: f64, mut below: f64, wanted: f64| {
        for _ in 0..60 {
            let middle = 0.5 * (above + below);
            let is_above = score(wins as f64, losses as f64, items as f64, middle) > wanted;
            if is_above { above = middle } else { below = middle }
        }
        0.5 * (above + below)
    };
    Interval { low: root(-1.0, found, z), high: root(found, 1.0, -z) }
}

/// T(δ) of [`tango`].
fn score(wins: f64, losses: f64, items: f64, difference: f64) -> f64 {
    let away = wins - losses - items * difference;
    let rest = difference * (1.0 - difference);
    // a·q² + b·q + c = 0, where the likelihood given the difference is largest.
    let (a, c) = (2.0 * items, -losses * rest);
    let b = (2.0 * items - wins + losses) * difference - wins - losses;
    let loss = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
    let variance = items * (2.0 * loss + rest);
    match variance > 0.0 {
        true => away / variance.sqrt(),
        // Without variance only the difference found is possible.
        false => away * f64::INFINITY,
    }
}

/// Exact two-sided McNemar test of two decoders on the same items.
///
/// `wins` items are right for the first decoder only, `losses` for the second only. With
/// K ~ Binomial(wins + losses, ½) the p-value is min(1, 2·P(K ≤ min(wins, losses))); without wins
/// and losses it is 1. Source: McNemar 1947, Psychometrika 12; the exact form is the sign test.
///
/// ```
/// assert!((kad_eval::stats::mcnemar(5, 0) - 2.0 / 32.0).abs() < 1e-12);
/// ```
pub fn mcnemar(wins: u64, losses: u64) -> f64 {
    // No split is more even: p is 1, which the sum of probabilities would miss by rounding.
    if wins.abs_diff(losses) <= 1 {
        return 1.0;
    }
    let fair = Binomial::new(0.5, wins + losses).expect("1/2 is a probability");
    (2.0 * fair.cdf(wins.min(losses))).min(1.0)
}

/// Random sign assignments of [`sign_flip`].
const DRAWS: u32 = 10_000;

/// [`sign_flip`] enumerates all signs of at most this many differences.
const ENUMERATED: usize = 12;

/// Two-sided permutation test of the mean of paired `differences` being 0.
///
/// The p-value is the probability, with an independent fair sign for each difference, that
/// |Σ ±dᵢ| ≥ |Σ dᵢ|. Differences of 0 do not count. It is exact for up to 12 other differences; for
/// more it is (1 + extreme draws) / (1 + draws) of 10,000 seeded draws, which is never too small.
/// Source: Fisher 1935, *The Design of Experiments*, § 21; Phipson and Smyth 2010, Statistical
/// Applications in Genetics and Molecular Biology 9.
///
/// ```
/// // Of the eight sums ±1 ±2 ±4, the two ±7 are as extreme as 7.
/// assert_eq!(kad_eval::stats::sign_flip(&[1.0, 2.0, 4.0], 1), 2.0 / 8.0);
/// ```
pub fn sign_flip(differences: &[f64], seed: u64) -> f64 {
    let moved: Vec<f64> = differences.iter().copied().filter(|it| *it != 0.0).collect();
    let found = moved.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order are equal up to this.
    let rounding = 1e-12 * moved.iter().map(|it| it.abs()).sum::<f64>();
    let is_as_far = |signs: &mut dyn FnMut() -> u64| {
        let flip = |part: &[f64]| -> f64 {
            let signs = signs();
            (0..).zip(part).map(|(i, it)| if signs >> i & 1 == 1 { *it } else { -it }).sum()
        };
        moved.chunks(64).map(flip).sum::<f64>().abs() >= found - rounding
    };
    if moved.len() <= ENUMERATED {
        let all = 1u64 << moved.len();
        let far = (0..all).filter(|signs| is_as_far(&mut || *signs)).count();
        return far as f64 / all as f64;
    }
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let far = (0..DRAWS).filter(|_| is_as_far(&mut || rng.random())).count();
    (1.0 + far as f64) / (1.0 + f64::from(DRAWS))
}

/// Power of [`detectable`] and [`detectable_mean`].
pub const POWER: f64 = 0.8;

/// Minimum detectable difference of two accuracies: McNemar's test at significance `level` finds it
/// with probability [`POWER`].
///
/// `discordant` is the share ψ of the `items` that only one of the two decoders answers correctly.
/// The result is the δ with
///
/// √items·δ = z₁₋ₗₑᵥₑₗ⸝₂·√ψ + z₀.₈·√(ψ − δ²),
///
/// a normal approximation. `None` if ψ is not in (0, 1], or δ would exceed ψ. Source: Connor 1987,
/// Biometrics 43; Miettinen 1968, Biometrics 24.
///
/// ```
/// let difference = kad_eval::stats::detectable(1000, 0.2, 0.05).unwrap();
/// assert!((difference - 0.0394).abs() < 5e-4);
/// assert_eq!(kad_eval::stats::detectable(10, 0.1, 0.05), None);
/// ```
pub fn detectable(items: u64, discordant: f64, level: f64) -> Option<f64> {
    let (certain, found) = (quantile(1.0 - level / 2.0), quantile(POWER));
    // Rises with the difference.
    let enough = |difference: f64| {
        let rest = (discordant - difference * difference).max(0.0);
        let wanted = certain * discordant.sqrt() + found * rest.sqrt();
        difference * (items as f64).sqrt() >= wanted
    };
    let discordant_is_a_share = discordant > 0.0 && discordant <= 1.0;
    if !discordant_is_a_share || !enough(discordant) {
        return None;
    }
    let (mut low, mut high) = (0.0, discordant);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if enough(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// Minimum detectable mean of `items` paired differences with standard `deviation` s, at
/// significance `level` and [`POWER`]: (z₁₋ₗₑᵥₑₗ⸝₂ + z₀.₈)·s/√items. `None` if s is not positive.
///
/// ```
/// let mean = kad_eval::stats::detectable_mean(400, 0.3, 0.05).unwrap();
/// assert!((mean - 0.042_024).abs() < 1e-6);
/// ```
pub fn detectable_mean(items: u64, deviation: f64, level: f64) -> Option<f64> {
    let wanted = quantile(1.0 - level / 2.0) + quantile(POWER);
    (deviation > 0.0).then(|| wanted * deviation / (items as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;

    /// ln of the binomial coefficient.
    fn ln_choose(n: u64, k: u64) -> f64 {
        (0..k).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum()
    }

    /// Airway reactivity of 21 children before and after transplantation, 1 and 7 of them changed
    /// (Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850–2875), with the numbers
    /// of the R package ratesci. No disagreement and nothing but wins have closed forms.
    #[test]
    fn tango_matches_another_program_and_closed_forms() {
        let (found, other) = (tango(1, 7, 21), tango(7, 1, 21));
        assert!((found.low + 0.517).abs() < 5e-4 && (found.high + 0.026).abs() < 5e-4, "{found:?}");
        assert!((found.low + other.high).abs() < 1e-12 && (found.high + other.low).abs() < 1e-12);
        let square = 1.959_963_985f64.powi(2);
        let none = tango(0, 0, 6);
        assert!((none.high - square / (6.0 + square)).abs() < 1e-8, "{none:?}");
        assert!((none.low + none.high).abs() < 1e-12);
        let all = tango(20, 0, 20);
        assert!(all.high == 1.0 && (all.low - (20.0 - square) / (20.0 + square)).abs() < 1e-8);
        assert_eq!(tango(0, 0, 0), Interval { low: -1.0, high: 1.0 });
    }

    /// Coverage on 20 items, summed over the multinomial distribution. The percentile bootstrap
    /// covers 81 % there.
    #[test]
    fn tango_has_its_coverage_on_few_items() {
        let items = 20;
        for (win, loss) in [(0.1, 0.05), (0.2, 0.1), (0.05, 0.0), (0.3, 0.3), (0.02, 0.02)] {
            let mut covered = 0.0;
            for wins in 0..=items {
                for losses in 0..=items - wins {
                    let Interval { low, high } = tango(wins, losses, items);
                    let same = items - wins - losses;
                    let power = |share: f64, times: u64| share.powi(i32::try_from(times).unwrap());
                    let ways = (ln_choose(items, wins) + ln_choose(items - wins, losses)).exp();
                    let chance = ways * power(win, wins) * power(loss, losses);
                    if low <= win - loss && win - loss <= high {
                        covered += chance * power(1.0 - win - loss, same);
                    }
                }
            }
            assert!(covered > 0.93, "{win} {loss}: {covered}");
        }
    }

    /// By hand: P(0 of 5) + P(5 of 5) = 2/32; P(≤ 1 or ≥ 4 of 5) = 12/32; one item proves nothing.
    #[test]
    fn mcnemar_is_the_sign_test() {
        for (wins, losses, wanted) in [(5, 0, 0.0625), (4, 1, 0.375), (1, 0, 1.0), (0, 0, 1.0)] {
            assert!((mcnemar(wins, losses) - wanted).abs() < 1e-12, "{wins} : {losses}");
            assert_eq!(mcnemar(wins, losses), mcnemar(losses, wins));
        }
        for half in 0..500 {
            assert_eq!((mcnemar(half, half), mcnemar(half, half + 1)), (1.0, 1.0), "{half}");
            assert!(mcnemar(half, half + 2) < 1.0, "{half}");
        }
    }

    /// By hand: of the eight sums of ±1, ±2, ±4, those with |sum| ≥ 5 are ±7 and ±5. For ones it is
    /// McNemar's: exactly for few, and within 6 standard errors of the draws for many.
    #[test]
    fn signs_are_flipped() {
        assert_eq!(sign_flip(&[1.0, 0.0, 4.0, 2.0], 1), 0.25);
        assert_eq!(sign_flip(&[-1.0, 4.0, 2.0], 1), 0.5);
        assert_eq!((sign_flip(&[], 1), sign_flip(&[0.0; 9], 1)), (1.0, 1.0));
        let split = |wins: u64, losses: u64| {
            let signs = (0..wins).map(|_| 1.0).chain((0..losses).map(|_| -1.0));
            sign_flip(&signs.collect::<Vec<f64>>(), 5)
        };
        for (wins, losses) in [(5, 0), (4, 1), (9, 3), (6, 6)] {
            assert!((split(wins, losses) - mcnemar(wins, losses)).abs() < 1e-12);
        }
        for (wins, losses) in [(12, 8), (55, 30), (90, 60), (100, 99)] {
            let (found, p) = (split(wins, losses), mcnemar(wins, losses));
            assert!((found - p).abs() < 6.0 * (p * (1.0 - p) / 1e4).sqrt() + 2e-4, "{found} {p}");
            assert_eq!(found, split(wins, losses), "seeded");
        }
    }

    /// Many small losses and a few large wins: the mean is on the side of the wins, and the sign
    /// test would find the opposite.
    #[test]
    fn points_are_tested_by_their_mean_not_by_their_signs() {
        let wins = (0..11).map(|i| 0.5 + 0.02 * f64::from(i));
        let points: Vec<f64> = wins.chain((0..37).map(|i| -0.1 - 0.002 * f64::from(i))).collect();
        assert!(points.iter().sum::<f64>() > 0.0 && mcnemar(11, 37) < 0.001);
        // The normal approximation with the same variance of the sum; 6 standard errors.
        let z = points.iter().sum::<f64>() / points.iter().map(|it| it * it).sum::<f64>().sqrt();
        let normal = 2.0 * Normal::standard().cdf(-z.abs());
        let found = sign_flip(&points, 2);
        assert!(found > 0.4 && (found - normal).abs() < 0.03, "{found} {normal}");
    }

    /// Against a closed form, 1,000 items and ψ = 0.2.
    #[test]
    fn a_detectable_difference_has_a_closed_form() {
        for (level, certain) in [(0.05, 1.959_964), (0.05 / 30.0, 3.143_980)] {
            let found = detectable(1000, 0.2, level).unwrap();
            let wanted = certain * 0.2f64.sqrt() + 0.841_621 * (0.2 - found * found).sqrt();
            assert!((found * 1000f64.sqrt() - wanted).abs() < 1e-5, "{found}");
        }
        assert_eq!(detectable(100, 0.0, 0.05), None);
        let mean = detectable_mean(400, 0.3, 0.05).unwrap();
        assert!((mean - 2.801_585 * 0.3 / 20.0).abs() < 1e-7, "{mean}");
        assert_eq!(detectable_mean(400, 0.0, 0.05), None);
    }

    /// Against simulation: among 1, 5 and 30 comparisons, of which the others find nothing, the test
    /// finds a difference of that size in about 80 % of 1,000 experiments with 300 items (standard
    /// error 1.3 points). The exact powers are 77.5, 78.1 and 78.7 %: the exact test is slightly more
    /// conservative than the approximation. The detectable difference of a single test is found in
    /// 55 % as one of 5 comparisons and in 33 % as one of 30.
    #[test]
    fn a_detectable_difference_is_detected() {
        let (items, discordant) = (300, 0.3);
        for comparisons in [1, 5, 30] {
            let level = 0.05 / f64::from(comparisons);
            let difference = detectable(items, discordant, level).unwrap();
            let win = 0.5 * (1.0 + difference / discordant);
            let mut rng = ChaCha8Rng::seed_from_u64(11);
            let mut detected = 0;
            for _ in 0..1000 {
                let (mut wins, mut losses) = (0, 0);
                for _ in 0..items {
                    if rng.random_bool(discordant) {
                        if rng.random_bool(win) { wins += 1 } else { losses += 1 }
                    }
                }
                detected += u64::from(mcnemar(wins, losses) <= level);
            }
            assert!((730..=840).contains(&detected), "{comparisons}: {detected} of 1000");
        }
    }
}
