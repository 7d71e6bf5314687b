//! Decodes every item of every task with every decoder, once, and owns the files of a run's folder.

mod evaluate;
mod existing;
mod folder;
mod identity;
mod jobs;
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
use jobs::{Job, RunJobs};
pub(crate) use provenance::ProvenanceEntry;
pub(crate) use shard::Shard;
pub(crate) use stored::{RunFile, StoredRun};

pub(crate) struct Finished {
    /// All records of the run or of the shard, in order, without their texts.
    pub(crate) records: Vec<Record>,
    /// Number of records of a complete run, or of the shard: items × decoders.
    pub(crate) total: usize,
    pub(crate) new_items: usize,
    /// Errors of items that failed in this session, in order.
    pub(crate) failures: Vec<anyhow::Error>,
    /// True if the user interrupted before all items were tried.
    pub(crate) interrupted: bool,
}

impl Finished {
    /// True if no record is missing.
    pub(crate) fn is_complete(&self) -> bool {
        self.records.len() >= self.total
    }
}

/// Number of failures without any success after which a session gives up.
const GIVE_UP_AFTER: usize = 10;

/// A session of a run: begins a run, or continues it after the finished items.
pub(crate) struct RunSession<'p> {
    plan: RunJobs<'p>,
    folder: &'p RunFolder,
    writer: RecordWriter,
    records: Vec<Record>,
    left: Vec<Job>,
}

impl<'p> RunSession<'p> {
    /// Reads the records in `folder` and finds the jobs that are left.
    pub(crate) fn begin(
        experiment: &'p Experiment,
        tasks: &'p [Task],
        folder: &'p RunFolder,
    ) -> Result<Self> {
        let (plan, path) = (RunJobs::new(experiment, tasks, folder.shard()), folder.records());
        let (writer, mut records) = RecordWriter::resume(&path, &|it| plan.for_memory(it))?;
        let held = plan
            .check_records(&records, folder.shard())
            .with_context(|| format!("{} cannot be continued", path.display()))
            .and_then(|mut done| {
                plan.add_other_files(folder, &mut done, &mut records).map(|()| done)
            });
        let done = match held {
            Ok(done) => done,
            Err(error) => {
                drop(writer);
                // A failure to remove the file says less than this error.
                let _ = folder.drop_empty_records();
                return Err(error);
            }
        };
        let is_left = |job: &&Job| !done.contains(&RunJobs::index(job));
        let left = plan.jobs.iter().filter(is_left).copied().collect();
        Ok(Self { plan, folder, writer, records, left })
    }

    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    /// Decodes the remaining items. Items are the outer loop, decoders the inner one: an interrupted run is
    /// balanced, and the load of the machine affects all decoders alike.
    ///
    /// `others` are the same models loaded again, one set for each further thread: not every backend
    /// lets threads share a model.
    ///
    /// An item that fails is reported and left out; the next session tries it again. With
    /// `fail_fast` the first failure ends the session.
    ///
    /// # Errors
    /// Fails if the folder cannot be written, if an item shows that the request is wrong, or (with
    /// `fail_fast`, or if nothing has ever worked) if items fail. Finished items are in the folder.
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
                    records.push(plan.for_memory(record));
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
        records.sort_by_key(|record| plan.index_of(record));
        let total = plan.jobs.len();
        let finished = Finished { records, total, new_items, failures, interrupted };
        if folder.shard().is_none() && finished.is_complete() {
            plan.join_records(folder)?;
        }
        Ok(finished)
    }
}
