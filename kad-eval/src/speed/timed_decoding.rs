//! Decoding with the time of each step and the forward passes of each model.

use std::time::Instant;

use anyhow::Result;
use kad_core::decode::{Decoder, Limits, Round};
use kad_core::{DecodeError, SampledChoices, TokenId};

use crate::config::{DecoderKind, SamplingPlan};
use crate::interrupt;
use crate::models::{self, Models};

/// Forward passes of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PassTotals {
    pub(crate) passes: u64,
    pub(crate) seconds: f64,
}

/// A continuation with the time of each step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimedText {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) steps: Vec<StepTime>,
}

/// A step of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StepTime {
    /// Wall-clock time.
    pub(crate) seconds: f64,
    /// Seconds in passes of each model, in the order of the clock.
    pub(crate) by_model: Vec<f64>,
    /// Passes of each model, in the same order.
    pub(crate) passes: Vec<u64>,
    /// True for the first step and for every step with the first pass of some model: the aligned
    /// model of a lazy deferral reads the prompt after the first deferred draw.
    pub(crate) reads_prompt: bool,
    /// New tokens of the text.
    pub(crate) emitted: usize,
    /// The round in which the target verified, if the decoder has rounds.
    pub(crate) round: Option<Round>,
}

impl StepTime {
    /// Seconds in passes of all models.
    pub(crate) fn passing(&self) -> f64 {
        self.by_model.iter().sum()
    }
}

/// A decoder of loaded models whose texts are timed.
pub(crate) struct TimedDecoder<'m> {
    pub(crate) kind: &'m DecoderKind,
    pub(crate) sampling: &'m SamplingPlan,
    pub(crate) models: &'m Models,
    pub(crate) max_new_tokens: usize,
}

impl TimedDecoder<'_> {
    /// A text with fresh sessions; `None` if the user interrupted.
    pub(crate) fn text(&self, prompt: &[TokenId], seed: u64) -> Result<Option<TimedText>> {
        let eos = models::eos(self.kind, self.models, self.sampling);
        let limits = Limits { max_new_tokens: self.max_new_tokens, eos };
        let mut decoder = models::decoder(self.kind, self.sampling, self.models)?;
        let names = self.kind.models();
        let clock = || {
            let totals = |name: &&str| {
                let counted = &self.models[*name].counted;
                let seconds = counted.pass_time().as_secs_f64();
                PassTotals { passes: counted.counts().passes, seconds }
            };
            names.iter().map(totals).collect()
        };
        Ok(decode_timed(&mut *decoder, prompt, &limits, seed, &clock)?)
    }
}

/// Continues `prompt` and times each step; `clock` reads the totals of each model so far, always in
/// one order. `None` if the user interrupted.
fn decode_timed(
    decoder: &mut dyn Decoder,
    prompt: &[TokenId],
    limits: &Limits,
    seed: u64,
    clock: &dyn Fn() -> Vec<PassTotals>,
) -> Result<Option<TimedText>, DecodeError> {
    let mut choices = SampledChoices::seeded(seed);
    let (mut text, mut made, mut steps) = (prompt.to_vec(), Vec::new(), Vec::new());
    decoder.begin(prompt.len());
    let fresh = clock();
    loop {
        if interrupt::requested() {
            return Ok(None);
        }
        let left = limits.max_new_tokens - (text.len() - prompt.len());
        let room = decoder.context_len().saturating_sub(text.len()).min(left);
        if room == 0 {
            break;
        }
        made.clear();
        let (before, began) = (clock(), Instant::now());
        decoder.step(&text, room, &mut choices, &mut made)?;
        let seconds = began.elapsed().as_secs_f64();
        let after = clock();
        let end = made.iter().position(|made| limits.eos.contains(&made.token));
        let emitted = end.map_or(made.len(), |end| end + 1);
        steps.push(StepTime {
            seconds,
            by_model: after.iter().zip(&before).map(|(a, b)| a.seconds - b.seconds).collect(),
            passes: after.iter().zip(&before).map(|(a, b)| a.passes - b.passes).collect(),
            reads_prompt: steps.is_empty() || has_first_pass(&fresh, &before, &after),
            emitted,
            round: decoder.rounds().last().copied(),
        });
        text.extend(made[..emitted].iter().map(|made| made.token));
        if end.is_some() {
            break;
        }
    }
    Ok(Some(TimedText { tokens: text.split_off(prompt.len()), steps }))
}

/// True if some model made its first pass since `fresh` between `before` and `after`.
fn has_first_pass(fresh: &[PassTotals], before: &[PassTotals], after: &[PassTotals]) -> bool {
    let mut models = fresh.iter().zip(before).zip(after);
    models.any(|((fresh, before), after)| {
        before.passes == fresh.passes && after.passes > before.passes
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::decode::DeferralDecoder;
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, Mixture, Sampling};

    /// The aligned model of a lazy deferral reads the prompt in its first pass: that step and the
    /// first one read a prompt, no other.
    #[test]
    fn a_late_model_reads_the_prompt_late() {
        let base = Counted::new(TableModel::random("base", 8, 2, 1));
        let aligned = Counted::new(TableModel::random("aligned", 8, 2, 2));
        let rule = kad_core::deferral::Rule::base(kad_core::deferral::KadDual::new(0.1).unwrap());
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let clock = || {
            let passes = [&base, &aligned].map(|model| model.counts().passes);
            passes.map(|passes| PassTotals { passes, seconds: passes as f64 }).to_vec()
        };
        let limits = Limits { max_new_tokens: 40, eos: Vec::new() };
        let mut late = 0;
        for seed in 0..20 {
            let mixture = Mixture::new(&base, &aligned, &rule, sampling, sampling).unwrap();
            let mut decoder = DeferralDecoder::new(mixture);
            let text = decode_timed(&mut decoder, &[0], &limits, seed, &clock).unwrap().unwrap();
            assert_eq!((text.tokens.len(), text.steps.len()), (40, 40));
            let asked = text.steps.iter().position(|step| step.by_model[1] > 0.0);
            for (index, step) in text.steps.iter().enumerate() {
                assert_eq!(step.reads_prompt, index == 0 || Some(index) == asked, "step {index}");
                assert_eq!(step.passing(), step.by_model[0] + step.by_model[1]);
            }
            late += usize::from(asked.is_some_and(|step| step > 0));
        }
        assert!(late > 0, "some text defers later than at once");
    }
}
