//! Tokens proposed before they are verified.

use kad_core::{ChoiceSource, DecodeError, Law, Predictor, TokenId};

/// Proposed tokens, each with the law it was really drawn from: verification is exact only if that
/// is true. A reusable buffer.
#[derive(Debug, Default)]
pub struct Draft {
    tokens: Vec<TokenId>,
    laws: Vec<Law>,
}

impl Draft {
    /// The proposed tokens.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// The law that token `index` was drawn from.
    pub fn law(&self, index: usize) -> &Law {
        &self.laws[index]
    }

    /// Forgets all tokens, keeps the memory of their laws.
    pub fn clear(&mut self) {
        self.tokens.clear();
    }

    /// Appends a token drawn from the law that `fill` writes.
    ///
    /// # Errors
    /// Those of `fill`; nothing is appended then.
    pub fn push<E>(
        &mut self,
        choices: &mut dyn ChoiceSource,
        fill: impl FnOnce(&mut Law) -> Result<(), E>,
    ) -> Result<TokenId, E> {
        let index = self.tokens.len();
        if self.laws.len() == index {
            self.laws.push(Law::default());
        }
        fill(&mut self.laws[index])?;
        let token = choices.token(&self.laws[index]);
        self.tokens.push(token);
        Ok(token)
    }
}

/// Proposes continuations.
pub trait Drafter {
    /// Says that a new text begins after `prompt` tokens.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Appends up to `length` tokens that continue `context` to `out`. Whether one more follows must
    /// be decided before it is drawn. Nothing is proposed after a token of `eos`.
    ///
    /// # Errors
    /// If a model fails or its logits are no law.
    fn draft(
        &mut self,
        context: &[TokenId],
        length: usize,
        eos: &[TokenId],
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<(), DecodeError>;
}

/// Drafts from any predictor, one token at a time.
pub struct PredictorDrafter<P> {
    predictor: P,
    text: Vec<TokenId>,
}

impl<P: Predictor> PredictorDrafter<P> {
    /// Drafts with the law of `predictor`.
    pub fn new(predictor: P) -> Self {
        Self { predictor, text: Vec::new() }
    }
}

impl<P: Predictor> Drafter for PredictorDrafter<P> {
    fn begin(&mut self, prompt: usize) {
        self.predictor.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    fn draft(
        &mut self,
        context: &[TokenId],
        length: usize,
        eos: &[TokenId],
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
    ) -> Result<(), DecodeError> {
        let Self { predictor, text } = self;
        text.clear();
        text.extend_from_slice(context);
        for _ in 0..length {
            predictor.follow(text, 1)?;
            let token = out.push(choices, |law| predictor.law(text, text.len(), law))?;
            text.push(token);
            if eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}
