//! Makes a profile: passes first, then texts.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use kad_core::decode::Limits;
use kad_core::{ChoiceSource, LanguageModel, Predictor, SampledChoices, TokenId};
use kad_polybasic::theory::PassTime;
use kad_polybasic::{Draft, DraftRequest};

use super::file::{About, Candidate, Cost, Effort, Lookup, Profile};
use super::passes::{Grid, Measured, Passes};
use super::round_overhead::{Point, Rounds, line};
use super::targets::{ProfileTargets, definition};
use super::traces::Written;
use crate::config::{DecoderKind, NamedDistribution};
use crate::failure::WrongRequest;
use crate::interrupt;
use crate::models::{self, Models, Rules, Settings};
use crate::speed::progress::Progress;
use crate::speed::timed_decoding::{StepTime, TimedText, decode, in_passes};
use crate::task::Conversation;

/// Plain texts of a single model: enough to see what a token takes beside its pass.
const PLAIN_TEXTS: usize = 4;

/// Everything a profile is made from.
pub(crate) struct Measurement<'e> {
    pub(crate) experiment: &'e str,
    pub(crate) targets: &'e ProfileTargets,
    pub(crate) models: &'e Models,
    pub(crate) prompts: &'e Prompts,
    pub(crate) effort: Effort,
    /// Rounds of passes; None for as many as there is time for.
    pub(crate) rounds: Option<usize>,
}

/// Real prompts: for each item the conversation, put into tokens by whoever speaks for a
/// distribution.
pub(crate) struct Prompts {
    /// Seed of the item's draws, and what is asked.
    pub(crate) items: Vec<(u64, Conversation)>,
}

impl Prompts {
    /// The prompts for `kind` that leave room for a token in all of its models.
    ///
    /// # Errors
    /// If there is no chat template, or no prompt fits.
    pub(crate) fn of(
        &self,
        kind: &DecoderKind,
        models: &Models,
    ) -> Result<Vec<(u64, Vec<TokenId>)>> {
        let found = self.common(&[kind], models)?;
        Ok(found
            .into_iter()
            .flat_map(|(seed, texts)| texts.into_iter().map(move |t| (seed, t)))
            .collect())
    }

    /// The prompts for each of `kinds`, of the items that leave room for a token in all models of
    /// all of them: what is compared is decoded from the same items.
    ///
    /// # Errors
    /// If there is no chat template, or no prompt fits.
    pub(crate) fn common(
        &self,
        kinds: &[&DecoderKind],
        models: &Models,
    ) -> Result<Vec<(u64, Vec<Vec<TokenId>>)>> {
        let mut found = Vec::with_capacity(self.items.len());
        for (seed, asked) in &self.items {
            let texts = kinds.iter().map(|kind| {
                let prompt = models::prompt(kind, models, asked)?;
                prompt.tokens(models::speaker(kind, models), "")
            });
            found.push((*seed, texts.collect::<Result<Vec<_>>>()?));
        }
        let mut names: Vec<&str> = kinds.iter().flat_map(|kind| kind.models()).collect();
        names.sort_unstable();
        names.dedup();
        let room = names.iter().map(|name| models[*name].counted.context_len()).min();
        let room = room.unwrap_or(0);
        let shortest = found.iter().filter_map(|(_, texts)| texts.iter().map(Vec::len).max()).min();
        let fits = |text: &Vec<TokenId>| !text.is_empty() && text.len() < room;
        found.retain(|(_, texts)| texts.iter().all(fits));
        if found.is_empty() {
            let shortest = shortest
                .map_or("there is none".to_owned(), |n| format!("the shortest has {n} tokens"));
            bail!(WrongRequest(format!(
                "no prompt fits the context of {room} tokens of `{}`: {shortest}; name a task with \
                 shorter ones in the experiment",
                names.join("`, `")
            )));
        }
        Ok(found)
    }
}

/// What plain decoding of one distribution showed.
#[derive(Default)]
struct Plain {
    /// Seconds of a step that read no prompt.
    steps: Vec<f64>,
    /// Tokens before it.
    contexts: Vec<usize>,
    /// Tokens before the middle of each text.
    middles: Vec<f64>,
    texts: Vec<Written>,
}

impl Measurement<'_> {
    /// The profile; None if the user interrupted.
    ///
    /// # Errors
    /// If a model fails, a model has no chat template, or no prompt fits.
    pub(crate) fn profile(&self) -> Result<Option<Profile>> {
        let rules = self.rules()?;
        let Some((measured, rounds)) = self.passes(&rules)? else { return Ok(None) };
        let Some(author) = self.author(&measured) else { bail!("no distribution is measured") };
        let Some(plain) = self.plain(&rules, author)? else { return Ok(None) };
        let Some(texts) = self.texts(author, &plain[author].texts, &rules)? else {
            return Ok(None);
        };
        let (mut candidates, context) =
            (self.distributions(&measured, &plain), self.context(&measured, &plain));
        for lookup in &self.targets.lookups {
            candidates.push(self.lookup(*lookup)?);
        }
        let Some(mut pairs) = self.pairs(&candidates, context)? else { return Ok(None) };
        let Some((trees, of_trees)) = self.trees(&candidates, context)? else { return Ok(None) };
        candidates.extend(trees);
        pairs.extend(of_trees);
        let distribution =
            self.targets.distributions.first().context("no distribution is measured")?;
        Ok(Some(Profile {
            version: Profile::VERSION,
            experiment: self.experiment.to_owned(),
            target: self.targets.baseline.clone(),
            about: About::now(&distribution.sampling, self.models),
            effort: Effort { rounds, ..self.effort.clone() },
            context,
            candidates,
            pairs,
            texts: Some(texts),
        }))
    }

    fn rules(&self) -> Result<Vec<Rules>> {
        self.targets
            .distributions
            .iter()
            .map(|distribution| Rules::of(&distribution.distribution))
            .collect()
    }

    fn passes(&self, rules: &[Rules]) -> Result<Option<(Vec<Measured>, usize)>> {
        let distributions = &self.targets.distributions;
        let make = |distribution: usize| -> Result<Box<dyn Predictor + '_>> {
            models::predictor(&distributions[distribution], self.models, &rules[distribution])
        };
        let prompt = |distribution: &NamedDistribution| -> Result<Vec<TokenId>> {
            let prompts = self.prompts.of(&distribution.distribution, self.models)?;
            Ok(prompts.into_iter().flat_map(|(_, prompt)| prompt).collect())
        };
        let prompts = distributions.iter().map(prompt).collect::<Result<Vec<_>>>()?;
        let mut passes = Passes::new(Grid::default(), make, &prompts, self.rounds)?;
        let progress = Progress::new("rounds of passes", passes.least_rounds());
        let began = Instant::now();
        while passes.round(began)? {
            progress.one();
        }
        if interrupted() { Ok(None) } else { passes.finish().map(Some) }
    }

    /// Whose texts are kept: the distribution of the baseline, or else the slowest, a model before
    /// composed distributions.
    fn author(&self, measured: &[Measured]) -> Option<usize> {
        let distributions = &self.targets.distributions;
        let rank = |at: &usize| {
            let distribution = &distributions[*at];
            let (baseline, single) = (
                self.targets.baseline.as_ref() == Some(&distribution.name),
                distribution.distribution.models().len() == 1,
            );
            let shortest = measured[*at].times.contexts().first().copied().unwrap_or(0);
            (baseline, single, measured[*at].times.seconds(1, shortest))
        };
        let above = |a: &usize, b: &usize| {
            let (a, b) = (rank(a), rank(b));
            (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
        };
        (0..distributions.len()).max_by(above)
    }

    /// Plain decoding of every distribution, text by text: every prompt for the `author`.
    fn plain(&self, rules: &[Rules], author: usize) -> Result<Option<Vec<Plain>>> {
        let distributions = &self.targets.distributions;
        let texts = |at: usize| match distributions[at].distribution.models().len() {
            1 if at != author => self.effort.prompts.min(PLAIN_TEXTS),
            _ => self.effort.prompts,
        };
        let progress = Progress::new("plain texts", (0..distributions.len()).map(texts).sum());
        let mut found: Vec<Plain> = Vec::new();
        for (at, (distribution, rules)) in distributions.iter().zip(rules).enumerate() {
            let mut plain = Plain::default();
            for (seed, prompt) in
                self.prompts.of(&distribution.distribution, self.models)?.iter().take(texts(at))
            {
                let written =
                    self.written(&distribution.distribution, distribution, rules, prompt, *seed)?;
                let Some(TimedText { tokens, steps }) = written else { return Ok(None) };
                plain.add(prompt.len(), &steps);
                plain.texts.push(Written { prompt: prompt.clone(), tokens });
                progress.one();
            }
            found.push(plain);
        }
        Ok(Some(found))
    }

    /// The steps of one text of a decoder of this kind, which draws from `distribution`.
    pub(super) fn text(
        &self,
        kind: &DecoderKind,
        distribution: &NamedDistribution,
        rules: &Rules,
        prompt: &[TokenId],
        seed: u64,
    ) -> Result<Option<Vec<StepTime>>> {
        Ok(self.written(kind, distribution, rules, prompt, seed)?.map(|text| text.steps))
    }

    /// The same with its tokens.
    fn written(
        &self,
        kind: &DecoderKind,
        distribution: &NamedDistribution,
        rules: &Rules,
        prompt: &[TokenId],
        seed: u64,
    ) -> Result<Option<TimedText>> {
        let eos = models::eos(kind, self.models, &distribution.sampling);
        let (sampling, decision) =
            (distribution.sampling.sampling()?, distribution.sampling.decision()?);
        let limits = Limits { max_new_tokens: self.effort.tokens, eos: eos.clone() };
        let settings = Settings { sampling, decision, eos };
        let mut decoder = models::decoder(kind, self.models, rules, &settings)?;
        let names = kind.models();
        let clock = || in_passes(self.models, &names);
        Ok(decode(&mut *decoder, prompt, &limits, seed, &clock)?)
    }

    fn distributions(&self, measured: &[Measured], plain: &[Plain]) -> Vec<Candidate> {
        let distributions = self.targets.distributions.iter().zip(measured.iter().zip(plain));
        let candidate =
            |(distribution, (measured, plain)): (&NamedDistribution, (&Measured, &Plain))| {
                let models: Vec<String> =
                    distribution.distribution.models().into_iter().map(str::to_owned).collect();
                let composed = models.len() > 1;
                // What is left of a token when its pass and its distribution are taken off. The decoder
                // of a composed distribution makes other passes.
                let mut rounds = Rounds::default();
                for (seconds, context) in plain.steps.iter().zip(&plain.contexts) {
                    rounds.add(0, *seconds, measured.times.seconds(1, *context));
                }
                let cost = Cost::Distribution {
                    times: measured.times.clone(),
                    distribution: measured.distribution,
                    token_overhead: if composed { 0.0 } else { rounds.beside().round },
                    plain: if composed {
                        PassTime::of_samples(&plain.steps).map(|t| mean_of(t, &plain.steps))
                    } else {
                        None
                    },
                };
                let definition = composed.then(|| definition(&distribution.distribution));
                Candidate { name: distribution.name.clone(), models, definition, cost }
            };
        distributions.map(candidate).collect()
    }

    /// Tokens before the middle of a text, the mean; no fewer than passes were measured after:
    /// straight lines through two measured contexts say little about shorter ones.
    fn context(&self, measured: &[Measured], plain: &[Plain]) -> usize {
        let middles: Vec<f64> =
            plain.iter().flat_map(|plain| plain.middles.iter().copied()).collect();
        let mean = (middles.iter().sum::<f64>() / middles.len().max(1) as f64).round() as usize;
        let shortest =
            measured.iter().filter_map(|distribution| distribution.times.contexts().first());
        mean.max(shortest.max().copied().unwrap_or(0))
    }

    /// What looking up takes, by drafting along the prompts as if they were being decoded.
    fn lookup(&self, lookup: Lookup) -> Result<Candidate> {
        let first = self.targets.distributions.first().context("no distribution is measured")?;
        let speaker = models::speaker(&first.distribution, self.models);
        let vocab = speaker.details.vocab.size();
        let mut drafter = models::lookup(&lookup.draft(), vocab)?.context("a lookup is one")?;
        let (mut drafts, mut draft) = (Vec::new(), Draft::default());
        for (seed, prompt) in self.prompts.of(&first.distribution, self.models)? {
            let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(seed);
            for len in prompt.len().div_ceil(2)..=prompt.len() {
                let wanted = self.effort.draft_length;
                let context = &prompt[..len];
                let ask = DraftRequest { context, wanted, room: wanted, level: 2, eos: &[] };
                draft.clear();
                let began = Instant::now();
                drafter.draft(ask, choices, &mut draft, &mut Vec::new())?;
                let y = began.elapsed().as_secs_f64();
                drafts.push(Point { x: draft.len() as f64, y, weight: 1.0 });
            }
        }
        // Drafts are short: a twentieth of them are disturbed by something or other.
        let (draft_seconds, token_seconds) = line(drafts, 0.05);
        let cost = Cost::Lookup { lookup, draft_seconds, token_seconds };
        let name = lookup.draft().name();
        Ok(Candidate { name, models: Vec::new(), definition: None, cost })
    }
}

impl Plain {
    /// Steps that read the prompt are another matter.
    fn add(&mut self, prompt: usize, steps: &[StepTime]) {
        let mut text = prompt;
        for step in steps {
            if !step.reads_prompt {
                self.steps.push(step.seconds);
                self.contexts.push(text - 1);
            }
            text += step.emitted;
        }
        self.middles.push((prompt + text) as f64 / 2.0);
    }
}

pub(super) fn interrupted() -> bool {
    interrupt::requested()
}

/// The mean of steps that are of two kinds (with and without a deferred draw), where the median
/// says little.
fn mean_of(time: PassTime, samples: &[f64]) -> PassTime {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
    let spread = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { time.standard_error };
    PassTime { seconds: mean, standard_error: spread }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean 2, variance 2/3 · 3/2 = 1, over three.
    #[test]
    fn a_mean_comes_with_its_error() {
        let time = PassTime { seconds: 9.0, standard_error: 9.0 };
        let found = mean_of(time, &[1.0, 2.0, 3.0]);
        assert_eq!(found.seconds, 2.0);
        assert!((found.standard_error - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
