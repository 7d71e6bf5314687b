//! Comparison of runs: differences in plans and provenance, and in accuracy, speed and texts by
//! decoder and task.

mod key_changes;
mod repetitions;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

pub(crate) use key_changes::{KeyChange, LeafValues, by_key, leaves};
use key_changes::{between_sessions, changes, decoders, without};
use repetitions::same_texts;
pub(crate) use repetitions::{Repetitions, TextDigests};

use crate::analysis::equal_texts::EqualTexts;
use crate::analysis::stats::{Interval, ratio_bootstrap};
use crate::analysis::summary::{DecoderResult, Difference, Summary, adjust};
use crate::analysis::unique;
use crate::run::record::Record;
use crate::run::{ProvenanceEntry, StoredRun};

/// A finished or interrupted run, read from its folder.
pub(crate) struct LoadedRun {
    pub(crate) stored: StoredRun,
    pub(crate) summary: Summary,
    pub(crate) plan: Value,
    /// The sessions that made it; empty if they were not kept.
    pub(crate) sessions: Vec<ProvenanceEntry>,
    /// Without texts.
    pub(crate) records: Vec<Record>,
    pub(crate) texts: TextDigests,
}

/// A run compared with the first one.
#[derive(Serialize)]
pub(crate) struct RunComparison<'r> {
    pub(crate) first: String,
    pub(crate) second: String,
    /// Plan keys that differ, without decoders of one run only.
    pub(crate) plan: Vec<KeyChange>,
    /// Decoders missing in the second run.
    pub(crate) only_in_first: Vec<String>,
    /// Decoders missing in the first run.
    pub(crate) only_in_second: Vec<String>,
    /// True if plan, models, data and libraries are the same.
    pub(crate) same_run_id: bool,
    /// Provenance keys that differ: program, machine, models, data.
    pub(crate) provenance: Vec<KeyChange>,
    pub(crate) decoders: Vec<DecoderPair<'r>>,
    /// Summaries of both runs, for the notes about times.
    #[serde(skip)]
    runs: [&'r Summary; 2],
}

impl<'r> RunComparison<'r> {
    pub(crate) fn of(first: &'r LoadedRun, second: &'r LoadedRun) -> Self {
        let only_in_first = only_in(first, second);
        let only_in_second = only_in(second, first);
        let [one, other] = [(first, &only_in_first), (second, &only_in_second)]
            .map(|(run, only)| without(&run.plan, only));
        Self {
            first: first.stored.path().display().to_string(),
            second: second.stored.path().display().to_string(),
            plan: changes(&one, &other),
            only_in_first,
            only_in_second,
            provenance: between_sessions(&first.sessions, &second.sessions),
            same_run_id: first.summary.run_id == second.summary.run_id,
            decoders: pairs([first, second]),
            runs: [&first.summary, &second.summary],
        }
    }

    /// The meaning of the times of either run, where several items were decoded at a time.
    pub(crate) fn at_a_time(&self) -> Option<String> {
        let said = ["A", "B"].into_iter().zip(self.runs);
        let said = said.filter_map(|(name, run)| Some(format!("{name}: {}", run.at_a_time()?)));
        said.reduce(|a, b| format!("{a}\n{b}"))
    }

    /// A sentence about decoders of one run only; `second` is the name of the second run.
    pub(crate) fn only_in_one(&self, second: &str) -> Option<String> {
        let list = |run: &str, names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("only in {run}: {}", quoted.join(", ")))
        };
        let said = [list("A", &self.only_in_first), list(second, &self.only_in_second)];
        said.into_iter().flatten().reduce(|a, b| format!("{a}; {b}"))
    }

    /// A sentence about equal plans; none if the plans differ.
    pub(crate) fn same_plans(&self) -> Option<String> {
        let keys: Vec<&str> = self.provenance.iter().map(|it| it.key.as_str()).collect();
        let same = [&self.only_in_first, &self.only_in_second].iter().all(|names| names.is_empty());
        (same && self.plan.is_empty()).then(|| match (keys.is_empty(), self.same_run_id) {
            (true, true) => "their plans are the same".to_owned(),
            (true, false) => {
                "their plans are the same, the runs are not: models, data or libraries differ"
                    .to_owned()
            }
            _ => format!("their plans are the same, the runs are not: {} differ", keys.join(", ")),
        })
    }
}

/// The decoders of `run` that `other` lacks.
fn only_in(run: &LoadedRun, other: &LoadedRun) -> Vec<String> {
    let theirs = decoders_of(other);
    decoders_of(run).into_iter().filter(|name| !theirs.contains(name)).map(str::to_owned).collect()
}

/// Decoders of its plan and of its results, which may come from an earlier plan of the run.
fn decoders_of(run: &LoadedRun) -> Vec<&str> {
    let results = run.summary.results.iter().map(|result| result.decoder.as_str());
    unique(decoders(&run.plan).into_iter().chain(results))
}

/// A decoder on a task, in two runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DecoderPair<'s> {
    pub(crate) decoder: &'s str,
    pub(crate) task: &'s str,
    /// Result of the first run; `None` if it lacks the decoder or the task.
    pub(crate) first: Option<&'s DecoderResult>,
    pub(crate) second: Option<&'s DecoderResult>,
    /// Accuracy of the second run minus accuracy of the first, on the items both finished.
    pub(crate) difference: Option<Difference>,
    /// Tokens per second of the second run over tokens per second of the first.
    pub(crate) speed: Option<SpeedRatio>,
    /// On the items with a text of both runs.
    pub(crate) texts: Option<EqualTexts>,
}

/// Ratio of two speeds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct SpeedRatio {
    pub(crate) value: f64,
    /// 95 % bootstrap interval over the items of each run; it does not cover changes of the
    /// machine's load.
    pub(crate) interval: Interval,
}

/// Seed of the bootstrap: a comparison is reproducible.
const SEED: u64 = 1;

/// Every decoder and task of either run, the first run's first.
pub(crate) fn pairs(runs: [&LoadedRun; 2]) -> Vec<DecoderPair<'_>> {
    let all = runs.iter().flat_map(|run| &run.summary.results);
    let names = unique(all.map(|result| (result.task.as_str(), result.decoder.as_str())));
    let mut pairs: Vec<DecoderPair<'_>> = names.into_iter().map(|it| pair(it, runs)).collect();
    adjust_by_task(&mut pairs);
    pairs
}

fn pair<'s>((task, decoder): (&'s str, &'s str), runs: [&'s LoadedRun; 2]) -> DecoderPair<'s> {
    let [first, second] = runs.map(|run| run.summary.result(task, decoder));
    let [one, other] = runs.map(|run| {
        let own = |r: &&Record| r.decoder == *decoder && r.task == *task;
        run.records.iter().filter(own).collect::<Vec<_>>()
    });
    let graded = |result: &DecoderResult| !result.accuracy.is_nan();
    let compared = first.is_some_and(graded) && second.is_some_and(graded);
    let difference = compared.then(|| difference(&one, &other)).flatten();
    let speed = first.zip(second).and_then(|(a, b)| speed(&one, &other, a, b));
    let texts = same_texts(&one, &runs.map(|run| &run.texts));
    DecoderPair { decoder, task, first, second, difference, speed, texts }
}

/// Paired by item and gold answer, so that different questions are not compared.
fn difference(first: &[&Record], second: &[&Record]) -> Option<Difference> {
    let [before, after] = [first, second]
        .map(|side| side.iter().map(|r| ((r.item.as_str(), r.gold.as_str()), r.earned())));
    Difference::paired(after, before, SEED)
}

/// Ratio of speeds; `None` without times or without records of a run.
fn speed(
    first: &[&Record],
    second: &[&Record],
    a: &DecoderResult,
    b: &DecoderResult,
) -> Option<SpeedRatio> {
    let value = b.tokens_per_second / a.tokens_per_second;
    if !value.is_finite() || value <= 0.0 || first.is_empty() || second.is_empty() {
        return None;
    }
    // Independent runs: half-widths of the logarithms add in quadrature.
    let spread = |records: &[&Record]| {
        let pairs: Vec<(f64, f64)> =
            records.iter().map(|r| (r.new_tokens as f64, r.seconds)).collect();
        let Interval { low, high } = ratio_bootstrap(&pairs, SEED);
        // Without an interval of either speed there is none of the ratio.
        if low > 0.0 && high.is_finite() { (high / low).ln() / 2.0 } else { f64::NAN }
    };
    let half = spread(first).hypot(spread(second)).exp();
    Some(SpeedRatio { value, interval: Interval { low: value / half, high: value * half } })
}

/// Adjusts the differences of each task for multiple comparisons.
fn adjust_by_task(pairs: &mut [DecoderPair<'_>]) {
    let tasks: BTreeSet<&str> = pairs.iter().map(|pair| pair.task).collect();
    for task in tasks {
        let own = pairs.iter_mut().filter(|pair| pair.task == task);
        adjust(&mut own.filter_map(|it| it.difference.as_mut()).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests;
