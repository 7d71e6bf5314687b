//! The summary as a terminal table.

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableStyle};

use crate::side_by_side::Sheet;
use crate::stats::Interval;
use crate::summary::{Arm, Summary};

/// One table per task, in the order of the file, as wide as the terminal allows.
pub(crate) fn render(summary: &Summary) -> String {
    in_style(summary, UTF8_FULL_CONDENSED)
}

/// The same as Markdown, with all columns.
pub(crate) fn markdown(summary: &Summary) -> String {
    in_style(summary, ASCII_MARKDOWN).replace('\n', "\n\n").replace("|\n\n|", "|\n|")
}

fn in_style(summary: &Summary, style: TableStyle) -> String {
    let mut tasks: Vec<&str> = summary.arms.iter().map(|arm| arm.task.as_str()).collect();
    tasks.dedup();
    let tables = tasks.into_iter().map(|task| {
        let arms = || summary.arms.iter().filter(|arm| arm.task == task);
        let items = arms().map(|arm| arm.items).max().unwrap_or(0);
        let unfinished = if summary.complete { "" } else { ", unfinished" };
        let (name, baseline) = (&summary.name, &summary.baseline);
        let graded = arms().any(|arm| !arm.accuracy.is_nan());
        let read = arms().any(|arm| arm.likelihood.is_some());
        let kind = if read {
            "read, nothing is written".to_owned()
        } else if graded {
            format!("differences to `{baseline}`")
        } else {
            "not graded, for speed only".to_owned()
        };
        let chains =
            [levels(arms(), style), likelihoods(arms(), style), groups(arms(), graded, style)];
        let chains: String =
            chains.into_iter().flatten().map(|table| format!("\n{table}")).collect();
        format!(
            "{name}: {task}, {items} items{unfinished}; intervals 95 %, {kind}\n{}{chains}",
            table(arms(), graded, style)
        )
    });
    let mut text = tables.collect::<Vec<_>>().join("\n\n");
    let ways = ["autoregressive", "lazy", "speculative"];
    let mut executions = summary.arms.iter().filter_map(|arm| arm.execution.as_ref());
    if executions.any(|words| ways.iter().any(|way| words.starts_with(way))) {
        text = format!("{text}\n{SAME_LAW}");
    }
    if let Some(points) = summary.detectable() {
        text = format!(
            "{text}\np: exact McNemar test, adjusted for all decoders of a task (Holm); so many items \
             show a difference of {:.1} points with a chance of 80 %",
            100.0 * points
        );
    }
    for arm in summary.arms.iter().filter(|arm| !arm.exact) {
        text = format!("{text}\n{}: {}", arm.decoder, arm.law);
    }
    if let Some(rows) = &summary.side_by_side {
        text = format!("{text}\n\n{}", Sheet::of(rows).text());
    }
    text
}

const SAME_LAW: &str = "executions of a rule (autoregressive, lazy, speculative) have the same law";

const HEADER: [&str; 10] = [
    "decoder",
    "correct %",
    "difference",
    "p",
    "answered",
    "mass",
    "rate",
    "accepted",
    "passes/token",
    "tok/s",
];

/// Columns a terminal narrower than this leaves out; the report has all.
const NEEDS: [(&str, u16); 6] = [
    ("p", 110),
    ("rate", 130),
    ("passes/token", 130),
    ("answered", 100),
    ("accepted", 100),
    ("tok/s", 100),
];

/// What each level of each chain did, and where the time went; nothing without chains.
fn levels<'s>(arms: impl Iterator<Item = &'s Arm>, style: TableStyle) -> Option<Table> {
    let mut table = Table::new();
    table.load_style(style);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["decoder", "level", "accepted", "per draft", "waste", "ms/token"]);
    let mut any = false;
    for arm in arms.filter(|arm| !arm.levels.is_empty()) {
        any = true;
        for level in &arm.levels {
            table.add_row([
                if level.level == 1 { arm.decoder.clone() } else { String::new() },
                format!("{}: {} by {}", level.level, level.name, level.drafter),
                format!("{:.3}", level.acceptance_rate),
                format!(
                    "{:.2} ± {:.2}",
                    level.acceptance_length, level.acceptance_length_deviation
                ),
                format!("{:.2}", level.waste),
                if level.level == 1 { milliseconds(arm) } else { String::new() },
            ]);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    any.then_some(table)
}

/// Of all, and in the passes of each model.
fn milliseconds(arm: &Arm) -> String {
    let Some(time) = &arm.time else { return "–".to_owned() };
    let passes = time.passes.iter().map(|(model, seconds)| format!("{model} {:.2}", 1e3 * seconds));
    let parts: Vec<String> = passes.chain([format!("other {:.2}", 1e3 * time.overhead)]).collect();
    format!("{:.2}: {}", 1e3 * time.total, parts.join(", "))
}

/// How likely each law holds the texts that were read; nothing where texts were written.
fn likelihoods<'s>(arms: impl Iterator<Item = &'s Arm>, style: TableStyle) -> Option<Table> {
    let mut table = framed(style, ["decoder", "tokens", "perplexity", "bits/byte"]);
    let mut any = false;
    for (arm, read) in arms.filter_map(|arm| Some((arm, arm.likelihood?))) {
        any = true;
        table.add_row([
            arm.decoder.clone(),
            read.tokens.to_string(),
            format!("{:.3}", read.perplexity),
            format!("{:.4}", read.bits_per_byte),
        ]);
    }
    any.then_some(table)
}

/// Subjects, categories or levels in rows, decoders in columns; nothing where there is but one.
fn groups<'s>(
    arms: impl Iterator<Item = &'s Arm>,
    graded: bool,
    style: TableStyle,
) -> Option<Table> {
    let arms: Vec<&Arm> = arms.collect();
    let first = arms.iter().max_by_key(|arm| arm.groups.len()).filter(|a| a.groups.len() > 1)?;
    let unit = if graded { "correct %" } else { "tok/s" };
    let names = arms.iter().map(|arm| arm.decoder.clone());
    let mut table = framed(style, [unit.to_owned(), "items".to_owned()].into_iter().chain(names));
    for group in &first.groups {
        let cell = |arm: &&Arm| {
            let own = arm.groups.iter().find(|other| other.name == group.name);
            own.map_or("–".to_owned(), |own| match graded {
                true => format!("{:.1}", 100.0 * own.accuracy),
                false => format!("{:.0}", own.tokens_per_second),
            })
        };
        let row = [group.name.clone(), group.items.to_string()].into_iter();
        table.add_row(row.chain(arms.iter().map(cell)));
    }
    Some(table)
}

fn framed<T: Into<Cell>>(style: TableStyle, header: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

/// Columns that say nothing about tasks without right answers.
const GRADES: [&str; 4] = ["correct %", "difference", "p", "answered"];

fn table<'s>(arms: impl Iterator<Item = &'s Arm>, graded: bool, style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style);
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
        let empty = *name == "accepted" && !drafts || !graded && GRADES.contains(name);
        if empty || NEEDS.iter().any(|(needing, least)| needing == name && width < *least) {
            column.set_constraint(ColumnConstraint::Hidden);
        } else if *name != "decoder" {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

fn row(arm: &Arm) -> [String; 9] {
    let with_interval = |value: String, interval| format!("{value} [{}]", points(interval));
    let difference = arm.difference.map_or("baseline".to_owned(), |d| {
        with_interval(format!("{:+.1}", 100.0 * d.mean), d.interval)
    });
    let share = |x: Option<f64>| x.map_or("–".to_owned(), |x| format!("{x:.3}"));
    let passes = arm.passes_per_token.iter().map(|(model, n)| format!("{model} {n:.2}"));
    [
        with_interval(format!("{:.1}", 100.0 * arm.accuracy), arm.accuracy_interval),
        difference,
        arm.difference.map_or(String::new(), |d| format!("{:.3}", d.p_adjusted)),
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
