//! Repetitions of one plan: spread of speeds, and equality of texts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::LoadedRun;
use super::between_sessions;
use crate::analysis::equal_texts::EqualTexts;
use crate::analysis::summary::DecoderResult;
use crate::run::record::{Record, key};

/// A digest of the tokens of each generated text, by item.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextDigests(HashMap<(String, String, String), u64>);

impl TextDigests {
    /// Adds the text of `record`, if it has one.
    pub(crate) fn add(&mut self, record: &Record) {
        if !record.tokens.is_empty() {
            let mut hasher = DefaultHasher::new();
            record.tokens.hash(&mut hasher);
            self.0.insert(key(record), hasher.finish());
        }
    }

    fn of(&self, record: &Record) -> Option<u64> {
        self.0.get(&key(record)).copied()
    }
}

/// Texts that are equal in all runs, of the items of `records` with a text in every run; `None`
/// without such an item.
pub(super) fn same_texts(records: &[&Record], runs: &[&TextDigests]) -> Option<EqualTexts> {
    let mut same = EqualTexts::default();
    for record in records {
        let Some(texts) = runs.iter().map(|run| run.of(record)).collect::<Option<Vec<u64>>>()
        else {
            continue;
        };
        same.add(texts.windows(2).all(|pair| pair[0] == pair[1]));
    }
    (same.of > 0).then_some(same)
}

/// Several runs of one plan with the same models, data and libraries.
#[derive(Debug, Serialize)]
pub(crate) struct Repetitions<'r> {
    pub(crate) runs: usize,
    /// Provenance keys that differ nevertheless and may change speed.
    pub(crate) differ: Vec<String>,
    pub(crate) results: Vec<SpeedSpread<'r>>,
}

/// Speeds of one decoder on one task over all repetitions.
#[derive(Debug, Serialize)]
pub(crate) struct SpeedSpread<'r> {
    pub(crate) task: &'r str,
    pub(crate) decoder: &'r str,
    /// Tokens per second, in the order of the runs.
    pub(crate) speeds: Vec<f64>,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// On the items with a text in every repetition.
    pub(crate) texts: Option<EqualTexts>,
}

impl<'r> Repetitions<'r> {
    /// Repetitions of one plan; `None` if the plans of `runs` differ or one folder occurs twice.
    pub(crate) fn of(runs: &'r [LoadedRun]) -> Option<Self> {
        let (first, others) = runs.split_first()?;
        let same =
            |run: &LoadedRun| run.summary.run_id == first.summary.run_id && run.plan == first.plan;
        let mut folders: Vec<_> =
            runs.iter().map(|run| run.stored.path().canonicalize().ok()).collect();
        folders.sort();
        folders.dedup();
        if others.is_empty() || !others.iter().all(same) || folders.len() < runs.len() {
            return None;
        }
        let spread = |result: &'r DecoderResult| SpeedSpread::of(runs, result);
        let results = first.summary.results.iter().filter_map(spread).collect();
        let changes =
            others.iter().flat_map(|run| between_sessions(&first.sessions, &run.sessions));
        let differ: BTreeSet<String> = changes.map(|change| change.key).collect();
        Some(Self { runs: runs.len(), differ: differ.into_iter().collect(), results })
    }

    /// Equal texts over all results; none without texts.
    pub(crate) fn texts(&self) -> Option<EqualTexts> {
        let add =
            |a: EqualTexts, b: EqualTexts| EqualTexts { equal: a.equal + b.equal, of: a.of + b.of };
        self.results.iter().filter_map(|result| result.texts).reduce(add)
    }

    /// One sentence about texts and differences.
    pub(crate) fn words(&self) -> String {
        let texts = match self.texts() {
            None => String::new(),
            Some(texts) if texts.equal == texts.of => {
                format!(": their {} texts are equal token for token", texts.of)
            }
            Some(texts) => format!(
                ": only {} texts are equal token for token; near ties can turn where the rounding of a \
                 pass depends on threads or batches",
                texts
            ),
        };
        let differ = match self.differ.as_slice() {
            [] => String::new(),
            keys => format!("; their speeds are not comparable: {} differ", keys.join(", ")),
        };
        format!("{} repetitions of one plan{texts}{differ}", self.runs)
    }
}

impl<'r> SpeedSpread<'r> {
    /// Repetitions of a result of the first run; `None` if another run lacks it.
    fn of(runs: &'r [LoadedRun], result: &'r DecoderResult) -> Option<Self> {
        let speed = |run: &LoadedRun| {
            run.summary.result(&result.task, &result.decoder).map(|it| it.tokens_per_second)
        };
        let speeds = runs.iter().map(speed).collect::<Option<Vec<f64>>>()?;
        let mut sorted = speeds.clone();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[(sorted.len() - 1) / 2].midpoint(sorted[sorted.len() / 2]);
        let own = |r: &&Record| r.decoder == result.decoder && r.task == result.task;
        let records: Vec<&Record> = runs[0].records.iter().filter(own).collect();
        let texts: Vec<&TextDigests> = runs.iter().map(|run| &run.texts).collect();
        Some(Self {
            task: &result.task,
            decoder: &result.decoder,
            min: sorted[0],
            median,
            max: sorted[sorted.len() - 1],
            speeds,
            texts: same_texts(&records, &texts),
        })
    }

    /// (max − min) / median.
    pub(crate) fn width(&self) -> f64 {
        (self.max - self.min) / self.median
    }
}
