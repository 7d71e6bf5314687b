//! Runs of one plan: how far their speeds spread, and whether they wrote the same.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::Run;
use super::provenance::differences;
use crate::run::record::{Record, key};

/// A digest of the tokens of each text; none of items for which nothing was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(HashMap<(String, String, String), u64>);

impl Texts {
    /// Keeps what `record` wrote.
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

/// How many texts are the same, token for token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SameTexts {
    pub(crate) equal: u64,
    pub(crate) of: u64,
}

impl SameTexts {
    pub(crate) fn words(self) -> String {
        format!("{} of {}", self.equal, self.of)
    }
}

/// Over the items of `records` that every run wrote a text for; none if there are none.
pub(super) fn same_texts(records: &[&Record], runs: &[&Texts]) -> Option<SameTexts> {
    let mut same = SameTexts { equal: 0, of: 0 };
    for record in records {
        let Some(texts) = runs.iter().map(|run| run.of(record)).collect::<Option<Vec<u64>>>()
        else {
            continue;
        };
        same.of += 1;
        same.equal += u64::from(texts.windows(2).all(|pair| pair[0] == pair[1]));
    }
    (same.of > 0).then_some(same)
}

/// Several runs of one plan with the same models, data and libraries.
#[derive(Debug, Serialize)]
pub(crate) struct Repetitions<'r> {
    pub(crate) runs: usize,
    /// What differs between them nevertheless, and may make them faster or slower.
    pub(crate) differ: Vec<String>,
    pub(crate) results: Vec<Spread<'r>>,
}

/// The speeds of one decoder on one task in all repetitions.
#[derive(Debug, Serialize)]
pub(crate) struct Spread<'r> {
    pub(crate) task: &'r str,
    pub(crate) decoder: &'r str,
    /// Tokens per second, in the order of the runs.
    pub(crate) speeds: Vec<f64>,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// Of the items that all of them wrote a text for.
    pub(crate) texts: Option<SameTexts>,
}

impl<'r> Repetitions<'r> {
    /// None if `runs` are not of one plan, or one folder stands twice among them.
    pub(crate) fn of(runs: &'r [Run]) -> Option<Self> {
        let (first, others) = runs.split_first()?;
        let same = |run: &Run| run.summary.run_id == first.summary.run_id && run.plan == first.plan;
        let mut folders: Vec<_> =
            runs.iter().map(|run| run.stored.path().canonicalize().ok()).collect();
        folders.sort();
        folders.dedup();
        if others.is_empty() || !others.iter().all(same) || folders.len() < runs.len() {
            return None;
        }
        let spread = |place: usize| Spread::of(runs, place);
        let results = (0..first.summary.results.len()).filter_map(spread).collect();
        let changes = others.iter().flat_map(|run| differences(&first.sessions, &run.sessions));
        let differ: BTreeSet<String> = changes.map(|change| change.key).collect();
        Some(Self { runs: runs.len(), differ: differ.into_iter().collect(), results })
    }

    /// Whether all texts are the same; none where no texts were written.
    pub(crate) fn texts(&self) -> Option<SameTexts> {
        let add =
            |a: SameTexts, b: SameTexts| SameTexts { equal: a.equal + b.equal, of: a.of + b.of };
        self.results.iter().filter_map(|result| result.texts).reduce(add)
    }

    /// In a sentence.
    pub(crate) fn words(&self) -> String {
        let texts = match self.texts() {
            None => String::new(),
            Some(texts) if texts.equal == texts.of => {
                format!(": their {} texts are the same, token for token", texts.of)
            }
            Some(texts) => format!(
                ": ONLY {} texts are the same, token for token; passes whose numbers depend on threads \
                 or on what else is in them can turn near ties",
                texts.words()
            ),
        };
        let differ = match self.differ.as_slice() {
            [] => String::new(),
            keys => format!("; their speeds are not of the same: {} differ", keys.join(", ")),
        };
        format!("{} repetitions of one plan{texts}{differ}", self.runs)
    }
}

impl<'r> Spread<'r> {
    /// Of the result at `place` of the first run; none if another run has not finished any of its
    /// items.
    fn of(runs: &'r [Run], place: usize) -> Option<Self> {
        let first = runs.first()?;
        let result = first.summary.results.get(place)?;
        let speed = |run: &Run| {
            let same =
                run.summary.on(&result.task).into_iter().find(|it| it.decoder == result.decoder);
            same.map(|it| it.tokens_per_second)
        };
        let speeds = runs.iter().map(speed).collect::<Option<Vec<f64>>>()?;
        let mut sorted = speeds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => sorted[middle - 1].midpoint(sorted[middle]),
            _ => sorted[middle],
        };
        let own = |r: &&Record| r.decoder == result.decoder && r.task == result.task;
        let records: Vec<&Record> = first.records.iter().filter(own).collect();
        let texts: Vec<&Texts> = runs.iter().map(|run| &run.texts).collect();
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

    /// From the slowest to the fastest, relative to the median.
    pub(crate) fn width(&self) -> f64 {
        (self.max - self.min) / self.median
    }
}
