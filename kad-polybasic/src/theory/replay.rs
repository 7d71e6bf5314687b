//! Expected speed of a chain on texts that the target wrote: see [`Chain::replay`].

use kad_core::SampledChoices;
use serde::{Deserialize, Serialize};

use super::bootstrap_rng::BootstrapRng;
use super::chain::{Chain, Proposer};
use super::conditional_replay::ConditionalReplay;
use super::error::TheoryError;
use super::level_totals::LevelTotals;
use super::pass_times::PassTimes;
use super::predictor::Prediction;
use super::text_trace::TextTrace;
use super::uncertainty::{Uncertainty, middle};

/// Settings of [`Chain::replay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaySettings {
    /// Repetitions of each text, ≥ 1: see [`ReplayResult::monte_carlo_error`].
    pub repetitions: usize,
    /// Resamples for the intervals, ≥ 1; 1,000 are enough for two digits.
    pub resamples: usize,
    /// Seed of the random numbers. The same seed gives the same result on every machine.
    pub seed: u64,
    /// True if the first round of the target in each text counts, with its tokens. It reads the
    /// prompt, so a measurement may leave it out.
    pub first_rounds: bool,
}

/// The result of [`Chain::replay`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayResult {
    /// Means over all tokens of all texts.
    pub prediction: Prediction,
    /// Seconds per token of plain decoding on the same texts; without first rounds, over all tokens
    /// but the first of each text.
    pub plain_seconds_per_token: f64,
    /// 95 % confidence intervals: see [`Chain::replay`].
    pub uncertainty: Uncertainty,
    /// The standard error of the seconds per token due to the finite number of repetitions; `None`
    /// for a single repetition.
    pub monte_carlo_error: Option<f64>,
}

/// The totals of all repetitions of one text, level by level.
struct ReplayedText {
    totals: Vec<LevelTotals>,
    /// One entry per repetition.
    tokens: Vec<f64>,
    seconds: Vec<f64>,
    plain: PlainReplay,
}

/// Plain decoding of one text.
struct PlainReplay {
    tokens: f64,
    /// As [`LevelTotals::cells`].
    cells: Vec<f64>,
    /// Overhead, in seconds.
    seconds: f64,
}

impl Chain {
    /// The expected speed of this chain on texts like `texts`, which its target wrote alone. The
    /// rounds of the target, and everything on the text, follow their exact distribution given the
    /// text ([`ConditionalReplay`] derives it and lists the approximations).
    ///
    /// [`predict`](Self::predict) assumes that runs of acceptances start anew with each round and
    /// that texts never end. Replay knows where in a text acceptance is high, that the last round
    /// of a text is partly discarded, and the context length of each pass.
    ///
    /// Seconds per token are `Σ seconds / Σ tokens` over all texts. Their confidence interval is a
    /// bootstrap of `settings.resamples` resamples: texts are drawn with replacement, and every
    /// measured pass time from a normal distribution around its median, cut off at 0. Fixed:
    /// overheads, run lengths, `plain_seconds`, times of lookups and trees. For n texts the
    /// interval is too narrow by a factor of at least `√(1 − 1/n)`.
    ///
    /// ```
    /// use kad_polybasic::theory::*;
    /// let verifier = VerifyingLevel {
    ///     name: "large".into(),
    ///     times: PassTimes::constant(1.0)?,
    ///     acceptance: Acceptance::Rate(0.5),
    ///     length: 3,
    ///     bonus: true,
    ///     surplus: Surplus::Flush,
    ///     overhead: 0.0,
    ///     token_overhead: 0.0,
    /// };
    /// let times = PassTimes::constant(0.125)?;
    /// let proposer = Proposer::Model { name: "small".into(), times, overhead: 0.0 };
    /// let chain = Chain { verifiers: vec![verifier], proposer, plain_seconds: None };
    /// // Both distributions are certain of every token of a text that ended with its sixth.
    /// let distributions = ["large", "small"].map(|name| (name.to_owned(), vec![0.0; 6])).into();
    /// let (prompt, limit, tokens, ended) = (9, 64, 6, true);
    /// let trace = TextTrace { prompt, limit, tokens, ended, distributions, ..Default::default() };
    /// let settings =
    ///     ReplaySettings { repetitions: 1, resamples: 100, seed: 1, first_rounds: true };
    /// let found = chain.replay(&[trace.clone()], settings)?;
    /// // Two rounds of the large model, and five drafted tokens.
    /// assert_eq!(found.prediction.seconds_per_token, (2.0 + 5.0 * 0.125) / 6.0);
    /// // The second round makes two tokens.
    /// let found = chain.replay(&[trace], ReplaySettings { first_rounds: false, ..settings })?;
    /// assert_eq!(found.prediction.seconds_per_token, (1.0 + 2.0 * 0.125) / 2.0);
    /// # Ok::<(), TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// Errors of [`Chain::check`] and [`TextTrace::check`]; if there is no text, no repetition or
    /// no resample; if no token is left without the first rounds.
    pub fn replay(
        &self,
        texts: &[TextTrace],
        settings: ReplaySettings,
    ) -> Result<ReplayResult, TheoryError> {
        self.check()?;
        for (what, count) in [
            ("number of texts to replay", texts.len()),
            ("number of repetitions", settings.repetitions),
            ("number of resamples", settings.resamples),
        ] {
            if count == 0 {
                return Err(TheoryError::Zero { what });
            }
        }
        let mut choices = SampledChoices::seeded(settings.seed);
        let played = texts.iter().map(|text| self.play(text, settings, &mut choices));
        let played = played.collect::<Result<Vec<_>, _>>()?;
        let tokens: f64 = played.iter().flat_map(|text| &text.tokens).sum();
        if tokens == 0.0 {
            return Err(TheoryError::OnlyFirstRounds);
        }
        let all: Vec<&ReplayedText> = played.iter().collect();
        let prediction = self.mean_of(&played, tokens);
        let times = self.times();
        let plain_seconds_per_token = self.plain_rate(&all, times.first());
        let error = || error_of_mean(&played, prediction.seconds_per_token, tokens);
        let monte_carlo_error = (settings.repetitions > 1).then(error);
        let uncertainty = self.resampled(&played, settings)?;
        Ok(ReplayResult { prediction, plain_seconds_per_token, uncertainty, monte_carlo_error })
    }

    /// Replays one text.
    fn play(
        &self,
        text: &TextTrace,
        settings: ReplaySettings,
        choices: &mut SampledChoices<impl rand::Rng>,
    ) -> Result<ReplayedText, TheoryError> {
        let mut player = ConditionalReplay::new(self, text)?;
        let (mut tokens, mut seconds) = (Vec::new(), Vec::new());
        for _ in 0..settings.repetitions {
            player.restart();
            player.record(settings.first_rounds);
            let (mut made, before) = (0, player.seconds());
            let first = player.round(choices)?;
            player.record(true);
            made += if settings.first_rounds { first } else { 0 };
            loop {
                match player.round(choices)? {
                    0 => break,
                    more => made += more,
                }
            }
            tokens.push(made as f64);
            seconds.push(player.seconds() - before);
        }
        let totals = player.totals().to_vec();
        Ok(ReplayedText { totals, tokens, seconds, plain: self.plain_text(text, settings) })
    }

    /// Plain decoding of one text.
    fn plain_text(&self, text: &TextTrace, settings: ReplaySettings) -> PlainReplay {
        let positions = usize::from(!settings.first_rounds)..text.tokens;
        let tokens = positions.len() as f64;
        if let Some(seconds) = self.plain_seconds {
            return PlainReplay { tokens, cells: Vec::new(), seconds: tokens * seconds };
        }
        let (times, overhead) = match (self.verifiers.first(), &self.proposer) {
            (Some(target), _) => (Some(&target.times), target.token_overhead),
            (None, Proposer::Model { times, overhead, .. }) => (Some(times), *overhead),
            // Excluded by `Chain::check`.
            (None, Proposer::Lookup { .. } | Proposer::Tree { .. }) => (None, f64::NAN),
        };
        let mut cells = Vec::new();
        for position in positions {
            let context = (text.prompt + position).saturating_sub(1);
            times.iter().for_each(|times| times.spread(1, context, &mut cells));
        }
        PlainReplay { tokens, cells, seconds: tokens * overhead }
    }

    /// The pass times of each level; `None` for lookups and trees.
    fn times(&self) -> Vec<Option<PassTimes>> {
        let verifiers = self.verifiers.iter().map(|verifier| Some(verifier.times.clone()));
        let proposer = match &self.proposer {
            Proposer::Model { times, .. } => Some(times.clone()),
            Proposer::Lookup { .. } | Proposer::Tree { .. } => None,
        };
        verifiers.chain([proposer]).collect()
    }

    /// Seconds per token of plain decoding on these texts. `times` starts with the target's pass
    /// times.
    fn plain_rate(&self, texts: &[&ReplayedText], times: Option<&Option<PassTimes>>) -> f64 {
        let times = times.and_then(Option::as_ref);
        let (mut seconds, mut tokens) = (0.0, 0.0);
        for ReplayedText { plain, .. } in texts {
            seconds += plain.seconds + times.map_or(0.0, |times| weighed(&plain.cells, times));
            tokens += plain.tokens;
        }
        seconds / tokens
    }

    /// Means over all texts.
    fn mean_of(&self, texts: &[ReplayedText], tokens: f64) -> Prediction {
        let mut levels = Vec::new();
        for (level, name) in self.names().into_iter().enumerate() {
            let mut sum = LevelTotals::default();
            texts.iter().for_each(|text| sum.add(&text.totals[level]));
            levels.push(sum.per_token(name, tokens));
        }
        let seconds_per_token = levels.iter().map(|level| level.seconds_per_token).sum();
        Prediction { seconds_per_token, levels }
    }

    /// The bootstrap.
    fn resampled(
        &self,
        texts: &[ReplayedText],
        settings: ReplaySettings,
    ) -> Result<Uncertainty, TheoryError> {
        let mut draws = BootstrapRng::seeded(settings.seed);
        let measured = self.times();
        let (mut found, mut speedups) = (Vec::new(), Vec::new());
        for _ in 0..settings.resamples {
            let redrawn = |times: &PassTimes, draws: &mut BootstrapRng| {
                times.redrawn(|cell| cell.seconds + cell.standard_error * draws.normal())
            };
            let times: Vec<Option<PassTimes>> = measured
                .iter()
                .map(|times| times.as_ref().map(|times| redrawn(times, &mut draws)))
                .collect();
            let picked: Vec<&ReplayedText> =
                texts.iter().map(|_| &texts[draws.index(texts.len())]).collect();
            let seconds: f64 = picked.iter().map(|text| text.seconds_at(&measured, &times)).sum();
            let tokens: f64 = picked.iter().flat_map(|text| &text.tokens).sum();
            if tokens > 0.0 {
                found.push(seconds / tokens);
                speedups.push(self.plain_rate(&picked, times.first()) * tokens / seconds);
            }
        }
        match (middle(found), middle(speedups)) {
            (Some(seconds_per_token), Some(speedup)) => {
                Ok(Uncertainty { seconds_per_token, speedup })
            }
            _ => Err(TheoryError::OnlyFirstRounds),
        }
    }
}

impl ReplayedText {
    /// Seconds of all repetitions if passes take `times` instead of `measured`.
    fn seconds_at(&self, measured: &[Option<PassTimes>], times: &[Option<PassTimes>]) -> f64 {
        let levels = self.totals.iter().zip(measured.iter().zip(times));
        let level = |(totals, times): (&LevelTotals, (&Option<PassTimes>, &Option<PassTimes>))| {
            let more = match times {
                (Some(measured), Some(times)) => {
                    weighed(&totals.cells, times) - weighed(&totals.cells, measured)
                }
                _ => 0.0,
            };
            totals.done.seconds + more
        };
        levels.map(level).sum()
    }
}

/// `Σ weight · median` over the cells of a grid.
fn weighed(cells: &[f64], times: &PassTimes) -> f64 {
    cells.iter().zip(times.cells().iter().flatten()).map(|(share, cell)| share * cell.seconds).sum()
}

/// The standard error of `Σ seconds / Σ tokens` over repetitions, for fixed texts: each text
/// contributes `√(Σ (e − ē)² · R / (R − 1)) / Σ tokens`, with `e = seconds − ratio · tokens` of its
/// R ≥ 2 repetitions.
fn error_of_mean(texts: &[ReplayedText], ratio: f64, tokens: f64) -> f64 {
    let mut squares = 0.0;
    for text in texts {
        let repetitions = text.tokens.len() as f64;
        let left: Vec<f64> =
            text.seconds.iter().zip(&text.tokens).map(|(s, t)| s - ratio * t).collect();
        let mean = left.iter().sum::<f64>() / repetitions;
        let sum: f64 = left.iter().map(|e| (e - mean).powi(2)).sum();
        squares += sum * repetitions / (repetitions - 1.0);
    }
    squares.sqrt() / tokens
}
