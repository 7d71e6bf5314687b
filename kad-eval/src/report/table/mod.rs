//! The summary as a table: for terminals, as Markdown and as CSV.

mod csv;
mod data;
mod fitted;
mod model_table;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{ContentArrangement, Table, TableStyle};

use super::chain_section::levels;
use super::result_tables::groups;
use crate::analysis::metric::{METRICS, Shown};
use crate::analysis::summary::{DecoderResult, Summary, explained};
use crate::numbers::counted;
use fitted::{FittedColumn, FittedTable};

pub(crate) use csv::csv;
pub(crate) use data::{DataTable, HeadedCell, TableCell, TableRow, headed};
pub(crate) use model_table::ModelTable;

/// The results for a terminal: one table per task, in the order of the file.
pub(crate) fn render(summary: &Summary) -> String {
    let text = in_style(summary, UTF8_FULL_CONDENSED);
    match &summary.model_comparison {
        Some(rows) => format!("{text}\n\n{}", ModelTable::of(rows).text()),
        None => text,
    }
}

/// The results as Markdown: all columns, with name, question and warnings of the run.
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
    if let Some(rows) = &summary.model_comparison {
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
            ", given texts scored".to_owned()
        } else if compared {
            format!(", differences from `{baseline}`")
        } else if graded {
            String::new()
        } else {
            ", not graded (speed only)".to_owned()
        };
        let apart = if style == ASCII_MARKDOWN { "\n\n" } else { "\n" };
        let levels = levels(&results).map(|table| FittedTable::of(&table, 2).text(style));
        let groups = groups(&results).map(|table| FittedTable::of(&table, 1).text(style));
        let all = std::iter::once(table(&results, baseline, style)).chain(levels).chain(groups);
        let all = all.collect::<Vec<_>>().join(apart);
        let explained = explained(&results).map_or(String::new(), |words| format!("\n{words}"));
        let head = if style == ASCII_MARKDOWN { "## " } else { "" };
        format!(
            "{head}{name}: {task}, {}{unfinished}; intervals 95 %{kind}\n{all}{explained}",
            counted(items, "item")
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

/// A table without rows, at most as wide as the terminal. Markdown has no width; a terminal of
/// width 0 does not know its own.
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

/// The metrics of the results, as far as they fit the terminal.
fn table(results: &[&DecoderResult], baseline: &str, style: TableStyle) -> String {
    let names = results.iter().map(|result| result.decoder.clone());
    let mut columns = vec![FittedColumn::new("decoder", None, names)];
    for metric in METRICS.iter().filter(|metric| metric.is_in(results)) {
        let Shown::Terminal(rank) = metric.shown else { continue };
        let line = |result: &&DecoderResult| match metric.name {
            "difference" if result.decoder == baseline => "baseline".to_owned(),
            _ => metric.line(result),
        };
        columns.push(FittedColumn::new(&metric.head(), Some(rank), results.iter().map(line)));
    }
    FittedTable(columns).text(style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::summary::Difference;
    use crate::report::sample_runs;

    /// Also without disagreement, and separately for each task.
    #[test]
    fn every_task_names_the_methods_of_its_differences() {
        let mut summary = sample_runs::summary();
        let method =
            "[95 % Tango score interval], p of the exact McNemar test; p is Holm-adjusted over";
        let detectable = "minimum detectable difference: 8.1 points (80 % power)";
        let (text, tasks) = (render(&summary), summary.tasks().len());
        assert_eq!(text.matches(method).count(), tasks);
        assert_eq!(text.matches(detectable).count(), tasks);
        for difference in summary.results.iter_mut().filter_map(|it| it.difference.as_mut()) {
            *difference = Difference::of(&[(1.0, 1.0); 6], 1);
        }
        let text = render(&summary);
        assert_eq!(text.matches(method).count(), tasks);
        assert!(!text.contains("minimum detectable") && !text.contains("0.0 [0.0, 0.0]"), "{text}");
        assert!(text.contains("0.0 [−39.0, +39.0]"), "{text}");
    }

    #[test]
    fn points_that_are_all_equal_have_no_interval() {
        let mut summary = sample_runs::summary();
        let difference = Difference::of(&[(0.5, 0.25); 6], 1);
        assert_eq!((difference.p_value, difference.detectable), (2.0 / 64.0, None));
        summary.results[1].difference = Some(difference);
        assert!(render(&summary).contains("+25.0 –"), "{}", render(&summary));
        let both = "items with points: [95 % bootstrap interval over items], p of the sign-flip";
        assert!(render(&summary).contains(both), "{}", render(&summary));
    }

    #[test]
    fn several_items_at_a_time_are_named() {
        let of = |jobs: &[u64]| render(&Summary { jobs: jobs.to_vec(), ..sample_runs::summary() });
        assert!(!of(&[]).contains("at a time") && !of(&[1]).contains("at a time"));
        assert!(of(&[1, 4]).contains("times are of 1 or 4 items at a time"));
    }
}
