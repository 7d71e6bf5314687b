//! An existing run, read without touching its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::jobs::{FinishedJobs, RunJobs};
use super::{RunFolder, Shard};
use crate::config::Experiment;
use crate::forecast::Tally;
use crate::run::record::{Record, read};
use crate::task::Task;

/// The finished part of a run.
pub(crate) struct ExistingRun {
    /// The run's folder, which need not exist.
    pub(crate) folder: PathBuf,
    pub(crate) exists: bool,
    /// Progress of this run, or of the shard that is asked for.
    pub(crate) tally: Tally,
    /// Progress of the whole run, by all shards.
    pub(crate) whole: Tally,
}

/// Reads `out/name/run_id` without creating, writing or locking a file.
pub(crate) fn find(
    experiment: &Experiment,
    tasks: &[Task],
    (out, run_id): (&Path, &str),
    shard: Option<Shard>,
) -> Result<ExistingRun> {
    let plan = RunJobs::new(experiment, tasks, None);
    let folder = RunFolder::unlocked(out, &experiment.name, run_id);
    let exists = folder.path().is_dir();
    let records = if exists { records(&plan, &folder)? } else { Vec::new() };
    let own = RunJobs::new(experiment, tasks, shard);
    let mine: FinishedJobs = own.jobs.iter().map(RunJobs::index).collect();
    let is_mine = |record: &&Record| own.index_of(record).is_some_and(|rank| mine.contains(&rank));
    let tally = own.tally(records.iter().filter(is_mine));
    let whole = plan.tally(records.iter());
    Ok(ExistingRun { folder: folder.path().to_owned(), exists, tally, whole })
}

/// Every record of the folder once.
fn records(plan: &RunJobs<'_>, folder: &RunFolder) -> Result<Vec<Record>> {
    let mut held = read(&folder.records(), &|it| plan.for_memory(it))?;
    let mut done = plan
        .check_records(&held, None)
        .with_context(|| format!("{} cannot be continued", folder.records().display()))?;
    plan.add_other_files(folder, &mut done, &mut held)?;
    Ok(held)
}
