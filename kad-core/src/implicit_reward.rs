//! Implicit reward: a base model reweighted by the ratio of a small aligned to a small base model.

use crate::cached_session::{CachedSession, SharedSession};
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::model::LanguageModel;
use crate::predictor::{self, Predictor};
use crate::sampling::Sampling;
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// Policy for tokens with `q(y) = 0` in the small base model, where the ratio `q*(y)/q(y)` is
/// undefined.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum UndefinedRatio {
    /// Excludes such tokens.
    #[default]
    Exclude,
    /// Caps `ln q*(y) − ln q(y)` at this many nats for every token. A value that is not finite
    /// means no cap: such tokens are then excluded.
    CapLogRatio(f64),
}

/// The implicit-reward distribution `π(y) ∝ p(y) · q*(y) / q(y)`: proxy tuning (Liu et al., arXiv
/// 2401.08565), emulated fine-tuning (Mitchell et al., arXiv 2310.12962), and the implicit-reward
/// baseline of arXiv 2510.27017.
///
/// `p` is the base model, `q*` the small aligned model, `q` the small base model. Composed in log
/// space in `f64`: `ln π = ln p + ln q* − ln q` up to a constant. The sampling settings then apply
/// as to any model. Temperature commutes with the composition; truncation acts on the composed
/// distribution, and penalties on its scores `logit_p + ln q* − ln q`, not on the factors. At
/// temperature 0 it is the argmax of the composed scores. A token that `p` or `q*` excludes is
/// impossible. If no token is left, the result is an error (the authors' code then samples from the
/// whole vocabulary).
pub struct ImplicitReward<'m> {
    base: SharedSession<'m>,
    small: SharedSession<'m>,
    aligned: SharedSession<'m>,
    sampling: Sampling,
    impossible: UndefinedRatio,
    drafter: Option<RewardDrafter>,
    scores: Vec<f64>,
    /// A copy of the row, because all three models may be one.
    small_row: Vec<f32>,
}

/// The part of an [`ImplicitReward`] that also drafts for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewardDrafter {
    /// The small base model, `q` (`spec_q` in the authors' code).
    Small,
    /// The small aligned model, `q*` (`spec_q*`).
    Aligned,
}

impl<'m> ImplicitReward<'m> {
    /// Starts a session for each of `base` = p, `small` = q and `aligned` = q*, which share one
    /// vocabulary.
    ///
    /// # Errors
    /// If a model cannot start a session.
    ///
    /// ```
    /// use kad_core::{ImplicitReward, Predictor, Sampling, UndefinedRatio, oracle::TableModel};
    /// let [base, small, aligned] = [1, 2, 3].map(|seed| TableModel::random("toy", 5, 3, seed));
    /// let plain = Sampling::at_temperature(1.0)?;
    /// let mut reward =
    ///     ImplicitReward::new(&base, &small, &aligned, plain, UndefinedRatio::Exclude)?;
    /// let mut distributions = Vec::new();
    /// reward.distributions(&[1, 2], 1, &mut distributions)?;
    /// assert_eq!(distributions[0].len(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        base: &'m dyn LanguageModel,
        small: &'m dyn LanguageModel,
        aligned: &'m dyn LanguageModel,
        sampling: Sampling,
        impossible: UndefinedRatio,
    ) -> Result<Self, DecodeError> {
        let [base, small, aligned] = [base, small, aligned].map(CachedSession::shared);
        Ok(Self::sharing([base?, small?, aligned?], sampling, impossible))
    }

    /// [`new`](Self::new) with shared sessions of `[base, small, aligned]`: a model that also
    /// drafts has one KV cache and runs once per prefix. All three may be the same session.
    pub fn sharing(
        [base, small, aligned]: [SharedSession<'m>; 3],
        sampling: Sampling,
        impossible: UndefinedRatio,
    ) -> Self {
        let (scores, small_row) = (Vec::new(), Vec::new());
        Self { base, small, aligned, sampling, impossible, drafter: None, scores, small_row }
    }

    /// Lets one part draft up to `length` tokens at a time. Returns its session for the drafter to
    /// share; the part then makes no forward pass of its own over text that it drafted.
    pub fn drafted_by(&mut self, drafter: RewardDrafter, length: usize) -> SharedSession<'m> {
        self.drafter = Some(drafter);
        let session = match drafter {
            RewardDrafter::Small => self.small.clone(),
            RewardDrafter::Aligned => self.aligned.clone(),
        };
        session.borrow_mut().keep_rows(length + 1);
        session
    }

    fn compose(&mut self, context: &[TokenId], len: usize) -> Result<(), DecodeError> {
        self.scores.clear();
        let mut base = self.base.borrow_mut();
        self.scores.extend(base.row_at(context, len)?.iter().map(|&l| f64::from(l)));
        drop(base);
        self.small_row.clear();
        self.small_row.extend_from_slice(self.small.borrow_mut().row_at(context, len)?);
        let mut aligned = self.aligned.borrow_mut();
        let (aligned, small) = (aligned.row_at(context, len)?, self.small_row.as_slice());
        let cap = match self.impossible {
            UndefinedRatio::Exclude => f64::INFINITY,
            UndefinedRatio::CapLogRatio(cap) => cap,
        };
        // A cap compares log-probabilities, and a penalty depends on the sign of scores: both need
        // normalised log-ratios. Otherwise a constant offset changes nothing.
        let exact = cap.is_finite() || self.sampling.settings().repetition_penalty != 1.0;
        let normaliser = |row| crate::distribution::log_normaliser(row).unwrap_or(f64::NAN);
        let offset = if exact { normaliser(small) - normaliser(aligned) } else { 0.0 };
        for (score, (&a, &s)) in self.scores.iter_mut().zip(aligned.iter().zip(small)) {
            *score = composed(*score, f64::from(a), f64::from(s), offset, cap);
        }
        Ok(())
    }
}

/// `base + min(aligned − small + offset, cap)`. −∞ for a token that the base or the aligned model
/// excludes, or that the small model excludes if there is no cap; NaN for a NaN or `+inf` logit.
fn composed(base: f64, aligned: f64, small: f64, offset: f64, cap: f64) -> f64 {
    let never = f64::NEG_INFINITY;
    if [base, aligned, small].iter().any(|logit| logit.is_nan() || *logit == f64::INFINITY) {
        return f64::NAN;
    }
    let ratio = aligned - small + offset;
    match (base == never || aligned == never, small == never, cap.is_finite()) {
        (true, ..) | (_, true, false) => never,
        (_, true, true) => base + cap,
        // Not `min`, which would drop the NaN of a normaliser.
        _ => base + if ratio > cap { cap } else { ratio },
    }
}

impl<'m> ImplicitReward<'m> {
    /// Each model, and true if it needs a pass of its own over drafted text.
    fn parts(&self) -> [(&SharedSession<'m>, bool); 3] {
        [
            (&self.base, true),
            (&self.small, self.drafter != Some(RewardDrafter::Small)),
            (&self.aligned, self.drafter != Some(RewardDrafter::Aligned)),
        ]
    }
}

impl Predictor for ImplicitReward<'_> {
    fn context_len(&self) -> usize {
        let len = |session: &SharedSession| session.borrow().model().context_len();
        len(&self.base).min(len(&self.small)).min(len(&self.aligned))
    }

    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        for (session, passes) in self.parts() {
            let mut session = session.borrow_mut();
            session.keep_rows(last);
            if passes {
                session.rows(context, last).map(drop)?;
            }
        }
        Ok(())
    }

    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        let passing = self.parts().into_iter().filter(|(_, passes)| *passes);
        passing.map(|(part, _)| part).try_for_each(|p| predictor::follow_tree(p, context, tree))
    }

    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.compose(context, len)?;
        let made = self.sampling.distribution_of_scores(&self.scores, &context[..len], out);
        made.map_err(|source| {
            let name = |session: &SharedSession| session.borrow().model().name().to_owned();
            let model = [&self.base, &self.aligned, &self.small].map(name).join("` × `");
            DecodeError::Distribution { model, position: len, source }
        })
    }
}
