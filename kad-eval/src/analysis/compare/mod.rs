//! Runs beside each other: what differs in their plans, and in what came out.

mod plans;
mod provenance;
mod repetitions;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

pub(crate) use plans::{Change, Leaves, leaves};
use plans::{changes, decoders, without};
pub(crate) use provenance::by_key;
use repetitions::same_texts;
pub(crate) use repetitions::{Repetitions, SameTexts, Texts};

use crate::analysis::stats::{Interval, ratio_bootstrap};
use crate::analysis::summary::{DecoderResult, Difference, Summary, adjust};
use crate::run::record::Record;
use crate::run::{ProvenanceEntry, StoredRun};

/// A finished or interrupted run, as its folder holds it.
pub(crate) struct Run {
    pub(crate) stored: StoredRun,
    pub(crate) summary: Summary,
    pub(crate) plan: Value,
    /// The sessions that made it; empty where they were not kept.
    pub(crate) sessions: Vec<ProvenanceEntry>,
    /// Without their texts.
    pub(crate) records: Vec<Record>,
    pub(crate) texts: Texts,
}

/// A run against the first one.
#[derive(Serialize)]
pub(crate) struct Comparison<'r> {
    pub(crate) first: String,
    pub(crate) second: String,
    /// What differs in their plans, but for the decoders that only one of them has.
    pub(crate) plan: Vec<Change>,
    /// Decoders that the second run does not have.
    pub(crate) only_in_first: Vec<String>,
    /// Decoders that the first run does not have.
    pub(crate) only_in_second: Vec<String>,
    /// Whether plan, models, data and libraries are the same.
    pub(crate) same_run_id: bool,
    /// What differs in program, machine, models and data.
    pub(crate) provenance: Vec<Change>,
    pub(crate) decoders: Vec<Pair<'r>>,
    /// Of which run's times what is to be said.
    #[serde(skip)]
    runs: [&'r Summary; 2],
}

impl<'r> Comparison<'r> {
    pub(crate) fn of(first: &'r Run, second: &'r Run) -> Self {
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
            provenance: provenance::differences(&first.sessions, &second.sessions),
            same_run_id: first.summary.run_id == second.summary.run_id,
            decoders: pairs([first, second]),
            runs: [&first.summary, &second.summary],
        }
    }

    /// What the times of either run are of, where several items were decoded at once.
    pub(crate) fn at_a_time(&self) -> Option<String> {
        let said = ["A", "B"].into_iter().zip(self.runs);
        let said = said.filter_map(|(name, run)| Some(format!("{name}: {}", run.at_a_time()?)));
        said.reduce(|a, b| format!("{a}\n{b}"))
    }

    /// The decoders that only one of them has, where the second run is called `second`.
    pub(crate) fn only_in_one(&self, second: &str) -> Option<String> {
        let list = |run: &str, names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            (!names.is_empty()).then(|| format!("only in {run}: {}", quoted.join(", ")))
        };
        let said = [list("A", &self.only_in_first), list(second, &self.only_in_second)];
        said.into_iter().flatten().reduce(|a, b| format!("{a}; {b}"))
    }

    /// In a sentence, where there is nothing to list.
    pub(crate) fn same_plans(&self) -> Option<String> {
        let keys: Vec<&str> = self.provenance.iter().map(|it| it.key.as_str()).collect();
        let same = [&self.only_in_first, &self.only_in_second].iter().all(|names| names.is_empty());
        (same && self.plan.is_empty()).then(|| match (keys.is_empty(), self.same_run_id) {
            (true, true) => "their plans are the same".to_owned(),
            (true, false) => {
                "their plans are the same, the runs are not: models, data or libraries \
                              differ"
                    .to_owned()
            }
            _ => format!("their plans are the same, the runs are not: {} differ", keys.join(", ")),
        })
    }
}

/// The decoders of `run` that `other` does not have.
fn only_in(run: &Run, other: &Run) -> Vec<String> {
    let theirs = decoders_of(other);
    decoders_of(run).into_iter().filter(|name| !theirs.contains(name)).map(str::to_owned).collect()
}

/// Those of its plan, and those of its numbers, which an earlier plan may have had.
fn decoders_of(run: &Run) -> Vec<&str> {
    let mut names = decoders(&run.plan);
    for result in &run.summary.results {
        if !names.contains(&result.decoder.as_str()) {
            names.push(&result.decoder);
        }
    }
    names
}

/// A decoder on a task in two runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Pair<'s> {
    pub(crate) decoder: &'s str,
    pub(crate) task: &'s str,
    /// None where the run has no such decoder or task.
    pub(crate) first: Option<&'s DecoderResult>,
    pub(crate) second: Option<&'s DecoderResult>,
    /// Accuracy of the second run minus that of the first, on the items both finished.
    pub(crate) difference: Option<Difference>,
    /// Tokens per second of the second run over those of the first.
    pub(crate) speed: Option<Ratio>,
    /// Of the items that both wrote a text for.
    pub(crate) texts: Option<SameTexts>,
}

/// A quotient of two measured numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) value: f64,
    /// Of the items of both runs, resampled apart, 95 %; what differs from one moment of a machine
    /// to the next is not in it.
    pub(crate) interval: Interval,
}

/// Seeds of resampling: a comparison is the same each time.
const SEED: u64 = 1;

/// Every decoder and task of either run, those of the first one first.
pub(crate) fn pairs(runs: [&Run; 2]) -> Vec<Pair<'_>> {
    let find = |of: &'_ Run, result: &DecoderResult| {
        let same = |other: &usize| {
            let other = &of.summary.results[*other];
            other.decoder == result.decoder && other.task == result.task
        };
        (0..of.summary.results.len()).find(same)
    };
    let [first, second] = runs;
    let (one, other) = (&first.summary.results, &second.summary.results);
    let both =
        one.iter().map(|result| (Some(result), find(second, result).map(|place| &other[place])));
    let new = other.iter().filter(|result| find(first, result).is_none());
    let all = both.chain(new.map(|result| (None, Some(result))));
    let mut pairs: Vec<Pair<'_>> = all.filter_map(|results| pair(results, runs)).collect();
    adjust_by_task(&mut pairs);
    pairs
}

fn pair<'s>(
    (first, second): (Option<&'s DecoderResult>, Option<&'s DecoderResult>),
    runs: [&'s Run; 2],
) -> Option<Pair<'s>> {
    let DecoderResult { decoder, task, .. } = first.or(second)?;
    let [one, other] = runs.map(|run| {
        let own = |r: &&Record| r.decoder == *decoder && r.task == *task;
        run.records.iter().filter(own).collect::<Vec<_>>()
    });
    let graded = |result: &DecoderResult| !result.accuracy.is_nan();
    let compared = first.is_some_and(graded) && second.is_some_and(graded);
    let difference = compared.then(|| difference(&one, &other)).flatten();
    let speed = first.zip(second).and_then(|(a, b)| speed(&one, &other, a, b));
    let texts = same_texts(&one, &runs.map(|run| &run.texts));
    Some(Pair { decoder, task, first, second, difference, speed, texts })
}

/// Paired by item and right answer: where a run asked something else, nothing is compared.
fn difference(first: &[&Record], second: &[&Record]) -> Option<Difference> {
    let [before, after] = [first, second]
        .map(|side| side.iter().map(|r| ((r.item.as_str(), r.gold.as_str()), r.earned())));
    Difference::paired(after, before, SEED)
}

/// None where no time was taken, or a side has nothing.
fn speed(
    first: &[&Record],
    second: &[&Record],
    a: &DecoderResult,
    b: &DecoderResult,
) -> Option<Ratio> {
    let value = b.tokens_per_second / a.tokens_per_second;
    if !value.is_finite() || value <= 0.0 || first.is_empty() || second.is_empty() {
        return None;
    }
    // The logarithms' intervals are added in quadrature: the runs are independent.
    let spread = |records: &[&Record]| {
        let pairs: Vec<(f64, f64)> =
            records.iter().map(|r| (r.new_tokens as f64, r.seconds)).collect();
        let Interval { low, high } = ratio_bootstrap(&pairs, SEED);
        // Without an interval of either there is none of the quotient.
        if low > 0.0 && high.is_finite() { (high / low).ln() / 2.0 } else { f64::NAN }
    };
    let half = spread(first).hypot(spread(second)).exp();
    Some(Ratio { value, interval: Interval { low: value / half, high: value * half } })
}

/// For all comparisons of a task.
fn adjust_by_task(pairs: &mut [Pair<'_>]) {
    let tasks: BTreeSet<&str> = pairs.iter().map(|pair| pair.task).collect();
    for task in tasks {
        let own = pairs.iter_mut().filter(|pair| pair.task == task);
        adjust(&mut own.filter_map(|it| it.difference.as_mut()).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests;
