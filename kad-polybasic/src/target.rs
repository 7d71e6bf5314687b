//! Distributions that drafts are verified towards.

use kad_core::decode::Emitted;
use kad_core::{ChoiceSource, DecodeError, Distribution, Predictor, TokenId, TokenTree};

use crate::verify::{acceptance, residual};

/// One drafted token in its place.
#[derive(Clone, Copy, Debug)]
pub struct DraftedToken<'a> {
    /// The context with the whole draft appended.
    pub text: &'a [TokenId],
    /// Length of the prefix of `text` that the token follows.
    pub prefix_len: usize,
    /// The distribution it was drawn from.
    pub draft: &'a Distribution,
}

impl DraftedToken<'_> {
    /// The drafted token.
    pub fn token(&self) -> TokenId {
        self.text[self.prefix_len]
    }
}

/// A distribution to verify drafts towards. Positions are asked in order and only as far as the
/// draft is accepted, so a target may leave undone what is not asked.
pub trait Target {
    /// Says that a new text begins after `prompt` tokens.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Announces that the target will be asked after the `last` longest prefixes of `text`.
    ///
    /// # Errors
    /// If a model fails.
    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError>;

    /// Announces that [`distribution`](Self::distribution) will be asked after `context` and after
    /// paths of `tree` that follows it, from the context on and as far as one path is accepted.
    /// Default: follows the context, so that distributions along the tree cost passes one by one.
    ///
    /// # Errors
    /// If a model fails.
    fn follow_tree(&mut self, context: &[TokenId], _tree: &TokenTree) -> Result<(), DecodeError> {
        self.follow(context, 1)
    }

    /// The probability that the token there is accepted.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn acceptance(&mut self, at: DraftedToken<'_>) -> Result<f64, DecodeError>;

    /// Writes the target's distribution after the first `len` tokens of `text`.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError>;

    /// [`distribution`](Self::distribution) at the place that `acceptance` or `draw` was asked for
    /// last, when nothing more is asked there: a target that made the distribution then may hand it
    /// over.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn take_distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.distribution(text, len, out)
    }

    /// The deferral mass at the place asked last, where a rule decided.
    fn deferral_mass(&self) -> Option<f64> {
        None
    }

    /// Writes the distribution to draw from if it was rejected. Asked after
    /// [`acceptance`](Self::acceptance) of the same place.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn residual(&mut self, at: DraftedToken<'_>, out: &mut Distribution)
    -> Result<(), DecodeError>;

    /// A token of the target's own after the whole of `text`.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError>;
}

impl<T: Target + ?Sized> Target for Box<T> {
    fn begin(&mut self, prompt: usize) {
        (**self).begin(prompt);
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError> {
        (**self).follow(text, last)
    }
    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        (**self).follow_tree(context, tree)
    }
    fn acceptance(&mut self, at: DraftedToken<'_>) -> Result<f64, DecodeError> {
        (**self).acceptance(at)
    }
    fn distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        (**self).distribution(text, len, out)
    }
    fn take_distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        (**self).take_distribution(text, len, out)
    }
    fn deferral_mass(&self) -> Option<f64> {
        (**self).deferral_mass()
    }
    fn residual(
        &mut self,
        at: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        (**self).residual(at, out)
    }
    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        (**self).draw(text, choices)
    }
}

/// Verifies towards any predictor's distribution.
pub struct PredictorTarget<P> {
    predictor: P,
    distribution: Distribution,
    /// Length of the prefix that `distribution` follows, until it is handed over or the text moves
    /// on.
    made_at: Option<usize>,
}

impl<P: Predictor> PredictorTarget<P> {
    /// The distribution of `predictor`.
    pub fn new(predictor: P) -> Self {
        Self { predictor, distribution: Distribution::default(), made_at: None }
    }

    fn make_distribution(&mut self, text: &[TokenId], len: usize) -> Result<(), DecodeError> {
        self.made_at = None;
        self.predictor.distribution(text, len, &mut self.distribution)?;
        self.made_at = Some(len);
        Ok(())
    }
}

impl<P: Predictor> Target for PredictorTarget<P> {
    fn begin(&mut self, prompt: usize) {
        self.predictor.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError> {
        self.made_at = None;
        self.predictor.follow(text, last)
    }

    fn follow_tree(&mut self, context: &[TokenId], tree: &TokenTree) -> Result<(), DecodeError> {
        self.made_at = None;
        self.predictor.follow_tree(context, tree)
    }

    fn acceptance(&mut self, at: DraftedToken<'_>) -> Result<f64, DecodeError> {
        self.make_distribution(at.text, at.prefix_len)?;
        Ok(acceptance(&self.distribution, at.draft, at.token()))
    }

    fn distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.predictor.distribution(text, len, out)
    }

    fn take_distribution(
        &mut self,
        text: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        if self.made_at.take() == Some(len) {
            std::mem::swap(out, &mut self.distribution);
            return Ok(());
        }
        self.distribution(text, len, out)
    }

    fn deferral_mass(&self) -> Option<f64> {
        self.predictor.deferral_mass()
    }

    fn residual(
        &mut self,
        at: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        residual(&self.distribution, at.draft, out);
        Ok(())
    }

    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        self.make_distribution(text, text.len())?;
        let token = choices.token(&self.distribution);
        Ok(Emitted { deferral_mass: self.deferral_mass(), ..Emitted::sampled(token) })
    }
}
