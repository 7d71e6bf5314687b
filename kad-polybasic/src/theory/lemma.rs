//! arXiv 2510.26527, Lemma 3.1 and Theorem 3.2, as published and as they hold.

use serde::{Deserialize, Serialize};

/// A verifying level in the papers' terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LemmaLevel {
    /// `T_i`: seconds of a pass.
    pub seconds: f64,
    /// `L_i`: tokens per pass. See [`lemma_time`] for which tokens.
    pub tokens_per_pass: f64,
}

/// Lemma 3.1: seconds per token of a chain, `Σ_{i<n} T_i / L_i + β T_n / L_{n−1}`, where `β` is the
/// number of passes of the last drafter per pass of the level above it.
///
/// What it gives depends on what `L_i` is taken to be. If `L_i` is *final* tokens of the text per
/// pass of `M_i` (`N / F_i`), it is an identity. If it is the mean number of tokens `M_i` hands on
/// per pass, as the text of the paper suggests, it leaves out that some of them are rejected
/// further up, and predicts too little by the waste factor of each level (13 % for T = (22, 7,
/// 1.5), a = (.95, .7), K = 5, μ = 10): see [`waste`]. Without verifiers it is `β T_n`: plain
/// decoding for `β` = 1.
///
/// ```
/// use kad_polybasic::theory::{LemmaLevel, lemma_time};
/// let target = LemmaLevel { seconds: 22.0, tokens_per_pass: 4.0 };
/// assert_eq!(lemma_time(&[target], 5.0, 1.6), (22.0 + 5.0 * 1.6) / 4.0);
/// ```
pub fn lemma_time(verifiers: &[LemmaLevel], passes_per_draft: f64, drafter_seconds: f64) -> f64 {
    let verifying: f64 = verifiers.iter().map(|level| level.seconds / level.tokens_per_pass).sum();
    let lowest = verifiers.last().map_or(1.0, |level| level.tokens_per_pass);
    verifying + passes_per_draft * drafter_seconds / lowest
}

/// `ω`: tokens that a level hands on per token of the text. `handed_on` is per pass of that level,
/// `tokens_per_pass` the final tokens per pass. At least 1 if no level above draws bonus tokens.
pub fn waste(handed_on: f64, tokens_per_pass: f64) -> f64 {
    handed_on / tokens_per_pass
}

/// Both sides of a criterion "insert if left < right".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertionCriterion {
    /// The left side: the cost.
    pub left: f64,
    /// The right side: the gain.
    pub right: f64,
}

impl InsertionCriterion {
    /// Whether it says to insert. False if either side is no number.
    pub fn holds(&self) -> bool {
        self.left < self.right
    }
}

/// A model `M_new` put between `M_i` and `M_{i+1}`, in the papers' terms. Every `L` is *final*
/// tokens per pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertionTerms {
    /// `T_i`, seconds of a pass of the level above the new one.
    pub above_seconds: f64,
    /// `L_i`: its tokens per pass before.
    pub above_before: f64,
    /// `L_{i-new}`: its tokens per pass when fed by the new model.
    pub above_after: f64,
    /// `T_new`.
    pub new_seconds: f64,
    /// `L_new`: the new model's tokens per pass.
    pub new_tokens: f64,
    /// `T_{i+1}`, seconds of a pass of the level below; 0 if there is none.
    pub below_seconds: f64,
    /// Passes of the level below per token of the text before: `1 / L_{i+1}`, or `β / L_i` for the
    /// last drafter.
    pub below_before: f64,
    /// The same after: `1 / L'_{i+1}`, or `β' / L_new`.
    pub below_after: f64,
}

/// Theorem 3.2 as published: insert if `T_new / T_i < L_new (1 / L_i − 1 / L_{i-new})`.
///
/// It leaves out what the level below costs before and after. So it is sufficient if that does not
/// rise (`β' / L_new ≤ β / L_i`), and a rule of thumb otherwise. (The theorem has a second
/// inequality about `T_new / T_{i+1}`, which could not be read.)
pub fn published_insertion(terms: &InsertionTerms) -> InsertionCriterion {
    let InsertionTerms { above_before, above_after, .. } = *terms;
    InsertionCriterion {
        left: terms.new_seconds / terms.above_seconds,
        right: terms.new_tokens * (1.0 / above_before - 1.0 / above_after),
    }
}

/// The exact criterion for constant pass times: the chain with the new model is faster if and only
/// if `T_new / L_new < T_i (1 / L_i − 1 / L_{i-new}) + T_{i+1} (1 / L_{i+1} − 1 / L'_{i+1})`, where
/// for the last drafter `1 / L_{i+1}` is `β / L_i` before and `β' / L_new` after.
///
/// Sides are seconds per token. Levels other than these three are taken to cost the same per token
/// before and after: their acceptance does not change, and their buffers only by how far they
/// overshoot their length. [`measured_insertion`] counts all levels.
pub fn exact_insertion(terms: &InsertionTerms) -> InsertionCriterion {
    let InsertionTerms { above_before, above_after, .. } = *terms;
    let above = terms.above_seconds * (1.0 / above_before - 1.0 / above_after);
    let below = terms.below_seconds * (terms.below_before - terms.below_after);
    InsertionCriterion { left: terms.new_seconds / terms.new_tokens, right: above + below }
}

/// The exact criterion in general, from the seconds per token of each level before and after: what
/// the new level costs, and what all others save. `inserted` is the new level's place in `after`,
/// counted from 0.
pub fn measured_insertion(before: &[f64], after: &[f64], inserted: usize) -> InsertionCriterion {
    let left = after.get(inserted).copied().unwrap_or(f64::NAN);
    InsertionCriterion {
        left,
        right: before.iter().sum::<f64>() - (after.iter().sum::<f64>() - left),
    }
}
