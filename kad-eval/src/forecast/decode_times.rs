//! Times of prefill, decoding and scoring with one distribution on this machine, from a few timed
//! forward passes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kad_core::{Distribution, Predictor, TokenId};

use super::item_tokens::ItemTokens;
use crate::interrupt;
use crate::task::TaskMode;

/// Tokens of a first, short prefill. A longer prompt is not read if these show that it takes longer
/// than [`LONGEST_PREFILL`]; its time is then extrapolated from them.
const PROBE: usize = 32;
const LONGEST_PREFILL: Duration = Duration::from_millis(800);

/// Decoding steps: at most so many, within this time, and at least one.
const STEPS: usize = 12;
const STEPPING: Duration = Duration::from_millis(200);

/// Tokens scored in one pass.
const SCORED: usize = 64;

/// Seconds with one distribution after one context length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DecodeTimes {
    /// Per prefilled token: only the distribution after the last token is computed.
    prefill: f64,
    /// Seconds of a pass over one token, with the distribution after it.
    step: f64,
    /// Per scored token: the distribution after each token is computed. 0 if none was timed.
    scored: f64,
}

impl DecodeTimes {
    /// Tokens of the text needed after the context.
    pub(super) const BEYOND: usize = STEPS + 2 * SCORED;

    /// Times `predictor` along `text` after `context` tokens, or as many as there is room for; `None`
    /// if the user interrupted.
    pub(super) fn measure(
        predictor: &mut dyn Predictor,
        text: &[TokenId],
        context: usize,
        mode: TaskMode,
    ) -> Result<Option<Self>> {
        let mut timer = Timer { predictor, text, at: 0, distribution: Distribution::default() };
        timer.predictor.begin(1);
        // Weights may have to be read from disk first.
        timer.pass(1, 1)?;
        let context = context.min(timer.room().saturating_sub(Self::BEYOND - 1)).max(2);
        let probe = PROBE.min(context);
        let mut prefill = timer.pass(probe - 1, 1)? / (probe - 1) as f64;
        if prefill * context as f64 <= LONGEST_PREFILL.as_secs_f64() && probe < context {
            let rest = timer.pass(context - probe, 1)?;
            prefill = (prefill * (probe - 1) as f64 + rest) / (context - 1) as f64;
        }
        let step = timer.step()?;
        // Passes that give all distributions are slow over a large vocabulary.
        let scored = if mode == TaskMode::Generate { 0.0 } else { timer.scored()? };
        Ok((!interrupt::requested()).then_some(Self { prefill, step, scored }))
    }

    /// Seconds of an item if every reply has `new` tokens. `per_token`: seconds per generated
    /// token, if known from elsewhere; default: a decoding step.
    pub(super) fn seconds(&self, item: &ItemTokens, new: usize, per_token: Option<f64>) -> f64 {
        let (prompt, turns) = (item.prompt.len(), item.turns);
        // No pass is shorter than one over a single token.
        let pass = |tokens: usize, seconds: f64| (tokens as f64 * seconds).max(self.step);
        match item.mode {
            // Every turn is prefilled anew with all before it.
            TaskMode::Generate => (0..turns)
                .map(|turn| pass(prompt * (turn + 1) / turns + turn * new, self.prefill))
                .map(|prefill| prefill + new as f64 * per_token.unwrap_or(self.step))
                .sum(),
            TaskMode::Options => {
                let options = item.options.iter().map(|&option| pass(option, self.scored));
                pass(prompt, self.prefill) + options.sum::<f64>()
            }
            TaskMode::Text => pass(prompt, self.scored),
        }
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
    /// Seconds of a pass over the next `tokens` and of the distributions after the `last` of them.
    fn pass(&mut self, tokens: usize, last: usize) -> Result<f64> {
        self.at += tokens;
        let context = &self.text[..self.at];
        let began = Instant::now();
        self.predictor.follow(context, last)?;
        for len in self.at + 1 - last..=self.at {
            self.predictor.distribution(context, len, &mut self.distribution)?;
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Tokens left of the text and of the context length.
    fn room(&self) -> usize {
        self.predictor.context_len().min(self.text.len()).saturating_sub(self.at)
    }

    /// Median seconds of a few decoding steps; the first one does not count.
    fn step(&mut self) -> Result<f64> {
        let began = Instant::now();
        let mut times = Vec::new();
        for done in 0..STEPS.min(self.room()) {
            let time = self.pass(1, 1)?;
            if done > 0 {
                times.push(time);
                if began.elapsed() > STEPPING || interrupt::requested() {
                    break;
                }
            }
        }
        times.sort_by(f64::total_cmp);
        Ok(times.get(times.len() / 2).copied().unwrap_or(0.0))
    }

    /// Seconds per token of a scoring pass: the faster one of two, since the first one allocates.
    fn scored(&mut self) -> Result<f64> {
        let width = SCORED.min(self.room() / 2);
        if width == 0 {
            return Ok(0.0);
        }
        Ok(self.pass(width, width)?.min(self.pass(width, width)?) / width as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::oracle::TableModel;
    use kad_core::{Counted, ModelPredictor, Sampling};

    const TIMES: DecodeTimes = DecodeTimes { prefill: 1e-3, step: 2e-3, scored: 3e-3 };

    fn seconds(mode: TaskMode, prompt: usize, turns: usize, options: &[usize]) -> f64 {
        let item = ItemTokens { mode, prompt: vec![0; prompt], turns, options: options.to_vec() };
        TIMES.seconds(&item, 7, None)
    }

    /// By hand: turns are prefilled anew with the replies before them, options share their prompt,
    /// texts are scored whole, and a pass is never shorter than a step.
    #[test]
    fn seconds_are_those_of_the_passes() {
        let close = |found: f64, ms: f64| assert!((found - 1e-3 * ms).abs() < 1e-12, "{found}");
        close(seconds(TaskMode::Generate, 10, 1, &[]), 10.0 + 7.0 * 2.0);
        close(seconds(TaskMode::Generate, 10, 2, &[]), 5.0 + (10.0 + 7.0) + 2.0 * 7.0 * 2.0);
        close(seconds(TaskMode::Generate, 1, 1, &[]), 2.0 + 7.0 * 2.0);
        close(seconds(TaskMode::Options, 10, 1, &[2, 3]), 10.0 + 2.0 * 3.0 + 3.0 * 3.0);
        close(seconds(TaskMode::Text, 10, 1, &[]), 10.0 * 3.0);
        let item =
            ItemTokens { mode: TaskMode::Generate, prompt: vec![0; 10], turns: 1, options: vec![] };
        close(TIMES.seconds(&item, 7, Some(1e-3)), 10.0 + 7.0);
    }

    #[test]
    fn a_short_text_is_read_as_far_as_it_goes() {
        let model = Counted::new(TableModel::random("toy", 5, 2, 1));
        let sampling = Sampling::at_temperature(1.0).unwrap();
        let text: Vec<TokenId> = (0..400).map(|i| i % 5).collect();
        let measure = |tokens: usize, context, mode| {
            let before = model.counts();
            let mut predictor = ModelPredictor::new(&model, sampling).unwrap();
            let found = DecodeTimes::measure(&mut predictor, &text[..tokens], context, mode);
            (found.unwrap().unwrap(), model.counts() - before)
        };
        let (found, done) = measure(400, 190, TaskMode::Options);
        assert!(found.prefill > 0.0 && found.step > 0.0 && found.scored > 0.0);
        // One to warm up, the probe, the rest of the context; steps and two wide passes.
        assert_eq!(done.passes, 3 + STEPS as u64 + 2);
        assert_eq!(done.tokens as usize, 190 + DecodeTimes::BEYOND);
        let (found, done) = measure(400, 60, TaskMode::Generate);
        assert_eq!((done.passes, found.scored), (3 + STEPS as u64, 0.0), "no wide passes");
        // Contexts that leave no room for all of it.
        let (_, done) = measure(400, 900, TaskMode::Text);
        assert_eq!(done.tokens, 400);
        for tokens in 2..20 {
            measure(tokens, 50, TaskMode::Text);
        }
    }
}
