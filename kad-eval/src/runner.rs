//! Carries out a plan: every item of every task with every decoder, once, whatever happens.

mod arm;
mod folder;
mod forecast;
mod look;
mod memory;
mod plan;
mod progress;
mod prompts;
mod score;
mod shard;
mod tally;
mod work;

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::config::Experiment;
use crate::failure::Failure;
use crate::models::Models;
use crate::record::{Record, RecordWriter};
use crate::task::Task;

pub(crate) use arm::PROMPT_TOO_LONG;
pub(crate) use folder::RunFolder;
pub(crate) use look::{Held, look};
pub(crate) use memory::{Caches, caches};
use plan::{Done, Job, Plan};
use progress::Progress;
pub(crate) use prompts::{prompt, typical};
pub(crate) use score::predictor as law_along;
pub(crate) use shard::Shard;
pub(crate) use tally::Tally;

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
    let done = plan
        .check_held(&records)
        .with_context(|| format!("{} cannot be continued", folder.records().display()))?;
    let elsewhere = plan.held_elsewhere(folder, &done)?;
    records.extend(elsewhere);
    let held: Done = records.iter().filter_map(|record| plan.rank(record)).collect();
    let left: Vec<Job> =
        plan.jobs.iter().filter(|job| !held.contains(&Plan::place(job))).copied().collect();
    let already = records.len();
    let jobs = others.len() + 1;
    let mut progress = Progress::new(&plan, &records, (models, jobs));
    let mut failures = Vec::new();
    work::for_each(&plan, &left, models, others, &mut |job, made| {
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
                        let arm = job.map(|job| (job.task, job.decoder));
                        progress.failed(arm, &format!("{error:#}"));
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
