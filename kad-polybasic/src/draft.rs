//! Drafts: tokens proposed before they are verified, and the drafters that propose them.

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, Predictor, TokenId};

/// Proposed tokens with the distribution that each was drawn from. A reusable buffer.
///
/// Verification is exact only if every token really was drawn from its distribution.
///
/// ```
/// use kad_core::{Distribution, DistributionError};
/// use kad_polybasic::Draft;
/// let mut draft = Draft::default();
/// let token = draft.draw(2, |distribution| distribution.argmax(), |distribution| {
///     *distribution = Distribution::from_probs(vec![0.25, 0.75])?;
///     Ok::<_, DistributionError>(())
/// })?;
/// assert_eq!((token, draft.len()), (1, 1));
/// assert_eq!(draft.distributions()[0].probs(), [0.25, 0.75]);
/// # Ok::<(), DistributionError>(())
/// ```
#[derive(Debug)]
pub struct Draft {
    tokens: Vec<Emitted>,
    /// One per token, in order. Entries beyond the tokens are memory for later tokens.
    distributions: Vec<Distribution>,
    keeps_distributions: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self { tokens: Vec::new(), distributions: Vec::new(), keeps_distributions: true }
    }
}

impl Draft {
    /// An empty buffer that stores tokens only, for readers that need no distributions.
    pub fn without_distributions() -> Self {
        Self { keeps_distributions: false, ..Self::default() }
    }

    /// An empty buffer that stores distributions if this one does.
    pub(crate) fn empty_like(&self) -> Self {
        Self { keeps_distributions: self.keeps_distributions, ..Self::default() }
    }

    /// True if distributions are stored.
    pub fn keeps_distributions(&self) -> bool {
        self.keeps_distributions
    }

    /// The proposed tokens with their origin and level.
    pub fn tokens(&self) -> &[Emitted] {
        &self.tokens
    }

    /// Number of proposed tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True if no token is proposed.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// One distribution per token, in order; empty if distributions are not stored.
    pub fn distributions(&self) -> &[Distribution] {
        if self.keeps_distributions { &self.distributions[..self.tokens.len()] } else { &[] }
    }

    /// True if the last token is one of `eos`.
    pub fn has_ended(&self, eos: &[TokenId]) -> bool {
        self.tokens.last().is_some_and(|last| eos.contains(&last.token))
    }

    /// Removes all tokens and keeps the memory of their distributions.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Draws a token from the distribution that `fill` writes, by `choose`, and appends it as a
    /// draft of level `level`. Returns the token.
    ///
    /// # Errors
    /// The error of `fill`; nothing is appended then.
    pub fn draw<E>(
        &mut self,
        level: usize,
        choose: impl FnOnce(&Distribution) -> TokenId,
        fill: impl FnOnce(&mut Distribution) -> Result<(), E>,
    ) -> Result<TokenId, E> {
        let distribution = self.next_distribution();
        fill(distribution)?;
        let token = choose(distribution);
        self.tokens.push(Emitted { origin: Origin::Drafted, level, ..Emitted::sampled(token) });
        Ok(token)
    }

    /// Appends a token that was drawn elsewhere. `fill` writes its distribution, and is called only
    /// if distributions are stored.
    ///
    /// # Errors
    /// The error of `fill`; nothing is appended then.
    pub fn push<E>(
        &mut self,
        emitted: Emitted,
        fill: impl FnOnce(&mut Distribution) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.keeps_distributions {
            fill(self.next_distribution())?;
        }
        self.tokens.push(emitted);
        Ok(())
    }

    /// Removes the first `count` tokens, or all if there are fewer.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len());
        if self.keeps_distributions {
            let len = self.len();
            self.distributions[..len].rotate_left(count);
        }
        self.tokens.drain(..count);
    }

    /// Moves the first `count` tokens with their distributions to the end of `other`.
    pub(crate) fn hand_over(&mut self, count: usize, other: &mut Draft) {
        for index in 0..count.min(self.len()) {
            if other.keeps_distributions {
                std::mem::swap(other.next_distribution(), &mut self.distributions[index]);
            }
            other.tokens.push(self.tokens[index]);
        }
        self.drop_front(count);
    }

    fn next_distribution(&mut self) -> &mut Distribution {
        let index = if self.keeps_distributions { self.tokens.len() } else { 0 };
        if self.distributions.len() == index {
            self.distributions.push(Distribution::default());
        }
        &mut self.distributions[index]
    }
}

/// A request for a draft.
#[derive(Clone, Copy, Debug)]
pub struct DraftRequest<'a> {
    /// The tokens before the draft, prompt included.
    pub context: &'a [TokenId],
    /// Tokens wanted, ≥ 1. A drafter that makes several tokens at a time may return more.
    pub wanted: usize,
    /// The most tokens that the caller can use, ≥ `wanted`.
    pub room: usize,
    /// The drafter's level in its chain; the target is level 1.
    pub level: usize,
    /// Tokens that end a text. Nothing is proposed after one of them.
    pub eos: &'a [TokenId],
}

/// Proposes tokens for a target to verify.
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_polybasic::{Draft, DraftRequest, Drafter, PredictorDrafter};
/// let model = TableModel::random("small", 9, 2, 1);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let mut drafter = PredictorDrafter::new(predictor);
/// let mut draft = Draft::default();
/// let request = DraftRequest { context: &[1, 2], wanted: 3, room: 3, level: 2, eos: &[] };
/// drafter.draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut vec![])?;
/// assert_eq!((draft.len(), draft.distributions().len()), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Drafter {
    /// Starts a new text whose prompt has `prompt` tokens. Default: does nothing.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context, in tokens.
    fn context_len(&self) -> usize;

    /// True if tokens are drawn at the uniform number of their position in the text. Default:
    /// false.
    ///
    /// A position has one uniform number. A discarded draft has therefore revealed part of the next
    /// draft, so such drafts are exact only under
    /// [`Verifier::SameUniform`](crate::Verifier::SameUniform). Block verification, which looks
    /// ahead, is not exact for them.
    fn draws_by_position(&self) -> bool {
        false
    }

    /// Appends a continuation of `request.context` to `out`, as long as wanted or shorter, and the
    /// verifications made for it to `rounds`.
    ///
    /// Two conditions make the result exact. The decision to draft one more token is made before
    /// that token is drawn. Given its prefix, each token is independent of every decision so far.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError>;
}

impl<D: Drafter + ?Sized> Drafter for Box<D> {
    fn begin(&mut self, prompt: usize) {
        (**self).begin(prompt);
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn draws_by_position(&self) -> bool {
        (**self).draws_by_position()
    }
    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        (**self).draft(request, choices, out, rounds)
    }
}

/// Drafts with any predictor, one token per pass.
///
/// ```
/// # use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// # use kad_polybasic::{Draft, DraftRequest, Drafter, PredictorDrafter};
/// # let model = TableModel::random("small", 9, 2, 1);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// // No token of this model has a probability of 1: the drafter stops at once.
/// let mut drafter = PredictorDrafter::new(predictor).stopping_below(1.0);
/// let mut draft = Draft::default();
/// let request = DraftRequest { context: &[1, 2], wanted: 3, room: 3, level: 2, eos: &[] };
/// drafter.draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut vec![])?;
/// assert!(draft.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PredictorDrafter<P> {
    predictor: P,
    prompt: usize,
    stop_below: f64,
    by_position: bool,
    text: Vec<TokenId>,
    distribution: Distribution,
}

impl<P: Predictor> PredictorDrafter<P> {
    /// A drafter with the distributions of `predictor`.
    pub fn new(predictor: P) -> Self {
        let (text, distribution) = (Vec::new(), Distribution::default());
        Self { predictor, prompt: 0, stop_below: 0.0, by_position: false, text, distribution }
    }

    /// Stops drafting where the most likely token has a probability below `confidence` ∈ [0, 1].
    /// Default: 0, which never stops.
    ///
    /// The text stays exact: the decision depends on the distribution and not on the token drawn
    /// from it.
    #[must_use]
    pub fn stopping_below(self, confidence: f64) -> Self {
        Self { stop_below: confidence, ..self }
    }

    /// Draws each token at the uniform number of its position in the text, for verification by
    /// [`Verifier::SameUniform`](crate::Verifier::SameUniform). Default: false.
    #[must_use]
    pub fn by_position(self, by_position: bool) -> Self {
        Self { by_position, ..self }
    }
}

impl<P: Predictor> Drafter for PredictorDrafter<P> {
    fn begin(&mut self, prompt: usize) {
        self.prompt = prompt;
        self.predictor.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    fn draws_by_position(&self) -> bool {
        self.by_position
    }

    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        _rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let Self { predictor, text, distribution, .. } = self;
        text.clear();
        text.extend_from_slice(request.context);
        for _ in 0..request.wanted {
            predictor.follow(text, 1)?;
            predictor.distribution(text, text.len(), distribution)?;
            if self.stop_below > 0.0 && distribution.max_prob() < self.stop_below {
                break;
            }
            let position = text.len() - self.prompt.min(text.len());
            let choose = |distribution: &Distribution| match self.by_position {
                true => choices.token_at(position, distribution),
                false => choices.token(distribution),
            };
            let token = out.draw(request.level, choose, |slot| {
                std::mem::swap(slot, distribution);
                Ok::<_, DecodeError>(())
            })?;
            text.push(token);
            if request.eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}
