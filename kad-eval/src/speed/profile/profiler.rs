//! Makes a profile: forward passes first, then texts.

use std::time::Instant;

use anyhow::{Context, Result};
use kad_core::{ChoiceSource, Predictor, SampledChoices, TokenId};
use kad_polybasic::theory::PassTime;
use kad_polybasic::{Draft, DraftRequest};

use super::file::{CandidateCost, CandidateProfile, Profile, ProfileConditions, ProfileSettings};
use super::passes::{DistributionTimes, PassGrid, time_passes};
use super::prompts::Prompts;
use super::round_overhead::{WeightedPoint, fit_line, overhead, round};
use super::targets::{ProfileTargets, definition};
use super::traces::PlainText;
use crate::config::{DecoderKind, Lookup, NamedDistribution};
use crate::models::{self, Models};
use crate::speed::progress::MeasurementProgress;
use crate::speed::timed_decoding::{StepTime, TimedDecoder, TimedText};

/// Plain texts of a single model: enough for the overhead of a token.
const PLAIN_TEXTS: usize = 4;

/// Inputs of a profile.
pub(crate) struct Profiler<'e> {
    pub(crate) experiment: &'e str,
    pub(crate) targets: &'e ProfileTargets,
    pub(crate) models: &'e Models,
    pub(crate) prompts: &'e Prompts,
    pub(crate) settings: ProfileSettings,
    /// Rounds of passes; `None` for as many as there is time for.
    pub(crate) rounds: Option<usize>,
}

/// Plain decoding of one distribution.
#[derive(Default)]
struct PlainSamples {
    /// Seconds of each step that read no prompt, and the tokens before it.
    steps: Vec<(f64, usize)>,
    /// Tokens before the middle of each text.
    middles: Vec<f64>,
    texts: Vec<PlainText>,
}

impl Profiler<'_> {
    /// The profile; `None` if the user interrupted.
    pub(crate) fn profile(&self) -> Result<Option<Profile>> {
        let distributions = &self.targets.distributions;
        let first = distributions.first().context("no distribution is measured")?;
        let Some((times, rounds)) = self.passes()? else { return Ok(None) };
        let author = self.author(&times).context("no distribution is measured")?;
        let Some(plain) = self.plain(author)? else { return Ok(None) };
        let Some(texts) = self.traces(author, &plain[author].texts)? else {
            return Ok(None);
        };
        let context = context(&times, &plain);
        let measured = distributions.iter().zip(times.iter().zip(&plain));
        let mut candidates: Vec<CandidateProfile> =
            measured.map(|(part, (times, plain))| candidate(part, times, plain)).collect();
        for lookup in &self.targets.lookups {
            candidates.push(self.lookup(*lookup, first)?);
        }
        let Some(mut pairs) = self.pairs(&candidates, context)? else { return Ok(None) };
        let Some((trees, of_trees)) = self.trees(&candidates, context)? else { return Ok(None) };
        candidates.extend(trees);
        pairs.extend(of_trees);
        Ok(Some(Profile {
            version: Profile::VERSION,
            experiment: self.experiment.to_owned(),
            target: self.targets.baseline.clone(),
            conditions: ProfileConditions::now(&first.sampling, self.models),
            settings: ProfileSettings { rounds, ..self.settings.clone() },
            context,
            candidates,
            pairs,
            texts: Some(texts),
        }))
    }

    fn passes(&self) -> Result<Option<(Vec<DistributionTimes>, usize)>> {
        let distributions = &self.targets.distributions;
        let make = |index: usize| -> Result<Box<dyn Predictor + '_>> {
            let part = &distributions[index];
            models::predictor(&part.distribution, &part.sampling, self.models)
        };
        let prompt = |part: &NamedDistribution| -> Result<Vec<TokenId>> {
            let prompts = self.prompts.of(&part.distribution, self.models)?;
            Ok(prompts.into_iter().flat_map(|(_, prompt)| prompt).collect())
        };
        let prompts = distributions.iter().map(prompt).collect::<Result<Vec<_>>>()?;
        time_passes(&PassGrid::default(), make, &prompts, self.rounds)
    }

    /// The distribution whose texts are kept: the baseline's, or else the slowest, single models
    /// before composed distributions.
    fn author(&self, times: &[DistributionTimes]) -> Option<usize> {
        let distributions = &self.targets.distributions;
        let rank = |at: usize| {
            let baseline = self.targets.baseline.as_ref() == Some(&distributions[at].name);
            let single = distributions[at].distribution.models().len() == 1;
            let passes = &times[at].passes;
            let shortest = passes.contexts().first().copied().unwrap_or(0);
            (baseline, single, passes.seconds(1, shortest))
        };
        let above = |a: &usize, b: &usize| {
            let (a, b) = (rank(*a), rank(*b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        };
        (0..distributions.len()).max_by(above)
    }

    /// Plain decoding of every distribution, text by text: every prompt for the `author`.
    fn plain(&self, author: usize) -> Result<Option<Vec<PlainSamples>>> {
        let distributions = &self.targets.distributions;
        let texts = |at: usize| match distributions[at].distribution.models().len() {
            1 if at != author => self.settings.prompts.min(PLAIN_TEXTS),
            _ => self.settings.prompts,
        };
        let total = (0..distributions.len()).map(texts).sum();
        let progress = MeasurementProgress::new("plain texts", total);
        let mut found: Vec<PlainSamples> = Vec::new();
        for (at, part) in distributions.iter().enumerate() {
            let mut plain = PlainSamples::default();
            let kind = &part.distribution;
            for (seed, prompt) in self.prompts.of(kind, self.models)?.iter().take(texts(at)) {
                let Some(text) = self.decode(kind, part, prompt, *seed)? else {
                    return Ok(None);
                };
                plain.add(prompt, text);
                progress.advance();
            }
            found.push(plain);
        }
        Ok(Some(found))
    }

    /// A text of a decoder of this kind that draws from `part`; `None` if the user interrupted.
    pub(super) fn decode(
        &self,
        kind: &DecoderKind,
        part: &NamedDistribution,
        prompt: &[TokenId],
        seed: u64,
    ) -> Result<Option<TimedText>> {
        let (sampling, max_new_tokens) = (&part.sampling, self.settings.tokens);
        let decoder = TimedDecoder { kind, sampling, models: self.models, max_new_tokens };
        decoder.text(prompt, seed)
    }

    /// Cost of a lookup, by drafting along the prompts of `part` as if they were being decoded.
    fn lookup(&self, lookup: Lookup, part: &NamedDistribution) -> Result<CandidateProfile> {
        let speaker = models::speaker(&part.distribution, self.models);
        let mut drafter = models::lookup_drafter(lookup, speaker.details.vocab.size())?;
        let (mut drafts, mut draft) = (Vec::new(), Draft::default());
        for (seed, prompt) in self.prompts.of(&part.distribution, self.models)? {
            let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(seed);
            for len in prompt.len().div_ceil(2)..=prompt.len() {
                let wanted = self.settings.draft_length;
                let context = &prompt[..len];
                let request = DraftRequest { context, wanted, room: wanted, level: 2, eos: &[] };
                draft.clear();
                let began = Instant::now();
                drafter.draft(request, choices, &mut draft, &mut Vec::new())?;
                let y = began.elapsed().as_secs_f64();
                drafts.push(WeightedPoint { x: draft.len() as f64, y, weight: 1.0 });
            }
        }
        // Drafts are short: 5 % of them are disturbed by something or other.
        let (draft_seconds, token_seconds) = fit_line(drafts, 0.05);
        let cost = CandidateCost::Lookup { lookup, draft_seconds, token_seconds };
        let name = lookup.name().to_owned();
        Ok(CandidateProfile { name, models: Vec::new(), definition: None, cost })
    }
}

fn candidate(
    part: &NamedDistribution,
    times: &DistributionTimes,
    plain: &PlainSamples,
) -> CandidateProfile {
    let models: Vec<String> = part.distribution.models().into_iter().map(str::to_owned).collect();
    let composed = models.len() > 1;
    // The rest of a step after its pass and distribution. The decoder of a composed distribution
    // makes other passes, so that nothing can be said there.
    let rest =
        |&(seconds, context): &(f64, usize)| round(0, seconds, times.passes.seconds(1, context));
    let rests = plain.steps.iter().map(rest).collect();
    let seconds: Vec<f64> = plain.steps.iter().map(|(seconds, _)| *seconds).collect();
    let cost = CandidateCost::Distribution {
        times: times.passes.clone(),
        distribution: times.distribution,
        token_overhead: if composed { 0.0 } else { overhead(rests).round },
        plain: if composed { mean_time(&seconds) } else { None },
    };
    let definition = composed.then(|| definition(&part.distribution));
    CandidateProfile { name: part.name.clone(), models, definition, cost }
}

/// Tokens before the middle of a text, the mean over all texts. Not less than the shortest measured
/// context length: pass times are not extrapolated downwards.
fn context(times: &[DistributionTimes], plain: &[PlainSamples]) -> usize {
    let middles: Vec<f64> = plain.iter().flat_map(|plain| plain.middles.iter().copied()).collect();
    let mean = (middles.iter().sum::<f64>() / middles.len().max(1) as f64).round() as usize;
    let shortest = times.iter().filter_map(|times| times.passes.contexts().first());
    mean.max(shortest.max().copied().unwrap_or(0))
}

impl PlainSamples {
    /// Adds a text; its steps that read the prompt are not timed.
    fn add(&mut self, prompt: &[TokenId], TimedText { tokens, steps }: TimedText) {
        let mut text = prompt.len();
        for StepTime { seconds, reads_prompt, emitted, .. } in steps {
            if !reads_prompt {
                self.steps.push((seconds, text - 1));
            }
            text += emitted;
        }
        self.middles.push((prompt.len() + text) as f64 / 2.0);
        self.texts.push(PlainText { prompt: prompt.to_vec(), tokens });
    }
}

/// The mean with its standard error, `None` without samples. Steps of composed distributions are of
/// two kinds, with and without a deferred draw: their median says little.
fn mean_time(samples: &[f64]) -> Option<PassTime> {
    let median = PassTime::of_samples(samples)?;
    let n = samples.len() as f64;
    let seconds = samples.iter().sum::<f64>() / n;
    let squares = samples.iter().map(|sample| (sample - seconds).powi(2)).sum::<f64>();
    let error = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { median.standard_error };
    Some(PassTime { seconds, standard_error: error })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 2, variance 2/3 · 3/2 = 1, over three.
    #[test]
    fn a_mean_comes_with_its_error() {
        let found = mean_time(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(found.seconds, 2.0);
        assert!((found.standard_error - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(mean_time(&[]), None);
    }
}
