//! Targets: the distributions that drafts are verified against.

use kad_core::decode::Emitted;
use kad_core::{ChoiceSource, DecodeError, Distribution, Predictor, TokenId, TokenTree};

use crate::verify::{acceptance, residual};

/// A drafted token, its prefix and its distribution.
#[derive(Clone, Copy, Debug)]
pub struct DraftedToken<'a> {
    /// The context followed by the whole draft.
    pub text: &'a [TokenId],
    /// The token follows the first `prefix_len` tokens of `text`.
    pub prefix_len: usize,
    /// The distribution that the token was drawn from.
    pub draft: &'a Distribution,
}

impl DraftedToken<'_> {
    /// The drafted token.
    pub fn token(&self) -> TokenId {
        self.text[self.prefix_len]
    }
}

/// A distribution that drafts are verified against.
///
/// Positions are asked in order, and only as far as the draft is accepted. A target need not
/// compute the rest.
///
/// ```
/// use kad_core::{Distribution, ModelPredictor, Sampling, oracle::TableModel};
/// use kad_polybasic::{DraftedToken, PredictorTarget, Target};
/// let model = TableModel::random("large", 2, 0, 0).with_row(&[], &[0.0, 0.0]);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let mut target = PredictorTarget::new(predictor);
/// // One pass: the distributions after the context [0] and after the draft [0, 1].
/// let text = [0, 1];
/// target.follow(&text, 2)?;
/// let draft = Distribution::from_probs(vec![0.2, 0.8])?;
/// let drafted = DraftedToken { text: &text, prefix_len: 1, draft: &draft };
/// assert_eq!(target.acceptance(drafted)?, 0.5 / 0.8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Target {
    /// Starts a new text whose prompt has `prompt` tokens. Default: does nothing.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context, in tokens.
    fn context_len(&self) -> usize;

    /// Prepares the distributions after the `last` longest prefixes of `text`, in one pass.
    ///
    /// # Errors
    /// If a model fails.
    fn follow(&mut self, text: &[TokenId], last: usize) -> Result<(), DecodeError>;

    /// Prepares [`distribution`](Self::distribution) after `context` and along the paths of `tree`,
    /// which follows it. Default: follows `context` only, so that each distribution along the tree
    /// costs a pass.
    ///
    /// # Errors
    /// If a model fails.
    fn follow_tree(&mut self, context: &[TokenId], _tree: &TokenTree) -> Result<(), DecodeError> {
        self.follow(context, 1)
    }

    /// The probability of accepting the token: `min(1, p(x) / q(x))`.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn acceptance(&mut self, drafted: DraftedToken<'_>) -> Result<f64, DecodeError>;

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

    /// [`distribution`](Self::distribution) at the position that `acceptance` or `draw` was last
    /// asked for, if nothing else is asked there. A target that computed the distribution then may
    /// move it out. Default: `distribution`.
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

    /// The deferral mass at the position asked last. Default: `None`, for targets without a
    /// deferral rule.
    fn deferral_mass(&self) -> Option<f64> {
        None
    }

    /// Writes the residual, the distribution that replaces the token after a rejection. Asked after
    /// [`acceptance`](Self::acceptance) of the same token.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn residual(
        &mut self,
        drafted: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError>;

    /// Draws a token of the target's own after the whole of `text`.
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
    fn acceptance(&mut self, drafted: DraftedToken<'_>) -> Result<f64, DecodeError> {
        (**self).acceptance(drafted)
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
        drafted: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        (**self).residual(drafted, out)
    }
    fn draw(
        &mut self,
        text: &[TokenId],
        choices: &mut dyn ChoiceSource,
    ) -> Result<Emitted, DecodeError> {
        (**self).draw(text, choices)
    }
}

/// Verifies against the distributions of any predictor. [`Target`] has an example.
pub struct PredictorTarget<P> {
    predictor: P,
    distribution: Distribution,
    /// `distribution` follows this many tokens. `None` once it is moved out or the text changes.
    made_at: Option<usize>,
}

impl<P: Predictor> PredictorTarget<P> {
    /// A target with the distributions of `predictor`.
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

    fn acceptance(&mut self, drafted: DraftedToken<'_>) -> Result<f64, DecodeError> {
        self.make_distribution(drafted.text, drafted.prefix_len)?;
        Ok(acceptance(&self.distribution, drafted.draft, drafted.token()))
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
        drafted: DraftedToken<'_>,
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        residual(&self.distribution, drafted.draft, out);
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
