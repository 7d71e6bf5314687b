//! Nudging: deferral wherever the base model is uncertain.

use super::{BaseRule, Deferral, one_parameter_rule};
use crate::distribution::Distribution;

one_parameter_rule! {
    /// `d(y) = 1[max p < γ]` for all `y`, `γ` = threshold: the aligned model takes over wherever
    /// the base model is uncertain.
    ///
    /// The token-level form of Fei et al. (arXiv 2410.09300) that Hammal et al. compare with (`max`
    /// in their code). The original works on words through an API and is a different algorithm. At
    /// temperature 0 the base distribution is one-hot and nothing is deferred.
    Nudging, "nudging", "nudging", threshold
}

impl BaseRule for Nudging {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.all_or_nothing(base, base.max_prob() < self.threshold);
    }
}
