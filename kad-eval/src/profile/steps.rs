//! Decoding with a clock in hand.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use kad_core::decode::{Decoder, Limits, Round};
use kad_core::{DecodeError, SampledChoices, TokenId};

use crate::models::Models;
use crate::runner::INTERRUPTED;

/// Seconds that all models have spent in passes so far.
pub(crate) type PassClock<'c> = &'c dyn Fn() -> f64;

/// One step of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StepTime {
    /// Wall clock.
    pub(crate) seconds: f64,
    /// Of these, seconds in passes.
    pub(crate) passing: f64,
    /// Tokens of the text.
    pub(crate) emitted: usize,
    /// The target's verification, if there was one.
    pub(crate) round: Option<Round>,
}

/// Continues `prompt` and times each step. The first step reads the prompt. None if the user
/// interrupted.
///
/// # Errors
/// If a model fails.
pub(crate) fn decode(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
    seed: u64,
    passing: PassClock<'_>,
) -> Result<Option<Vec<StepTime>>, DecodeError> {
    let mut choices = SampledChoices::seeded(seed);
    let (mut text, mut made, mut steps) = (prompt.to_vec(), Vec::new(), Vec::new());
    decoder.begin(prompt.len());
    loop {
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let left = limits.max_new_tokens - (text.len() - prompt.len());
        let room = decoder.context_len().saturating_sub(text.len()).min(left);
        if room == 0 {
            return Ok(Some(steps));
        }
        made.clear();
        let (began, before) = (Instant::now(), passing());
        decoder.step(&text, room, &mut choices, &mut made)?;
        let seconds = began.elapsed().as_secs_f64();
        let end = made.iter().position(|made| limits.eos.contains(&made.token));
        let emitted = end.map_or(made.len(), |end| end + 1);
        let round = decoder.rounds().last().copied();
        steps.push(StepTime { seconds, passing: passing() - before, emitted, round });
        text.extend(made[..emitted].iter().map(|made| made.token));
        if end.is_some() {
            return Ok(Some(steps));
        }
    }
}

/// Seconds in passes of `names` so far.
pub(crate) fn in_passes(models: &Models, names: &[&str]) -> f64 {
    names.iter().map(|name| models[*name].counted.in_passes().as_secs_f64()).sum()
}
