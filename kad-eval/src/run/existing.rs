//! What a run's folder holds already, without touching it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::plan::{Done, Plan};
use super::{RunFolder, Shard, Tally};
use crate::config::Experiment;
use crate::run::record::{Record, read};
use crate::task::Task;

/// A run as far as it is done.
pub(crate) struct Held {
    /// Where it is or would be.
    pub(crate) folder: PathBuf,
    /// Whether that is there.
    pub(crate) exists: bool,
    /// What is asked for, and of that what is done.
    pub(crate) tally: Tally,
    /// Seconds and tokens of all that is done of the whole run, also by other shards: what they
    /// took says what the rest takes.
    pub(crate) whole: Tally,
}

/// Looks into `out/name/run_id`; nothing is made, written or locked.
///
/// # Errors
/// If a file cannot be read, or holds records that this plan did not make.
pub(crate) fn look(
    experiment: &Experiment,
    tasks: &[Task],
    (out, run_id): (&Path, &str),
    shard: Option<Shard>,
) -> Result<Held> {
    let plan = Plan::new(experiment, tasks, None);
    let folder = RunFolder::unlocked(out, &experiment.name, run_id);
    let exists = folder.path().is_dir();
    let records = if exists { records(&plan, &folder)? } else { Vec::new() };
    let own = Plan::new(experiment, tasks, shard);
    let mine: Done = own.jobs.iter().map(Plan::place).collect();
    let is_mine = |record: &&Record| own.rank(record).is_some_and(|rank| mine.contains(&rank));
    let tally = own.tally(records.iter().filter(is_mine));
    let whole = plan.tally(records.iter());
    Ok(Held { folder: folder.path().to_owned(), exists, tally, whole })
}

/// Every record of the folder once.
fn records(plan: &Plan<'_>, folder: &RunFolder) -> Result<Vec<Record>> {
    let mut held = read(&folder.records(), &|_| true, &|it| plan.light(it))?;
    let mut done = plan
        .check_held(&held, None)
        .with_context(|| format!("{} cannot be continued", folder.records().display()))?;
    plan.add_elsewhere(folder, &mut done, &mut held)?;
    Ok(held)
}
