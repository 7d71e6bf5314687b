//! Runs as a table, as Markdown, CSV and JSON.

use std::path::Path;

use anyhow::Result;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, Table, TableStyle};
use serde::Serialize;
use serde_json::Value;

use crate::analysis::compare::{Change, Comparison, Pair, Repetitions, Run};
use crate::analysis::metric::Unit;
use crate::analysis::summary::{DecoderResult, Difference, Summary, methods};
use crate::cli::ReportArgs;
use crate::numbers::{NONE, interval};
use crate::report::table;

/// Runs as CSV, each with the folder it is in.
///
/// # Errors
/// If numbers cannot be written.
pub(super) fn csv(runs: &[(&Path, Summary)]) -> Result<String> {
    let named: Vec<(String, &Summary)> =
        runs.iter().map(|(folder, run)| (folder.display().to_string(), run)).collect();
    table::csv(&named.iter().map(|(folder, run)| (folder.as_str(), *run)).collect::<Vec<_>>())
}

/// One run, as the user wants it.
///
/// # Errors
/// If numbers cannot be written.
pub(super) fn one(args: &ReportArgs, run: &Summary) -> Result<String> {
    match () {
        () if args.json => json(run),
        () if args.markdown => Ok(table::markdown(run) + "\n"),
        () => Ok(table::render(run) + "\n"),
    }
}

/// Several, each against the first one.
///
/// # Errors
/// If numbers cannot be written.
pub(super) fn several(args: &ReportArgs, runs: &[Run]) -> Result<String> {
    let all = Comparisons::of(runs);
    if args.json { json(&all) } else { Ok(all.text(args.markdown)) }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Runs, each against the first one.
#[derive(Serialize)]
struct Comparisons<'r> {
    /// Where all runs are of one plan.
    repetitions: Option<Repetitions<'r>>,
    comparisons: Vec<Comparison<'r>>,
}

impl<'r> Comparisons<'r> {
    fn of(runs: &'r [Run]) -> Self {
        let others = runs.iter().skip(1);
        let comparisons = runs
            .first()
            .into_iter()
            .flat_map(|first| others.clone().map(move |other| Comparison::of(first, other)));
        Self { repetitions: Repetitions::of(runs), comparisons: comparisons.collect() }
    }

    fn text(&self, markdown: bool) -> String {
        let gap = if markdown { "\n\n" } else { "\n" };
        let style = if markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED };
        let mut parts = Vec::new();
        if let Some(repetitions) = &self.repetitions {
            parts.extend([repetitions.words(), spreads(repetitions, style).to_string()]);
        }
        self.comparisons.iter().for_each(|it| parts.extend(compared(it, style)));
        parts.push(self.explained() + "\n");
        parts.join(gap)
    }

    /// What intervals and p are, and the texts.
    fn explained(&self) -> String {
        let pairs = self.comparisons.iter().flat_map(|it| &it.decoders);
        let compared: Vec<&Difference> =
            pairs.filter_map(|pair| pair.difference.as_ref()).collect();
        let methods = methods(&compared).map_or(String::new(), |words| {
            format!(
                "shared: items both finished; B − A: points on these, {words}, adjusted for all decoders of a task \
                 (Holm); "
            )
        });
        methods + TEXTS
    }
}

const TEXTS: &str = "texts: the same, token for token; speeds of two runs also differ by what else \
the machines did";

/// Words in the first columns, numbers in the others.
fn table<const N: usize>(
    style: TableStyle,
    header: [&str; N],
    words: usize,
    rows: impl Iterator<Item = [String; N]>,
) -> Table {
    let mut table = table::empty(style);
    table.set_header(header);
    for row in rows {
        table.add_row(row.into_iter().enumerate().map(|(column, text)| {
            let side = if column < words { CellAlignment::Left } else { CellAlignment::Right };
            Cell::new(text).set_alignment(side)
        }));
    }
    table
}

fn spreads(repetitions: &Repetitions<'_>, style: TableStyle) -> Table {
    let header = ["task", "decoder", "least tok/s", "median", "most", "spread %", "same texts"];
    let rows = repetitions.results.iter().map(|result| {
        let [min, median, max] =
            [result.min, result.median, result.max].map(|it| Unit::Digits.write(it));
        let texts = result.texts.map_or(NONE.to_owned(), |texts| texts.words());
        let width = Unit::Percent.write(result.width());
        [result.task.to_owned(), result.decoder.to_owned(), min, median, max, width, texts]
    });
    table(style, header, 2, rows)
}

fn compared(it: &Comparison<'_>, style: TableStyle) -> Vec<String> {
    let mut parts = vec![format!("A: {}\nB: {}", it.first, it.second)];
    parts.extend(it.same_plans());
    parts.extend(it.only_in_one("B"));
    for (head, changes) in
        [("differs in the plan", &it.plan), ("differs between the runs", &it.provenance)]
    {
        if !changes.is_empty() {
            let rows = changes.iter().map(change);
            parts.push(table(style, [head, "A", "B"], 3, rows).to_string());
        }
    }
    parts.push(table(style, HEADER, 2, it.decoders.iter().map(cells)).to_string());
    parts.extend(it.at_a_time());
    parts
}

fn change(Change { key, places, first, second }: &Change) -> [String; 3] {
    let shown = |value: &Option<Value>| value.as_ref().map_or(NONE.into(), Value::to_string);
    let places = match places {
        1 => String::new(),
        places => format!(" (in {places} places)"),
    };
    [format!("{key}{places}"), shown(first), shown(second)]
}

const HEADER: [&str; 11] = [
    "task", "decoder", "A %", "B %", "shared", "B − A", "p", "A tok/s", "B tok/s", "B ÷ A", "texts",
];

fn cells(pair: &Pair<'_>) -> [String; HEADER.len()] {
    let none = || NONE.to_owned();
    let percent = |result: Option<&DecoderResult>| {
        result.map_or_else(none, |result| Unit::Percent.write(result.accuracy))
    };
    let speed = |result: Option<&DecoderResult>| {
        result.map_or_else(none, |result| Unit::Digits.write(result.tokens_per_second))
    };
    let points = |value: f64| Unit::Points.write(value);
    [
        pair.task.to_owned(),
        pair.decoder.to_owned(),
        percent(pair.first),
        percent(pair.second),
        pair.difference.map_or_else(none, |d| d.items.to_string()),
        pair.difference
            .map_or_else(none, |d| format!("{} {}", points(d.mean), interval(d.interval, points))),
        pair.difference.map_or_else(none, |d| Unit::Chance.write(d.p_adjusted)),
        speed(pair.first),
        speed(pair.second),
        pair.speed.map_or_else(none, |it| {
            format!("{:.2} [{:.2}, {:.2}]", it.value, it.interval.low, it.interval.high)
        }),
        pair.texts.map_or_else(none, |texts| texts.words()),
    ]
}
