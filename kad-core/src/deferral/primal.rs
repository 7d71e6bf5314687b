//! The primal approximation of the deferral knapsack.

use std::fmt;

use super::{BaseRule, Deferral, RuleError, probability};
use crate::distribution::Distribution;
use crate::select::{Boundary, tail_boundary};
use crate::vocab::TokenId;

/// Fills a deferral budget with the tokens the base model likes least (arXiv 2510.27017;
/// `budget_lr` in the authors' code).
///
/// The knapsack `max Σ −p log p · d` subject to `Σ p · d ≤ b` has density `−log p`, so its
/// linear relaxation takes tokens by rising `p` until one no longer fits; that one is rounded
/// down to 0 and so is everything after it. What is kept is the nucleus: the smallest top set of
/// mass at least `1 − b`. Tokens of probability 0 are always deferred, and `b = 1` defers all.
///
/// Tokens that sum to the budget in the reals fit, although their `f64` sum may end just above
/// ([`BUDGET_SLACK`](crate::knapsack::BUDGET_SLACK)).
///
/// Cost: `O(V)`, without sorting and without allocation after the first call; see
/// [`select`](crate::select).
/// At temperature 0, for `b (1 + BUDGET_SLACK) < 1`, nothing of positive probability is deferred.
#[derive(Clone, Copy, Debug)]
pub struct KadPrimal {
    budget: f64,
}

impl KadPrimal {
    /// Defers at most the mass `budget` = b ∈ [0, 1] at each step.
    ///
    /// # Errors
    /// If `budget` is out of range.
    pub fn new(budget: f64) -> Result<Self, RuleError> {
        Ok(Self { budget: probability("kad-primal", "budget", budget)? })
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
    /// `d = 1` on the longest prefix by rising probability that fits `budget`, as far as a token of
    /// its probability `may` be handed over. Returns where it ends; a budget of 1 has no end.
    pub(super) fn defer_tail(
        &mut self,
        base: &Distribution,
        budget: f64,
        may: impl Fn(f64) -> bool,
    ) -> Option<Boundary> {
        let probs = base.probs();
        // The distribution's sum may round to just above 1; the whole of it still fits.
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
