//! Makes a profile: passes first, then texts.

use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kad_core::decode::Limits;
use kad_core::{ChoiceSource, LanguageModel, Predictor, SampledChoices, TokenId};
use kad_polybasic::theory::{PassTime, RunLengths};
use kad_polybasic::{Ask, Draft, Drafter, LookupDrafter, NgramLookup, SuffixLookup};

use super::format::{About, Candidate, Cost, Effort, Lookup, Pair, Profile};
use super::passes::{Measured, Passes};
use super::progress::Progress;
use super::steps::{StepTime, decode, in_passes};
use super::subjects::{Subjects, definition};
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels, Part};
use crate::failure::WrongRequest;
use crate::models::{self, Models, Rules, Settings};
use crate::runner::INTERRUPTED;

/// Plain texts of a single model: enough to see what a token takes beside its pass.
const PLAIN_TEXTS: usize = 4;

/// Everything a profile is made from.
pub(crate) struct Measurement<'e> {
    pub(crate) experiment: &'e str,
    pub(crate) subjects: &'e Subjects,
    pub(crate) models: &'e Models,
    pub(crate) prompts: &'e Prompts,
    pub(crate) effort: Effort,
    /// Rounds of passes; None for as many as there is time for.
    pub(crate) rounds: Option<usize>,
}

/// Real prompts: for each item the conversation, put into tokens by whoever speaks for a law.
pub(crate) struct Prompts {
    /// Seed of the item's draws, and what is asked.
    pub(crate) items: Vec<(u64, Vec<kad_backends::Message>)>,
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

    /// The prompts for each of `kinds`, of the items that leave room for a token in all models of all
    /// of them: what is compared is decoded from the same items.
    ///
    /// # Errors
    /// If there is no chat template, or no prompt fits.
    pub(crate) fn common(
        &self,
        kinds: &[&DecoderKind],
        models: &Models,
    ) -> Result<Vec<(u64, Vec<Vec<TokenId>>)>> {
        let mut found = Vec::with_capacity(self.items.len());
        for (seed, messages) in &self.items {
            let texts = kinds.iter().map(|kind| models::chat_prompt(kind, models, messages));
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

/// What plain decoding of one law showed.
struct Plain {
    /// Seconds of a step that read no prompt.
    steps: Vec<f64>,
    /// What of it was spent outside of passes.
    outside: Vec<f64>,
    /// Tokens before the middle of each text.
    middles: Vec<f64>,
}

impl Measurement<'_> {
    /// The profile; None if the user interrupted.
    ///
    /// # Errors
    /// If a model fails, a model has no chat template, or no prompt fits.
    pub(crate) fn profile(&self) -> Result<Option<Profile>> {
        let rules = self.rules()?;
        let Some((measured, rounds)) = self.passes(&rules)? else { return Ok(None) };
        let Some(plain) = self.plain(&rules)? else { return Ok(None) };
        let (mut candidates, context) =
            (self.laws(&measured, &plain), self.context(&measured, &plain));
        for lookup in &self.subjects.lookups {
            candidates.push(self.lookup(*lookup)?);
        }
        let Some(mut pairs) = self.pairs(&mut candidates, context)? else { return Ok(None) };
        let Some((trees, of_trees)) = self.trees(&candidates, context)? else { return Ok(None) };
        candidates.extend(trees);
        pairs.extend(of_trees);
        let law = self.subjects.laws.first().context("no law is measured")?;
        Ok(Some(Profile {
            version: Profile::VERSION,
            experiment: self.experiment.to_owned(),
            target: self.subjects.baseline.clone(),
            about: About::now(&law.sampling, self.models),
            effort: Effort { rounds, ..self.effort.clone() },
            context,
            candidates,
            pairs,
        }))
    }

    fn rules(&self) -> Result<Vec<Rules>> {
        self.subjects.laws.iter().map(|law| Rules::of(&law.law)).collect()
    }

    fn passes(&self, rules: &[Rules]) -> Result<Option<(Vec<Measured>, usize)>> {
        let laws = &self.subjects.laws;
        let make = |law: usize| -> Result<Box<dyn Predictor + '_>> {
            models::predictor(&laws[law], self.models, &rules[law])
        };
        let prompt = |law: &Part| -> Result<Vec<TokenId>> {
            let prompts = self.prompts.of(&law.law, self.models)?;
            Ok(prompts.into_iter().flat_map(|(_, prompt)| prompt).collect())
        };
        let prompts = laws.iter().map(prompt).collect::<Result<Vec<_>>>()?;
        let mut passes = Passes::new(make, &prompts, self.rounds)?;
        let progress = Progress::new("rounds of passes", passes.least_rounds());
        let began = Instant::now();
        while passes.round(began)? {
            progress.one();
        }
        if interrupted() { Ok(None) } else { passes.finish().map(Some) }
    }

    /// Plain decoding of every law, text by text.
    fn plain(&self, rules: &[Rules]) -> Result<Option<Vec<Plain>>> {
        let laws = &self.subjects.laws;
        let texts = |law: &Part| match law.law.models().len() {
            1 => self.effort.prompts.min(PLAIN_TEXTS),
            _ => self.effort.prompts,
        };
        let progress = Progress::new("plain texts", laws.iter().map(texts).sum());
        let mut found: Vec<Plain> = Vec::new();
        for (law, rules) in laws.iter().zip(rules) {
            let mut plain = Plain { steps: Vec::new(), outside: Vec::new(), middles: Vec::new() };
            for (seed, prompt) in self.prompts.of(&law.law, self.models)?.iter().take(texts(law)) {
                let Some(steps) = self.text(&law.law, law, rules, prompt, *seed)? else {
                    return Ok(None);
                };
                plain.add(prompt.len(), &steps);
                progress.one();
            }
            found.push(plain);
        }
        Ok(Some(found))
    }

    /// One text of a decoder of this kind, which draws from `law`.
    pub(super) fn text(
        &self,
        kind: &DecoderKind,
        law: &Part,
        rules: &Rules,
        prompt: &[TokenId],
        seed: u64,
    ) -> Result<Option<Vec<StepTime>>> {
        let eos = models::eos(kind, self.models);
        let (sampling, decision) = (law.sampling.sampling()?, law.sampling.decision()?);
        let limits = Limits { max_new_tokens: self.effort.tokens, eos: eos.clone() };
        let settings = Settings { sampling, decision, eos };
        let mut decoder = models::decoder(kind, self.models, rules, &settings)?;
        let names = kind.models();
        let clock = || in_passes(self.models, &names);
        Ok(decode(&mut *decoder, prompt, &limits, seed, &clock)?.map(|text| text.steps))
    }

    fn laws(&self, measured: &[Measured], plain: &[Plain]) -> Vec<Candidate> {
        let laws = self.subjects.laws.iter().zip(measured.iter().zip(plain));
        let candidate = |(law, (measured, plain)): (&Part, (&Measured, &Plain))| {
            let models: Vec<String> = law.law.models().into_iter().map(str::to_owned).collect();
            let composed = models.len() > 1;
            // What is left of a token when its pass and its law are taken off; drawing is the same for
            // all, so that of a composed law, whose decoder makes other laws, is left out.
            let outside = median(&plain.outside).unwrap_or(0.0);
            let left = (outside - measured.law.seconds).max(0.0);
            let cost = Cost::Law {
                times: measured.times.clone(),
                law: measured.law,
                round_overhead: 0.0,
                token_overhead: if composed { 0.0 } else { left },
                plain: if composed {
                    PassTime::of_samples(&plain.steps).map(|t| mean_of(t, &plain.steps))
                } else {
                    None
                },
            };
            let definition = composed.then(|| definition(&law.law));
            Candidate { name: law.name.clone(), models, definition, cost }
        };
        laws.map(candidate).collect()
    }

    /// Tokens before the middle of a text, the mean; no fewer than passes were measured after: straight
    /// lines through two measured contexts say little about shorter ones.
    fn context(&self, measured: &[Measured], plain: &[Plain]) -> usize {
        let middles: Vec<f64> =
            plain.iter().flat_map(|plain| plain.middles.iter().copied()).collect();
        let mean = (middles.iter().sum::<f64>() / middles.len().max(1) as f64).round() as usize;
        let shortest = measured.iter().filter_map(|law| law.times.contexts().first());
        mean.max(shortest.max().copied().unwrap_or(0))
    }

    /// What looking up takes, by drafting along the prompts as if they were being decoded.
    fn lookup(&self, lookup: Lookup) -> Result<Candidate> {
        let first = self.subjects.laws.first().context("no law is measured")?;
        let speaker = models::speaker(&first.law, self.models);
        let mut drafter: Box<dyn Drafter> = match lookup {
            Lookup::NGram { longest, shortest } => Box::new(LookupDrafter::new(
                NgramLookup::new(shortest.get(), longest.get())?,
                speaker.details.vocab.size(),
            )),
            Lookup::SuffixAutomaton { longest, shortest } => Box::new(LookupDrafter::new(
                SuffixLookup::new(shortest.get(), longest.get())?,
                speaker.details.vocab.size(),
            )),
        };
        let (mut drafts, mut draft) = (Vec::new(), Draft::default());
        for (seed, prompt) in self.prompts.of(&first.law, self.models)? {
            let choices: &mut dyn ChoiceSource = &mut SampledChoices::seeded(seed);
            for len in prompt.len().div_ceil(2)..=prompt.len() {
                let wanted = self.effort.draft_length;
                let context = &prompt[..len];
                let ask = Ask { context, wanted, room: wanted, level: 2, eos: &[] };
                draft.clear();
                let began = Instant::now();
                drafter.draft(ask, choices, &mut draft, &mut Vec::new())?;
                drafts.push((draft.len() as f64, began.elapsed().as_secs_f64()));
            }
        }
        let (draft_seconds, token_seconds) = line(drafts);
        let cost = Cost::Lookup { lookup, draft_seconds, token_seconds };
        let name = lookup.draft().name();
        Ok(Candidate { name, models: Vec::new(), definition: None, cost })
    }

    /// Really speculates with every pair that may be worth while, prompt by prompt, and finds what a
    /// round takes beside passes and laws.
    fn pairs(&self, candidates: &mut [Candidate], context: usize) -> Result<Option<Vec<Pair>>> {
        let chains = self.plausible(candidates, context)?;
        let progress = Progress::new("drafted texts", chains.len() * self.effort.prompts);
        let rules: Vec<Rules> =
            chains.iter().map(|chain| Rules::of(&chain.kind)).collect::<Result<_>>()?;
        let mut found: Vec<(RunLengths, Vec<f64>)> = vec![Default::default(); chains.len()];
        let prompts: Vec<_> = chains
            .iter()
            .map(|chain| self.prompts.of(&chain.kind, self.models))
            .collect::<Result<_>>()?;
        for text in 0..self.effort.prompts {
            for (((chain, rules), prompts), (runs, outside)) in
                chains.iter().zip(&rules).zip(&prompts).zip(&mut found)
            {
                let Some((seed, prompt)) = prompts.get(text) else { continue };
                let law = &self.subjects.laws[chain.verifier];
                let Some(steps) = self.text(&chain.kind, law, rules, prompt, *seed)? else {
                    return Ok(None);
                };
                let drafter = &candidates[chain.drafter];
                for step in &steps {
                    record(step, runs)?;
                    if !step.reads_prompt {
                        outside.extend(beside(&candidates[chain.verifier], drafter, step));
                    }
                }
                progress.one();
            }
        }
        let mut pairs = Vec::with_capacity(chains.len());
        let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); candidates.len()];
        for (chain, (runs, outside)) in chains.iter().zip(found) {
            rounds[chain.verifier].extend(outside);
            let [verifier, drafter] =
                [chain.verifier, chain.drafter].map(|at| candidates[at].name.clone());
            pairs.push(Pair { verifier, drafter, runs });
        }
        for (candidate, rounds) in candidates.iter_mut().zip(&rounds) {
            if let Cost::Law { round_overhead, .. } = &mut candidate.cost {
                *round_overhead = median(rounds).unwrap_or(0.0).max(0.0);
            }
        }
        Ok(Some(pairs))
    }

    /// Chains of two levels whose drafter is cheaper than what it drafts for, and of one vocabulary.
    fn plausible(&self, candidates: &[Candidate], context: usize) -> Result<Vec<TwoLevels>> {
        let seconds = |at: usize| match &candidates[at].cost {
            Cost::Law { times, .. } => times.seconds(1, context),
            Cost::Lookup { .. } | Cost::Tree { .. } => 0.0,
        };
        let laws = &self.subjects.laws;
        let drafts = laws.iter().map(|law| DraftPlan::Law(law.clone()));
        let lookups = self.subjects.lookups.iter().map(|lookup| lookup.draft());
        let drafts: Vec<DraftPlan> = drafts.chain(lookups).collect();
        let length =
            self.effort.draft_length.try_into().context("drafts have at least one token")?;
        let mut found = Vec::new();
        for (verifier, target) in laws.iter().enumerate() {
            for (drafter, draft) in drafts.iter().enumerate() {
                if drafter == verifier || seconds(drafter) >= seconds(verifier) {
                    continue;
                }
                let levels = Levels::Listed(vec![LevelPlan::of(draft.clone(), length)]);
                let kind = DecoderKind::Chain(ChainPlan { target: target.clone(), levels });
                // Another vocabulary is no mistake here: those models are of another chain.
                if models::check_shared(&kind, self.models).is_ok() {
                    found.push(TwoLevels { verifier, drafter, kind });
                }
            }
        }
        Ok(found)
    }
}

/// A chain of two levels, by the indices of its candidates.
struct TwoLevels {
    verifier: usize,
    drafter: usize,
    kind: DecoderKind,
}

impl Plain {
    /// Steps that read the prompt are another matter.
    fn add(&mut self, prompt: usize, steps: &[StepTime]) {
        let later = || steps.iter().filter(|step| !step.reads_prompt);
        self.steps.extend(later().map(|step| step.seconds));
        self.outside.extend(later().map(|step| step.seconds - step.passing()));
        let made: usize = steps.iter().map(|step| step.emitted).sum();
        self.middles.push(prompt as f64 + made as f64 / 2.0);
    }
}

/// Counts the round of a step. A draft that ended with an end token or with the room for tokens was as
/// long as it was asked for; one that the drafter ended of its own accord was not.
fn record(step: &StepTime, runs: &mut RunLengths) -> Result<()> {
    let Some(round) = step.round else { return Ok(()) };
    let asked = round.drafted + usize::from(round.stopped);
    if asked > 0 {
        runs.record(asked, round.drafted, round.accepted)?;
    }
    Ok(())
}

/// What a step took beside passes, laws, drawing and looking up.
fn beside(verifier: &Candidate, drafter: &Candidate, step: &StepTime) -> Option<f64> {
    let round = step.round?;
    let Cost::Law { law, .. } = &verifier.cost else { return None };
    let drafted = round.drafted as f64;
    let drafting = match &drafter.cost {
        Cost::Law { law, token_overhead, .. } => drafted * (law.seconds + token_overhead),
        Cost::Lookup { draft_seconds, token_seconds, .. } => {
            draft_seconds + drafted * token_seconds
        }
        Cost::Tree { .. } => return None,
    };
    let laws = (round.accepted + 1) as f64 * law.seconds;
    Some(step.seconds - step.passing() - drafting - laws)
}

pub(super) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

fn median(samples: &[f64]) -> Option<f64> {
    PassTime::of_samples(samples).map(|time| time.seconds)
}

/// The mean of steps that are of two kinds (with and without a deferred draw), where the median says
/// little.
fn mean_of(time: PassTime, samples: &[f64]) -> PassTime {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
    let spread = if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { time.standard_error };
    PassTime { seconds: mean, standard_error: spread }
}

/// `y = a + b x` by least squares, neither below 0; the slowest twentieth is left out: a busy moment
/// of the machine.
fn line(mut points: Vec<(f64, f64)>) -> (f64, f64) {
    points.sort_by(|p, q| p.1.total_cmp(&q.1));
    points.truncate(points.len() - points.len() / 20);
    let n = points.len().max(1) as f64;
    let sum = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (x, y) = (sum(&|p| p.0), sum(&|p| p.1));
    let (xx, xy) = (sum(&|p| (p.0 - x).powi(2)), sum(&|p| (p.0 - x) * (p.1 - y)));
    let slope = if xx > 0.0 { (xy / xx).max(0.0) } else { 0.0 };
    ((y - slope * x).max(0.0), slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_among_busy_moments() {
        let mut points: Vec<(f64, f64)> =
            (0..100).map(|i| f64::from(i % 17)).map(|x| (x, 3.0 + 0.5 * x)).collect();
        points.extend([(0.0, 1e3), (8.0, 1e4), (16.0, 1e5)]);
        let (a, b) = line(points);
        assert!((a - 3.0).abs() < 1e-9 && (b - 0.5).abs() < 1e-9, "{a} {b}");
        assert_eq!(line(vec![(2.0, 4.0); 5]), (4.0, 0.0));
        assert_eq!(line(Vec::new()), (0.0, 0.0));
    }

    /// Mean 2, variance 2/3 · 3/2 = 1, over three.
    #[test]
    fn a_mean_comes_with_its_error() {
        let time = PassTime { seconds: 9.0, standard_error: 9.0 };
        let found = mean_of(time, &[1.0, 2.0, 3.0]);
        assert_eq!(found.seconds, 2.0);
        assert!((found.standard_error - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
