//! Rules of speculative cascades (Narasimhan et al., arXiv 2405.19261).
//!
//! The roles are those of proxy-based alignment: the paper's small model, whose token is kept, is
//! the base model here; the paper's large model, which is deferred to, is the aligned model. The
//! paper's TokenV1 is [`ConfidenceBet`](super::ConfidenceBet).

use super::{BaseRule, Deferral, PairRule, one_parameter_rule};
use crate::distribution::Distribution;

one_parameter_rule! {
    /// Chow's rule, `d ≡ 1[max p < 1 − λ]`, `λ` = margin: nudging at the threshold `1 − λ`.
    Chow, "chow", "Chow", margin
}

impl BaseRule for Chow {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.all_or_nothing(base, base.max_prob() < 1.0 - self.margin);
    }
}

one_parameter_rule! {
    /// `d ≡ 1[max p < max q* − λ]`, `λ` = margin: defers if the aligned model is more confident.
    Difference, "difference", "difference", margin
}

impl PairRule for Difference {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        out.all_or_nothing(base, base.max_prob() < aligned.max_prob() - self.margin);
    }
}

one_parameter_rule! {
    /// `d ≡ 1[max p < max q* − λ · TV(p, q*)]`, `λ` = margin: the paper's optimal rule, in which a
    /// deferral costs as much as a rejected draft token. It defers more the closer the models
    /// agree.
    OptimalCascade, "optimal-cascade", "optimal cascade", margin
}

impl PairRule for OptimalCascade {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let cost = self.margin * base.total_variation(aligned);
        out.all_or_nothing(base, base.max_prob() < aligned.max_prob() - cost);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[q*(y) < max q* − λ]`, `λ` = margin: keeps tokens within `λ` of the aligned model's
    /// largest probability (TokenV2, eq. 14 of the paper). At temperature 0 and `λ < 1`: the
    /// aligned model.
    CascadeTokenV2, "cascade-token-v2", "cascade token v2", margin
}

impl PairRule for CascadeTokenV2 {
    fn decide(&self, _base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = aligned.max_prob() - self.margin;
        out.defer_where(aligned, |q| q < threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[q*(y) < (1 − λ) max q*]`, `λ` = margin: keeps tokens with at least the fraction `1
    /// − λ` of the aligned model's largest probability (TokenV3). At temperature 0 and `λ < 1`: the
    /// aligned model.
    CascadeTokenV3, "cascade-token-v3", "cascade token v3", margin
}

impl PairRule for CascadeTokenV3 {
    fn decide(&self, _base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = aligned.max_prob() * (1.0 - self.margin);
        out.defer_where(aligned, |q| q < threshold);
    }
}
