//! The summary as a table: for terminals, as Markdown and as CSV.

mod columns;
mod csv;
mod model_comparison;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{ContentArrangement, Table, TableStyle};

use crate::analysis::metric::{METRICS, Shown};
use crate::analysis::summary::{DecoderResult, Summary, explained};
use columns::{Column, Columns};

pub(crate) use csv::csv;
pub(crate) use model_comparison::{Cell, Line, ModelTable};

/// One table per task, in the order of the file, as wide as the terminal allows.
pub(crate) fn render(summary: &Summary) -> String {
    let text = in_style(summary, UTF8_FULL_CONDENSED);
    match &summary.side_by_side {
        Some(rows) => format!("{text}\n\n{}", ModelTable::of(rows).text()),
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
        text += &format!("\n\n{}", ModelTable::of(rows).markdown(&[]).trim_end());
    }
    text
}

fn in_style(summary: &Summary, style: TableStyle) -> String {
    let tables = summary.tasks().into_iter().map(|task| {
        let results = summary.on(task);
        let items = results.iter().map(|result| result.items).max().unwrap_or(0);
        let unfinished = if summary.complete { "" } else { ", unfinished" };
        let (name, baseline) = (&summary.name, &summary.baseline);
        let graded = results.iter().any(|result| !result.accuracy.is_nan());
        let read = results.iter().any(|result| result.likelihood.is_some());
        let compared = results.iter().any(|result| result.difference.is_some());
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
        let more = [levels(&results, style), groups(&results, graded, style)];
        let all = std::iter::once(table(&results, baseline, style)).chain(more.into_iter().flatten());
        let all = all.collect::<Vec<_>>().join(apart);
        let explained = explained(&results).map_or(String::new(), |words| format!("\n{words}"));
        let head = if style == ASCII_MARKDOWN { "## " } else { "" };
        format!(
            "{head}{name}: {task}, {items} items{unfinished}; intervals 95 %{kind}\n{all}{explained}"
        )
    });
    let mut text = tables.collect::<Vec<_>>().join("\n\n");
    let ways = ["autoregressive", "lazy", "speculative"];
    let mut executions = summary.results.iter().filter_map(|result| result.execution.as_ref());
    if executions.any(|words| ways.iter().any(|way| words.starts_with(way))) {
        text = format!("{text}\n{SAME_DISTRIBUTION}");
    }
    if let Some(words) = summary.at_a_time() {
        text = format!("{text}\n{words}");
    }
    for result in summary.results.iter().filter(|result| !result.exact) {
        text = format!("{text}\n{}: {}", result.decoder, result.distribution);
    }
    text
}

const SAME_DISTRIBUTION: &str =
    "executions of a rule (autoregressive, lazy, speculative) have the same distribution";

/// What each level of each chain did, and where the time went; nothing without chains.
fn levels(results: &[&DecoderResult], style: TableStyle) -> Option<String> {
    let rows =
        || results.iter().flat_map(|result| result.levels.iter().map(move |level| (result, level)));
    rows().next()?;
    let top = |text: String, level: u64| if level == 1 { text } else { String::new() };
    let length = |it: &crate::analysis::summary::Level| {
        format!("{:.2} ± {:.2}", it.acceptance_length, it.acceptance_length_deviation)
    };
    let decoder = rows().map(|(result, it)| top(result.decoder.clone(), it.level));
    let level = rows().map(|(_, it)| format!("{}: {} by {}", it.level, it.name, it.drafter));
    let rate = rows().map(|(_, it)| format!("{:.3}", it.acceptance_rate));
    let waste = rows().map(|(_, it)| format!("{:.2}", it.waste));
    let time = rows().map(|(result, it)| top(milliseconds(result), it.level));
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
fn milliseconds(result: &DecoderResult) -> String {
    let Some(time) = &result.time else { return "–".to_owned() };
    let passes = time.passes.iter().map(|(model, seconds)| format!("{model} {:.2}", 1e3 * seconds));
    let parts: Vec<String> = passes.chain([format!("other {:.2}", 1e3 * time.overhead)]).collect();
    format!("{:.2}: {}", 1e3 * time.total, parts.join(", "))
}

/// ProfileTargets, categories or levels in rows, decoders in columns; nothing where there is but
/// one.
fn groups(results: &[&DecoderResult], graded: bool, style: TableStyle) -> Option<String> {
    let first =
        results.iter().max_by_key(|result| result.groups.len()).filter(|a| a.groups.len() > 1)?;
    let unit = if graded { "correct %" } else { "tok/s" };
    let cell = |result: &DecoderResult, name: &str| {
        let own = result.groups.iter().find(|other| other.name == name);
        own.map_or("–".to_owned(), |own| match graded {
            true => format!("{:.1}", 100.0 * own.accuracy),
            false => format!("{:.0}", own.tokens_per_second),
        })
    };
    let names = first.groups.iter().map(|group| group.name.clone());
    let items = first.groups.iter().map(|group| group.items.to_string());
    let mut columns = vec![Column::words(unit, names), Column::numbers("items", 0, items)];
    columns.extend(results.iter().enumerate().map(|(rank, result)| {
        let cells = first.groups.iter().map(|group| cell(result, &group.name));
        Column::numbers(&result.decoder, rank, cells).with_wrapped_head()
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

/// The metrics that the results have, as far as the terminal is wide enough; pages and files have
/// all.
fn table(results: &[&DecoderResult], baseline: &str, style: TableStyle) -> String {
    let names = results.iter().map(|result| result.decoder.clone());
    let mut columns = vec![Column::words("decoder", names)];
    for metric in METRICS.iter().filter(|metric| metric.is_in(results)) {
        let Shown::Terminal(rank) = metric.shown else { continue };
        let line = |result: &&DecoderResult| match metric.name {
            "difference" if result.decoder == baseline => "baseline".to_owned(),
            _ => metric.line(result),
        };
        columns.push(Column::numbers(&metric.head(), rank, results.iter().map(line)));
    }
    Columns(columns).text(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    /// Also where nobody disagrees, and on each task for itself.
    #[test]
    fn every_task_says_what_its_differences_are() {
        let mut summary = fixtures::summary();
        let method =
            "[95 %, Tango's score interval]; p: exact McNemar test, adjusted for all decoders";
        let tasks = summary.tasks().len();
        assert_eq!(render(&summary).matches(method).count(), tasks);
        assert_eq!(render(&summary).matches("show a difference of 8.1 points").count(), tasks);
        for result in summary.results.iter_mut().filter(|result| result.difference.is_some()) {
            result.difference = Some(crate::analysis::summary::Difference::of(&[(1.0, 1.0); 6], 1));
        }
        let text = render(&summary);
        assert_eq!(text.matches(method).count(), tasks);
        assert!(!text.contains("show a difference") && !text.contains("0.0 [0.0, 0.0]"), "{text}");
        assert!(text.contains("0.0 [−39.0, +39.0]"), "{text}");
    }

    #[test]
    fn points_that_are_all_equal_have_no_interval() {
        let mut summary = fixtures::summary();
        let difference = crate::analysis::summary::Difference::of(&[(0.5, 0.25); 6], 1);
        assert_eq!((difference.p_value, difference.detectable), (2.0 / 64.0, None));
        summary.results[1].difference = Some(difference);
        assert!(render(&summary).contains("+25.0 –"), "{}", render(&summary));
        let both = "where they give points: [95 %, bootstrap over items]; p: sign-flip";
        assert!(render(&summary).contains(both), "{}", render(&summary));
    }

    #[test]
    fn several_items_at_a_time_are_named() {
        let mut summary = fixtures::summary();
        assert!(!render(&summary).contains("at a time"));
        summary.jobs = vec![1];
        assert!(!render(&summary).contains("at a time"));
        summary.jobs = vec![1, 4];
        assert!(render(&summary).contains("times are of 1 or 4 items at a time"));
    }
}
