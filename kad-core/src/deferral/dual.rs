//! KAD dual: a threshold on base probabilities.

use super::{BaseRule, Deferral, one_parameter_rule};
use crate::distribution::Distribution;

one_parameter_rule! {
    /// `d(y) = 1[p(y) < α]`, `α` = threshold: the dual approximation of the deferral knapsack,
    /// `α = e^(−μ)` for a multiplier `μ` (arXiv 2510.27017; `token_wise` in the authors' code).
    ///
    /// Optimal for the budget it spends, `Σ_{p(y) < α} p(y)`, which differs from token to token. At
    /// temperature 0 nothing is deferred.
    KadDual, "kad-dual", "KAD dual", threshold
}

impl BaseRule for KadDual {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.defer_where(base, |p| p < self.threshold);
    }
}
