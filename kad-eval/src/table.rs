//! The summary as a terminal table.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

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
        let title = format!("{}: {task}, {items} items{unfinished}", summary.name);
        format!("{title}\n{}", table(summary, arms()))
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

fn table<'s>(summary: &Summary, arms: impl Iterator<Item = &'s Arm>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "decoder",
        "accuracy %",
        "95 %",
        &format!("vs {}", summary.baseline),
        "answered %",
        "deferral mass",
        "rate",
        "passes/token",
        "tokens/s",
    ]);
    for arm in arms {
        let numbers = row(arm).into_iter();
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(&arm.decoder)).chain(numbers));
    }
    table
}

fn row(arm: &Arm) -> [String; 8] {
    let difference = arm.difference.map_or("baseline".to_owned(), |d| {
        format!("{:+.1} [{}]", 100.0 * d.mean, points(d.interval))
    });
    let share = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.3}"));
    let passes = arm.passes_per_token.iter().map(|(model, n)| format!("{model} {n:.2}"));
    [
        format!("{:.1}", 100.0 * arm.accuracy),
        points(arm.accuracy_interval),
        difference,
        format!("{:.1}", 100.0 * arm.answered),
        share(arm.deferral_mass),
        share(arm.deferral_rate),
        passes.collect::<Vec<_>>().join(", "),
        format!("{:.0}", arm.tokens_per_second),
    ]
}

fn points(interval: Interval) -> String {
    format!("{:.1}, {:.1}", 100.0 * interval.low, 100.0 * interval.high)
}
