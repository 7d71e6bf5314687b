//! The source of a decoder's randomness.
//!
//! Decoders never hold a random number generator. They ask a [`ChoiceSource`], which either samples
//! ([`SampledChoices`]) or enumerates every outcome
//! ([`oracle::enumerate`](crate::oracle::enumerate)). The code that runs is therefore the code
//! whose distribution is proved.

use rand::{Rng, RngExt};

use crate::distribution::Distribution;
use crate::vocab::TokenId;

/// Makes the random choices of a decoder. Probabilities are `f64`, or another
/// [`Number`](crate::Number) in proofs. Dyn-safe.
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, SampledChoices};
/// fn two_tokens(choices: &mut dyn ChoiceSource, distribution: &Distribution) -> [u32; 2] {
///     [choices.token(distribution), choices.token(distribution)]
/// }
/// let certain = Distribution::from_probs(vec![0.0, 1.0])?;
/// assert_eq!(two_tokens(&mut SampledChoices::seeded(7), &certain), [1, 1]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub trait ChoiceSource<N = f64> {
    /// Samples a token from `distribution`.
    fn token(&mut self, distribution: &Distribution<N>) -> TokenId;

    /// Samples a token from `distribution` by inverse transform, with the uniform number that
    /// belongs to `place`. Each place (0, 1, …) has one uniform for the life of the source: one
    /// source, one text. Tokens of different places are independent. Two distributions sampled at
    /// one place are coupled: they give the same token wherever their quantiles agree.
    fn token_at(&mut self, place: usize, distribution: &Distribution<N>) -> TokenId;

    /// True with `probability` ∈ [0, 1]. Probabilities 0 and 1 use no randomness.
    fn accept(&mut self, probability: N) -> bool;
}

/// Samples with a random number generator: one uniform in [0, 1) per uncertain choice.
///
/// If only [`token_at`](ChoiceSource::token_at) is used, place `i` has the uniform that the `i`-th
/// call of [`token`](ChoiceSource::token) would have had.
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, SampledChoices};
/// let mut choices = SampledChoices::seeded(7);
/// assert_eq!(choices.token(&Distribution::from_probs(vec![0.0, 1.0])?), 1);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub struct SampledChoices<R> {
    rng: R,
    /// Uniforms drawn so far, indexed by place.
    places: Vec<f64>,
}

impl SampledChoices<rand_chacha::ChaCha12Rng> {
    /// ChaCha12 from a seed: one seed gives the same choices on every machine.
    pub fn seeded(seed: u64) -> Self {
        Self::new(rand::SeedableRng::seed_from_u64(seed))
    }
}

impl<R: Rng> SampledChoices<R> {
    /// Samples with `rng`.
    ///
    /// ```
    /// use rand::SeedableRng;
    /// use kad_core::{ChoiceSource, SampledChoices};
    /// let mut choices = SampledChoices::new(rand_chacha::ChaCha8Rng::seed_from_u64(1));
    /// assert!(choices.accept(1.0) && !choices.accept(0.0));
    /// ```
    pub fn new(rng: R) -> Self {
        Self { rng, places: Vec::new() }
    }
}

impl<R: Rng> ChoiceSource for SampledChoices<R> {
    fn token(&mut self, distribution: &Distribution) -> TokenId {
        distribution.inverse_cdf(self.rng.random::<f64>())
    }

    fn token_at(&mut self, place: usize, distribution: &Distribution) -> TokenId {
        while self.places.len() <= place {
            self.places.push(self.rng.random());
        }
        distribution.inverse_cdf(self.places[place])
    }

    fn accept(&mut self, probability: f64) -> bool {
        match probability {
            p if p >= 1.0 => true,
            p if p > 0.0 => self.rng.random::<f64>() < p,
            // 0, and NaN.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins the random stream: a change here changes every recorded run.
    #[test]
    fn value_stability() {
        let distribution = Distribution::from_probs(vec![0.125; 8]).unwrap();
        let mut choices = SampledChoices::seeded(2026);
        let tokens: Vec<_> = (0..10).map(|_| choices.token(&distribution)).collect();
        assert_eq!(tokens, STABLE_TOKENS);
    }

    const STABLE_TOKENS: [TokenId; 10] = [3, 0, 5, 5, 5, 3, 0, 3, 4, 5];

    /// χ² test with n = 200,000, four cells, 3 degrees of freedom and α = 0.001 (critical value
    /// 16.27): detects a bias of 0.005 in one cell with power above 0.99. Fixed seed.
    #[test]
    fn drawn_frequencies_match_the_distribution() {
        let probs = [0.1, 0.2, 0.3, 0.4];
        let distribution = Distribution::from_probs(probs.to_vec()).unwrap();
        let mut choices = SampledChoices::seeded(1);
        let n = 200_000;
        let mut counts = [0u32; 4];
        (0..n).for_each(|_| counts[choices.token(&distribution) as usize] += 1);
        let chi2: f64 = probs
            .iter()
            .zip(counts)
            .map(|(p, c)| (f64::from(c) - p * f64::from(n)).powi(2) / (p * f64::from(n)))
            .sum();
        assert!(chi2 < 16.27, "χ² = {chi2}");
    }

    /// Places asked in any order, and repeatedly, get the uniforms of the sequence.
    #[test]
    fn places_have_the_uniforms_of_the_sequence() {
        let distribution = Distribution::from_probs(vec![0.125; 8]).unwrap();
        let mut choices = SampledChoices::seeded(2026);
        for place in [3, 0, 9, 3, 1] {
            assert_eq!(choices.token_at(place, &distribution), STABLE_TOKENS[place]);
        }
    }

    /// A generator of zeros.
    struct Zeros;

    impl rand::TryRng for Zeros {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(0);
            Ok(())
        }
    }

    /// A fault of the code that accompanies arXiv 2510.27017: it accepts if r ≤ a with r ∈ [0, 1), so
    /// r = 0 accepts an impossible token.
    #[test]
    fn a_draw_of_zero_accepts_nothing_impossible() {
        let mut choices = SampledChoices::new(Zeros);
        assert!(!choices.accept(0.0));
        assert!(choices.accept(f64::MIN_POSITIVE));
        assert_eq!(choices.token(&Distribution::from_probs(vec![0.0, 0.25, 0.75]).unwrap()), 1);
    }

    #[test]
    fn nan_is_never_accepted() {
        assert!(!SampledChoices::seeded(0).accept(f64::NAN));
    }
}
