//! The jobs of a run, in the order in which records are kept.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::seed::item_seed;
use super::{PROMPT_TOO_LONG, RunFolder, Shard};
use crate::config::Experiment;
use crate::forecast::{DecoderProgress, Tally};
use crate::run::record::{Record, each, sort_into};
use crate::task::Task;

/// The decoding of one item by one decoder. The fields are indices.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) task: usize,
    pub(super) item: usize,
    pub(super) decoder: usize,
    /// Index of the item over all tasks.
    place: usize,
}

/// Indices of a job: of its item over all tasks, and of its decoder.
pub(super) type JobIndex = (usize, usize);

pub(super) type FinishedJobs = HashSet<JobIndex>;

/// The jobs of a run, or of one shard of it.
pub(super) struct RunJobs<'p> {
    pub(super) experiment: &'p Experiment,
    pub(super) tasks: &'p [Task],
    /// Items are the outer loop, decoders the inner one.
    pub(super) jobs: Vec<Job>,
    /// All items, also of other shards, by the names of their tasks and their IDs.
    items: HashMap<(&'p str, &'p str), Job>,
    decoders: HashMap<&'p str, usize>,
    shard: Option<Shard>,
}

impl<'p> RunJobs<'p> {
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
            (names, Job { task, item, decoder: 0, place })
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

    /// The record as it is kept in memory; with its tokens where models are compared.
    pub(super) fn for_memory(&self, record: Record) -> Record {
        record.without_text(self.experiment.passes.is_some())
    }

    pub(super) fn index(job: &Job) -> JobIndex {
        (job.place, job.decoder)
    }

    /// The job that made `record`; none if it is not of this run.
    fn job_of(&self, record: &Record) -> Option<Job> {
        let job = *self.items.get(&(record.task.as_str(), record.item.as_str()))?;
        Some(Job { decoder: *self.decoders.get(record.decoder.as_str())?, ..job })
    }

    /// The index of the job that made `record`; none if it is not of this run.
    pub(super) fn index_of(&self, record: &Record) -> Option<JobIndex> {
        self.job_of(record).as_ref().map(Self::index)
    }

    /// Items of each decoder on each task, with the tokens and seconds of `records`.
    pub(super) fn tally<'r>(&self, records: impl Iterator<Item = &'r Record>) -> Tally {
        let none = vec![DecoderProgress::default(); self.experiment.decoders.len()];
        let mut tally = vec![none; self.tasks.len()];
        self.jobs.iter().for_each(|job| tally[job.task][job.decoder].items += 1);
        for ((task, decoder), spent) in records.filter_map(|record| self.spent(record)) {
            tally[task][decoder].add(&spent);
        }
        tally
    }

    /// The task and the decoder of `record`, by their places in the file, and its tokens and
    /// seconds; `None` if it is not of this plan.
    pub(super) fn spent(&self, record: &Record) -> Option<((usize, usize), DecoderProgress)> {
        let Job { task, item, decoder, .. } = self.job_of(record)?;
        let turns = self.tasks[task].items[item].turns.len().max(1) as u64;
        let most = self.experiment.decoders[decoder].sampling.max_new_tokens.saturating_mul(turns);
        let spent = DecoderProgress {
            done: 1,
            tokens: record.new_tokens,
            seconds: record.seconds,
            longest_seconds: record.seconds * stretch(record, most),
            ..DecoderProgress::default()
        };
        Some(((task, decoder), spent))
    }

    /// The jobs that `records`, the lines of one file, finish.
    pub(super) fn check_records(
        &self,
        records: &[Record],
        shard: Option<Shard>,
    ) -> Result<FinishedJobs> {
        let mut seen = FinishedJobs::with_capacity(records.len());
        for (line, record) in (1..).zip(records) {
            self.check(record, (line, shard), &mut seen)?;
        }
        Ok(seen)
    }

    /// Adds the job of `record`, in this line of a file of this shard, to `seen`.
    fn check(
        &self,
        record: &Record,
        (line, shard): (usize, Option<Shard>),
        seen: &mut FinishedJobs,
    ) -> Result<JobIndex> {
        let remove = format!("delete line {line} and rerun: the item is decoded again");
        let own = self.job_of(record).filter(|job| self.is_own(job, record));
        let (problem, advice) = match own.as_ref().map(Self::index) {
            Some((place, _)) if shard.is_some_and(|shard| !shard.has(place)) => {
                ("is of another shard", "move this file away and rerun its shard".to_owned())
            }
            Some(index) if seen.insert(index) => return Ok(index),
            Some(_) => ("is a duplicate", remove),
            None => ("does not belong to this plan or was edited", remove),
        };
        bail!(
            "line {line} (decoder `{}`, task {}, item {}) {problem}; {advice}",
            record.decoder,
            record.task,
            record.item
        )
    }

    /// True if item, grade and seed are those of this run.
    fn is_own(&self, job: &Job, record: &Record) -> bool {
        let task = &self.tasks[job.task];
        let item = &task.items[job.item];
        item.gold == record.gold
            && record.correct == task.is_right(item, record.answer.as_deref())
            && record.seed == item_seed(self.experiment.seed, &record.task, &record.item)
    }

    /// Adds the records of these jobs in the other files of the folder: of shards, and for a shard of
    /// the whole run. Skips jobs that are `done` and adds the others to them. Keeps one text at a time
    /// in memory.
    pub(super) fn add_other_files(
        &self,
        folder: &RunFolder,
        done: &mut FinishedJobs,
        records: &mut Vec<Record>,
    ) -> Result<()> {
        for (file, shard) in folder.all_records()? {
            if file == folder.records() {
                continue;
            }
            let (mut seen, mut line) = (FinishedJobs::new(), 0);
            let mut add = |record: Record| {
                line += 1;
                let (place, decoder) = self.check(&record, (line, shard), &mut seen)?;
                let own = self.shard.is_none_or(|shard| shard.has(place));
                if own && done.insert((place, decoder)) {
                    records.push(self.for_memory(record));
                }
                Ok(())
            };
            each(&file, &mut add)
                .with_context(|| format!("{} cannot be continued", file.display()))?;
        }
        Ok(())
    }

    /// Joins the records of a complete run in one file, in order, and removes those of shards.
    ///
    /// # Errors
    /// Fails if a file cannot be read or the disk is full; nothing is lost.
    pub(super) fn join_records(&self, folder: &RunFolder) -> Result<()> {
        let files: Vec<PathBuf> = folder.all_records()?.into_iter().map(|(file, _)| file).collect();
        if files.len() > 1 || !self.is_sorted(folder)? {
            sort_into(&folder.records(), &files, &|record| self.index_of(record))?;
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
            let index = self.index_of(&record);
            sorted &= last <= index;
            last = index;
            Ok(())
        })?;
        Ok(sorted)
    }
}

/// Ratio of `most`, the token limit, to the length of the text in `record`; 1 where nothing was
/// generated.
fn stretch(record: &Record, most: u64) -> f64 {
    match record.scored.is_none() && record.stop != PROMPT_TOO_LONG {
        true => most.max(record.new_tokens) as f64 / record.new_tokens.max(1) as f64,
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::{Scored, sample};

    #[test]
    fn a_text_is_stretched_to_its_limit_and_a_score_is_not() {
        let record = Record { new_tokens: 4, ..sample("a", "0", true) };
        assert_eq!((stretch(&record, 40), stretch(&record, 3)), (10.0, 1.0));
        let scored = Record { scored: Some(Scored::default()), ..record.clone() };
        assert_eq!(stretch(&scored, 40), 1.0);
        let refused = Record { stop: PROMPT_TOO_LONG.to_owned(), new_tokens: 0, ..record };
        assert_eq!(stretch(&refused, 40), 1.0);
    }
}
