//! Next-token distributions.

use crate::error::DistributionError;
use crate::number::Number;
use crate::sum::sum_by;
use crate::vocab::TokenId;

/// Largest accepted distance of a sum from 1 for probabilities given by a caller.
const SUM_TOLERANCE: f64 = 1e-9;

/// A probability distribution over a vocabulary, `[vocab]`, in `f64` by default. Proofs use exact
/// rationals (see [`Number`]).
///
/// Invariant: entries are finite, non-negative and sum to 1 (to 1e-9 if a caller gave them). A
/// `Distribution` is also a reusable buffer: functions that compute distributions overwrite an
/// existing one.
///
/// ```
/// use kad_core::Distribution;
/// let distribution = Distribution::from_probs(vec![0.25, 0.75])?;
/// assert_eq!(distribution.argmax(), 1);
/// assert_eq!(distribution.inverse_cdf(0.3), 1);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
#[derive(Debug)]
pub struct Distribution<N = f64> {
    probs: Vec<N>,
    /// Scratch memory for a token order; kept so that truncation does not allocate per token.
    pub(crate) order: Vec<TokenId>,
    /// The token with probability 1, if [`Distribution::set_one_hot`] was the last writer.
    certain: Option<TokenId>,
}

impl<N: Clone> Clone for Distribution<N> {
    fn clone(&self) -> Self {
        Self { probs: self.probs.clone(), order: Vec::new(), certain: self.certain }
    }

    /// Reuses the memory of `self`.
    fn clone_from(&mut self, other: &Self) {
        self.probs.clone_from(&other.probs);
        self.certain = other.certain;
    }
}

impl<N> Default for Distribution<N> {
    fn default() -> Self {
        Self { probs: Vec::new(), order: Vec::new(), certain: None }
    }
}

impl<N: PartialEq> PartialEq for Distribution<N> {
    fn eq(&self, other: &Self) -> bool {
        self.probs == other.probs
    }
}

impl<N: Number> Distribution<N> {
    /// The probabilities, `[vocab]`.
    pub fn probs(&self) -> &[N] {
        &self.probs
    }

    /// Number of tokens, `vocab`.
    pub fn len(&self) -> usize {
        self.probs.len()
    }

    /// True for an empty buffer, which holds no distribution yet.
    pub fn is_empty(&self) -> bool {
        self.probs.is_empty()
    }

    /// The distribution proportional to `weights` ≥ 0: `w / Σ w`. `None` if the sum is 0 or not
    /// finite.
    ///
    /// ```
    /// use kad_core::Distribution;
    /// assert_eq!(Distribution::proportional([1.0, 3.0]).unwrap().probs(), [0.25, 0.75]);
    /// ```
    pub fn proportional(weights: impl IntoIterator<Item = N>) -> Option<Self> {
        let mut distribution = Self::default();
        distribution.set_proportional(weights).then_some(distribution)
    }

    /// Overwrites `self` with `w / Σ w` for `weights` ≥ 0, without allocating. Returns false, and
    /// leaves no distribution, if the sum is 0 or not finite.
    ///
    /// ```
    /// let mut distribution = kad_core::Distribution::default();
    /// assert!(distribution.set_proportional([1.0, 1.0]));
    /// assert_eq!(distribution.probs(), [0.5, 0.5]);
    /// assert!(!distribution.set_proportional([0.0, 0.0]));
    /// ```
    pub fn set_proportional(&mut self, weights: impl IntoIterator<Item = N>) -> bool {
        self.certain = None;
        self.probs.clear();
        self.probs.extend(weights);
        let total = N::sum_of(&self.probs);
        let finite = total.clone() - total.clone() == N::zero();
        let possible = finite && total > N::zero();
        if possible {
            self.probs.iter_mut().for_each(|p| *p = p.clone() / total.clone());
        }
        possible
    }

    /// The raw buffer. The caller must leave a distribution in it.
    pub(crate) fn probs_mut(&mut self) -> &mut Vec<N> {
        self.certain = None;
        &mut self.probs
    }
}

impl Distribution {
    /// Takes probabilities that already sum to 1, `[vocab]`.
    ///
    /// # Errors
    /// [`DistributionError::NotFinite`] or [`DistributionError::Negative`] for a bad entry,
    /// [`DistributionError::Sum`] if the sum differs from 1 by more than 1e-9.
    pub fn from_probs(probs: Vec<f64>) -> Result<Self, DistributionError> {
        for (token, &value) in (0..).zip(&probs) {
            if !value.is_finite() {
                return Err(DistributionError::NotFinite { token, value });
            }
            if value < 0.0 {
                return Err(DistributionError::Negative { token, value });
            }
        }
        let sum: f64 = probs.iter().sum();
        if (sum - 1.0).abs() <= SUM_TOLERANCE {
            Ok(Self { probs, order: Vec::new(), certain: None })
        } else {
            Err(DistributionError::Sum { sum })
        }
    }

    /// Probability of `token`; 0 outside the vocabulary.
    pub fn prob(&self, token: TokenId) -> f64 {
        self.probs.get(token as usize).copied().unwrap_or(0.0)
    }

    /// The most probable token; the lowest id among equals.
    pub fn argmax(&self) -> TokenId {
        let best = (0..).zip(&self.probs).fold((0, f64::NEG_INFINITY), |best, (token, &p)| {
            if p > best.1 { (token, p) } else { best }
        });
        best.0
    }

    /// The largest probability, `max p`.
    pub fn max_prob(&self) -> f64 {
        crate::sum::max(&self.probs, 0.0)
    }

    /// Inverse transform sampling: the first token whose cumulative probability exceeds `uniform` ∈
    /// [0, 1).
    ///
    /// Never returns a token of probability 0, even where rounding leaves the sum below `uniform`.
    pub fn inverse_cdf(&self, uniform: f64) -> TokenId {
        let mut cumulative = 0.0;
        let mut last_possible = 0;
        for (token, &p) in (0..).zip(&self.probs) {
            if p > 0.0 {
                cumulative += p;
                last_possible = token;
                if uniform < cumulative {
                    return token;
                }
            }
        }
        last_possible
    }

    /// Overwrites `self` with the one-hot distribution of `token` over `size` tokens. Costs two
    /// writes instead of a whole row if `self` was one-hot over `size` tokens before.
    ///
    /// # Panics
    /// If `token >= size`.
    pub fn set_one_hot(&mut self, size: usize, token: TokenId) {
        match self.certain.take() {
            Some(before) if self.probs.len() == size => self.probs[before as usize] = 0.0,
            _ => {
                self.probs.clear();
                self.probs.resize(size, 0.0);
            }
        }
        self.probs[token as usize] = 1.0;
        self.certain = Some(token);
    }

    /// Total variation distance `½ Σ |p − q|` to a distribution over the same vocabulary, in [0,
    /// 1].
    pub fn total_variation(&self, other: &Distribution) -> f64 {
        debug_assert_eq!(self.len(), other.len());
        0.5 * sum_by(self.len(), |i| (self.probs[i] - other.probs[i]).abs())
    }

    /// The probabilities and the scratch memory, borrowed together.
    pub(crate) fn parts_mut(&mut self) -> (&mut Vec<f64>, &mut Vec<TokenId>) {
        self.certain = None;
        (&mut self.probs, &mut self.order)
    }
}

/// Log-probability `log softmax(logits)[token]` in nats, summed in `f64`.
///
/// The largest logit is subtracted first, so large logits do not overflow. `-inf` marks an
/// impossible token.
///
/// # Errors
/// [`DistributionError::NotFinite`] for NaN or `+inf`, [`DistributionError::Empty`] if every logit
/// is `-inf`.
///
/// ```
/// let nll = -kad_core::log_prob(&[0.0, 0.0], 1)?;
/// assert!((nll - 2f64.ln()).abs() < 1e-15);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn log_prob(logits: &[f32], token: TokenId) -> Result<f64, DistributionError> {
    Ok(f64::from(logits[token as usize]) - log_normaliser(logits)?)
}

/// Log partition function `log Σ exp(logits)`: `logit − log_normaliser` is a log-probability.
///
/// # Errors
/// As [`log_prob`].
pub fn log_normaliser(logits: &[f32]) -> Result<f64, DistributionError> {
    let wide = || logits.iter().map(|&logit| f64::from(logit));
    let max = largest(wide())?;
    Ok(max + sum_by(logits.len(), |i| (f64::from(logits[i]) - max).exp()).ln())
}

/// The largest logit.
///
/// # Errors
/// As [`log_prob`].
pub(crate) fn largest(logits: impl Iterator<Item = f64>) -> Result<f64, DistributionError> {
    let mut max = f64::NEG_INFINITY;
    for (token, logit) in (0..).zip(logits) {
        if logit.is_nan() || logit == f64::INFINITY {
            return Err(DistributionError::NotFinite { token, value: logit });
        }
        max = max.max(logit);
    }
    if max == f64::NEG_INFINITY { Err(DistributionError::Empty) } else { Ok(max) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_cdf_never_returns_an_impossible_token() {
        let distribution = Distribution::from_probs(vec![0.5, 0.5, 0.0]).unwrap();
        assert_eq!(distribution.inverse_cdf(1.0 - f64::EPSILON / 2.0), 1);
        let distribution = Distribution::from_probs(vec![0.0, 1.0]).unwrap();
        assert_eq!(distribution.inverse_cdf(0.0), 1);
    }

    /// Every other writer resets the one-hot shortcut.
    #[test]
    fn one_hot_overwrites_all_earlier_content() {
        let mut distribution = Distribution::default();
        let mut expect = |change: &dyn Fn(&mut Distribution), size: usize, token: TokenId| {
            change(&mut distribution);
            distribution.set_one_hot(size, token);
            let one = (0..size).map(|at| if at == token as usize { 1.0 } else { 0.0 });
            assert!(
                distribution.probs().iter().copied().eq(one),
                "{distribution:?}, {token} of {size}"
            );
        };
        expect(&|_| {}, 4, 1);
        expect(&|_| {}, 4, 3);
        expect(&|_| {}, 4, 3);
        expect(&|_| {}, 5, 0);
        expect(&|_| {}, 4, 2);
        expect(&|distribution| assert!(distribution.set_proportional([1.0, 2.0, 3.0, 4.0])), 4, 0);
        expect(&|distribution| assert!(!distribution.set_proportional([0.0; 4])), 4, 1);
        expect(&|distribution| distribution.probs_mut().fill(0.25), 4, 2);
        expect(&|distribution| distribution.parts_mut().0.fill(0.25), 4, 2);
        let even = Distribution::from_probs(vec![0.25; 4]).unwrap();
        expect(&|distribution| distribution.clone_from(&even), 4, 0);
        let mut other = even.clone();
        other.set_one_hot(4, 3);
        expect(&|distribution| distribution.clone_from(&other), 4, 1);
        expect(&|distribution| *distribution = other.clone(), 4, 2);
    }

    #[test]
    fn invalid_entries_are_refused_with_their_index() {
        assert_eq!(
            Distribution::from_probs(vec![1.5, -0.5]).unwrap_err(),
            DistributionError::Negative { token: 1, value: -0.5 }
        );
        assert!(matches!(
            log_prob(&[0.0, f32::NAN], 0).unwrap_err(),
            DistributionError::NotFinite { token: 1, .. }
        ));
        assert_eq!(log_prob(&[f32::NEG_INFINITY; 2], 0).unwrap_err(), DistributionError::Empty);
        assert!(Distribution::from_probs(vec![0.5, 0.4]).is_err());
        for weights in [vec![0.0; 2], vec![f64::MAX; 2], vec![f64::INFINITY, 1.0], vec![f64::NAN]] {
            assert_eq!(Distribution::proportional(weights), None);
        }
    }
}
