//! Tables of a page: heads, rows, and what stands small below a number.

use serde::Serialize;

use crate::analysis::metric::{METRICS, Metric, Shown, Unit, Value, p_value};
use crate::analysis::stats::CONFIDENCE;
use crate::analysis::summary::DecoderResult;
use crate::numbers::{NONE, interval};
use crate::report::table::ModelTable;

/// Distribution after distribution would make a long table unreadable: with more rows they are
/// folded.
const DISTRIBUTIONS_IN_THE_OPEN: usize = 8;

/// A table as the template draws it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Grid {
    pub(super) header: Vec<Cell>,
    pub(super) rows: Vec<Line>,
}

/// One row; its first cell is its head.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Line {
    pub(super) is_baseline: bool,
    /// Below the head, opened by the reader.
    pub(super) folded: Vec<String>,
    pub(super) cells: Vec<Cell>,
}

/// A word or number.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Below it.
    pub(super) small: Vec<String>,
    /// A class of the style: `good`, `bad` or none.
    pub(super) tone: &'static str,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn with(text: impl Into<String>, small: impl Into<String>) -> Self {
        Self { text: text.into(), small: vec![small.into()], tone: "" }
    }

    pub(super) fn none() -> Self {
        Self::plain(NONE)
    }

    /// A number in its unit, with its interval.
    pub(super) fn number(
        unit: Unit,
        value: Option<(f64, Option<crate::analysis::stats::Interval>)>,
    ) -> Self {
        let Some((value, range)) = value else { return Self::none() };
        let small = range.map(|range| interval(range, |end| unit.write(end)));
        Self { text: unit.write(value), small: small.into_iter().collect(), tone: "" }
    }
}

/// `title` and which way is better, on one line.
pub(super) fn with_arrow(title: &str, metric: &Metric) -> String {
    [title, metric.better.arrow()].join("\u{a0}").trim_end().to_owned()
}

/// The head of a metric's column.
pub(super) fn head(metric: &Metric) -> Cell {
    let title = with_arrow(metric.title, metric);
    let unit = Some(metric.unit.name()).filter(|unit| !unit.is_empty());
    Cell { text: title, small: unit.map(str::to_owned).into_iter().collect(), tone: "" }
}

/// The metrics that `results` have and pages show.
pub(super) fn metrics<'m>(
    results: &'m [&DecoderResult],
) -> impl Iterator<Item = &'static Metric> + 'm {
    METRICS.iter().filter(|metric| metric.shown != Shown::Nowhere && metric.is_in(results))
}

impl Grid {
    /// All metrics of `results`, a row each.
    pub(super) fn of_results(results: &[&DecoderResult], baseline: &str) -> Self {
        let mut models: Vec<&str> = results
            .iter()
            .flat_map(|result| result.passes_per_token.keys())
            .map(String::as_str)
            .collect();
        models.sort_unstable();
        models.dedup();
        let own = own(results);
        let mut header = vec![Cell::with("decoder", "distribution of its tokens")];
        for metric in &own {
            match metric.value {
                Value::PerModel(_) => {
                    header.extend(models.iter().map(|m| Cell::with(*m, metric.title)))
                }
                _ => header.push(head(metric)),
            }
        }
        header.push(Cell::plain("stops"));
        let row = |result: &&DecoderResult| row(result, (&own, &models), baseline, results.len());
        Self { header, rows: results.iter().map(row).collect() }
    }

    /// ProfileTargets, categories or levels in rows, decoders in columns; none where there is but
    /// one.
    pub(super) fn of_groups(results: &[&DecoderResult]) -> Option<Self> {
        let first = results
            .iter()
            .max_by_key(|result| result.groups.len())
            .filter(|it| it.groups.len() > 1)?;
        let graded = results.iter().any(|result| !result.accuracy.is_nan());
        let unit = if graded { "correct %" } else { "tokens/s" };
        let header = [Cell::plain("part"), Cell::plain("items")].into_iter();
        let header = header.chain(results.iter().map(|result| Cell::with(&result.decoder, unit)));
        let row = |name: &str, items: u64| {
            let cell = |result: &&DecoderResult| match result
                .groups
                .iter()
                .find(|group| group.name == name)
            {
                Some(group) if graded => Cell::plain(Unit::Percent.write(group.accuracy)),
                Some(group) => Cell::plain(Unit::Digits.write(group.tokens_per_second)),
                None => Cell::none(),
            };
            let cells = [Cell::plain(name), Cell::plain(items.to_string())].into_iter();
            Line { cells: cells.chain(results.iter().map(cell)).collect(), ..Line::default() }
        };
        let rows = first.groups.iter().map(|group| row(&group.name, group.items)).collect();
        Some(Self { header: header.collect(), rows })
    }

    /// Tasks in rows, decoders in columns: the first number of each; none for a single task or
    /// where nothing is graded.
    pub(super) fn overview(tasks: &[(&str, Vec<&DecoderResult>)], baseline: &str) -> Option<Self> {
        let accuracy = crate::analysis::metric::metric("accuracy")?;
        let graded: Vec<_> = tasks.iter().filter(|(_, results)| accuracy.is_in(results)).collect();
        if graded.len() < 2 {
            return None;
        }
        let mut names: Vec<&str> = Vec::new();
        for result in graded.iter().flat_map(|(_, results)| results) {
            if !names.contains(&result.decoder.as_str()) {
                names.push(&result.decoder);
            }
        }
        let row = |name: &&str| {
            let own = |(_, results): &&(&str, Vec<&DecoderResult>)| {
                results
                    .iter()
                    .find(|result| result.decoder == *name)
                    .and_then(|result| accuracy.of(result))
            };
            let found: Vec<_> = graded.iter().map(own).collect();
            let all: Option<f64> = found.iter().map(|it| it.map(|(value, _)| value)).sum();
            let mean = all.map(|sum| (sum / found.len() as f64, None));
            let cells = found.iter().map(|it| Cell::number(accuracy.unit, *it));
            let cells = std::iter::once(Cell::plain(*name)).chain(cells);
            Line {
                is_baseline: *name == baseline,
                cells: cells.chain([Cell::number(accuracy.unit, mean)]).collect(),
                ..Line::default()
            }
        };
        let heads = graded.iter().map(|(task, _)| Cell::with(*task, "correct %"));
        let header = std::iter::once(Cell::plain("decoder")).chain(heads);
        let header = header.chain([Cell::with("mean", "of the tasks")]).collect();
        Some(Self { header, rows: names.iter().map(row).collect() })
    }
}

fn own(results: &[&DecoderResult]) -> Vec<&'static Metric> {
    metrics(results).filter(|metric| metric.name != "p_adjusted").collect()
}

fn row(
    result: &DecoderResult,
    (metrics, models): (&[&Metric], &[&str]),
    baseline: &str,
    rows: usize,
) -> Line {
    let is_baseline = result.decoder == baseline;
    let words: Vec<String> = [Some(result.distribution.clone()), result.execution.clone()]
        .into_iter()
        .flatten()
        .collect();
    let (small, folded) =
        if rows > DISTRIBUTIONS_IN_THE_OPEN { (Vec::new(), words) } else { (words, Vec::new()) };
    let mut cells = vec![Cell { text: result.decoder.clone(), small, tone: "" }];
    for metric in metrics {
        match metric.value {
            Value::PerModel(values) => {
                let value = |model: &&str| values(result).get(*model).map(|value| (*value, None));
                cells.extend(models.iter().map(|m| Cell::number(metric.unit, value(m))));
            }
            _ if metric.name == "difference" => cells.push(difference(result, is_baseline)),
            _ => cells.push(Cell::number(metric.unit, metric.of(result))),
        }
    }
    let stops = result.stops.iter().map(|(stop, count)| format!("{stop} {count}")).collect();
    cells.push(Cell { text: String::new(), small: stops, tone: "" });
    Line { is_baseline, folded, cells }
}

/// With p, and with the number of items where it is not that of the row.
fn difference(result: &DecoderResult, is_baseline: bool) -> Cell {
    let Some(found) = result.difference else {
        return if is_baseline { Cell::plain("baseline") } else { Cell::none() };
    };
    let mut cell = Cell::number(Unit::Points, Some((found.mean, Some(found.interval))));
    if found.items != result.items {
        cell.small.push(format!("{} items", found.items));
    }
    cell.small.push(p_value(found.p_adjusted));
    cell.tone = tone(found.p_adjusted, found.mean);
    cell
}

/// Whether the exact test finds a difference, and of which kind.
pub(super) fn tone(p: f64, difference: f64) -> &'static str {
    match p < 1.0 - CONFIDENCE {
        true if difference > 0.0 => "good",
        true => "bad",
        false => "",
    }
}

impl From<&ModelTable> for Grid {
    fn from(sheet: &ModelTable) -> Self {
        let cell = |cell: &crate::report::table::Cell| Cell {
            text: cell.text.clone(),
            small: cell.small.iter().cloned().collect(),
            tone: "",
        };
        let line = |line: &crate::report::table::Line| Line {
            is_baseline: line.is_baseline,
            cells: line.cells.iter().map(cell).collect(),
            ..Line::default()
        };
        Self {
            header: sheet.header.iter().map(cell).collect(),
            rows: sheet.rows.iter().map(line).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::summary::Group;
    use crate::report::fixtures;

    fn texts(row: &Line) -> Vec<&str> {
        row.cells.iter().map(|cell| cell.text.as_str()).collect()
    }

    /// Right of 200: 25 and 140 and 198 on one task, half as many (12 and 70 and 99) on the other.
    #[test]
    fn several_tasks_have_an_overview_with_their_mean() {
        let summary = fixtures::summary();
        let by_task: Vec<_> =
            summary.tasks().into_iter().map(|task| (task, summary.on(task))).collect();
        let grid = Grid::overview(&by_task, "large base").unwrap();
        assert_eq!(texts(&grid.rows[0]), ["large base", "12.5", "6.0", "9.2"]);
        assert_eq!(texts(&grid.rows[1]), ["small aligned", "70.0", "35.0", "52.5"]);
        assert!(grid.rows[0].is_baseline && !grid.rows[1].is_baseline);
        // A sweep that one of the tasks lacks.
        assert_eq!(texts(&grid.rows[3])[1..], ["20.5", NONE, NONE]);
        assert!(Grid::overview(&by_task[..1], "large base").is_none());
    }

    #[test]
    fn parts_of_a_task_are_rows_and_one_part_is_none() {
        let mut summary = fixtures::summary();
        let group = |name: &str, accuracy| Group {
            name: name.to_owned(),
            items: 7,
            accuracy,
            tokens_per_second: 81.3,
        };
        summary.results[0].groups = vec![group("x", 0.5), group("y", 0.25)];
        summary.results[1].groups = vec![group("y", 1.0)];
        let results: Vec<&DecoderResult> = summary.results[..2].iter().collect();
        let grid = Grid::of_groups(&results).unwrap();
        assert_eq!(texts(&grid.rows[0]), ["x", "7", "50.0", NONE]);
        assert_eq!(texts(&grid.rows[1]), ["y", "7", "25.0", "100.0"]);
        assert!(Grid::of_groups(&results[1..]).is_none());
        summary.results[0].accuracy = f64::NAN;
        let grid = Grid::of_groups(&[&summary.results[0]]).unwrap();
        assert_eq!(texts(&grid.rows[0])[2], "81.3", "for speed");
    }

    #[test]
    fn only_what_the_test_finds_is_coloured() {
        assert_eq!([tone(0.01, 0.2), tone(0.01, -0.2), tone(0.2, 0.9)], ["good", "bad", ""]);
        assert_eq!(tone(f64::NAN, 0.2), "");
    }
}
