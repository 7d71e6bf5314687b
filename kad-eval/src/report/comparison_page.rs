//! The page that compares runs: differences in plans and provenance, and results by task.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::chart::forest::{DecoderMarks, forest};
use super::page::{self, Figure};
use super::repeat::Repeat;
use super::result_tables::{difference, with_arrow};
use super::table::{DataTable, HeadedCell, TableCell, TableRow, headed};
use crate::analysis::compare::{
    DecoderPair, KeyChange, LeafValues, LoadedRun, Repetitions, RunComparison, by_key, leaves,
};
use crate::analysis::equal_texts::EqualTexts;
use crate::analysis::metric::{Metric, Unit, metric};
use crate::analysis::stats::Interval;
use crate::analysis::summary::{DecoderResult, Summary};
use crate::analysis::unique;
use crate::numbers::{NONE, clip, fixed};

const LONGEST_NAME: usize = 60;

/// `runs` as one self-contained page, each compared with the first one.
///
/// # Errors
/// Fails if the folder of a run cannot be read, a chart cannot be drawn or the template fails.
pub(crate) fn comparison(runs: &[LoadedRun]) -> Result<String> {
    let Some((first, others)) = runs.split_first() else { anyhow::bail!("no run to compare") };
    let comparisons: Vec<RunComparison<'_>> =
        others.iter().map(|other| RunComparison::of(first, other)).collect();
    let results: Vec<&DecoderResult> = runs.iter().flat_map(|run| &run.summary.results).collect();
    let plans: Vec<LeafValues> = runs.iter().map(|run| leaves(&run.plan)).collect();
    let sessions: Vec<LeafValues> = runs.iter().map(|run| by_key(&run.sessions)).collect();
    let tasks = unique(runs.iter().flat_map(|run| run.summary.tasks())).into_iter();
    let letters: Vec<String> = (0..runs.len()).map(letter).collect();
    let page = json!({
        "title": letters.join(", "),
        "repetitions": Repetitions::of(runs).map(|it| (it.words(), repetitions_table(&it))),
        "said": comparisons.iter().enumerate().flat_map(said).collect::<Vec<_>>(),
        "plans": changes("differs in the plan", &comparisons, |it| &it.plan, &plans),
        "runs": changes("differs between the runs", &comparisons, |it| &it.provenance, &sessions),
        "tasks": tasks.map(|task| task_view(task, runs, &comparisons)).collect::<Result<Vec<_>>>()?,
        "terms": page::terms(&results),
        "confidence": page::confidence(),
        "sides": runs.iter().enumerate().map(side).collect::<Result<Vec<_>>>()?,
    });
    page::render(include_str!("templates/comparison.html.j2"), page)
}

/// The head and the foot of a run.
fn side((place, run): (usize, &LoadedRun)) -> Result<Value> {
    Ok(json!({
        "letter": letter(place),
        "folder": run.stored.path().display().to_string(),
        "name": run.summary.name,
        "run_id": run.summary.run_id,
        "complete": run.summary.complete,
        "warnings": run.summary.remarks().collect::<Vec<_>>(),
        "at_a_time": run.summary.at_a_time(),
        "repeat": Repeat::of(&run.stored)?.view(),
    }))
}

/// A to Z, then numbers.
fn letter(place: usize) -> String {
    match u8::try_from(place) {
        Ok(small @ 0..26) => char::from(b'A' + small).to_string(),
        _ => (place + 1).to_string(),
    }
}

/// Spread of speeds and equality of texts over repetitions of one plan.
pub(crate) fn repetitions_table(repetitions: &Repetitions<'_>) -> DataTable {
    let rows = repetitions.results.iter().map(|result| {
        let speed = |value| TableCell::plain(Unit::Digits.write(value));
        let spread = TableCell::plain(Unit::Percent.write(result.width()));
        let cells = vec![
            headed("task", "", TableCell::plain(result.task)),
            headed("decoder", "", TableCell::plain(result.decoder)),
            headed("min", "tokens/s", speed(result.min)),
            headed("median", "tokens/s", speed(result.median)),
            headed("max", "tokens/s", speed(result.max)),
            headed("spread", "% of the median", spread),
            headed("equal texts", "", texts(result.texts)),
        ];
        (false, cells)
    });
    DataTable::headed(rows)
}

fn texts(same: Option<EqualTexts>) -> TableCell {
    same.map_or(TableCell::none(), |same| TableCell::plain(same.to_string()))
}

fn said((place, it): (usize, &RunComparison<'_>)) -> Vec<String> {
    let second = letter(place + 1);
    let said = [it.same_plans(), it.only_in_one(&second)];
    said.into_iter().flatten().map(|words| format!("A and {second}: {words}")).collect()
}

/// Every key that differs between a run and the first one, with the values of all `runs`.
fn changes(
    head: &str,
    comparisons: &[RunComparison<'_>],
    of: for<'c> fn(&'c RunComparison<'_>) -> &'c Vec<KeyChange>,
    runs: &[LeafValues],
) -> DataTable {
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for change in comparisons.iter().flat_map(of) {
        let places = keys.entry(&change.key).or_default();
        *places = change.places.max(*places);
    }
    let row = |(key, places): (&str, usize)| {
        let several = (places > 1).then(|| format!("in {places} places"));
        let name = TableCell::with(key, several.unwrap_or_default());
        let shown = |run: &LeafValues| run.get(key).map_or(NONE.to_owned(), ToString::to_string);
        let values = runs.iter().map(|run| TableCell::plain(shown(run)));
        TableRow::of(std::iter::once(name).chain(values))
    };
    let heads = std::iter::once(head.to_owned()).chain((0..runs.len()).map(letter));
    DataTable {
        header: heads.map(TableCell::plain).collect(),
        rows: keys.into_iter().map(row).collect(),
    }
}

/// All runs on one task.
fn task_view(task: &str, runs: &[LoadedRun], comparisons: &[RunComparison<'_>]) -> Result<Value> {
    let results = runs.iter().flat_map(|run| run.summary.on(task));
    let decoders = unique(results.map(|result| result.decoder.as_str()));
    let shown: Vec<&Metric> = ["accuracy", "perplexity", "deferral_mass", "tokens_per_second"]
        .into_iter()
        .filter_map(metric)
        .filter(|metric| runs.iter().any(|run| metric.is_in(&run.summary.on(task))))
        .collect();
    let figures = ["accuracy", "tokens_per_second"].into_iter().filter_map(metric);
    let figures = figures.map(|metric| figure(metric, (task, &decoders), runs));
    let figures = figures.collect::<Result<Vec<_>>>()?;
    let row = |decoder: &&str| (false, row((task, decoder), &shown, runs, comparisons));
    let table = DataTable::headed(decoders.iter().map(row));
    let figures: Vec<Figure> = figures.into_iter().flatten().collect();
    Ok(json!({ "name": task, "figures": figures, "table": table }))
}

/// A row: for each metric the columns of all runs, then those of the comparisons with the first
/// run.
fn row(
    (task, decoder): (&str, &str),
    shown: &[&Metric],
    runs: &[LoadedRun],
    comparisons: &[RunComparison<'_>],
) -> Vec<HeadedCell> {
    let own = |pair: &&DecoderPair<'_>| pair.task == task && pair.decoder == decoder;
    let pairs = || {
        let others = (1..).map(letter).zip(comparisons);
        others.map(|(letter, it)| (letter, it.decoders.iter().find(own)))
    };
    let mut cells = vec![headed("decoder", "", TableCell::plain(decoder))];
    for metric in shown {
        let title = with_arrow(&metric.head(), metric);
        cells.extend(runs.iter().enumerate().map(|(place, run)| {
            let found = run.summary.result(task, decoder).and_then(|result| metric.of(result));
            headed(letter(place), &title, TableCell::number(metric.unit, found))
        }));
        match metric.name {
            "accuracy" => cells.extend(pairs().map(|(letter, it)| {
                headed(format!("{letter} − A"), "points", accuracy_difference(it))
            })),
            "tokens_per_second" => cells.extend(pairs().map(|(letter, it)| {
                let speed = it.and_then(|pair| pair.speed).map(|it| (it.value, it.interval));
                let cell = TableCell::written(speed, |value| fixed(value, 2));
                headed(format!("{letter} ÷ A"), "speed", cell)
            })),
            _ => {}
        }
    }
    cells.extend(pairs().map(|(letter, it)| {
        let cell = texts(it.and_then(|pair| pair.texts));
        headed(format!("texts of {letter}"), "equal to A's", cell)
    }));
    cells
}

fn accuracy_difference(pair: Option<&DecoderPair<'_>>) -> TableCell {
    let Some((pair, found)) = pair.and_then(|pair| Some((pair, pair.difference?))) else {
        return TableCell::none();
    };
    let results: Vec<_> = [pair.first, pair.second].into_iter().flatten().collect();
    difference(&found, &results)
}

/// The chart of a metric of every decoder in every run; none if no run has it.
fn figure(
    metric: &Metric,
    (task, decoders): (&str, &[&str]),
    runs: &[LoadedRun],
) -> Result<Option<Figure>> {
    let mark = |run: &LoadedRun, decoder: &str| -> Option<(f64, Interval)> {
        let (value, range) = metric.of(run.summary.result(task, decoder)?)?;
        // A number without an interval is a mark alone.
        let alone = Interval { low: value, high: value };
        Some((value, range.map(|range| if range.low.is_nan() { alone } else { range })?))
    };
    let block = |decoder: &&str| DecoderMarks {
        label: (*decoder).to_owned(),
        marks: runs.iter().map(|run| mark(run, decoder)).collect(),
    };
    let blocks: Vec<DecoderMarks> = decoders.iter().map(block).collect();
    let name = |(place, run): (usize, &LoadedRun)| {
        let Summary { name, run_id, .. } = &run.summary;
        clip(&format!("{}: {name} {run_id}", letter(place)), LONGEST_NAME)
    };
    let names: Vec<String> = runs.iter().enumerate().map(name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let number = |value: &f64| match metric.unit {
        // Ticks are round.
        Unit::Percent => fixed(100.0 * value, 0),
        unit => unit.write(*value),
    };
    let head = metric.head();
    let title = format!("{head}, with {} % intervals", page::confidence());
    let caption = format!("{head} of every decoder in every run.");
    let label = format!("{head} on {task}; the numbers are in the table below");
    Ok(Figure::of(forest(&blocks, &names, (&title, &number))?, caption, label))
}
