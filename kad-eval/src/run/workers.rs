//! Decodes several items at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use super::evaluate::ItemRun;
use super::jobs::{Job, RunJobs};
use crate::failure::Failure;
use crate::models::Models;
use crate::run::record::Record;

/// Bytes of a worker's stack, as of a main thread: graphs are walked recursively.
const STACK: usize = 8 << 20;

/// Receives each result and its job (none where no job was begun); an error ends the work.
pub(super) type See<'s> =
    &'s mut (dyn FnMut(Option<&Job>, Result<Record>) -> Result<(), Failure> + Send);

/// Decodes `jobs` in this thread with `models`, and in one more thread for each of `others`. Gives
/// each result, also an error, to `see` as it is made. Ends early if `see` fails or the user
/// interrupts.
pub(super) fn for_each(
    plan: &RunJobs<'_>,
    jobs: &[Job],
    models: &Models,
    others: Vec<Models>,
    see: See<'_>,
) -> Result<(), Failure> {
    let work = Work {
        plan,
        jobs,
        next: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
        results: Mutex::new((see, Ok(()))),
    };
    thread::scope(|scope| {
        for models in others {
            let worker = || {
                let models = models;
                work.run(&models);
            };
            let spawned = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, worker);
            if let Err(error) = spawned {
                // Running workers end after their current item.
                work.ended.store(true, Ordering::Relaxed);
                return Err(error).context("cannot start a thread; ask for fewer --jobs");
            }
        }
        work.run(models);
        anyhow::Ok(())
    })?;
    work.results.into_inner().unwrap_or_else(PoisonError::into_inner).1
}

struct Work<'p, 's> {
    plan: &'p RunJobs<'p>,
    jobs: &'p [Job],
    next: AtomicUsize,
    ended: AtomicBool,
    results: Mutex<(See<'s>, Result<(), Failure>)>,
}

impl Work<'_, '_> {
    fn run(&self, models: &Models) {
        while !self.ended.load(Ordering::Relaxed) {
            let Some(job) = self.jobs.get(self.next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let plan = &self.plan.experiment.decoders[job.decoder];
            let task = &self.plan.tasks[job.task];
            let item = &task.items[job.item];
            let made = ItemRun { plan, models, task, item }.decode(self.plan.experiment.seed);
            let made = made.with_context(|| {
                format!("decoder `{}`, task {}, item {}", plan.name, task.name, item.id)
            });
            match made.transpose() {
                Some(made) => self.give(Some(job), made),
                None => self.ended.store(true, Ordering::Relaxed),
            }
        }
    }

    fn give(&self, job: Option<&Job>, made: Result<Record>) {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let (see, end) = &mut *results;
        if end.is_ok() {
            *end = see(job, made);
        }
        if end.is_err() {
            self.ended.store(true, Ordering::Relaxed);
        }
    }
}
