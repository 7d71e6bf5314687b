//! Forward-pass times of a distribution on this machine, from a few timed passes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kad_core::{Distribution, Predictor, TokenId};

use crate::interrupt;

/// Tokens of a first, short prefill. A longer prompt is not read if these show that it takes longer
/// than [`LONGEST_PREFILL`]; its time is then extrapolated from them.
const PROBE: usize = 32;
const LONGEST_PREFILL: Duration = Duration::from_millis(800);

/// Decoding steps after each context: at most so many, within this time, and at least one.
const STEPS: usize = 12;
const STEPPING: Duration = Duration::from_millis(200);

/// Tokens scored in one pass.
const SCORED: usize = 64;

/// Work on one text, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct TokenCounts {
    /// In the KV cache before.
    pub(super) cached: usize,
    /// Prefilled: only the distribution after the last one is needed.
    pub(super) prefilled: usize,
    /// Scored: the distribution after each one is needed.
    pub(super) scored: usize,
    /// Generated one by one.
    pub(super) generated: usize,
}

/// Seconds after one context.
#[derive(Clone, Copy, Debug, PartialEq)]
struct AtContext {
    context: f64,
    /// Per token of a prefill of this length.
    prefill: f64,
    /// Of a pass over one token, and the distribution after it.
    step: f64,
    /// Per token of a scoring pass; 0 if none was timed.
    scored: f64,
}

/// Forward-pass times of a distribution at rising contexts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DecodeTimes(Vec<AtContext>);

impl DecodeTimes {
    /// Tokens of the text needed after the last context.
    pub(super) const BEYOND: usize = STEPS + 2 * SCORED;

    /// Times `predictor` along `text` after two `contexts` in rising order; None if the user
    /// interrupted. Scoring passes are timed on request only: over a large vocabulary they are slow.
    pub(super) fn measure(
        predictor: &mut dyn Predictor,
        text: &[TokenId],
        contexts: [usize; 2],
        scores: bool,
    ) -> Result<Option<Self>> {
        let mut timer = Timer { predictor, text, at: 0, distribution: Distribution::default() };
        timer.predictor.begin(1);
        // Weights may have to be read from disk first.
        timer.pass(1, 1)?;
        let room = timer.predictor.context_len().min(text.len()).saturating_sub(Self::BEYOND);
        let contexts = contexts.map(|context| context.clamp(2, room.max(2)));
        let probe = PROBE.min(contexts[0]);
        let mut seconds = timer.pass(probe, 1)?.as_secs_f64();
        let mut tokens = (probe - 1) as f64;
        let mut all = Vec::new();
        for context in contexts {
            let more = context.saturating_sub(timer.at) as f64;
            if context < timer.at {
                timer.go_back(context)?;
            } else if seconds / tokens * more <= LONGEST_PREFILL.as_secs_f64() {
                seconds += timer.pass(context, 1)?.as_secs_f64();
                tokens += more;
            }
            let step = timer.step()?;
            let scored = if scores { timer.scored()? } else { 0.0 };
            all.push(AtContext {
                context: context as f64,
                prefill: seconds / tokens,
                step,
                scored,
            });
            if interrupt::requested() {
                return Ok(None);
            }
        }
        Ok(Some(Self(all)))
    }

    /// Seconds of some work.
    pub(super) fn seconds(&self, work: &TokenCounts) -> f64 {
        let TokenCounts { cached, prefilled, scored, generated } = *work;
        let step = |context: f64| self.at(context, |times| times.step);
        let wide = |tokens: usize, context: f64, per_token: fn(&AtContext) -> f64| match tokens {
            0 => 0.0,
            // No pass is shorter than one over a single token.
            _ => (tokens as f64 * self.at(context, per_token)).max(step(context)),
        };
        let read = (cached + prefilled + scored) as f64;
        wide(prefilled, (cached + prefilled) as f64, |times| times.prefill)
            + wide(scored, read, |times| times.scored)
            // Steps grow linearly with the context: their mean is the one in the middle.
            + generated as f64 * step(read + generated as f64 / 2.0)
    }

    /// Linear between two contexts, constant beyond them.
    fn at(&self, context: f64, seconds: impl Fn(&AtContext) -> f64) -> f64 {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return 0.0 };
        let span = last.context - first.context;
        let share =
            if span > 0.0 { ((context - first.context) / span).clamp(0.0, 1.0) } else { 0.0 };
        seconds(first) + share * (seconds(last) - seconds(first))
    }
}

struct Timer<'p> {
    predictor: &'p mut dyn Predictor,
    text: &'p [TokenId],
    /// Tokens read so far.
    at: usize,
    distribution: Distribution,
}

impl Timer<'_> {
    /// A pass up to `len` tokens of the text, and the distributions after the `last` of them.
    fn pass(&mut self, len: usize, last: usize) -> Result<Duration> {
        let context = &self.text[..len];
        let began = Instant::now();
        self.predictor.follow(context, last)?;
        for len in len + 1 - last..=len {
            self.predictor.distribution(context, len, &mut self.distribution)?;
        }
        self.at = len;
        Ok(began.elapsed())
    }

    /// Tokens left of the text and the context length.
    fn room(&self) -> usize {
        self.predictor.context_len().min(self.text.len()).saturating_sub(self.at)
    }

    /// Back to the first `len` tokens, with another last one: predictors remember the distributions
    /// of their last pass, and the passes to come must not find them.
    fn go_back(&mut self, len: usize) -> Result<()> {
        let other = (0..2).find(|token| *token != self.text[len - 1]).unwrap_or_default();
        self.predictor.follow(&[&self.text[..len - 1], &[other]].concat(), 1)?;
        self.at = len;
        Ok(())
    }

    /// Median seconds of a few decoding steps; the first one does not count.
    fn step(&mut self) -> Result<f64> {
        let began = Instant::now();
        let mut times = Vec::new();
        for done in 0..STEPS.min(self.room()) {
            let time = self.pass(self.at + 1, 1)?;
            if done > 0 {
                times.push(time);
                if began.elapsed() > STEPPING || interrupt::requested() {
                    break;
                }
            }
        }
        times.sort();
        Ok(times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64))
    }

    /// Seconds per token of a scoring pass: the faster one of two, since the first one allocates.
    fn scored(&mut self) -> Result<f64> {
        let width = SCORED.min(self.room() / 2);
        if width == 0 {
            return Ok(0.0);
        }
        let first = self.pass(self.at + width, width)?;
        let second = self.pass(self.at + width, width)?;
        Ok(first.min(second).as_secs_f64() / width as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, ModelPredictor, Sampling};

    /// By hand: read 10 at 1 ms per token, then 4 steps at (10 + 2) tokens, which is half way.
    #[test]
    fn seconds_are_those_of_the_passes() {
        let times = |context, prefill, step, scored| AtContext { context, prefill, step, scored };
        let found = DecodeTimes(vec![times(8.0, 1e-3, 2e-3, 3e-3), times(16.0, 1e-3, 4e-3, 5e-3)]);
        let work = TokenCounts { prefilled: 10, generated: 4, ..TokenCounts::default() };
        assert!((found.seconds(&work) - (10e-3 + 4.0 * 3e-3)).abs() < 1e-12);
        let scored = TokenCounts { cached: 12, scored: 4, ..TokenCounts::default() };
        assert!((found.seconds(&scored) - 4.0 * 5e-3).abs() < 1e-12, "beyond the last");
        let short = TokenCounts { prefilled: 1, ..TokenCounts::default() };
        assert!((found.seconds(&short) - 2e-3).abs() < 1e-12, "a pass is a pass");
        assert_eq!(found.seconds(&TokenCounts::default()), 0.0);
    }

    #[test]
    fn a_short_text_is_read_as_far_as_it_goes() {
        let model = Counted::new(TableModel::random("toy", 5, 2, 1));
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let text: Vec<TokenId> = (0..400).map(|i| i % 5).collect();
        // The second context behind what the first one's steps and wide pass lead to, and before
        // it.
        for second in [190, 60] {
            let before = model.counts();
            let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
            let found =
                DecodeTimes::measure(&mut predictor, &text, [40, second], true).unwrap().unwrap();
            let contexts: Vec<f64> = found.0.iter().map(|times| times.context).collect();
            assert_eq!(contexts, [40.0, second as f64]);
            assert!(found.0.iter().all(|it| it.prefill > 0.0 && it.step > 0.0 && it.scored > 0.0));
            // One to warm up, the probe, the two contexts; steps and a wide pass twice.
            let done = model.counts() - before;
            assert_eq!(done.passes, 4 + 2 * (STEPS as u64 + 2));
            // What the probe and the first context read, then either what is left to the second or
            // the one token that leads back to it and is read again.
            let to_second = if second == 190 { 190 - 180 } else { 1 + 1 };
            assert_eq!(done.tokens as usize, 40 + 2 * DecodeTimes::BEYOND + to_second);
        }
        // Contexts that leave no room for all of it.
        let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
        for tokens in 2..20 {
            DecodeTimes::measure(&mut predictor, &text[..tokens], [1, 50], true).unwrap().unwrap();
        }
        let far = DecodeTimes::measure(&mut predictor, &text, [500, 900], true).unwrap().unwrap();
        assert_eq!(far.0[1].context, (400 - DecodeTimes::BEYOND) as f64);
        let before = model.counts();
        let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
        DecodeTimes::measure(&mut predictor, &text, [40, 60], false).unwrap().unwrap();
        assert_eq!((model.counts() - before).passes, 4 + 2 * STEPS as u64, "no wide passes");
    }
}
