//! Carries out a plan: every item of every task with every decoder, once, whatever happens.

mod evaluate;
mod existing;
mod folder;
mod identity;
mod plan;
pub(crate) mod provenance;
pub(crate) mod record;
mod score;
mod seed;
mod shard;
mod stored;
mod workers;

use anyhow::{Context, Result};

use crate::config::Experiment;
use crate::failure::Failure;
use crate::forecast::Progress;
use crate::interrupt;
use crate::models::Models;
use crate::run::record::{Record, RecordWriter};
use crate::task::Task;

pub(crate) use evaluate::PROMPT_TOO_LONG;
pub(crate) use existing::find;
pub(crate) use folder::RunFolder;
pub(crate) use identity::run_id;
use plan::{Job, Plan};
pub(crate) use provenance::ProvenanceEntry;
pub(crate) use shard::Shard;
pub(crate) use stored::{RunFile, StoredRun};

/// What a run left behind.
pub(crate) struct Finished {
    /// In the order of the plan, without their texts.
    pub(crate) records: Vec<Record>,
    /// How many there are once all are done: items × decoders, of the run or of the shard.
    pub(crate) total: usize,
    /// Those done in this session; the others were there already.
    pub(crate) new_items: usize,
    /// Items that could not be done, in the order in which that was found.
    pub(crate) failures: Vec<anyhow::Error>,
    /// Whether the user interrupted before all had been tried.
    pub(crate) interrupted: bool,
}

impl Finished {
    /// Whether nothing is left to do.
    pub(crate) fn is_complete(&self) -> bool {
        self.records.len() >= self.total
    }
}

/// A run in which nothing has ever succeeded after so many failures is broken, not unlucky.
const GIVE_UP_AFTER: usize = 10;

/// A run that knows what its folder holds and what is left to do.
pub(crate) struct RunSession<'p> {
    plan: Plan<'p>,
    folder: &'p RunFolder,
    writer: RecordWriter,
    /// Those that are there.
    records: Vec<Record>,
    left: Vec<Job>,
}

impl<'p> RunSession<'p> {
    /// Looks at what `folder` holds of its part of the run.
    ///
    /// # Errors
    /// If the folder cannot be read or written, or holds records that this plan did not make.
    pub(crate) fn begin(
        experiment: &'p Experiment,
        tasks: &'p [Task],
        folder: &'p RunFolder,
    ) -> Result<Self> {
        let (plan, path) = (Plan::new(experiment, tasks, folder.shard()), folder.records());
        let (writer, mut records) = RecordWriter::resume(&path, &|it| plan.light(it))?;
        let held = plan
            .check_held(&records, folder.shard())
            .with_context(|| format!("{} cannot be continued", path.display()))
            .and_then(|mut done| {
                plan.add_elsewhere(folder, &mut done, &mut records).map(|()| done)
            });
        let done = match held {
            Ok(done) => done,
            Err(error) => {
                drop(writer);
                // The error says more than a file that stays behind.
                let _ = folder.drop_empty_records();
                return Err(error);
            }
        };
        let is_left = |job: &&Job| !done.contains(&Plan::place(job));
        let left = plan.jobs.iter().filter(is_left).copied().collect();
        Ok(Self { plan, folder, writer, records, left })
    }

    /// How many items × decoders are left.
    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// Does what is left. Items are the outer loop, decoders the inner one: an interrupted run is
    /// balanced, and decoders meet the same moods of the machine.
    ///
    /// Every one of `others` decodes items beside `models`: the same models again, because not
    /// every backend lets threads share one.
    ///
    /// An item that fails is reported and left out; the next session tries it again. With
    /// `fail_fast` the first one ends the run.
    ///
    /// # Errors
    /// If the folder cannot be written, if an item shows that the request is wrong, or (with
    /// `fail_fast`, or if nothing has ever worked) if items fail. What was finished is in the
    /// folder.
    pub(crate) fn run(
        self,
        (models, others): (&Models, Vec<Models>),
        fail_fast: bool,
    ) -> Result<Finished, Failure> {
        let Self { plan, folder, mut writer, mut records, left } = self;
        let (already, jobs) = (records.len(), others.len() + 1);
        let tally = plan.tally(records.iter());
        let mut progress = Progress::new(plan.experiment, plan.tasks, tally, (models, jobs));
        let mut failures = Vec::new();
        workers::for_each(&plan, &left, models, others, &mut |job, made| {
            let error = match made {
                Ok(record) => {
                    writer.write(&record)?;
                    if let Some((place, spent)) = plan.spent(&record) {
                        progress.done(place, spent);
                    }
                    records.push(plan.light(record));
                    return Ok(());
                }
                Err(error) => Failure::from(error),
            };
            let Failure::Work(error) = error else { return Err(error) };
            if fail_fast {
                return Err(Failure::Work(error));
            }
            let decoder = job.map(|job| (job.task, job.decoder));
            progress.failed(decoder, &format!("{error:#}"));
            failures.push(error);
            if records.is_empty() && failures.len() == GIVE_UP_AFTER {
                let words =
                    format!("gave up after {GIVE_UP_AFTER} failures and no success; the first");
                return Err(Failure::Work(failures.swap_remove(0).context(words)));
            }
            Ok(())
        })?;
        let new_items = records.len() - already;
        let tried = new_items + failures.len();
        let interrupted = interrupt::requested() && tried < left.len();
        records.sort_by_key(|record| plan.rank(record));
        let total = plan.jobs.len();
        let finished = Finished { records, total, new_items, failures, interrupted };
        if folder.shard().is_none() && finished.is_complete() {
            plan.settle(folder)?;
        }
        Ok(finished)
    }
}
