//! Next-token distributions along a context, shared by decoding, verification and proofs.

use crate::cached_session::{CachedSession, SharedSession};
use crate::distribution::Distribution;
use crate::error::DecodeError;
use crate::model::LanguageModel;
use crate::sampling::Sampling;
use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// A source of next-token distributions after any context: a model with its sampling settings, a
/// deferral mixture of two models, an implicit reward. Dyn-safe.
///
/// ```
/// use kad_core::{ModelPredictor, Predictor, Sampling, oracle::TableModel};
/// let model = TableModel::random("toy", 5, 3, 11);
/// let mut predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let mut distributions = Vec::new();
/// predictor.distributions(&[1, 2, 3], 2, &mut distributions)?; // after 1 2 and after 1 2 3
/// assert_eq!(distributions.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Predictor {
    /// Starts a new text with a prompt of `prompt` tokens. Only distributions that depend on the
    /// end of the prompt need this; the default does nothing.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context accepted, in tokens.
    fn context_len(&self) -> usize;

    /// Prepares the distributions after the `last` longest prefixes of `context`, so that a model
    /// computes all of them in one forward pass.
    ///
    /// # Errors
    /// If a model fails.
    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), DecodeError>;

    /// Prepares the distributions after `context` and after every path of `tree`, so that a model
    /// with tree attention computes all of them in one forward pass. The default prepares `context`
    /// alone; the distributions after the paths are then the same and cost passes of their own.
    ///
    /// # Errors
    /// If a model fails.
    fn follow_tree(&mut self, context: &[TokenId], _tree: &TokenTree) -> Result<(), DecodeError> {
        self.follow(context, 1)
    }

    /// Writes the distribution after the first `len` tokens of `context` into `out`. Needs no
    /// forward pass after a [`follow`](Self::follow) that covers this prefix.
    ///
    /// # Errors
    /// If a model fails or its logits do not form a distribution.
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError>;

    /// Deferral mass `D` of the last distribution written; `None` without a deferral rule.
    fn deferral_mass(&self) -> Option<f64> {
        None
    }

    /// Replaces `out` by the distributions after the `last` longest prefixes of `context`, shortest
    /// prefix first.
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

/// The next-token distributions of one model under its sampling settings.
///
/// ```
/// use kad_core::{ModelPredictor, Predictor, Sampling, oracle::TableModel};
/// // Probabilities 1/4 and 3/4 after every context.
/// let model = TableModel::random("toy", 2, 0, 0).with_row(&[], &[0.0, 3_f32.ln()]);
/// let probs = |temperature: f64| -> Result<Vec<f64>, Box<dyn std::error::Error>> {
///     let mut predictor = ModelPredictor::new(&model, Sampling::at_temperature(temperature)?)?;
///     let mut distributions = Vec::new();
///     predictor.distributions(&[0], 1, &mut distributions)?;
///     Ok(distributions[0].probs().to_vec())
/// };
/// assert!((probs(1.0)?[1] - 0.75).abs() < 1e-6);
/// assert_eq!(probs(0.0)?, [0.0, 1.0], "temperature 0 is greedy");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ModelPredictor<'m> {
    session: SharedSession<'m>,
    sampling: Sampling,
}

impl<'m> ModelPredictor<'m> {
    /// Starts a session of `model`.
    ///
    /// # Errors
    /// If the model cannot start a session.
    pub fn new(model: &'m dyn LanguageModel, sampling: Sampling) -> Result<Self, DecodeError> {
        Ok(Self::sharing(CachedSession::shared(model)?, sampling))
    }

    /// Uses a session that other parts of a decoder share.
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

/// Computes the rows after `context` and every path of `tree`; without tree attention, only the row
/// after `context`.
pub(crate) fn follow_tree(
    session: &SharedSession<'_>,
    context: &[TokenId],
    tree: &TokenTree,
) -> Result<(), DecodeError> {
    let mut session = session.borrow_mut();
    if session.follow_tree(context, tree)? { Ok(()) } else { session.row(context).map(drop) }
}

/// Writes one model's distribution after the first `len` tokens of `context` into `out`.
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
