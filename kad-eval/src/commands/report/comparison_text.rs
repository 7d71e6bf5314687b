//! Runs as tables, Markdown, CSV and JSON.

use std::path::Path;

use anyhow::Result;
use comfy_table::TableStyle;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use serde::Serialize;
use serde_json::Value;

use crate::analysis::compare::{DecoderPair, KeyChange, LoadedRun, Repetitions, RunComparison};
use crate::analysis::metric::Unit;
use crate::analysis::summary::{DecoderResult, Difference, Summary, methods};
use crate::cli::ReportArgs;
use crate::numbers::{NONE, interval};
use crate::report::{
    self,
    table::{self, DataTable},
};

pub(super) fn csv(runs: &[(&Path, Summary)]) -> Result<String> {
    let named: Vec<(String, &Summary)> =
        runs.iter().map(|(folder, run)| (folder.display().to_string(), run)).collect();
    table::csv(&named.iter().map(|(folder, run)| (folder.as_str(), *run)).collect::<Vec<_>>())
}

pub(super) fn one(args: &ReportArgs, run: &Summary) -> Result<String> {
    match () {
        () if args.json => json(run),
        () if args.markdown => Ok(table::markdown(run) + "\n"),
        () => Ok(table::render(run) + "\n"),
    }
}

pub(super) fn several(args: &ReportArgs, runs: &[LoadedRun]) -> Result<String> {
    let all = Comparisons::of(runs);
    if args.json { json(&all) } else { Ok(all.text(args.markdown)) }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// Runs, each compared with the first.
#[derive(Serialize)]
struct Comparisons<'r> {
    /// Repetitions, if all runs have the same plan.
    repetitions: Option<Repetitions<'r>>,
    comparisons: Vec<RunComparison<'r>>,
}

impl<'r> Comparisons<'r> {
    fn of(runs: &'r [LoadedRun]) -> Self {
        let others = runs.iter().skip(1);
        let comparisons = runs
            .first()
            .into_iter()
            .flat_map(|first| others.clone().map(move |other| RunComparison::of(first, other)));
        Self { repetitions: Repetitions::of(runs), comparisons: comparisons.collect() }
    }

    fn text(&self, markdown: bool) -> String {
        let gap = if markdown { "\n\n" } else { "\n" };
        let style = if markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED };
        let mut parts = Vec::new();
        if let Some(repetitions) = &self.repetitions {
            let table = report::repetitions_table(repetitions).render(style, 2);
            parts.extend([repetitions.words(), table]);
        }
        self.comparisons.iter().for_each(|it| parts.extend(compared(it, style)));
        parts.push(self.explained() + "\n");
        parts.join(gap)
    }

    /// The note below all tables: intervals, p-values and texts.
    fn explained(&self) -> String {
        let pairs = self.comparisons.iter().flat_map(|it| &it.decoders);
        let compared: Vec<&Difference> =
            pairs.filter_map(|pair| pair.difference.as_ref()).collect();
        let methods = methods(&compared).map_or(String::new(), |words| {
            format!(
                "shared: items finished by both; B − A: difference in points on these, {words}; p is \
                 Holm-adjusted over the decoders of a task; "
            )
        });
        methods + TEXTS
    }
}

const TEXTS: &str =
    "texts: equal token for token; speeds also differ with the load of the machines";

fn compared(it: &RunComparison<'_>, style: TableStyle) -> Vec<String> {
    let mut parts = vec![format!("A: {}\nB: {}", it.first, it.second)];
    parts.extend(it.same_plans());
    parts.extend(it.only_in_one("B"));
    for (head, changes) in
        [("differs in the plan", &it.plan), ("differs between the runs", &it.provenance)]
    {
        if !changes.is_empty() {
            let rows = changes.iter().map(change);
            parts.push(DataTable::plain([head, "A", "B"], rows).render(style, 3));
        }
    }
    parts.push(DataTable::plain(HEADER, it.decoders.iter().map(cells)).render(style, 2));
    parts.extend(it.at_a_time());
    parts
}

fn change(KeyChange { key, places, first, second }: &KeyChange) -> [String; 3] {
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

fn cells(pair: &DecoderPair<'_>) -> [String; HEADER.len()] {
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
        pair.texts.map_or_else(none, |texts| texts.to_string()),
    ]
}
