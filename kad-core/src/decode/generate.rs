//! From a prompt to its end.

use std::fmt;
use std::ops::ControlFlow;

use super::{Decoder, Emitted, Round, Step};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::vocab::TokenId;

/// When to end a continuation.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most tokens to append, the end token included; at least 1.
    pub max_new_tokens: usize,
    /// Tokens that end the text. The one that did is part of the result.
    pub eos: Vec<TokenId>,
}

/// Why a continuation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// An end token was drawn.
    Eos,
    /// `max_new_tokens` were appended.
    MaxTokens,
    /// The smallest context among the models is full.
    ContextFull,
    /// The caller had enough: a stop string, or an interruption.
    Caller,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stop::Eos => "eos",
            Stop::MaxTokens => "max_tokens",
            Stop::ContextFull => "context_full",
            Stop::Caller => "caller",
        })
    }
}

/// A finished continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The tokens appended, with their provenance.
    pub tokens: Vec<Emitted>,
    /// Why there are no more.
    pub stop: Stop,
    /// What each step did; a step of plain decoding yields one token and drafts none.
    pub steps: Vec<Step>,
    /// The verifications of all steps at every level, in the order they were made.
    pub rounds: Vec<Round>,
}

/// Continues `prompt` until a limit is met or `observe` breaks.
///
/// `observe` sees each token as it is emitted, in order, and changes nothing but the end: after a
/// break the token it saw is the last. Nothing is emitted after an end token, and never more than
/// `max_new_tokens`, however many tokens a step of the decoder yields.
///
/// # Errors
/// [`DecodeError::EmptyPrompt`], [`DecodeError::PromptTooLong`], [`DecodeError::NoTokensRequested`], or
/// the decoder's.
pub fn generate(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
    choices: &mut dyn ChoiceSource,
    observe: &mut dyn FnMut(&Emitted) -> ControlFlow<()>,
) -> Result<Generation, DecodeError> {
    check(prompt.len(), limits.max_new_tokens, decoder.context_len())?;
    decoder.begin(prompt.len());
    let mut text = Continuation::resume(prompt, &[]);
    let (mut steps, mut rounds, mut step) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let room = text.room(limits, decoder.context_len());
        if room == 0 {
            return Ok(Generation { tokens: text.tokens, stop: Stop::ContextFull, steps, rounds });
        }
        step.clear();
        steps.push(decoder.step(&text.context, room, choices, &mut step)?);
        rounds.extend_from_slice(decoder.rounds());
        if let Some(stop) = text.take(&step, limits, observe) {
            return Ok(Generation { tokens: text.tokens, stop, steps, rounds });
        }
    }
}

/// A text that grows by the tokens of steps.
pub(crate) struct Continuation {
    pub(crate) context: Vec<TokenId>,
    pub(crate) tokens: Vec<Emitted>,
}

impl Continuation {
    /// Where decoding stands after `made` was appended to `prompt`.
    pub(crate) fn resume(prompt: &[TokenId], made: &[TokenId]) -> Self {
        let tokens = made.iter().map(|&token| Emitted::sampled(token)).collect();
        Self { context: [prompt, made].concat(), tokens }
    }

    /// How many tokens may still come.
    pub(crate) fn room(&self, limits: &Limits, context_len: usize) -> usize {
        let unfilled = context_len.saturating_sub(self.context.len());
        unfilled.min(limits.max_new_tokens - self.tokens.len())
    }

    /// Appends the tokens of a step up to the first end, and names it.
    pub(crate) fn take(
        &mut self,
        step: &[Emitted],
        limits: &Limits,
        observe: &mut dyn FnMut(&Emitted) -> ControlFlow<()>,
    ) -> Option<Stop> {
        for emitted in step {
            self.tokens.push(*emitted);
            self.context.push(emitted.token);
            if observe(emitted).is_break() {
                return Some(Stop::Caller);
            } else if limits.eos.contains(&emitted.token) {
                return Some(Stop::Eos);
            } else if self.tokens.len() == limits.max_new_tokens {
                return Some(Stop::MaxTokens);
            }
        }
        None
    }
}

fn check(prompt: usize, max_new_tokens: usize, limit: usize) -> Result<(), DecodeError> {
    if prompt == 0 {
        Err(DecodeError::EmptyPrompt)
    } else if max_new_tokens == 0 {
        Err(DecodeError::NoTokensRequested)
    } else if prompt >= limit {
        Err(DecodeError::PromptTooLong { prompt, limit })
    } else {
        Ok(())
    }
}
