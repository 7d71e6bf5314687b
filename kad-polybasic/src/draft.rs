//! Tokens proposed before they are verified.

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Distribution, Predictor, TokenId};

/// Proposed tokens, each with the distribution it was really drawn from: verification is exact only
/// if that is true. A reusable buffer.
#[derive(Debug)]
pub struct Draft {
    tokens: Vec<Emitted>,
    /// Of the tokens, in their order; what is beyond them is memory to be used again.
    distributions: Vec<Distribution>,
    keeps_distributions: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self { tokens: Vec::new(), distributions: Vec::new(), keeps_distributions: true }
    }
}

impl Draft {
    /// A buffer for a reader who does not look at distributions: none is kept.
    pub fn without_distributions() -> Self {
        Self { keeps_distributions: false, ..Self::default() }
    }

    /// An empty one that keeps distributions if this one does.
    pub(crate) fn empty_like(&self) -> Self {
        Self { keeps_distributions: self.keeps_distributions, ..Self::default() }
    }

    /// Whether the distributions of the tokens are kept.
    pub fn keeps_distributions(&self) -> bool {
        self.keeps_distributions
    }

    /// The proposed tokens with their provenance.
    pub fn tokens(&self) -> &[Emitted] {
        &self.tokens
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing is proposed.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The distributions the tokens were drawn from; empty if they are not kept.
    pub fn distributions(&self) -> &[Distribution] {
        if self.keeps_distributions { &self.distributions[..self.tokens.len()] } else { &[] }
    }

    /// Whether the last token is one of `eos`.
    pub fn has_ended(&self, eos: &[TokenId]) -> bool {
        self.tokens.last().is_some_and(|last| eos.contains(&last.token))
    }

    /// Forgets all tokens, keeps the memory of their distributions.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Appends a token of level `level` drawn from the distribution that `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended then.
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

    /// Appends a token that was decided elsewhere; `fill` writes the distribution it has and is
    /// called only if distributions are kept.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended then.
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

    /// Forgets the first `count` tokens, or all if there are fewer.
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

/// What is asked of a drafter.
#[derive(Clone, Copy, Debug)]
pub struct DraftRequest<'a> {
    /// What the draft continues.
    pub context: &'a [TokenId],
    /// How many tokens are wanted, ≥ 1. A drafter that makes several at a time may give more.
    pub wanted: usize,
    /// The most that can be used, ≥ `wanted`.
    pub room: usize,
    /// The level of the drafter in its chain; the target is level 1.
    pub level: usize,
    /// Tokens that end a text: nothing is proposed after one of them.
    pub eos: &'a [TokenId],
}

/// Proposes continuations.
pub trait Drafter {
    /// Says that a new text begins after `prompt` tokens.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Whether its tokens are drawn at the uniforms of their places in the text. A place has one
    /// uniform, so a draft that is thrown away has shown something of the next one: only
    /// [`Verifier::SharedUniform`](crate::Verifier::SharedUniform) is exact for such drafts. Block
    /// verification, which looks ahead, is not. Default: no.
    fn draws_by_position(&self) -> bool {
        false
    }

    /// Appends a continuation of `ask.context` to `out`, as long as wanted or shorter, and to
    /// `rounds` the verifications made for it. Whether one more token follows must be decided
    /// before it is drawn, and each must be independent, given what precedes it, of everything
    /// decided so far.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn draft(
        &mut self,
        ask: DraftRequest<'_>,
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
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        (**self).draft(ask, choices, out, rounds)
    }
}

/// Drafts from any predictor, one token at a time.
pub struct PredictorDrafter<P> {
    predictor: P,
    prompt: usize,
    stop_below: f64,
    by_position: bool,
    text: Vec<TokenId>,
    distribution: Distribution,
}

impl<P: Predictor> PredictorDrafter<P> {
    /// Drafts with the distribution of `predictor`.
    pub fn new(predictor: P) -> Self {
        let (text, distribution) = (Vec::new(), Distribution::default());
        Self { predictor, prompt: 0, stop_below: 0.0, by_position: false, text, distribution }
    }

    /// Stops drafting before a token whose distribution has no probability of at least `confidence`
    /// ∈ [0, 1]. Default: 0, never. The distribution of the text stays exact: the distribution
    /// looked at does not depend on the token that would be drawn from it.
    #[must_use]
    pub fn stopping_below(self, confidence: f64) -> Self {
        Self { stop_below: confidence, ..self }
    }

    /// Draws each token at the uniform of its place in the text: for verification by
    /// [`Verifier::SharedUniform`](crate::Verifier::SharedUniform).
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
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        _rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let Self { predictor, text, distribution, .. } = self;
        text.clear();
        text.extend_from_slice(ask.context);
        for _ in 0..ask.wanted {
            predictor.follow(text, 1)?;
            predictor.distribution(text, text.len(), distribution)?;
            if self.stop_below > 0.0 && distribution.max_prob() < self.stop_below {
                break;
            }
            let place = text.len() - self.prompt.min(text.len());
            let choose = |distribution: &Distribution| match self.by_position {
                true => choices.token_at(place, distribution),
                false => choices.token(distribution),
            };
            let token = out.draw(ask.level, choose, |slot| {
                std::mem::swap(slot, distribution);
                Ok::<_, DecodeError>(())
            })?;
            text.push(token);
            if ask.eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}
