//! Rules that compare a token with the most probable token of either model.
//!
//! All but the confidence bet come from the code that accompanies arXiv 2510.27017. That code names
//! them after formulas.

use std::fmt;

use super::{BaseRule, Deferral, PairRule, one_parameter_rule};
use crate::distribution::Distribution;

one_parameter_rule! {
    /// `d(y) = 1[p(y) < max q* − λ]`, `λ` = margin: the base model keeps a token only if its
    /// probability comes within `λ` of the aligned model's largest one.
    ///
    /// The conservative confidence bet of arXiv 2604.16146 (`max_q_minus` in the authors' code).
    /// With the models' roles exchanged it is TokenV1 of speculative cascades (Narasimhan et al.,
    /// arXiv 2405.19261, eq. 13). At temperature 0: the base model.
    ConfidenceBet, "confidence-bet", "confidence bet", margin
}

impl PairRule for ConfidenceBet {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = aligned.max_prob() - self.margin;
        out.defer_where(base, |p| p < threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[p(y) < max q* + λ]`, `λ` = margin: the confidence bet with the sign of the margin
    /// reversed.
    ///
    /// `max_q_plus` in the authors' code; not in either paper's summary. At temperature 0 and `λ >
    /// 0`: the aligned model.
    AggressiveBet, "aggressive-bet", "aggressive bet", margin
}

impl PairRule for AggressiveBet {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = aligned.max_prob() + self.margin;
        out.defer_where(base, |p| p < threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[q*(y) < max p + λ]`, `λ` = margin: the base model keeps only tokens that the
    /// aligned model finds more probable than the base model finds any token.
    ///
    /// `max_p_plus` in the authors' code, where a comment states the opposite condition (the
    /// condition of [`AlignedAbove`]). At temperature 0: the aligned model.
    AlignedBelow, "aligned-below", "aligned below", margin
}

impl PairRule for AlignedBelow {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = base.max_prob() + self.margin;
        out.defer_where(aligned, |q| q < threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[q*(y) > max p + λ]`, `λ` = margin: defers tokens that the aligned model finds more
    /// probable than the base model finds any token.
    ///
    /// `minus_max_p_plus` in the authors' code. At temperature 0: the base model.
    AlignedAbove, "aligned-above", "aligned above", margin
}

impl PairRule for AlignedAbove {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let threshold = base.max_prob() + self.margin;
        out.defer_where(aligned, |q| q > threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[p(y) < max p − λ]`, `λ` = margin: keeps tokens within `λ` of the largest
    /// probability.
    ///
    /// `token_v2` in the authors' code, after a rule of speculative cascades that reads the other
    /// model ([`CascadeTokenV2`](super::CascadeTokenV2)). At temperature 0: the base model.
    TokenV2, "token-v2", "token v2", margin
}

impl BaseRule for TokenV2 {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        let threshold = base.max_prob() - self.margin;
        out.defer_where(base, |p| p < threshold);
    }
}

one_parameter_rule! {
    /// `d(y) = 1[p(y) < (1 − λ) max p]`, `λ` = margin: keeps tokens with at least the fraction `1 −
    /// λ` of the largest probability. Equals min-p truncation with the cut mass given to the
    /// aligned model.
    ///
    /// TokenV3 of speculative cascades evaluated on the kept model, as [`TokenV2`] is; not in the
    /// authors' code. At temperature 0: the base model.
    TokenV3, "token-v3", "token v3", margin
}

impl BaseRule for TokenV3 {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        let threshold = base.max_prob() * (1.0 - self.margin);
        out.defer_where(base, |p| p < threshold);
    }
}

/// `d(y) = 1[p(y) < max p]`: keeps only the most probable token and exact ties.
///
/// `token_max` in the authors' code; [`TokenV2`] at margin 0. At temperature 0: the base model.
///
/// ```
/// use kad_core::{Distribution, deferral::{ArgmaxOnly, BaseRule, Deferral}};
/// let mut d = Deferral::default();
/// ArgmaxOnly.decide(&Distribution::from_probs(vec![0.2, 0.8])?, &mut d);
/// assert_eq!(d.weights(), [1.0, 0.0]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ArgmaxOnly;

impl BaseRule for ArgmaxOnly {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        let threshold = base.max_prob();
        out.defer_where(base, |p| p < threshold);
    }
}

impl fmt::Display for ArgmaxOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("argmax only")
    }
}
