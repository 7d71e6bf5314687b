//! Lemma 3.1 and Theorem 3.2 of arXiv 2510.26527, as published and exact.

use serde::{Deserialize, Serialize};

/// A verifying level in the paper's terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LemmaLevel {
    /// `T_i`: seconds per pass.
    pub seconds: f64,
    /// `L_i`: tokens per pass; [`lemma_time`] discusses the two readings.
    pub tokens_per_pass: f64,
}

/// Lemma 3.1: seconds per token of a chain, `Σ_{i<n} T_i / L_i + β T_n / L_{n−1}`, where `β` =
/// `passes_per_draft` is the number of drafter passes per pass of the level above it and `T_n` =
/// `drafter_seconds`.
///
/// The result depends on the reading of `L_i`:
///
/// - *Final* tokens of the text per pass of `M_i` (`N / F_i`): the lemma is an identity.
/// - Mean tokens that `M_i` hands on per pass, as the text of the paper suggests: tokens rejected
///   further up are not paid for, so the result is too small by the factor of each level's
///   [`waste`] (13 % for T = (22, 7, 1.5), a = (.95, .7), K = 5, μ = 10).
///
/// Without verifiers the result is `β T_n`, which is plain decoding for `β` = 1.
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

/// The waste factor `ω` = `handed_on / tokens_per_pass`: tokens that a level hands on per token of
/// the text. `handed_on` is per pass of that level, `tokens_per_pass` counts final tokens. At least
/// 1 if no level above draws bonus tokens.
///
/// ```
/// use kad_polybasic::theory::waste;
/// assert_eq!(waste(6.0, 4.0), 1.5);
/// ```
pub fn waste(handed_on: f64, tokens_per_pass: f64) -> f64 {
    handed_on / tokens_per_pass
}

/// Both sides of the criterion "insert the model if left < right".
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertionCriterion {
    /// Left side: the cost.
    pub left: f64,
    /// Right side: the gain.
    pub right: f64,
}

impl InsertionCriterion {
    /// True if the model should be inserted. False if either side is no number.
    pub fn holds(&self) -> bool {
        self.left < self.right
    }
}

/// A model `M_new` inserted between `M_i` and `M_{i+1}`, in the paper's terms. Every `L` counts
/// *final* tokens per pass.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsertionTerms {
    /// `T_i`: seconds per pass of the level above the new one.
    pub above_seconds: f64,
    /// `L_i`: tokens per pass of the level above, before the insertion.
    pub above_before: f64,
    /// `L_{i-new}`: tokens per pass of the level above, after the insertion.
    pub above_after: f64,
    /// `T_new`: seconds per pass of the new level.
    pub new_seconds: f64,
    /// `L_new`: tokens per pass of the new level.
    pub new_tokens: f64,
    /// `T_{i+1}`: seconds per pass of the level below; 0 if there is none.
    pub below_seconds: f64,
    /// Passes of the level below per token of the text, before the insertion: `1 / L_{i+1}`, or
    /// `β / L_i` for the lowest drafter.
    pub below_before: f64,
    /// The same after the insertion: `1 / L'_{i+1}`, or `β' / L_new`.
    pub below_after: f64,
}

/// Theorem 3.2 as published: insert if `T_new / T_i < L_new (1 / L_i − 1 / L_{i-new})`.
///
/// The published inequality ignores the cost of the level below, before and after. It is sufficient
/// if that cost does not rise (`β' / L_new ≤ β / L_i`), and a rule of thumb otherwise. (The second
/// inequality of the theorem, on `T_new / T_{i+1}`, was not legible.)
///
/// ```
/// use kad_polybasic::theory::{InsertionTerms, exact_insertion, published_insertion};
/// let terms = InsertionTerms {
///     above_seconds: 22.0,
///     above_before: 3.0,
///     above_after: 8.0,
///     new_seconds: 7.0,
///     new_tokens: 4.0,
///     below_seconds: 1.5,
///     below_before: 1.0,
///     below_after: 2.0,
/// };
/// assert!(published_insertion(&terms).holds());
/// // The drafter makes twice as many passes; the insertion still pays.
/// let exact = exact_insertion(&terms);
/// assert_eq!(exact.left, 7.0 / 4.0);
/// assert!(exact.holds() && exact.right < 22.0 * (1.0 / 3.0 - 1.0 / 8.0));
/// ```
pub fn published_insertion(terms: &InsertionTerms) -> InsertionCriterion {
    let InsertionTerms { above_before, above_after, .. } = *terms;
    InsertionCriterion {
        left: terms.new_seconds / terms.above_seconds,
        right: terms.new_tokens * (1.0 / above_before - 1.0 / above_after),
    }
}

/// The exact criterion for constant pass times. The longer chain is faster if and only if
/// `T_new / L_new < T_i (1 / L_i − 1 / L_{i-new}) + T_{i+1} (1 / L_{i+1} − 1 / L'_{i+1})`. For the
/// lowest drafter, `1 / L_{i+1}` is `β / L_i` before and `β' / L_new` after.
///
/// Both sides are seconds per token. All other levels are assumed to cost the same per token before
/// and after: their acceptance does not change, and their buffers change only by how far they
/// exceed their length. [`measured_insertion`] counts all levels. [`published_insertion`] has an
/// example.
pub fn exact_insertion(terms: &InsertionTerms) -> InsertionCriterion {
    let InsertionTerms { above_before, above_after, .. } = *terms;
    let above = terms.above_seconds * (1.0 / above_before - 1.0 / above_after);
    let below = terms.below_seconds * (terms.below_before - terms.below_after);
    InsertionCriterion { left: terms.new_seconds / terms.new_tokens, right: above + below }
}

/// The exact criterion in general, from the seconds per token of each level `before` and `after`.
/// Left: the cost of the new level. Right: the savings of all other levels. `inserted` is the index
/// of the new level in `after`; if there is no such level, the left side is NaN.
///
/// ```
/// use kad_polybasic::theory::measured_insertion;
/// let criterion = measured_insertion(&[8.0, 4.0], &[5.0, 3.0, 2.0], 1);
/// assert_eq!((criterion.left, criterion.right), (3.0, 5.0));
/// assert!(criterion.holds());
/// ```
pub fn measured_insertion(before: &[f64], after: &[f64], inserted: usize) -> InsertionCriterion {
    let left = after.get(inserted).copied().unwrap_or(f64::NAN);
    InsertionCriterion {
        left,
        right: before.iter().sum::<f64>() - (after.iter().sum::<f64>() - left),
    }
}
