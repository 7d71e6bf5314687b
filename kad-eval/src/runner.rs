//! Carries out a plan: every item of every task with every decoder, once, whatever happens.

mod folder;
mod plan;
mod progress;
mod shard;
mod work;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use kad_core::decode::{Emitted, Generation, Limits, Round, Step, generate};
use kad_core::{DecodeError, SampledChoices, TokenId};
use sha2::{Digest, Sha256};

use crate::config::{DecoderKind, DecoderPlan, Execution, Experiment};
use crate::failure::Failure;
use crate::models::{self, Models, Rules, Settings};
use crate::record::{
    Acceptance, Done, LevelRecord, OriginCount, Passes, Record, RecordWriter, Span, key,
    origin_name,
};
use crate::task::{Item, Task};

pub(crate) use folder::RunFolder;
use plan::{Job, Plan};
pub(crate) use shard::Shard;

/// Set by Ctrl-C; the item in flight is given up.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How a plan is carried out; what is decoded does not depend on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// Which part of the plan; None for all of it.
    pub(crate) shard: Option<Shard>,
    /// Whether the first item that fails ends the run.
    pub(crate) fail_fast: bool,
}

/// What a run left behind.
pub(crate) struct Finished {
    /// In the order of the plan, without their texts.
    pub(crate) records: Vec<Record>,
    /// How many there are once all are done.
    pub(crate) total: usize,
    /// Items done in this session; the others were there already.
    pub(crate) new_items: usize,
    /// Items that could not be done, in the order in which that was found.
    pub(crate) failures: Vec<anyhow::Error>,
}

impl Finished {
    /// Whether nothing is left to do.
    pub(crate) fn is_complete(&self) -> bool {
        self.records.len() >= self.total
    }
}

/// A run in which nothing has succeeded after so many failures is broken, not unlucky.
const GIVE_UP_AFTER: usize = 10;

/// Runs what `folder` does not hold yet. Items are the outer loop, decoders the inner one: an
/// interrupted run is balanced, and decoders meet the same moods of the machine.
///
/// Every one of `others` decodes items beside `models`: the same models again, because not every
/// backend lets threads share one.
///
/// An item that fails is reported and left out; the next session tries it again.
///
/// # Errors
/// If the folder cannot be read or written, if an item shows that the request is wrong, or (with
/// [`How::fail_fast`], or if nothing else happens) if items fail. What was finished is in the folder.
pub(crate) fn run(
    experiment: &Experiment,
    (models, others): (&Models, Vec<Models>),
    tasks: &[Task],
    folder: &RunFolder,
    how: &How,
) -> Result<Finished, Failure> {
    let plan = Plan::new(experiment, tasks, how.shard);
    let (mut writer, mut records) = RecordWriter::resume(&folder.records(), &|it| plan.light(it))?;
    let done = check_held(&records, experiment, tasks)
        .with_context(|| format!("{} cannot be continued", folder.records().display()))?;
    let elsewhere = plan.held_elsewhere(folder, &done)?;
    records.extend(elsewhere);
    let held: Done = records.iter().map(key).collect();
    let left: Vec<Job> =
        plan.jobs.iter().filter(|job| !held.contains(&plan.key(job))).copied().collect();
    let already = records.len();
    let mut progress = progress::Progress::new(plan.jobs.len(), already);
    let mut failures = Vec::new();
    work::for_each(&plan, &left, models, others, &mut |made| {
        match made {
            Ok(record) => {
                writer.write(&record)?;
                progress.item(&record);
                records.push(plan.light(record));
            }
            Err(error) => {
                let error = Failure::from(error);
                let nothing_works = records.len() == already && failures.len() + 1 == GIVE_UP_AFTER;
                match error {
                    Failure::Work(error) if !how.fail_fast && !nothing_works => {
                        progress.failed(&format!("{error:#}"));
                        failures.push(error);
                    }
                    end => return Err(end),
                }
            }
        }
        Ok(())
    })?;
    let new_items = records.len() - already;
    records.sort_by_key(|record| plan.rank(record));
    let finished = Finished { records, total: plan.jobs.len(), new_items, failures };
    if how.shard.is_none() && finished.is_complete() {
        plan.settle(folder)?;
    }
    Ok(finished)
}

/// The items that `records` finish. Refuses records that this plan did not make: every number is
/// computed from them.
fn check_held(records: &[Record], experiment: &Experiment, tasks: &[Task]) -> Result<Done> {
    let mut seen = Done::new();
    for (line, record) in (1..).zip(records) {
        let problem = if !seen.insert(key(record)) {
            "stands twice"
        } else if !belongs(record, experiment, tasks) {
            "is not of this plan, or was changed"
        } else {
            continue;
        };
        bail!(
            "line {line} (decoder `{}`, task {}, item {}) {problem}; move the folder away to start anew",
            record.decoder,
            record.task,
            record.item
        );
    }
    Ok(seen)
}

fn belongs(record: &Record, experiment: &Experiment, tasks: &[Task]) -> bool {
    let task = tasks.iter().find(|task| task.name == record.task);
    let item = task.and_then(|task| task.items.iter().find(|item| item.id == record.item));
    experiment.decoders.iter().any(|plan| plan.name == record.decoder)
        && item.is_some_and(|item| item.gold == record.gold)
        && record.seed == item_seed(experiment.seed, &record.task, &record.item)
        && record.correct == (record.answer.as_ref() == Some(&record.gold))
}

/// A decoder of the plan with its rules made.
struct Arm<'p> {
    plan: &'p DecoderPlan,
    rules: Rules,
}

fn arms(experiment: &Experiment) -> Result<Vec<Arm<'_>>> {
    experiment.decoders.iter().map(|plan| Ok(Arm { plan, rules: Rules::of(&plan.kind)? })).collect()
}

impl Arm<'_> {
    /// Decodes one item from fresh sessions: its result depends on nothing that ran before.
    /// `None` if the user interrupted.
    fn decode(
        &self,
        seed: u64,
        models: &Models,
        task: &Task,
        item: &Item,
    ) -> Result<Option<Record>> {
        let kind = &self.plan.kind;
        let prompt = models::chat_prompt(kind, models, &task.messages(item))?;
        let seed = item_seed(seed, &task.name, &item.id);
        let names = kind.models();
        let counts = || {
            let model = |name: &&str| &models[*name].counted;
            names.iter().map(model).map(|model| (model.counts(), model.in_passes()))
        };
        let before: Vec<_> = counts().collect();
        let start = Instant::now();
        let made = self.generate(models, &prompt, seed)?;
        let seconds = start.elapsed().as_secs_f64();
        if INTERRUPTED.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let passes = names.iter().zip(counts().zip(before)).map(|(name, (after, before))| {
            let (done, time) = (after.0 - before.0, after.1.saturating_sub(before.1));
            let seconds = Some(time.as_secs_f64());
            ((*name).to_owned(), Passes { passes: done.passes, tokens: done.tokens, seconds })
        });
        let decides = matches!(kind.law(), DecoderKind::Deferral { .. });
        let speaker = models::speaker(kind, models);
        let Generated { tokens: made, steps, rounds, stop, remarks } = made;
        let tokens: Vec<TokenId> = made.iter().map(|t| t.token).collect();
        let answer = (task.extract)(&speaker.tokenizer.decode(&tokens, true)?);
        Ok(Some(Record {
            decoder: self.plan.name.clone(),
            task: task.name.clone(),
            item: item.id.clone(),
            seed,
            gold: item.gold.clone(),
            correct: answer.as_ref() == Some(&item.gold),
            answer,
            spans: spans(&made, speaker),
            tokens,
            stop,
            prompt_tokens: prompt.len() as u64,
            new_tokens: made.len() as u64,
            // Only lazy decoding draws the tokens of either model as such.
            deferred_tokens: (kind.execution() == Some(Execution::Lazy)).then(|| deferred(&made)),
            deferral_mass: decides.then(|| made.iter().map(|t| t.deferral_mass).sum()).flatten(),
            acceptance: kind.speculates().then(|| Acceptance::of(&steps)),
            levels: LevelRecord::of(&rounds),
            origins: OriginCount::of(&made),
            passes: passes.collect(),
            seconds,
            remarks,
        }))
    }

    /// The continuation. A prompt that does not fit is an item without an answer, not the end of
    /// the run.
    fn generate(&self, models: &Models, prompt: &[TokenId], seed: u64) -> Result<Generated> {
        let (kind, plan) = (&self.plan.kind, &self.plan.sampling);
        let (sampling, decision) = (plan.sampling()?, plan.decision()?);
        let eos = models::eos(kind, models, plan);
        let limits = Limits { max_new_tokens: plan.max_new_tokens as usize, eos };
        let settings = Settings { sampling, decision, eos: limits.eos.clone() };
        let mut decoder = models::decoder(kind, models, &self.rules, &settings)?;
        let mut choices = SampledChoices::seeded(seed);
        let mut observe = |_: &Emitted| match INTERRUPTED.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        match generate(&mut *decoder, prompt, &limits, &mut choices, &mut observe) {
            Ok(Generation { tokens, steps, rounds, stop }) => {
                let (stop, remarks) = (stop.to_string(), decoder.remarks());
                Ok(Generated { tokens, steps, rounds, stop, remarks })
            }
            Err(DecodeError::PromptTooLong { .. }) => {
                Ok(Generated { stop: PROMPT_TOO_LONG.to_owned(), ..Generated::default() })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why an item has no text, in its record.
const PROMPT_TOO_LONG: &str = "prompt_too_long";

/// A continuation, and why it ended.
#[derive(Default)]
struct Generated {
    tokens: Vec<Emitted>,
    steps: Vec<Step>,
    rounds: Vec<Round>,
    stop: String,
    remarks: Vec<String>,
}

fn deferred(made: &[Emitted]) -> u64 {
    made.iter().filter(|t| t.origin == kad_core::decode::Origin::Deferred).count() as u64
}

/// The text cut where the origin or its level changes. Special tokens are shown as they are written.
fn spans(made: &[Emitted], speaker: &models::Model) -> Vec<Span> {
    let mut stream = speaker.tokenizer.stream_with_special();
    let mut spans: Vec<Span> = Vec::new();
    for emitted in made {
        let (origin, level) = (origin_name(emitted.origin), emitted.level as u64);
        let text = stream.push(emitted.token);
        match spans.last_mut() {
            Some(span) if span.origin == origin && span.level == level => span.text.push_str(&text),
            _ => spans.push(Span { origin: origin.to_owned(), level, text }),
        }
    }
    let rest = stream.finish();
    if let Some(span) = spans.last_mut() {
        span.text.push_str(&rest);
    }
    spans
}

/// Seed of an item's draws: a digest of the experiment's seed, the task and the item, so that it
/// does not depend on the order of items, on resuming, or on the other decoders.
fn item_seed(seed: u64, task: &str, item: &str) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    for part in [task, item] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

#[cfg(test)]
mod tests {
    use super::item_seed;

    /// Pinned: a change here changes every recorded run.
    #[test]
    fn item_seeds_are_stable_and_separate() {
        assert_ne!(item_seed(7, "nano/test", "0"), item_seed(7, "nano/test", "1"));
        assert_ne!(item_seed(7, "ab", "c"), item_seed(7, "a", "bc"));
        assert_eq!(item_seed(7, "nano/test", "0"), 6_154_549_645_527_077_684);
    }
}
