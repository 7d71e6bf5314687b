//! Random draws for the bootstrap: pass times, acceptance rates, texts.

use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, StandardNormal};

/// A seeded generator. The same seed gives the same numbers on every machine.
pub(super) struct BootstrapRng(rand_chacha::ChaCha8Rng);

impl BootstrapRng {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(rand_chacha::ChaCha8Rng::seed_from_u64(seed))
    }

    /// A uniform index below `count` ≥ 1.
    pub(super) fn index(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }

    /// A probability after `passed` successes and `failed` failures, not both 0, drawn from its
    /// posterior Beta(passed + prior, failed + 1 − prior). The prior weighs as much as one trial
    /// and has the mean `prior` in (0, 1); `prior` = ½ is Jeffreys' prior.
    pub(super) fn rate(&mut self, passed: u64, failed: u64, prior: f64) -> f64 {
        let posterior = Beta::new(passed as f64 + prior, failed as f64 + 1.0 - prior);
        self.0.sample(posterior.expect("the prior's mean lies inside (0, 1)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of Beta(s + ¼, f + ¾) over n = 40,000 draws, against their closed forms.
    /// Each of the 10 comparisons fails by chance with α < 1e-4 (4 standard errors; for the
    /// variance with the largest kurtosis among these distributions); the smallest shift of a mean
    /// that is caught is 2 % of a standard deviation.
    #[test]
    fn rates_have_the_moments_of_the_beta_distribution() {
        let n = 40_000.0;
        for (passed, failed) in [(1, 1), (5, 2), (30, 3), (400, 600), (2, 50)] {
            let mut draws = BootstrapRng::seeded(11 + passed);
            let found: Vec<f64> = (0..40_000).map(|_| draws.rate(passed, failed, 0.25)).collect();
            let (a, b) = (passed as f64 + 0.25, failed as f64 + 0.75);
            let (mean, variance) = (a / (a + b), a * b / ((a + b).powi(2) * (a + b + 1.0)));
            let found_mean = found.iter().sum::<f64>() / n;
            let found_variance = found.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            assert!((found_mean - mean).abs() < 4.0 * (variance / n).sqrt(), "{passed} {failed}");
            // The kurtosis of Beta(2.25, 50.75) is 4.4, the largest here.
            let error = variance * (3.4 / n).sqrt();
            assert!((found_variance - variance).abs() < 4.0 * error, "{passed} {failed}");
        }
    }

    #[test]
    fn draws_are_seeded() {
        let three = |seed| {
            let mut draws = BootstrapRng::seeded(seed);
            [draws.normal(), draws.rate(3, 4, 0.5), draws.rate(0, 1, 0.1)]
        };
        assert_eq!(three(5), three(5));
        assert_ne!(three(5), three(6));
    }
}
