//! From a prompt to its end.

use std::fmt;
use std::ops::ControlFlow;

use super::{Decoder, Emitted};
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
}

/// Continues `prompt` until a limit is met or `observe` breaks.
///
/// `observe` sees each token as it is emitted, in order, and changes nothing but the end: after a
/// break the token it saw is the last. Nothing is emitted after an end token, and never more than
/// `max_new_tokens`, however many tokens a step of the decoder yields.
///
/// # Errors
/// [`DecodeError::EmptyPrompt`], [`DecodeError::PromptTooLong`], [`DecodeError::NothingAsked`], or
/// the decoder's.
pub fn generate(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
    choices: &mut dyn ChoiceSource,
    observe: &mut dyn FnMut(&Emitted) -> ControlFlow<()>,
) -> Result<Generation, DecodeError> {
    check(prompt.len(), limits.max_new_tokens, decoder.context_len())?;
    let mut context = prompt.to_vec();
    let mut tokens = Vec::new();
    let mut step = Vec::new();
    loop {
        if context.len() >= decoder.context_len() {
            return Ok(Generation { tokens, stop: Stop::ContextFull });
        }
        step.clear();
        decoder.step(&context, choices, &mut step)?;
        for emitted in &step {
            tokens.push(*emitted);
            context.push(emitted.token);
            let stop = if observe(emitted).is_break() {
                Stop::Caller
            } else if limits.eos.contains(&emitted.token) {
                Stop::Eos
            } else if tokens.len() == limits.max_new_tokens {
                Stop::MaxTokens
            } else {
                continue;
            };
            return Ok(Generation { tokens, stop });
        }
    }
}

fn check(prompt: usize, max_new_tokens: usize, limit: usize) -> Result<(), DecodeError> {
    if prompt == 0 {
        Err(DecodeError::EmptyPrompt)
    } else if max_new_tokens == 0 {
        Err(DecodeError::NothingAsked)
    } else if prompt >= limit {
        Err(DecodeError::PromptTooLong { prompt, limit })
    } else {
        Ok(())
    }
}
