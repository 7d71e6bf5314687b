//! Distributions along a context: what verification, composition and proof agree on.

use crate::cached_session::{CachedSession, SharedSession};
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::model::LanguageModel;
use crate::sampling::Sampling;
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// Anything that has a next-token distribution after any context: a model with its sampling
/// settings, a deferral mixture of two, an implicit reward. Dyn-safe.
pub trait Predictor {
    /// Says that a new text begins after `prompt` tokens: distributions that depend on where the
    /// prompt ends need to know. Most do not.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Announces that distributions after the `last` longest prefixes of `context` will be asked
    /// for, so that a model can make one pass over all of them.
    ///
    /// # Errors
    /// If a model fails.
    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError>;

    /// Announces that distributions after `context` and after every path of `tree` that follows it
    /// will be asked for, so that a model with tree attention can make one pass over all of them.
    /// Without (the default) the distributions after the paths cost passes of their own, and are
    /// the same.
    ///
    /// # Errors
    /// If a model fails.
    fn follow_tree(&mut self, context: &[TokenId], _tree: &TokenTree) -> Result<(), DecodeError> {
        self.follow(context, 1)
    }

    /// Writes into `out` the distribution after the first `len` tokens of `context`. After a
    /// [`follow`](Self::follow) that covers it this makes no pass.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError>;

    /// The deferral mass of the distribution last written, where a rule decided.
    fn deferral_mass(&self) -> Option<f64> {
        None
    }

    /// Replaces `out` by the distributions after each of the `last` longest prefixes of `context`,
    /// the shortest prefix first.
    ///
    /// # Errors
    /// As [`distribution`](Self::distribution).
    fn distributions(
        &mut self,
        context: &[TokenId],
        last: usize,
        out: &mut Vec<Distribution>,
    ) -> Result<(), DecodeError> {
        self.follow(context, last)?;
        out.resize_with(last, Distribution::default);
        let lengths = context.len() - last + 1..;
        lengths
            .zip(out)
            .try_for_each(|(len, distribution)| self.distribution(context, len, distribution))
    }
}

impl<P: Predictor + ?Sized> Predictor for Box<P> {
    fn begin(&mut self, prompt: usize) {
        (**self).begin(prompt);
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        (**self).follow(context, last)
    }
    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        (**self).follow_tree(context, tree)
    }
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        (**self).distribution(context, len, out)
    }
    fn deferral_mass(&self) -> Option<f64> {
        (**self).deferral_mass()
    }
}

/// One model under its sampling settings.
pub struct ModelPredictor<'m> {
    session: SharedSession<'m>,
    sampling: Sampling,
}

impl<'m> ModelPredictor<'m> {
    /// A fresh session of `model`.
    ///
    /// # Errors
    /// If the model cannot start one.
    pub fn new(model: &'m dyn LanguageModel, sampling: Sampling) -> Result<Self, DecodeError> {
        Ok(Self::sharing(CachedSession::shared(model)?, sampling))
    }

    /// The model of a session that others ask too.
    pub fn sharing(session: SharedSession<'m>, sampling: Sampling) -> Self {
        Self { session, sampling }
    }
}

impl Predictor for ModelPredictor<'_> {
    fn context_len(&self) -> usize {
        self.session.borrow().model().context_len()
    }

    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.session.borrow_mut().rows(context, last).map(drop)
    }

    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        follow_tree(&self.session, context, tree)
    }

    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        distribution_at(&self.session, &self.sampling, context, len, out)
    }
}

/// The rows after `context` and every path of `tree`; without tree attention, after `context` only.
pub(crate) fn follow_tree(
    session: &SharedSession<'_>,
    context: &[TokenId],
    tree: &TokenTree,
) -> Result<(), DecodeError> {
    let mut session = session.borrow_mut();
    if session.follow_tree(context, tree)? { Ok(()) } else { session.row(context).map(drop) }
}

/// The distribution of one model after the first `len` tokens of `context`, into `out`.
pub(crate) fn distribution_at(
    session: &SharedSession<'_>,
    sampling: &Sampling,
    context: &[TokenId],
    len: usize,
    out: &mut Distribution,
) -> Result<(), DecodeError> {
    let mut session = session.borrow_mut();
    let model = session.model();
    let row = session.row_at(context, len)?;
    sampling.distribution(row, &context[..len], out).map_err(|source| DecodeError::Distribution {
        model: model.name().to_owned(),
        position: len,
        source,
    })
}
