//! Where a decoder's randomness comes from.
//!
//! Decoders never hold a generator. They ask a [`ChoiceSource`], which either draws
//! ([`SampledChoices`]) or walks every possibility
//! ([`oracle::enumerate`](crate::oracle::enumerate)): the code that is proved to have a
//! distribution is the code that runs.

use rand::{Rng, RngExt};

use crate::distribution::Distribution;
use crate::vocab::TokenId;

/// Answers the random questions of a decoder, whose probabilities are `f64` unless something is
/// proved in another [`Number`](crate::Number). Dyn-safe.
pub trait ChoiceSource<N = f64> {
    /// A token distributed as `distribution`.
    fn token(&mut self, distribution: &Distribution<N>) -> TokenId;

    /// The token at the quantile of uniform number `place`: each place has one uniform, however
    /// often and for whichever distribution it is asked, and the tokens of different places are
    /// independent. So two distributions asked at one place give the same token wherever they can
    /// agree on it by quantiles. Places count from 0 in the life of the source: one source, one
    /// text.
    fn token_at(&mut self, place: usize, distribution: &Distribution<N>) -> TokenId;

    /// `true` with `probability` ∈ [0, 1]. Certain answers (0 and 1) use no randomness.
    fn accept(&mut self, probability: N) -> bool;
}

/// Draws from a random generator: one uniform in [0, 1) per uncertain choice. If nothing but
/// [`token_at`](ChoiceSource::token_at) is asked, place `i` has the uniform that the `i`-th call of
/// [`token`](ChoiceSource::token) would have had.
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, SampledChoices};
/// let mut choices = SampledChoices::seeded(7);
/// assert_eq!(choices.token(&Distribution::from_probs(vec![0.0, 1.0])?), 1);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub struct SampledChoices<R> {
    rng: R,
    /// The uniforms of the places asked so far.
    places: Vec<f64>,
}

impl SampledChoices<rand_chacha::ChaCha12Rng> {
    /// ChaCha12 from a seed: the same seed gives the same choices on every machine.
    pub fn seeded(seed: u64) -> Self {
        Self::new(rand::SeedableRng::seed_from_u64(seed))
    }
}

impl<R: Rng> SampledChoices<R> {
    /// Draws from `rng`.
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
            // 0, and anything that is not a probability.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins the stream: a change here changes every recorded run.
    #[test]
    fn value_stability() {
        let distribution = Distribution::from_probs(vec![0.125; 8]).unwrap();
        let mut choices = SampledChoices::seeded(2026);
        let tokens: Vec<_> = (0..10).map(|_| choices.token(&distribution)).collect();
        assert_eq!(tokens, STABLE_TOKENS);
    }

    const STABLE_TOKENS: [TokenId; 10] = [3, 0, 5, 5, 5, 3, 0, 3, 4, 5];

    /// n = 200,000, four cells, χ² with 3 degrees of freedom at α = 0.001 (critical value 16.27):
    /// a bias of 0.005 in one cell is caught with a power above 0.99. Fixed seed.
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

    /// Asked by place, in any order and more than once, the stream is the one asked in turn.
    #[test]
    fn places_have_the_uniforms_of_the_sequence() {
        let distribution = Distribution::from_probs(vec![0.125; 8]).unwrap();
        let mut choices = SampledChoices::seeded(2026);
        for place in [3, 0, 9, 3, 1] {
            assert_eq!(choices.token_at(place, &distribution), STABLE_TOKENS[place]);
        }
    }

    /// Draws nothing but zeros.
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

    /// Fault 16 of the code that accompanies arXiv 2510.27017: it accepts where r ≤ a with
    /// r ∈ [0, 1), so that r = 0 accepts an impossible token.
    #[test]
    fn fault_16_a_draw_of_zero_accepts_nothing_impossible() {
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
