//! Tokens proposed before they are verified.

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, Law, Predictor, TokenId};

/// Proposed tokens, each with the law it was really drawn from: verification is exact only if that
/// is true. A reusable buffer.
#[derive(Debug)]
pub struct Draft {
    tokens: Vec<Emitted>,
    /// Of the tokens, in their order; what is beyond them is memory to be used again.
    laws: Vec<Law>,
    keeps_laws: bool,
}

impl Default for Draft {
    fn default() -> Self {
        Self { tokens: Vec::new(), laws: Vec::new(), keeps_laws: true }
    }
}

impl Draft {
    /// A buffer for a reader who does not look at laws: none is kept.
    pub fn without_laws() -> Self {
        Self { keeps_laws: false, ..Self::default() }
    }

    /// An empty one that keeps laws if this one does.
    pub(crate) fn empty_like(&self) -> Self {
        Self { keeps_laws: self.keeps_laws, ..Self::default() }
    }

    /// Whether the laws of the tokens are kept.
    pub fn keeps_laws(&self) -> bool {
        self.keeps_laws
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

    /// The laws the tokens were drawn from; empty if they are not kept.
    pub fn laws(&self) -> &[Law] {
        if self.keeps_laws { &self.laws[..self.tokens.len()] } else { &[] }
    }

    /// Whether the last token is one of `eos`.
    pub fn has_ended(&self, eos: &[TokenId]) -> bool {
        self.tokens.last().is_some_and(|last| eos.contains(&last.token))
    }

    /// Forgets all tokens, keeps the memory of their laws.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Appends a token of level `level` drawn from the law that `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended then.
    pub fn draw<E>(
        &mut self,
        level: usize,
        choose: impl FnOnce(&Law) -> TokenId,
        fill: impl FnOnce(&mut Law) -> Result<(), E>,
    ) -> Result<TokenId, E> {
        let law = self.next_law();
        fill(law)?;
        let token = choose(law);
        self.tokens.push(Emitted { origin: Origin::Drafted, level, ..Emitted::sampled(token) });
        Ok(token)
    }

    /// Appends a token that was decided elsewhere; `fill` writes the law it has and is called only
    /// if laws are kept.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended then.
    pub fn push<E>(
        &mut self,
        emitted: Emitted,
        fill: impl FnOnce(&mut Law) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.keeps_laws {
            fill(self.next_law())?;
        }
        self.tokens.push(emitted);
        Ok(())
    }

    /// Forgets the first `count` tokens, or all if there are fewer.
    pub fn drop_front(&mut self, count: usize) {
        let count = count.min(self.len());
        if self.keeps_laws {
            let len = self.len();
            self.laws[..len].rotate_left(count);
        }
        self.tokens.drain(..count);
    }

    /// Moves the first `count` tokens with their laws to the end of `other`.
    pub(crate) fn hand_over(&mut self, count: usize, other: &mut Draft) {
        for index in 0..count.min(self.len()) {
            if other.keeps_laws {
                std::mem::swap(other.next_law(), &mut self.laws[index]);
            }
            other.tokens.push(self.tokens[index]);
        }
        self.drop_front(count);
    }

    fn next_law(&mut self) -> &mut Law {
        let index = if self.keeps_laws { self.tokens.len() } else { 0 };
        if self.laws.len() == index {
            self.laws.push(Law::default());
        }
        &mut self.laws[index]
    }
}

/// What is asked of a drafter.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
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
    fn draws_by_place(&self) -> bool {
        false
    }

    /// Appends a continuation of `ask.context` to `out`, as long as wanted or shorter, and to
    /// `rounds` the verifications made for it. Whether one more token follows must be decided before
    /// it is drawn, and each must be independent, given what precedes it, of everything decided so far.
    ///
    /// # Errors
    /// If a model fails or its logits are no law.
    fn draft(
        &mut self,
        ask: Ask<'_>,
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
    fn draws_by_place(&self) -> bool {
        (**self).draws_by_place()
    }
    fn draft(
        &mut self,
        ask: Ask<'_>,
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
    by_place: bool,
    text: Vec<TokenId>,
    law: Law,
}

impl<P: Predictor> PredictorDrafter<P> {
    /// Drafts with the law of `predictor`.
    pub fn new(predictor: P) -> Self {
        let (text, law) = (Vec::new(), Law::default());
        Self { predictor, prompt: 0, stop_below: 0.0, by_place: false, text, law }
    }

    /// Stops drafting before a token whose law has no probability of at least `confidence` ∈ [0, 1].
    /// Default: 0, never. The law of the text stays exact: the law looked at does not depend on the
    /// token that would be drawn from it.
    #[must_use]
    pub fn stopping_below(self, confidence: f64) -> Self {
        Self { stop_below: confidence, ..self }
    }

    /// Draws each token at the uniform of its place in the text: for verification by
    /// [`Verifier::SharedUniform`](crate::Verifier::SharedUniform).
    #[must_use]
    pub fn by_place(self, by_place: bool) -> Self {
        Self { by_place, ..self }
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

    fn draws_by_place(&self) -> bool {
        self.by_place
    }

    fn draft(
        &mut self,
        ask: Ask<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        _rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let Self { predictor, text, law, .. } = self;
        text.clear();
        text.extend_from_slice(ask.context);
        for _ in 0..ask.wanted {
            predictor.follow(text, 1)?;
            predictor.law(text, text.len(), law)?;
            if self.stop_below > 0.0 && law.max_prob() < self.stop_below {
                break;
            }
            let place = text.len() - self.prompt.min(text.len());
            let choose = |law: &Law| match self.by_place {
                true => choices.token_at(place, law),
                false => choices.token(law),
            };
            let token = out.draw(ask.level, choose, |slot| {
                std::mem::swap(slot, law);
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
