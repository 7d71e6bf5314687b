//! Decoding with a clock in hand.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use kad_core::decode::{Decoder, Limits, Round};
use kad_core::{ChoiceSource, DecodeError, SampledChoices, TokenId};
use kad_polybasic::{Ask, Draft, Drafter};

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

/// What a watched drafter did in one draft.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Drafted {
    /// Tokens it was to give; as many as it gave if an end token stopped it.
    pub(super) asked: usize,
    pub(super) proposed: usize,
    pub(super) seconds: f64,
    /// Of these, seconds in passes.
    pub(super) passing: f64,
}

/// The latest draft of a watched drafter.
pub(super) type Watch = Rc<RefCell<Option<Drafted>>>;

/// A drafter whose drafts are timed.
pub(super) struct Watched<'c, D> {
    drafter: D,
    passing: PassClock<'c>,
    watch: Watch,
}

impl<'c, D: Drafter> Watched<'c, D> {
    pub(super) fn new(drafter: D, passing: PassClock<'c>) -> Self {
        Self { drafter, passing, watch: Watch::default() }
    }

    pub(super) fn watch(&self) -> Watch {
        Rc::clone(&self.watch)
    }
}

impl<D: Drafter> Drafter for Watched<'_, D> {
    fn begin(&mut self, prompt: usize) {
        self.drafter.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.drafter.context_len()
    }

    fn draft(
        &mut self,
        ask: Ask<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        let (began, before, held) = (Instant::now(), (self.passing)(), out.len());
        self.drafter.draft(ask, choices, out, rounds)?;
        let seconds = began.elapsed().as_secs_f64();
        let proposed = out.len() - held;
        let ended = proposed > 0 && out.has_ended(ask.eos);
        let asked = if ended { proposed } else { ask.wanted.max(proposed) };
        let passing = (self.passing)() - before;
        self.watch.replace(Some(Drafted { asked, proposed, seconds, passing }));
        Ok(())
    }
}
