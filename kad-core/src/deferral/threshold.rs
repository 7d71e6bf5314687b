//! Rules that compare base probabilities with a number.

use std::fmt;

use super::{BaseRule, Deferral, RuleError, probability};
use crate::law::Law;

/// `d(y) = 1[max p < γ]` for all `y`: the aligned model speaks wherever the base model is unsure.
///
/// The token-level form of Fei et al. (arXiv 2410.09300) that Hammal et al. compare with (`max` in
/// their code); the original works on words through an API and is a different algorithm.
/// At temperature 0 the base law is one-hot and, for γ ≤ 1, nothing is deferred.
#[derive(Clone, Copy, Debug)]
pub struct Nudging {
    threshold: f64,
}

impl Nudging {
    /// Defers where the largest base probability is below `threshold` = γ ∈ [0, 1].
    ///
    /// # Errors
    /// If `threshold` is out of range.
    pub fn new(threshold: f64) -> Result<Self, RuleError> {
        Ok(Self { threshold: probability("nudging", "threshold", threshold)? })
    }
}

impl BaseRule for Nudging {
    fn decide(&self, base: &Law, out: &mut Deferral) {
        let unsure = base.max_prob() < self.threshold;
        out.fill(base.len(), if unsure { 1.0 } else { 0.0 });
    }
}

impl fmt::Display for Nudging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nudging, threshold {}", self.threshold)
    }
}

/// `d(y) = 1[p(y) < α]`: the dual approximation of the deferral knapsack, `α = e^(−μ)` for a
/// multiplier `μ` (arXiv 2510.27017; `token_wise` in the authors' code).
///
/// Exactly optimal for the budget it spends, `Σ_{p(y) < α} p(y)`, which differs from step to step.
/// At temperature 0, for α ≤ 1, nothing is deferred.
#[derive(Clone, Copy, Debug)]
pub struct KadDual {
    threshold: f64,
}

impl KadDual {
    /// Defers tokens whose base probability is below `threshold` = α ∈ [0, 1].
    ///
    /// # Errors
    /// If `threshold` is out of range.
    pub fn new(threshold: f64) -> Result<Self, RuleError> {
        Ok(Self { threshold: probability("kad-dual", "threshold", threshold)? })
    }
}

impl BaseRule for KadDual {
    fn decide(&self, base: &Law, out: &mut Deferral) {
        out.fill_from(base, |p| if p < self.threshold { 1.0 } else { 0.0 });
    }
}

impl fmt::Display for KadDual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KAD dual, threshold {}", self.threshold)
    }
}
