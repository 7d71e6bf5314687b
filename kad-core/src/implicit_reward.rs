//! Implicit reward: a base model moved by what alignment did to a small one.

use crate::cached_session::{CachedSession, SharedSession};
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::model::LanguageModel;
use crate::predictor::{self, Predictor};
use crate::sampling::Sampling;
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// What to do with tokens that the small base model holds for impossible, `q(y) = 0`, where the
/// ratio `q*(y)/q(y)` has no value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum UndefinedRatio {
    /// They are impossible.
    #[default]
    Exclude,
    /// `ln q*(y) − ln q(y)` is at most this many nats, for every token. What is not finite is no
    /// cap: then such tokens are excluded.
    CapLogRatio(f64),
}

/// `π(y) ∝ p(y) · q*(y) / q(y)`: proxy tuning (Liu et al., arXiv 2401.08565), emulated fine-tuning
/// (Mitchell et al., arXiv 2310.12962), the implicit-reward baseline of arXiv 2510.27017.
///
/// `p` is the base model, `q*` the small aligned one, `q` the small base one. Composed in log
/// space: `ln π = ln p + ln q* − ln q` up to a constant, in `f64`, and then the sampling settings
/// as for any model. Temperature commutes with the composition; truncations act on the composed
/// distribution and penalties on its scores `logit_p + ln q* − ln q`, not on the factors. At
/// temperature 0 it is the argmax of the composed scores. A token that `p` or `q*` holds for
/// impossible is impossible; if no token is left the distribution is an error, never a guess (the
/// authors' code then draws from all of the vocabulary).
pub struct ImplicitReward<'m> {
    base: SharedSession<'m>,
    small: SharedSession<'m>,
    aligned: SharedSession<'m>,
    sampling: Sampling,
    impossible: UndefinedRatio,
    drafter: Option<RewardDrafter>,
    scores: Vec<f64>,
    /// A copy: all three models may be one.
    small_row: Vec<f32>,
}

/// Which part also drafts for this distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewardDrafter {
    /// The small base model, `q` (`spec_q` in the authors' code).
    Small,
    /// The small aligned model, `q*` (`spec_q*`).
    Aligned,
}

impl<'m> ImplicitReward<'m> {
    /// `base` p, `small` q, `aligned` q*; all share one vocabulary.
    ///
    /// # Errors
    /// If a model cannot start a session.
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

    /// [`new`](Self::new) with the models `[base, small, aligned]` of sessions that others ask
    /// too: a model that also drafts has one cache and runs once after each prefix. They may be one
    /// session.
    pub fn sharing(
        [base, small, aligned]: [SharedSession<'m>; 3],
        sampling: Sampling,
        impossible: UndefinedRatio,
    ) -> Self {
        let (scores, small_row) = (Vec::new(), Vec::new());
        Self { base, small, aligned, sampling, impossible, drafter: None, scores, small_row }
    }

    /// Lets one part draft up to `length` tokens at a time: its session is returned to be shared
    /// with the drafter, and it makes no pass of its own for text that it has drafted.
    pub fn drafted_by(&mut self, drafter: RewardDrafter, length: usize) -> SharedSession<'m> {
        self.drafter = Some(drafter);
        let session = match drafter {
            RewardDrafter::Small => self.small.clone(),
            RewardDrafter::Aligned => self.aligned.clone(),
        };
        session.borrow_mut().remember(length + 1);
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
        // A cap compares log-probabilities, and a penalty looks at the sign of scores: both need
        // the ratio itself. Otherwise a constant changes nothing.
        let exact = cap.is_finite() || self.sampling.settings().repetition_penalty != 1.0;
        let normaliser = |row| crate::distribution::log_normaliser(row).unwrap_or(f64::NAN);
        let offset = if exact { normaliser(small) - normaliser(aligned) } else { 0.0 };
        for (score, (&a, &s)) in self.scores.iter_mut().zip(aligned.iter().zip(small)) {
            *score = composed(*score, f64::from(a), f64::from(s), offset, cap);
        }
        Ok(())
    }
}

/// `p + min(a − s + offset, cap)`, with −∞ wherever the base or the aligned model says impossible,
/// or the small one does and there is no cap. NaN for whatever no model may say.
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
    /// Each model, and whether it has to pass over a text that has been drafted.
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
            session.remember(last);
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
