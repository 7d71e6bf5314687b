//! The summary as a table: for terminals, as Markdown and as CSV.

mod columns;
mod csv;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{ContentArrangement, Table, TableStyle};

use crate::metric::{METRICS, Shown};
use crate::side_by_side::Sheet;
use crate::summary::{Arm, Summary, explained};
use columns::{Column, Columns};

pub(crate) use csv::csv;

/// One table per task, in the order of the file, as wide as the terminal allows.
pub(crate) fn render(summary: &Summary) -> String {
    let text = in_style(summary, UTF8_FULL_CONDENSED);
    match &summary.side_by_side {
        Some(rows) => format!("{text}\n\n{}", Sheet::of(rows).text()),
        None => text,
    }
}

/// The same as Markdown, with all columns, and with what else there is to say of the run.
pub(crate) fn markdown(summary: &Summary) -> String {
    let mut text = format!("# {}\n\n", summary.name);
    if let Some(question) = &summary.question {
        text += &format!("{question}\n\n");
    }
    let unfinished = if summary.complete { "" } else { ", incomplete: items are missing" };
    text += &format!("Run `{}`{unfinished}\n\n", summary.run_id);
    for warning in summary.remarks() {
        text += &format!("- warning: {warning}\n");
    }
    let tables = in_style(summary, ASCII_MARKDOWN);
    text += &format!("\n{}", tables.replace('\n', "\n\n").replace("|\n\n|", "|\n|"));
    if let Some(rows) = &summary.side_by_side {
        text += &format!("\n\n{}", Sheet::of(rows).markdown(&[]).trim_end());
    }
    text
}

fn in_style(summary: &Summary, style: TableStyle) -> String {
    let tables = summary.tasks().into_iter().map(|task| {
        let arms = summary.on(task);
        let items = arms.iter().map(|arm| arm.items).max().unwrap_or(0);
        let unfinished = if summary.complete { "" } else { ", unfinished" };
        let (name, baseline) = (&summary.name, &summary.baseline);
        let graded = arms.iter().any(|arm| !arm.accuracy.is_nan());
        let read = arms.iter().any(|arm| arm.likelihood.is_some());
        let compared = arms.iter().any(|arm| arm.difference.is_some());
        let kind = if read {
            ", read, nothing is written".to_owned()
        } else if compared {
            format!(", differences to `{baseline}`")
        } else if graded {
            String::new()
        } else {
            ", not graded, for speed only".to_owned()
        };
        let apart = if style == ASCII_MARKDOWN { "\n\n" } else { "\n" };
        let more = [levels(&arms, style), groups(&arms, graded, style)];
        let all = std::iter::once(table(&arms, baseline, style)).chain(more.into_iter().flatten());
        let all = all.collect::<Vec<_>>().join(apart);
        let explained = explained(&arms).map_or(String::new(), |words| format!("\n{words}"));
        let head = if style == ASCII_MARKDOWN { "## " } else { "" };
        format!(
            "{head}{name}: {task}, {items} items{unfinished}; intervals 95 %{kind}\n{all}{explained}"
        )
    });
    let mut text = tables.collect::<Vec<_>>().join("\n\n");
    let ways = ["autoregressive", "lazy", "speculative"];
    let mut executions = summary.arms.iter().filter_map(|arm| arm.execution.as_ref());
    if executions.any(|words| ways.iter().any(|way| words.starts_with(way))) {
        text = format!("{text}\n{SAME_DISTRIBUTION}");
    }
    if let Some(words) = summary.at_a_time() {
        text = format!("{text}\n{words}");
    }
    for arm in summary.arms.iter().filter(|arm| !arm.exact) {
        text = format!("{text}\n{}: {}", arm.decoder, arm.distribution);
    }
    text
}

const SAME_DISTRIBUTION: &str =
    "executions of a rule (autoregressive, lazy, speculative) have the same distribution";

/// What each level of each chain did, and where the time went; nothing without chains.
fn levels(arms: &[&Arm], style: TableStyle) -> Option<String> {
    let rows = || arms.iter().flat_map(|arm| arm.levels.iter().map(move |level| (arm, level)));
    rows().next()?;
    let top = |text: String, level: u64| if level == 1 { text } else { String::new() };
    let length = |it: &crate::summary::Level| {
        format!("{:.2} ± {:.2}", it.acceptance_length, it.acceptance_length_deviation)
    };
    let decoder = rows().map(|(arm, it)| top(arm.decoder.clone(), it.level));
    let level = rows().map(|(_, it)| format!("{}: {} by {}", it.level, it.name, it.drafter));
    let rate = rows().map(|(_, it)| format!("{:.3}", it.acceptance_rate));
    let waste = rows().map(|(_, it)| format!("{:.2}", it.waste));
    let time = rows().map(|(arm, it)| top(milliseconds(arm), it.level));
    let columns = vec![
        Column::words("decoder", decoder),
        Column::words("level", level),
        Column::numbers("accepted", 1, rate),
        Column::numbers("per draft", 0, rows().map(|(_, it)| length(it))),
        Column::numbers("waste", 2, waste),
        Column::numbers("ms/token", 3, time),
    ];
    Some(Columns(columns).text(style))
}

/// Of all, and in the passes of each model.
fn milliseconds(arm: &Arm) -> String {
    let Some(time) = &arm.time else { return "–".to_owned() };
    let passes = time.passes.iter().map(|(model, seconds)| format!("{model} {:.2}", 1e3 * seconds));
    let parts: Vec<String> = passes.chain([format!("other {:.2}", 1e3 * time.overhead)]).collect();
    format!("{:.2}: {}", 1e3 * time.total, parts.join(", "))
}

/// Subjects, categories or levels in rows, decoders in columns; nothing where there is but one.
fn groups(arms: &[&Arm], graded: bool, style: TableStyle) -> Option<String> {
    let first = arms.iter().max_by_key(|arm| arm.groups.len()).filter(|a| a.groups.len() > 1)?;
    let unit = if graded { "correct %" } else { "tok/s" };
    let cell = |arm: &Arm, name: &str| {
        let own = arm.groups.iter().find(|other| other.name == name);
        own.map_or("–".to_owned(), |own| match graded {
            true => format!("{:.1}", 100.0 * own.accuracy),
            false => format!("{:.0}", own.tokens_per_second),
        })
    };
    let names = first.groups.iter().map(|group| group.name.clone());
    let items = first.groups.iter().map(|group| group.items.to_string());
    let mut columns = vec![Column::words(unit, names), Column::numbers("items", 0, items)];
    columns.extend(arms.iter().enumerate().map(|(rank, arm)| {
        let cells = first.groups.iter().map(|group| cell(arm, &group.name));
        Column::numbers(&arm.decoder, rank, cells).with_wrapped_head()
    }));
    Some(Columns(columns).text(style))
}

/// Without rows yet; as wide as the terminal at most. Markdown has no width: where a line ends is
/// up to who shows it. Nor has a terminal that says 0 and does not know.
pub(crate) fn empty(style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    if style == ASCII_MARKDOWN || table.width() == Some(0) {
        table.force_no_tty();
    } else {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// The metrics that the arms have, as far as the terminal is wide enough; pages and files have all.
fn table(arms: &[&Arm], baseline: &str, style: TableStyle) -> String {
    let names = arms.iter().map(|arm| arm.decoder.clone());
    let mut columns = vec![Column::words("decoder", names)];
    for metric in METRICS.iter().filter(|metric| metric.is_in(arms)) {
        let Shown::Terminal(rank) = metric.shown else { continue };
        let line = |arm: &&Arm| match metric.name {
            "difference" if arm.decoder == baseline => "baseline".to_owned(),
            _ => metric.line(arm),
        };
        columns.push(Column::numbers(&metric.head(), rank, arms.iter().map(line)));
    }
    Columns(columns).text(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Also where nobody disagrees, and on each task for itself.
    #[test]
    fn every_task_says_what_its_differences_are() {
        let mut summary = sample::summary();
        let method =
            "[95 %, Tango's score interval]; p: exact McNemar test, adjusted for all decoders";
        let tasks = summary.tasks().len();
        assert_eq!(render(&summary).matches(method).count(), tasks);
        assert_eq!(render(&summary).matches("show a difference of 8.1 points").count(), tasks);
        for arm in summary.arms.iter_mut().filter(|arm| arm.difference.is_some()) {
            arm.difference = Some(crate::summary::Difference::of(&[(1.0, 1.0); 6], 1));
        }
        let text = render(&summary);
        assert_eq!(text.matches(method).count(), tasks);
        assert!(!text.contains("show a difference") && !text.contains("0.0 [0.0, 0.0]"), "{text}");
        assert!(text.contains("0.0 [−39.0, +39.0]"), "{text}");
    }

    #[test]
    fn points_that_are_all_equal_have_no_interval() {
        let mut summary = sample::summary();
        let difference = crate::summary::Difference::of(&[(0.5, 0.25); 6], 1);
        assert_eq!((difference.p_value, difference.detectable), (2.0 / 64.0, None));
        summary.arms[1].difference = Some(difference);
        assert!(render(&summary).contains("+25.0 –"), "{}", render(&summary));
        let both = "where they give points: [95 %, bootstrap over items]; p: sign-flip";
        assert!(render(&summary).contains(both), "{}", render(&summary));
    }

    #[test]
    fn several_items_at_a_time_are_named() {
        let mut summary = sample::summary();
        assert!(!render(&summary).contains("at a time"));
        summary.jobs = vec![1];
        assert!(!render(&summary).contains("at a time"));
        summary.jobs = vec![1, 4];
        assert!(render(&summary).contains("times are of 1 or 4 items at a time"));
    }
}
