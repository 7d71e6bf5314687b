//! What there is to do, in the order in which results are kept.

use std::collections::HashMap;

use anyhow::{Context, Result};

use super::{RunFolder, Shard, check_held};
use crate::config::Experiment;
use crate::record::{Done, Record, key, read, sort_into};
use crate::task::Task;

/// One decoder on one item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) task: usize,
    pub(super) item: usize,
    pub(super) decoder: usize,
}

/// The jobs of a run, or of one shard of it.
pub(super) struct Plan<'p> {
    pub(super) experiment: &'p Experiment,
    pub(super) tasks: &'p [Task],
    /// Items are the outer loop, decoders the inner one.
    pub(super) jobs: Vec<Job>,
    /// Of all items, also of other shards: their places over all tasks.
    items: HashMap<(&'p str, &'p str), usize>,
    decoders: HashMap<&'p str, usize>,
    shard: Option<Shard>,
}

impl<'p> Plan<'p> {
    pub(super) fn new(experiment: &'p Experiment, tasks: &'p [Task], shard: Option<Shard>) -> Self {
        let all = || {
            let of = |(task, loaded): (usize, &'p Task)| {
                (0..loaded.items.len()).map(move |item| (task, item))
            };
            tasks.iter().enumerate().flat_map(of).enumerate()
        };
        let own = all().filter(|(place, _)| shard.is_none_or(|shard| shard.has(*place)));
        let decoders = 0..experiment.decoders.len();
        let jobs = own.flat_map(|(_, (task, item))| {
            decoders.clone().map(move |decoder| Job { task, item, decoder })
        });
        let names = |(place, (task, item)): (usize, (usize, usize))| {
            let task = &tasks[task];
            ((task.name.as_str(), task.items[item].id.as_str()), place)
        };
        let decoders = experiment.decoders.iter().enumerate();
        Self {
            experiment,
            tasks,
            jobs: jobs.collect(),
            items: all().map(names).collect(),
            decoders: decoders.map(|(i, plan)| (plan.name.as_str(), i)).collect(),
            shard,
        }
    }

    /// What is kept of a record in memory; tokens where models are compared side by side.
    pub(super) fn light(&self, record: Record) -> Record {
        record.without_text(self.experiment.passes.is_some())
    }

    /// What the record of `job` is found by.
    pub(super) fn key(&self, job: &Job) -> (String, String, String) {
        let task = &self.tasks[job.task];
        let decoder = self.experiment.decoders[job.decoder].name.clone();
        (decoder, task.name.clone(), task.items[job.item].id.clone())
    }

    /// The place of `record` among all; None if it is not of this plan.
    pub(super) fn rank(&self, record: &Record) -> Option<(usize, usize)> {
        let item = self.items.get(&(record.task.as_str(), record.item.as_str()))?;
        Some((*item, *self.decoders.get(record.decoder.as_str())?))
    }

    /// What other files of the folder hold of this plan's jobs: those of shards, or for a shard
    /// those of the others and of whole runs. Records that are `done` already are left out.
    ///
    /// # Errors
    /// If a file cannot be read or holds records of another plan.
    pub(super) fn held_elsewhere(&self, folder: &RunFolder, done: &Done) -> Result<Vec<Record>> {
        let mut found: Vec<Record> = Vec::new();
        let mut seen = done.clone();
        for file in folder.all_records()?.into_iter().filter(|file| *file != folder.records()) {
            let records = read(&file, &|_| true, &|it| self.light(it))?;
            check_held(&records, self.experiment, self.tasks)
                .with_context(|| format!("{} cannot be continued", file.display()))?;
            let own = |record: &Record| match (self.rank(record), self.shard) {
                (Some((place, _)), Some(shard)) => shard.has(place),
                (rank, _) => rank.is_some(),
            };
            found.extend(records.into_iter().filter(|it| own(it) && seen.insert(key(it))));
        }
        Ok(found)
    }

    /// Puts the records of a complete run into one file, in order, whoever made them when.
    ///
    /// # Errors
    /// If a file cannot be read or the disk is full; nothing is lost then.
    pub(super) fn settle(&self, folder: &RunFolder) -> Result<()> {
        let files = folder.all_records()?;
        if files.len() > 1 || !self.is_sorted(folder)? {
            sort_into(&folder.records(), &files, &|record| self.rank(record))?;
        }
        for file in files.iter().filter(|file| **file != folder.records()) {
            std::fs::remove_file(file)
                .with_context(|| format!("cannot remove {}", file.display()))?;
        }
        Ok(())
    }

    fn is_sorted(&self, folder: &RunFolder) -> Result<bool> {
        let records = read(&folder.records(), &|_| true, &|it| it.without_text(false))?;
        Ok(records.is_sorted_by_key(|record| self.rank(record)))
    }
}
