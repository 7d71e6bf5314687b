//! Laws along a context: what verification, composition and proof agree on.

use crate::deferral::{Deferral, Rule};
use crate::error::DecodeError;
use crate::follower::Follower;
use crate::law::Law;
use crate::mixture::mix;
use crate::model::LanguageModel;
use crate::sampling::Sampling;
use crate::vocab::TokenId;

/// Anything that has a next-token law after any context: a model with its sampling settings, a
/// deferral mixture of two. Dyn-safe.
pub trait Predictor {
    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Replaces `out` by the laws after each of the `last` longest prefixes of `context`, the
    /// shortest prefix first.
    ///
    /// # Errors
    /// If a model fails or its logits are no law.
    fn laws(
        &mut self,
        context: &[TokenId],
        last: usize,
        out: &mut Vec<Law>,
    ) -> Result<(), DecodeError>;
}

/// One model under its sampling settings.
pub struct ModelPredictor<'m> {
    follower: Follower<'m>,
    sampling: Sampling,
}

impl<'m> ModelPredictor<'m> {
    /// A fresh session of `model`.
    ///
    /// # Errors
    /// If the model cannot start one.
    pub fn new(model: &'m dyn LanguageModel, sampling: Sampling) -> Result<Self, DecodeError> {
        Ok(Self { follower: Follower::new(model)?, sampling })
    }
}

impl Predictor for ModelPredictor<'_> {
    fn context_len(&self) -> usize {
        self.follower.model().context_len()
    }

    fn laws(
        &mut self,
        context: &[TokenId],
        last: usize,
        out: &mut Vec<Law>,
    ) -> Result<(), DecodeError> {
        laws_of(&mut self.follower, &self.sampling, context, last, out)
    }
}

/// The deferral mixture `π`, computed outright: both models run at every position.
///
/// [`DeferralDecoder`](crate::decode::DeferralDecoder) samples the same law and asks the aligned
/// model only when a draw is deferred; this form is for whoever needs the law itself.
pub struct MixturePredictor<'m> {
    base: Follower<'m>,
    aligned: Follower<'m>,
    rule: &'m Rule,
    sampling: Sampling,
    decision: Sampling,
}

impl<'m> MixturePredictor<'m> {
    /// `base` and `aligned` share their vocabulary (whoever loads them checks that). The rule sees
    /// laws under `decision`, tokens have the mixture of the laws under `sampling`.
    ///
    /// # Errors
    /// If a model cannot start a session.
    pub fn new(
        base: &'m dyn LanguageModel,
        aligned: &'m dyn LanguageModel,
        rule: &'m Rule,
        sampling: Sampling,
        decision: Sampling,
    ) -> Result<Self, DecodeError> {
        let (base, aligned) = (Follower::new(base)?, Follower::new(aligned)?);
        Ok(Self { base, aligned, rule, sampling, decision })
    }
}

impl Predictor for MixturePredictor<'_> {
    fn context_len(&self) -> usize {
        self.base.model().context_len().min(self.aligned.model().context_len())
    }

    fn laws(
        &mut self,
        context: &[TokenId],
        last: usize,
        out: &mut Vec<Law>,
    ) -> Result<(), DecodeError> {
        let [mut base, mut aligned] = [Vec::new(), Vec::new()];
        laws_of(&mut self.base, &self.sampling, context, last, &mut base)?;
        laws_of(&mut self.aligned, &self.sampling, context, last, &mut aligned)?;
        let [mut base_seen, mut aligned_seen] = [Vec::new(), Vec::new()];
        laws_of(&mut self.base, &self.decision, context, last, &mut base_seen)?;
        laws_of(&mut self.aligned, &self.decision, context, last, &mut aligned_seen)?;
        out.resize_with(last, Law::default);
        let mut deferral = Deferral::default();
        for (i, law) in out.iter_mut().enumerate() {
            match self.rule {
                Rule::Base(rule) => rule.decide(&base_seen[i], &mut deferral),
                Rule::Pair(rule) => rule.decide(&base_seen[i], &aligned_seen[i], &mut deferral),
            }
            mix(&base[i], &aligned[i], &deferral, law);
        }
        Ok(())
    }
}

/// Laws of one model after the `last` longest prefixes of `context`.
fn laws_of(
    follower: &mut Follower<'_>,
    sampling: &Sampling,
    context: &[TokenId],
    last: usize,
    out: &mut Vec<Law>,
) -> Result<(), DecodeError> {
    let model = follower.model();
    let rows = follower.rows(context, last)?;
    out.resize_with(last, Law::default);
    for ((i, row), law) in rows.iter().enumerate().zip(out) {
        let position = context.len() - last + 1 + i;
        sampling.law(row, &context[..position], law).map_err(|source| DecodeError::Law {
            model: model.name().to_owned(),
            position,
            source,
        })?;
    }
    Ok(())
}

/// The law of one model after the whole of `context`, into `out`.
pub(crate) fn law_after(
    follower: &mut Follower<'_>,
    sampling: &Sampling,
    context: &[TokenId],
    out: &mut Law,
) -> Result<(), DecodeError> {
    let model = follower.model();
    let row = follower.row(context)?;
    sampling.law(row, context, out).map_err(|source| DecodeError::Law {
        model: model.name().to_owned(),
        position: context.len(),
        source,
    })
}
