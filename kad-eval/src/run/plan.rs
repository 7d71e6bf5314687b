//! What there is to do, in the order in which results are kept.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::tally::Tally;
use super::{RunFolder, Shard, item_seed};
use crate::config::Experiment;
use crate::run::record::{Record, each, sort_into};
use crate::task::Task;

/// One decoder on one item.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) task: usize,
    pub(super) item: usize,
    pub(super) decoder: usize,
    /// The item's place over all tasks.
    place: usize,
}

/// A record's place among all: its item's over all tasks, and its decoder's.
pub(super) type Rank = (usize, usize);

/// What is done.
pub(super) type Done = HashSet<Rank>;

/// An item's place over all tasks, its task, and its place there.
#[derive(Clone, Copy, Debug)]
struct Spot {
    place: usize,
    task: usize,
    item: usize,
}

/// The jobs of a run, or of one shard of it.
pub(super) struct Plan<'p> {
    pub(super) experiment: &'p Experiment,
    pub(super) tasks: &'p [Task],
    /// Items are the outer loop, decoders the inner one.
    pub(super) jobs: Vec<Job>,
    /// Of all items, also of other shards, by the names of their tasks and their own.
    items: HashMap<(&'p str, &'p str), Spot>,
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
        let jobs = own.flat_map(|(place, (task, item))| {
            decoders.clone().map(move |decoder| Job { task, item, decoder, place })
        });
        let names = |(place, (task, item)): (usize, (usize, usize))| {
            let names = (tasks[task].name.as_str(), tasks[task].items[item].id.as_str());
            (names, Spot { place, task, item })
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

    /// The place of the record of `job` among all.
    pub(super) fn place(job: &Job) -> Rank {
        (job.place, job.decoder)
    }

    /// The place of `record` among all; None if it is not of this plan.
    pub(super) fn rank(&self, record: &Record) -> Option<Rank> {
        let spot = self.items.get(&(record.task.as_str(), record.item.as_str()))?;
        Some((spot.place, *self.decoders.get(record.decoder.as_str())?))
    }

    /// How much each decoder has to do on each task, and with `records` what it took so far.
    pub(super) fn tally<'r>(&self, records: impl Iterator<Item = &'r Record>) -> Tally {
        let mut tally = Tally::new(self);
        records.for_each(|record| tally.done(self, record));
        tally
    }

    /// The task and the decoder of `record`, by their places in the file.
    pub(super) fn decoder(&self, record: &Record) -> Option<(usize, usize)> {
        let spot = self.items.get(&(record.task.as_str(), record.item.as_str()))?;
        Some((spot.task, *self.decoders.get(record.decoder.as_str())?))
    }

    /// How many replies the item of `record` asks for.
    pub(super) fn turns(&self, record: &Record) -> usize {
        let spot = self.items.get(&(record.task.as_str(), record.item.as_str()));
        spot.map_or(1, |spot| self.tasks[spot.task].items[spot.item].turns.len().max(1))
    }

    /// The items that `records`, those of the run's own file, finish. Refuses records that this
    /// plan or this shard did not make: every number is computed from them.
    ///
    /// # Errors
    /// The first such record, with its line.
    pub(super) fn check_held(&self, records: &[Record], shard: Option<Shard>) -> Result<Done> {
        let mut seen = Done::with_capacity(records.len());
        for (line, record) in (1..).zip(records) {
            self.check(record, (line, shard), &mut seen)?;
        }
        Ok(seen)
    }

    /// The place of `record`, which stands in this line of a file, of this shard if of one; it is
    /// `seen` then.
    fn check(
        &self,
        record: &Record,
        (line, shard): (usize, Option<Shard>),
        seen: &mut Done,
    ) -> Result<Rank> {
        let remove = format!("remove line {line} and run again: what is missing is decoded again");
        let (problem, advice) = match self.rank(record).filter(|_| self.is_own(record)) {
            Some((place, _)) if shard.is_some_and(|shard| !shard.has(place)) => {
                ("is of another shard", "move this file away and run its shard again".to_owned())
            }
            Some(rank) if seen.insert(rank) => return Ok(rank),
            Some(_) => ("stands twice", remove),
            None => ("is not of this plan, or was changed", remove),
        };
        bail!(
            "line {line} (decoder `{}`, task {}, item {}) {problem}; {advice}",
            record.decoder,
            record.task,
            record.item
        )
    }

    fn is_own(&self, record: &Record) -> bool {
        let spot = self.items.get(&(record.task.as_str(), record.item.as_str()));
        spot.is_some_and(|spot| {
            let task = &self.tasks[spot.task];
            let item = &task.items[spot.item];
            item.gold == record.gold
                && record.correct == task.is_right(item, record.answer.as_deref())
                && record.seed == item_seed(self.experiment.seed, &record.task, &record.item)
        })
    }

    /// Adds to `records` what other files of the folder hold of this plan's jobs: those of shards,
    /// or for a shard those of the others and of whole runs. What is `done` already is left out,
    /// what is found is done then. One record at a time: there may be as many as memory holds.
    ///
    /// # Errors
    /// If a file cannot be read or holds records of another plan.
    pub(super) fn add_elsewhere(
        &self,
        folder: &RunFolder,
        done: &mut Done,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        for (file, shard) in folder.all_records()? {
            if file == folder.records() {
                continue;
            }
            let (mut seen, mut line) = (Done::new(), 0);
            let mut add = |record: Record| {
                line += 1;
                let (place, decoder) = self.check(&record, (line, shard), &mut seen)?;
                let own = self.shard.is_none_or(|shard| shard.has(place));
                if own && done.insert((place, decoder)) {
                    records.push(self.light(record));
                }
                Ok(())
            };
            each(&file, &mut add)
                .with_context(|| format!("{} cannot be continued", file.display()))?;
        }
        Ok(())
    }

    /// Puts the records of a complete run into one file, in order, whoever made them when.
    ///
    /// # Errors
    /// If a file cannot be read or the disk is full; nothing is lost then.
    pub(super) fn settle(&self, folder: &RunFolder) -> Result<()> {
        let files: Vec<PathBuf> = folder.all_records()?.into_iter().map(|(file, _)| file).collect();
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
        let (mut last, mut sorted) = (None, true);
        each(&folder.records(), &mut |record| {
            let rank = self.rank(&record);
            sorted &= last <= rank;
            last = rank;
            Ok(())
        })?;
        Ok(sorted)
    }
}
