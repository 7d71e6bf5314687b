//! The page that compares runs: differences in plans and provenance, and results by task.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::chart::forest::{DecoderMarks, ForestAxis, forest};
use super::page::{self, Figure, MetricTerm};
use super::repeat::{Repeat, RepeatView};
use super::result_tables::{difference, with_arrow};
use super::table::{DataTable, TableCell, TableRow};
use crate::analysis::compare::{
    DecoderPair, EqualTexts, KeyChange, LeafValues, LoadedRun, Repetitions, RunComparison, by_key,
    leaves,
};
use crate::analysis::metric::{Metric, Unit, metric};
use crate::analysis::stats::Interval;
use crate::analysis::summary::DecoderResult;
use crate::analysis::unique;
use crate::numbers::{NONE, clip, fixed};

const LONGEST_NAME: usize = 60;

/// `runs` as one self-contained page, each compared with the first one.
///
/// # Errors
/// If the folder of a run cannot be read, a chart cannot be drawn or the template fails.
pub(crate) fn comparison(runs: &[LoadedRun]) -> Result<String> {
    let sides: Vec<Side<'_>> = runs.iter().enumerate().map(Side::of).collect::<Result<_>>()?;
    let Some((first, others)) = runs.split_first() else { anyhow::bail!("no run to compare") };
    let comparisons: Vec<RunComparison<'_>> =
        others.iter().map(|other| RunComparison::of(first, other)).collect();
    let results: Vec<&DecoderResult> = runs.iter().flat_map(|run| &run.summary.results).collect();
    let plans: Vec<LeafValues> = runs.iter().map(|run| leaves(&run.plan)).collect();
    let sessions: Vec<LeafValues> = runs.iter().map(|run| by_key(&run.sessions)).collect();
    let tasks = unique(runs.iter().flat_map(|run| run.summary.tasks()));
    let page = Page {
        title: sides.iter().map(|side| side.letter.as_str()).collect::<Vec<_>>().join(", "),
        repetitions: Repetitions::of(runs).map(|it| (it.words(), repetitions_table(&it))),
        said: comparisons.iter().enumerate().flat_map(said).collect(),
        plans: changes("differs in the plan", &comparisons, |it| &it.plan, &plans),
        runs: changes("differs between the runs", &comparisons, |it| &it.provenance, &sessions),
        tasks: tasks
            .into_iter()
            .map(|task| task_view(task, &sides, &comparisons))
            .collect::<Result<_>>()?,
        terms: page::terms(&results),
        confidence: page::confidence(),
        sides,
    };
    page::render(include_str!("templates/comparison.html.j2"), page)
}

/// The variables of the template.
#[derive(Serialize)]
struct Page<'r> {
    title: String,
    sides: Vec<Side<'r>>,
    /// A sentence and a table, if all runs have the same plan.
    repetitions: Option<(String, DataTable)>,
    /// Sentences about equal plans, and about decoders of one run only.
    said: Vec<String>,
    plans: DataTable,
    /// Differences in program, machine, models and data.
    runs: DataTable,
    tasks: Vec<TaskView<'r>>,
    terms: Vec<MetricTerm>,
    confidence: String,
}

/// A run of the comparison.
#[derive(Serialize)]
struct Side<'r> {
    letter: String,
    folder: String,
    name: &'r str,
    run_id: &'r str,
    complete: bool,
    warnings: Vec<&'r String>,
    at_a_time: Option<String>,
    repeat: RepeatView,
    #[serde(skip)]
    run: &'r LoadedRun,
}

impl<'r> Side<'r> {
    fn of((place, run): (usize, &'r LoadedRun)) -> Result<Self> {
        Ok(Self {
            letter: letter(place),
            folder: run.stored.path().display().to_string(),
            name: &run.summary.name,
            run_id: &run.summary.run_id,
            complete: run.summary.complete,
            warnings: run.summary.remarks().collect(),
            at_a_time: run.summary.at_a_time(),
            repeat: Repeat::of(&run.stored)?.view(),
            run,
        })
    }
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
    let header = [
        ("task", ""),
        ("decoder", ""),
        ("min", "tokens/s"),
        ("median", "tokens/s"),
        ("max", "tokens/s"),
        ("spread", "% of the median"),
        ("equal texts", ""),
    ];
    let rows = repetitions.results.iter().map(|result| {
        let speeds = [result.min, result.median, result.max];
        let words = [result.task, result.decoder].map(TableCell::plain).into_iter();
        let speeds = speeds.map(|it| TableCell::plain(Unit::Digits.write(it)));
        let width = TableCell::plain(Unit::Percent.write(result.width()));
        TableRow::of(words.chain(speeds).chain([width, texts(result.texts)]))
    });
    DataTable::new(header, rows.collect())
}

fn texts(same: Option<EqualTexts>) -> TableCell {
    same.map_or(TableCell::none(), |same| TableCell::plain(same.words()))
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
#[derive(Serialize)]
struct TaskView<'r> {
    name: &'r str,
    figures: Vec<Figure>,
    table: DataTable,
}

fn task_view<'r>(
    task: &'r str,
    sides: &[Side<'r>],
    comparisons: &[RunComparison<'_>],
) -> Result<TaskView<'r>> {
    let results = sides.iter().flat_map(|side| side.run.summary.on(task));
    let decoders = unique(results.map(|result| result.decoder.as_str()));
    let shown: Vec<&Metric> = ["accuracy", "perplexity", "deferral_mass", "tokens_per_second"]
        .into_iter()
        .filter_map(metric)
        .filter(|metric| sides.iter().any(|side| metric.is_in(&side.run.summary.on(task))))
        .collect();
    let figures = ["accuracy", "tokens_per_second"].into_iter().filter_map(metric);
    let figures = figures.map(|metric| figure(metric, (task, &decoders), sides));
    let row = |decoder: &&str| row((task, decoder), &shown, sides, comparisons);
    let rows = decoders.iter().map(row).collect();
    Ok(TaskView {
        name: task,
        figures: figures.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(),
        table: DataTable { header: header(&shown, sides), rows },
    })
}

/// For each metric the columns of all runs, then of the comparisons with the first run.
fn header(shown: &[&Metric], sides: &[Side<'_>]) -> Vec<TableCell> {
    let others = || sides.iter().skip(1).map(|side| side.letter.as_str());
    let mut header = vec![TableCell::plain("decoder")];
    for metric in shown {
        let title = with_arrow(&metric.head(), metric);
        header.extend(sides.iter().map(|side| TableCell::with(&side.letter, &title)));
        match metric.name {
            "accuracy" => {
                header.extend(others().map(|it| TableCell::with(format!("{it} − A"), "points")));
            }
            "tokens_per_second" => {
                header.extend(others().map(|it| TableCell::with(format!("{it} ÷ A"), "speed")));
            }
            _ => {}
        }
    }
    let texts = |it: &str| TableCell::with(format!("texts of {it}"), "equal to A's");
    header.extend(others().map(texts));
    header
}

fn row(
    (task, decoder): (&str, &str),
    shown: &[&Metric],
    sides: &[Side<'_>],
    comparisons: &[RunComparison<'_>],
) -> TableRow {
    let own = |pair: &&DecoderPair<'_>| pair.task == task && pair.decoder == decoder;
    let pairs: Vec<Option<&DecoderPair<'_>>> =
        comparisons.iter().map(|it| it.decoders.iter().find(own)).collect();
    let mut cells = vec![TableCell::plain(decoder)];
    for metric in shown {
        cells.extend(sides.iter().map(|side| {
            let found = side.run.summary.result(task, decoder).and_then(|result| metric.of(result));
            TableCell::number(metric.unit, found)
        }));
        match metric.name {
            "accuracy" => cells.extend(pairs.iter().map(|it| accuracy_difference(*it))),
            "tokens_per_second" => cells.extend(pairs.iter().map(|it| {
                let speed = it.and_then(|pair| pair.speed).map(|it| (it.value, it.interval));
                TableCell::written(speed, |value| fixed(value, 2))
            })),
            _ => {}
        }
    }
    cells.extend(pairs.iter().map(|it| texts(it.and_then(|pair| pair.texts))));
    TableRow::of(cells)
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
    sides: &[Side<'_>],
) -> Result<Option<Figure>> {
    let mark = |side: &Side<'_>, decoder: &str| -> Option<(f64, Interval)> {
        let (value, range) = metric.of(side.run.summary.result(task, decoder)?)?;
        // A number without an interval is a mark alone.
        let alone = Interval { low: value, high: value };
        Some((value, range.map(|range| if range.low.is_nan() { alone } else { range })?))
    };
    let block = |decoder: &&str| DecoderMarks {
        label: (*decoder).to_owned(),
        marks: sides.iter().map(|side| mark(side, decoder)).collect(),
    };
    let blocks: Vec<DecoderMarks> = decoders.iter().map(block).collect();
    let names: Vec<String> = sides
        .iter()
        .map(|side| clip(&format!("{}: {} {}", side.letter, side.name, side.run_id), LONGEST_NAME))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let number = |value: &f64| match metric.unit {
        // Ticks are round.
        Unit::Percent => fixed(100.0 * value, 0),
        unit => unit.write(*value),
    };
    let head = metric.head();
    let title = format!("{head}, with {} % intervals", page::confidence());
    let scale = ForestAxis { title: &title, number: &number };
    let caption = format!("{head} of every decoder in every run.");
    let label = format!("{head} on {task}; the numbers are in the table below");
    Ok(Figure::of(forest(&blocks, &names, scale)?, caption, label))
}
