//! Carries out a plan: every item of every task with every decoder, once, whatever happens.

mod folder;
mod progress;

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

/// Set by Ctrl-C; the item in flight is given up.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// What a run left behind.
pub(crate) struct Finished {
    pub(crate) records: Vec<Record>,
    pub(crate) complete: bool,
    /// Items done in this session; the others were there already.
    pub(crate) new_items: usize,
}

/// Runs what `folder` does not hold yet. Items are the outer loop, decoders the inner one: an
/// interrupted run is balanced, and decoders meet the same moods of the machine.
///
/// # Errors
/// The first item that fails, by name; what was finished before it is in the folder.
pub(crate) fn run(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    folder: &RunFolder,
) -> Result<Finished, Failure> {
    let (mut writer, mut records) = RecordWriter::resume(&folder.records())?;
    let finished = check_held(&records, experiment, tasks)
        .with_context(|| format!("{} cannot be continued", folder.records().display()))?;
    let arms = arms(experiment)?;
    let total: usize = tasks.iter().map(|task| task.items.len() * arms.len()).sum();
    let progress = progress::Progress::new(total, records.len());
    let mut new_items = 0;
    for task in tasks {
        for item in &task.items {
            for arm in &arms {
                let key = (arm.plan.name.clone(), task.name.clone(), item.id.clone());
                if finished.contains(&key) {
                    continue;
                }
                let made = arm.decode(experiment.seed, models, task, item).with_context(|| {
                    format!("decoder `{}`, task {}, item {}", arm.plan.name, task.name, item.id)
                })?;
                let Some(record) = made else {
                    return Ok(Finished { records, complete: false, new_items });
                };
                writer.write(&record)?;
                progress.item(&record);
                records.push(record);
                new_items += 1;
            }
        }
    }
    let complete = records.len() >= total;
    Ok(Finished { records, complete, new_items })
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
