//! Accepted tokens of one draft with independent acceptance: the capped geometric distribution.

use super::error::{TheoryError, checked_rate};

/// The number `N` of accepted tokens of a draft of `cap` = n tokens, each accepted with probability
/// `a` if all tokens before it were: `P(N = k) = a^k (1 − a)` for k < n, `P(N = n) = a^n`.
///
/// This is the distribution of arXiv 2510.26527, Theorem 3.3 (stability), with `a = 1 − α`. The
/// theorem makes three claims:
///
/// 1. The variance has a closed form: true, see [`variance`](Self::variance).
/// 2. The variance falls as acceptance rises: false. It is 0 at both ends and *rises* up to a rate
///    of .78 (n = 4), .876 (n = 8), .934 (n = 16): see [`variance_peak`](Self::variance_peak). The
///    coefficient of variation of `N` does fall throughout. That of `N + 1`, the tokens a round
///    emits, has a peak too.
/// 3. `σ/μ → 0` as `α → 0`: true, as `σ/μ ≈ √(α (n + 1)(2n + 1) / 6n)`.
///
/// None of this distinguishes sampling from greedy decoding.
///
/// ```
/// use kad_polybasic::theory::CappedGeometric;
/// let draft = CappedGeometric::new(0.5, 2)?;
/// // 0, 1, 2 accepted tokens with probability 1/2, 1/4, 1/4.
/// assert_eq!((draft.mean(), draft.variance()), (0.75, 0.6875));
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CappedGeometric {
    rate: f64,
    cap: usize,
}

/// Below this `α n`, the numerator of the closed form, about `(α n)³ / 3n`, is a difference of much
/// larger numbers, and a sum of n terms is more accurate.
const CANCELLATION: f64 = 0.1;

/// Golden-section steps. Each shrinks the interval by a factor of 0.618, all together to less than
/// 1e-12.
const PEAK_STEPS: usize = 60;

impl CappedGeometric {
    /// A draft of at most `cap` tokens with acceptance `rate` ∈ [0, 1].
    ///
    /// # Errors
    /// If the rate is no probability.
    pub fn new(rate: f64, cap: usize) -> Result<Self, TheoryError> {
        Ok(Self { rate: checked_rate(rate)?, cap })
    }

    /// `P(N = k)`; 0 for k > n.
    pub fn probability(&self, k: usize) -> f64 {
        let reached = power(self.rate, k);
        match k.cmp(&self.cap) {
            std::cmp::Ordering::Less => reached * (1.0 - self.rate),
            std::cmp::Ordering::Equal => reached,
            std::cmp::Ordering::Greater => 0.0,
        }
    }

    /// `E N = a (1 − a^n) / (1 − a)`, and n for a = 1: the *acceptance length*.
    pub fn mean(&self) -> f64 {
        self.rate * geometric_sum(self.rate, self.cap)
    }

    /// `Var N = [a − (2n + 1) a^{n+1} (1 − a) − a^{2n+2}] / (1 − a)²`, which is also the variance
    /// of `N + 1`. Derived here, because the published formula was not legible.
    pub fn variance(&self) -> f64 {
        let (a, n) = (self.rate, self.cap);
        let failure = 1.0 - a;
        if failure * n as f64 > CANCELLATION {
            let tail = (2 * n + 1) as f64 * power(a, n + 1) * failure + power(a, 2 * n + 2);
            return (a - tail) / (failure * failure);
        }
        // Mean and mean square of the shortfall n − N, both small here.
        let (mut first, mut second) = (0.0, 0.0);
        for k in 0..n {
            let (short, p) = ((n - k) as f64, power(a, k) * failure);
            first += short * p;
            second += short * short * p;
        }
        second - first * first
    }

    /// `σ/μ` of the accepted tokens `N`; infinite at a = 0, its limit.
    pub fn coefficient_of_variation(&self) -> f64 {
        match self.mean() {
            mean if mean > 0.0 => self.variance().sqrt() / mean,
            _ => f64::INFINITY,
        }
    }

    /// `σ/μ` of the emitted tokens `N + 1`, which include the corrected or bonus token. *Not*
    /// monotone in the rate.
    pub fn emitted_coefficient_of_variation(&self) -> f64 {
        self.variance().sqrt() / (self.mean() + 1.0)
    }

    /// The acceptance rate of the largest variance for this `cap` ≥ 1; 0 for a cap of 0, where the
    /// variance is 0. Found by golden-section search: the variance rises and then falls.
    pub fn variance_peak(cap: usize) -> f64 {
        if cap == 0 {
            return 0.0;
        }
        let variance = |rate| Self { rate, cap }.variance();
        let shrink = (5.0f64.sqrt() - 1.0) / 2.0;
        let (mut low, mut high) = (0.0f64, 1.0f64);
        for _ in 0..PEAK_STEPS {
            let step = shrink * (high - low);
            if variance(high - step) < variance(low + step) {
                low = high - step;
            } else {
                high = low + step;
            }
        }
        0.5 * (low + high)
    }
}

/// Expected tokens of one round of draft length `length` = K with independent acceptance `rate` = a
/// ∈ [0, 1]: with a bonus token `(1 − a^{K+1}) / (1 − a)` (arXiv 2211.17192, eq. 1), without
/// `(1 − a^K) / (1 − a)`. An empty draft gives one token in both cases.
///
/// ```
/// use kad_polybasic::theory::expected_tokens;
/// assert_eq!(expected_tokens(0.5, 2, true)?, 1.75);
/// assert_eq!(expected_tokens(0.5, 2, false)?, 1.5);
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
///
/// # Errors
/// If the rate is no probability.
pub fn expected_tokens(rate: f64, length: usize, bonus: bool) -> Result<f64, TheoryError> {
    let terms = if bonus { length + 1 } else { length.max(1) };
    Ok(geometric_sum(checked_rate(rate)?, terms))
}

/// `1 + a + … + a^{terms − 1} = (1 − a^terms) / (1 − a)`, without cancellation near a = 1.
fn geometric_sum(a: f64, terms: usize) -> f64 {
    match a {
        1.0 => terms as f64,
        0.0 => f64::from(u8::from(terms > 0)),
        a => -(terms as f64 * a.ln()).exp_m1() / (1.0 - a),
    }
}

/// `a^k`; 1 for k = 0.
fn power(a: f64, k: usize) -> f64 {
    i32::try_from(k).map_or_else(|_| a.powf(k as f64), |k| a.powi(k))
}
