//! The decoding loop: from a prompt to the end of the text.

use std::fmt;
use std::ops::ControlFlow;

use super::{Decoder, Emitted, Round, Step};
use crate::choice::ChoiceSource;
use crate::error::DecodeError;
use crate::vocab::TokenId;

/// Stopping criteria of [`generate`].
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most tokens to generate, the end token included; at least 1.
    pub max_new_tokens: usize,
    /// End-of-sequence tokens. The one that ends the text is part of the output.
    pub eos: Vec<TokenId>,
}

/// The reason why generation stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// An end-of-sequence token was generated.
    Eos,
    /// `max_new_tokens` tokens were generated.
    MaxTokens,
    /// The smallest context among the models is full.
    ContextFull,
    /// The caller's observer broke off: a stop string or an interruption.
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

/// A finished generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The generated tokens, each with its origin.
    pub tokens: Vec<Emitted>,
    /// The reason for the end.
    pub stop: Stop,
    /// Draft statistics of each step; plain decoding yields one token per step and drafts none.
    pub steps: Vec<Step>,
    /// The verification rounds of all steps at every level, in time order.
    pub rounds: Vec<Round>,
}

/// Continues `prompt` until a limit is reached or `observe` breaks.
///
/// `observe` sees each token in order, as it is emitted. After a break, the token it saw is the
/// last. The output never goes beyond an end token or `max_new_tokens`, even if a step of the
/// decoder yields more tokens.
///
/// # Errors
/// [`DecodeError::EmptyPrompt`], [`DecodeError::PromptTooLong`],
/// [`DecodeError::NoTokensRequested`], or an error of the decoder.
///
/// ```
/// use std::ops::ControlFlow;
/// use kad_core::decode::{Limits, SingleDecoder, Stop, generate};
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// let model = TableModel::random("toy", 5, 3, 11);
/// let greedy = ModelPredictor::new(&model, Sampling::at_temperature(0.0)?)?;
/// let limits = Limits { max_new_tokens: 4, eos: vec![] };
/// let mut observe = |_: &_| ControlFlow::Continue(());
/// let mut choices = SampledChoices::seeded(1);
/// let mut decoder = SingleDecoder::new(greedy);
/// let made = generate(&mut decoder, &[1, 2], &limits, &mut choices, &mut observe)?;
/// assert_eq!((made.tokens.len(), made.stop), (4, Stop::MaxTokens));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

/// A prompt and its continuation so far.
pub(crate) struct Continuation {
    pub(crate) context: Vec<TokenId>,
    pub(crate) tokens: Vec<Emitted>,
}

impl Continuation {
    /// The state after the tokens `made` were appended to `prompt`.
    pub(crate) fn resume(prompt: &[TokenId], made: &[TokenId]) -> Self {
        let tokens = made.iter().map(|&token| Emitted::sampled(token)).collect();
        Self { context: [prompt, made].concat(), tokens }
    }

    /// Number of tokens that may still be appended.
    pub(crate) fn room(&self, limits: &Limits, context_len: usize) -> usize {
        let unfilled = context_len.saturating_sub(self.context.len());
        unfilled.min(limits.max_new_tokens - self.tokens.len())
    }

    /// Appends the tokens of a step up to the first stopping criterion, and returns its reason.
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
