//! Carries out a plan: every item of every task with every decoder, once, whatever happens.

mod arm;
mod folder;
mod progress;
mod score;

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::config::Experiment;
use crate::failure::Failure;
use crate::models::Models;
use crate::record::{Done, Record, RecordWriter, key};
use crate::task::Task;

pub(crate) use arm::PROMPT_TOO_LONG;
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
    let arms = arm::arms(experiment)?;
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
        && task.zip(item).is_some_and(|(task, item)| {
            record.correct == task.is_right(item, record.answer.as_deref())
        })
        && record.seed == item_seed(experiment.seed, &record.task, &record.item)
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
