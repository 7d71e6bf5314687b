//! The summary as a terminal table.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};

use crate::stats::Interval;
use crate::summary::{Arm, Summary};

/// One table per task, in the order of the file.
pub(crate) fn render(summary: &Summary) -> String {
    let mut tasks: Vec<&str> = summary.arms.iter().map(|arm| arm.task.as_str()).collect();
    tasks.dedup();
    let tables = tasks.into_iter().map(|task| {
        let arms = || summary.arms.iter().filter(|arm| arm.task == task);
        let items = arms().map(|arm| arm.items).max().unwrap_or(0);
        let unfinished = if summary.complete { "" } else { ", unfinished" };
        let (name, baseline) = (&summary.name, &summary.baseline);
        format!(
            "{name}: {task}, {items} items{unfinished}; intervals 95 %, differences to `{baseline}`\n{}",
            table(arms())
        )
    });
    let text = tables.collect::<Vec<_>>().join("\n\n");
    let executed = summary.arms.iter().any(|arm| arm.execution.is_some());
    if executed { format!("{text}\n{SAME_LAW}") } else { text }
}

const SAME_LAW: &str = "executions of a rule (autoregressive, lazy, speculative) have the same law";

const HEADER: [&str; 9] = [
    "decoder",
    "correct %",
    "difference",
    "answered",
    "mass",
    "rate",
    "accepted",
    "passes/token",
    "tok/s",
];

/// Columns a terminal narrower than this leaves out; the report has all.
const NEEDS: [(&str, u16); 5] =
    [("rate", 130), ("passes/token", 130), ("answered", 100), ("accepted", 100), ("tok/s", 100)];

fn table<'s>(arms: impl Iterator<Item = &'s Arm>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(HEADER);
    let mut drafts = false;
    for arm in arms {
        drafts |= arm.drafting.is_some();
        let numbers = row(arm).into_iter();
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(&arm.decoder)).chain(numbers));
    }
    let width = table.width().unwrap_or(u16::MAX);
    for (name, column) in HEADER.iter().zip(table.column_iter_mut()) {
        let empty = *name == "accepted" && !drafts;
        if empty || NEEDS.iter().any(|(needing, least)| needing == name && width < *least) {
            column.set_constraint(ColumnConstraint::Hidden);
        } else if *name != "decoder" {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

fn row(arm: &Arm) -> [String; 8] {
    let with_interval = |value: String, interval| format!("{value} [{}]", points(interval));
    let difference = arm.difference.map_or("baseline".to_owned(), |d| {
        with_interval(format!("{:+.1}", 100.0 * d.mean), d.interval)
    });
    let share = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.3}"));
    let passes = arm.passes_per_token.iter().map(|(model, n)| format!("{model} {n:.2}"));
    [
        with_interval(format!("{:.1}", 100.0 * arm.accuracy), arm.accuracy_interval),
        difference,
        format!("{:.1}", 100.0 * arm.answered),
        share(arm.deferral_mass),
        share(arm.deferral_rate),
        arm.drafting.as_ref().map_or("–".to_owned(), |d| {
            format!("{:.3} ({:.2})", d.acceptance_rate, d.acceptance_length)
        }),
        passes.collect::<Vec<_>>().join(" "),
        format!(
            "{:.0} [{:.0}, {:.0}]",
            arm.tokens_per_second,
            arm.tokens_per_second_interval.low,
            arm.tokens_per_second_interval.high
        ),
    ]
}

fn points(interval: Interval) -> String {
    format!("{:.1}, {:.1}", 100.0 * interval.low, 100.0 * interval.high)
}
