//! The primal approximation of the deferral knapsack.

use std::fmt;

use super::{BaseRule, Deferral, Parameter, ParameterRange, RuleError};
use crate::distribution::Distribution;
use crate::select::{Boundary, tail_boundary};
use crate::vocab::TokenId;

/// Fills a deferral budget with the base model's least probable tokens (Hammal et al., arXiv
/// 2510.27017; `budget_lr` in the authors' code).
///
/// The knapsack `max Σ −p log p · d` subject to `Σ p · d ≤ b` has the density `−log p`. Its linear
/// relaxation takes tokens by rising `p` until one does not fit; that token is rounded down to 0,
/// as is everything after it. The kept tokens are the nucleus: the smallest set of most probable
/// tokens with mass at least `1 − b`. Tokens of probability 0 are always deferred, and `b = 1`
/// defers all.
///
/// Tokens whose probabilities sum to the budget exactly fit, even if the `f64` sum is slightly
/// larger ([`BUDGET_SLACK`](crate::knapsack::BUDGET_SLACK)).
///
/// Cost: `O(V)`, without sorting, and without allocation after the first call; see
/// [`select`](crate::select).
/// At temperature 0, for `b (1 + BUDGET_SLACK) < 1`, nothing of positive probability is deferred.
#[derive(Clone, Copy, Debug)]
pub struct KadPrimal {
    budget: f64,
}

impl KadPrimal {
    pub(super) const PARAMETERS: [Parameter; 1] =
        [Parameter::required("budget", ParameterRange::UNIT)];

    /// Defers at most the mass `budget` = b ∈ [0, 1] per token.
    ///
    /// # Errors
    /// [`RuleError`] if `budget` is out of range.
    ///
    /// ```
    /// use kad_core::{Distribution, deferral::{BaseRule, Deferral, KadPrimal}};
    /// let base = Distribution::from_probs(vec![0.5, 0.3, 0.2])?;
    /// let mut d = Deferral::default();
    /// KadPrimal::new(0.25)?.decide(&base, &mut d);
    /// assert_eq!(d.weights(), [0.0, 0.0, 1.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(budget: f64) -> Result<Self, RuleError> {
        Ok(Self { budget: Self::PARAMETERS[0].check("kad-primal", budget)? })
    }
}

impl BaseRule for KadPrimal {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.defer_tail(base, self.budget, |_| true);
    }

    fn budget(&self) -> Option<f64> {
        Some(self.budget)
    }
}

impl Deferral {
    /// Sets `d = 1` on the longest prefix by rising probability that fits `budget`, restricted to
    /// probabilities that satisfy `may`. Returns the end of the prefix; `None` if all tokens fit.
    pub(super) fn defer_tail(
        &mut self,
        base: &Distribution,
        budget: f64,
        may: impl Fn(f64) -> bool,
    ) -> Option<Boundary> {
        let probs = base.probs();
        // The sum of the probabilities may round to just above 1; the whole distribution still
        // fits.
        let boundary =
            if budget < 1.0 { tail_boundary(probs, budget, &mut self.order) } else { None };
        let Some(end) = boundary else {
            self.defer_where(base, may);
            return None;
        };
        let tokens = 0..probs.len() as TokenId;
        let deferred = probs.iter().zip(tokens).map(|(&p, token)| end.contains(token, p) & may(p));
        self.weights.clear();
        self.weights.extend(deferred.map(|deferred| if deferred { 1.0 } else { 0.0 }));
        boundary
    }
}

impl fmt::Display for KadPrimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KAD primal, budget {}", self.budget)
    }
}
