//! The page that compares runs: what differs in their plans, and in what came out.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::forest::{Block, Scale, forest};
use super::grid::{Cell, Grid, Line, tone, with_arrow};
use super::page::{self, Figure, Term};
use super::repeat::{self, Repeat};
use crate::analysis::compare::{
    Change, Comparison, Leaves, Pair, Repetitions, Run, SameTexts, by_key, leaves,
};
use crate::analysis::metric::{Metric, Unit, metric, p_value};
use crate::analysis::stats::{CONFIDENCE, Interval};
use crate::analysis::summary::DecoderResult;
use crate::numbers::{NONE, clip, fixed, interval, parameter};

const LONGEST_NAME: usize = 60;

/// `runs` as one self-contained page, each against the first one.
///
/// # Errors
/// If the folder of a run cannot be read, a chart cannot be drawn or the template fails.
pub(crate) fn comparison(runs: &[Run]) -> Result<String> {
    let sides: Vec<Side<'_>> = runs.iter().enumerate().map(Side::of).collect::<Result<_>>()?;
    let Some((first, others)) = runs.split_first() else { anyhow::bail!("no run to compare") };
    let comparisons: Vec<Comparison<'_>> =
        others.iter().map(|other| Comparison::of(first, other)).collect();
    let repetitions = Repetitions::of(runs);
    let results: Vec<&DecoderResult> = runs.iter().flat_map(|run| &run.summary.results).collect();
    let plans: Vec<Leaves> = runs.iter().map(|run| leaves(&run.plan)).collect();
    let sessions: Vec<Leaves> = runs.iter().map(|run| by_key(&run.sessions)).collect();
    let page = Page {
        title: sides.iter().map(|side| side.letter.as_str()).collect::<Vec<_>>().join(", "),
        repetitions: repetitions.as_ref().map(Repeated::of),
        said: comparisons.iter().enumerate().flat_map(said).collect(),
        plans: changes("differs in the plan", &comparisons, |it| &it.plan, &plans),
        runs: changes("differs between the runs", &comparisons, |it| &it.provenance, &sessions),
        tasks: tasks(runs)
            .into_iter()
            .map(|task| task_view(task, &sides, &comparisons))
            .collect::<Result<_>>()?,
        terms: page::terms(&results),
        confidence: parameter(100.0 * CONFIDENCE),
        sides,
    };
    page::render(include_str!("comparison.html.j2"), page)
}

/// What the template knows.
#[derive(Serialize)]
struct Page<'r> {
    title: String,
    sides: Vec<Side<'r>>,
    repetitions: Option<Repeated>,
    /// In words: of plans in which nothing differs, and of decoders that only one run has.
    said: Vec<String>,
    plans: Grid,
    /// What differs in program, machine, models and data.
    runs: Grid,
    tasks: Vec<TaskView<'r>>,
    terms: Vec<Term>,
    confidence: String,
}

/// A run.
#[derive(Serialize)]
struct Side<'r> {
    letter: String,
    folder: String,
    name: &'r str,
    run_id: &'r str,
    complete: bool,
    warnings: Vec<&'r String>,
    at_a_time: Option<String>,
    repeat: repeat::View,
    #[serde(skip)]
    run: &'r Run,
}

impl<'r> Side<'r> {
    fn of((place, run): (usize, &'r Run)) -> Result<Self> {
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

    /// The decoder's numbers here.
    fn result(&self, task: &str, decoder: &str) -> Option<&'r DecoderResult> {
        self.run.summary.on(task).into_iter().find(|result| result.decoder == decoder)
    }
}

/// A to Z, then numbers.
fn letter(place: usize) -> String {
    match u8::try_from(place) {
        Ok(small @ 0..26) => char::from(b'A' + small).to_string(),
        _ => (place + 1).to_string(),
    }
}

/// Runs of one plan.
#[derive(Serialize)]
struct Repeated {
    words: String,
    grid: Grid,
}

impl Repeated {
    fn of(repetitions: &Repetitions<'_>) -> Self {
        let heads = [
            Cell::plain("decoder"),
            Cell::plain("task"),
            Cell::with("least", "tokens/s"),
            Cell::with("median", "tokens/s"),
            Cell::with("most", "tokens/s"),
            Cell::with("spread", "% of the median"),
            Cell::plain("same texts"),
        ];
        let rows = repetitions.results.iter().map(|result| {
            let speeds = [result.min, result.median, result.max]
                .map(|it| Cell::plain(Unit::Digits.write(it)));
            let words = [Cell::plain(result.decoder), Cell::plain(result.task)].into_iter();
            let rest = [Cell::plain(Unit::Percent.write(result.width())), texts(result.texts)];
            Line { cells: words.chain(speeds).chain(rest).collect(), ..Line::default() }
        });
        Self {
            words: repetitions.words(),
            grid: Grid { header: heads.into(), rows: rows.collect() },
        }
    }
}

/// How many are the same.
fn texts(same: Option<SameTexts>) -> Cell {
    same.map_or(Cell::none(), |same| Cell::plain(same.words()))
}

fn said((place, it): (usize, &Comparison<'_>)) -> Vec<String> {
    let second = letter(place + 1);
    let said = [it.same_plans(), it.only_in_one(&second)];
    said.into_iter().flatten().map(|words| format!("A and {second}: {words}")).collect()
}

/// Every key that a run has otherwise than the first, with what each of the `runs` has there.
fn changes(
    head: &str,
    comparisons: &[Comparison<'_>],
    of: for<'c> fn(&'c Comparison<'_>) -> &'c Vec<Change>,
    runs: &[Leaves],
) -> Grid {
    let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
    for change in comparisons.iter().flat_map(of) {
        let places = keys.entry(&change.key).or_default();
        *places = change.places.max(*places);
    }
    let row = |(key, places): (&str, usize)| {
        let mut name = Cell::plain(key);
        if places > 1 {
            name.small.push(format!("in {places} places"));
        }
        let shown =
            |run: &Leaves| Cell::plain(run.get(key).map_or(NONE.to_owned(), ToString::to_string));
        let cells = std::iter::once(name).chain(runs.iter().map(shown)).collect();
        Line { cells, ..Line::default() }
    };
    let letters = (0..runs.len()).map(|place| Cell::plain(letter(place)));
    let header = std::iter::once(Cell::plain(head)).chain(letters).collect();
    Grid { header, rows: keys.into_iter().map(row).collect() }
}

/// Of all runs, those of the first one first.
fn tasks(runs: &[Run]) -> Vec<&str> {
    let mut tasks: Vec<&str> = Vec::new();
    for task in runs.iter().flat_map(|run| run.summary.tasks()) {
        if !tasks.contains(&task) {
            tasks.push(task);
        }
    }
    tasks
}

/// All runs on one task.
#[derive(Serialize)]
struct TaskView<'r> {
    name: &'r str,
    figures: Vec<Figure>,
    grid: Grid,
}

fn task_view<'r>(
    task: &'r str,
    sides: &[Side<'r>],
    comparisons: &[Comparison<'_>],
) -> Result<TaskView<'r>> {
    let mut decoders: Vec<&str> = Vec::new();
    for result in sides.iter().flat_map(|side| side.run.summary.on(task)) {
        if !decoders.contains(&result.decoder.as_str()) {
            decoders.push(&result.decoder);
        }
    }
    // What the table has for each run, then for each comparison.
    let shown: Vec<&Metric> = ["accuracy", "perplexity", "deferral_mass", "tokens_per_second"]
        .into_iter()
        .filter_map(metric)
        .filter(|metric| sides.iter().any(|side| metric.is_in(&side.run.summary.on(task))))
        .collect();
    let figures = ["accuracy", "tokens_per_second"].into_iter().filter_map(metric);
    let figures = figures.map(|metric| figure(metric, (task, &decoders), sides));
    let graded = shown.iter().any(|metric| metric.name == "accuracy");
    let row = |decoder: &&str| row((task, decoder), (&shown, graded), sides, comparisons);
    Ok(TaskView {
        name: task,
        figures: figures.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(),
        grid: Grid {
            header: header(&shown, graded, sides),
            rows: decoders.iter().map(row).collect(),
        },
    })
}

fn header(shown: &[&Metric], graded: bool, sides: &[Side<'_>]) -> Vec<Cell> {
    let mut header = vec![Cell::plain("decoder")];
    for metric in shown {
        let title = with_arrow(&metric.head(), metric);
        header.extend(sides.iter().map(|side| Cell::with(&side.letter, &title)));
        for side in sides.iter().skip(1) {
            match metric.name {
                "accuracy" if graded => {
                    header.push(Cell::with(format!("{} − A", side.letter), "points"));
                }
                "tokens_per_second" => {
                    header.push(Cell::with(format!("{} ÷ A", side.letter), "of the speed"));
                }
                _ => {}
            }
        }
    }
    header.extend(
        sides
            .iter()
            .skip(1)
            .map(|side| Cell::with(format!("texts of {}", side.letter), "as those of A")),
    );
    header
}

fn row(
    (task, decoder): (&str, &str),
    (shown, graded): (&[&Metric], bool),
    sides: &[Side<'_>],
    comparisons: &[Comparison<'_>],
) -> Line {
    let own = |pair: &&Pair<'_>| pair.task == task && pair.decoder == decoder;
    let pairs: Vec<Option<&Pair<'_>>> =
        comparisons.iter().map(|it| it.decoders.iter().find(own)).collect();
    let mut cells = vec![Cell::plain(decoder)];
    for metric in shown {
        cells.extend(sides.iter().map(|side| {
            let found = side.result(task, decoder).and_then(|result| metric.of(result));
            Cell::number(metric.unit, found)
        }));
        match metric.name {
            "accuracy" if graded => cells.extend(pairs.iter().map(|it| difference(*it))),
            "tokens_per_second" => cells.extend(pairs.iter().map(|it| speed(*it))),
            _ => {}
        }
    }
    cells.extend(pairs.iter().map(|it| texts(it.and_then(|pair| pair.texts))));
    Line { cells, ..Line::default() }
}

fn difference(pair: Option<&Pair<'_>>) -> Cell {
    let Some((pair, found)) = pair.and_then(|pair| Some((pair, pair.difference?))) else {
        return Cell::none();
    };
    let mut cell = Cell::number(Unit::Points, Some((found.mean, Some(found.interval))));
    cell.small.push(p_value(found.p_adjusted));
    if [pair.first, pair.second].iter().flatten().any(|result| result.items != found.items) {
        cell.small.push(format!("{} items", found.items));
    }
    cell.tone = tone(found.p_adjusted, found.mean);
    cell
}

fn speed(pair: Option<&Pair<'_>>) -> Cell {
    let Some(found) = pair.and_then(|pair| pair.speed) else { return Cell::none() };
    let two = |value: f64| fixed(value, 2);
    Cell::with(two(found.value), interval(found.interval, two))
}

/// The metric of every decoder in every run; none where there is nothing of it.
fn figure(
    metric: &Metric,
    (task, decoders): (&str, &[&str]),
    sides: &[Side<'_>],
) -> Result<Option<Figure>> {
    let mark = |side: &Side<'_>, decoder: &str| -> Option<(f64, Interval)> {
        let (value, range) = metric.of(side.result(task, decoder)?)?;
        // Where there is a number and no interval, the mark stands alone.
        let alone = Interval { low: value, high: value };
        Some((value, range.map(|range| if range.low.is_nan() { alone } else { range })?))
    };
    let block = |decoder: &&str| Block {
        label: (*decoder).to_owned(),
        marks: sides.iter().map(|side| mark(side, decoder)).collect(),
    };
    let blocks: Vec<Block> = decoders.iter().map(block).collect();
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
    let title = format!("{head}, with {} % intervals", parameter(100.0 * CONFIDENCE));
    let scale = Scale { title: &title, number: &number, reference: None };
    let caption = format!("{head} of every decoder in every run.");
    let label = format!("{head} on {task}; the numbers are in the table below");
    Ok(Figure::of(forest(&blocks, &names, scale)?, caption, label))
}
