//! The summary as a table: for terminals, as Markdown and as CSV.

mod csv;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, TableStyle};

use crate::metric::{METRICS, Metric, Shown};
use crate::side_by_side::Sheet;
use crate::summary::{Arm, Summary, explained};

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
        let more = [levels(&arms, style), groups(&arms, graded, style)];
        let more: String = more.into_iter().flatten().map(|table| format!("\n{table}")).collect();
        let explained = explained(&arms).map_or(String::new(), |words| format!("\n{words}"));
        format!(
            "{name}: {task}, {items} items{unfinished}; intervals 95 %{kind}\n{}{more}{explained}",
            table(&arms, baseline, style)
        )
    });
    let mut text = tables.collect::<Vec<_>>().join("\n\n");
    let ways = ["autoregressive", "lazy", "speculative"];
    let mut executions = summary.arms.iter().filter_map(|arm| arm.execution.as_ref());
    if executions.any(|words| ways.iter().any(|way| words.starts_with(way))) {
        text = format!("{text}\n{SAME_LAW}");
    }
    if let Some(words) = summary.at_a_time() {
        text = format!("{text}\n{words}");
    }
    for arm in summary.arms.iter().filter(|arm| !arm.exact) {
        text = format!("{text}\n{}: {}", arm.decoder, arm.law);
    }
    text
}

const SAME_LAW: &str = "executions of a rule (autoregressive, lazy, speculative) have the same law";

/// What each level of each chain did, and where the time went; nothing without chains.
fn levels(arms: &[&Arm], style: TableStyle) -> Option<Table> {
    let heads = ["decoder", "level", "accepted", "per draft", "waste", "ms/token"];
    let mut table = framed(style, heads);
    let mut any = false;
    for arm in arms.iter().filter(|arm| !arm.levels.is_empty()) {
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

/// Subjects, categories or levels in rows, decoders in columns; nothing where there is but one.
fn groups(arms: &[&Arm], graded: bool, style: TableStyle) -> Option<Table> {
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

/// Without rows yet; as wide as the terminal at most. Markdown has no width: where a line ends is up
/// to who shows it. Nor has a terminal that says 0 and does not know.
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

fn framed<T: Into<Cell>>(style: TableStyle, header: impl IntoIterator<Item = T>) -> Table {
    let mut table = empty(style);
    table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

/// The metrics that the arms have, as far as the terminal is wide enough; pages and files have all.
fn table(arms: &[&Arm], baseline: &str, style: TableStyle) -> Table {
    let mut table = framed(style, [""; 0]);
    let width = table.width().unwrap_or(u16::MAX);
    let fits = |metric: &&Metric| match metric.shown {
        Shown::Always => true,
        Shown::From(least) => width >= least,
        Shown::OnPages | Shown::Nowhere => false,
    };
    let metrics = || METRICS.iter().filter(fits).filter(|metric| metric.is_in(arms));
    table.set_header(["decoder".to_owned()].into_iter().chain(metrics().map(Metric::head)));
    for arm in arms {
        let line = |metric: &Metric| match metric.name {
            "difference" if arm.decoder == baseline => "baseline".to_owned(),
            _ => metric.line(arm),
        };
        let right = |text| Cell::new(text).set_alignment(CellAlignment::Right);
        let numbers = metrics().map(line).map(right);
        table.add_row(std::iter::once(Cell::new(&arm.decoder)).chain(numbers));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
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
