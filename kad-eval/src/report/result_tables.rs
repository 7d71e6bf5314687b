//! Tables of results on pages: all metrics of a task, groups of items, and an overview of tasks.

use std::mem::take;

use super::table::{DataTable, TableCell, TableRow, headed};
use crate::analysis::metric::{METRICS, Metric, MetricValue, Shown, Unit, metric, p_value};
use crate::analysis::stats::CONFIDENCE;
use crate::analysis::summary::{DecoderResult, Difference};
use crate::analysis::unique;
use crate::numbers::counted;

/// Tables with more rows fold the distributions.
const DISTRIBUTIONS_IN_THE_OPEN: usize = 8;

/// `title` with its direction, on one line.
pub(super) fn with_arrow(title: &str, metric: &Metric) -> String {
    [title, metric.better.arrow_and_words()[0]].join("\u{a0}").trim_end().to_owned()
}

/// The head of a metric's column.
fn head(metric: &Metric) -> TableCell {
    TableCell::with(with_arrow(metric.title, metric), metric.unit.name())
}

/// The metrics of `results` that pages show.
pub(super) fn metrics<'m>(
    results: &'m [&DecoderResult],
) -> impl Iterator<Item = &'static Metric> + 'm {
    METRICS.iter().filter(|metric| metric.shown != Shown::Nowhere && metric.is_in(results))
}

/// All metrics of `results`, one row per decoder.
pub(super) fn results(results: &[&DecoderResult], baseline: &str) -> DataTable {
    let models = results.iter().flat_map(|result| result.passes_per_token.keys());
    let mut models: Vec<&str> = models.map(String::as_str).collect();
    models.sort_unstable();
    models.dedup();
    let metrics: Vec<&Metric> =
        metrics(results).filter(|metric| metric.name != "p_adjusted").collect();
    let row = |result: &&DecoderResult| {
        let is_baseline = result.decoder == baseline;
        let small = [Some(result.distribution.clone()), result.execution.clone()];
        let small = small.into_iter().flatten().collect();
        let name = TableCell { text: result.decoder.clone(), small, tone: "" };
        let mut cells = vec![headed("decoder", "distribution of its tokens", name)];
        for metric in &metrics {
            let number = |value| TableCell::number(metric.unit, value);
            let cell = match (metric.value, result.difference) {
                (MetricValue::PerModel(values), _) => {
                    let value = |model: &str| values(result).get(model).map(|it| (*it, None));
                    let cell = |model: &&str| headed(*model, metric.title, number(value(model)));
                    cells.extend(models.iter().map(cell));
                    continue;
                }
                (_, Some(found)) if metric.name == "difference" => difference(&found, &[result]),
                _ if metric.name == "difference" && is_baseline => TableCell::plain("baseline"),
                _ => number(metric.of(result)),
            };
            cells.push((head(metric), cell));
        }
        let stops = result.stops.iter().map(|(stop, count)| format!("{stop} {count}")).collect();
        cells.push(headed("stops", "", TableCell { small: stops, ..TableCell::default() }));
        (is_baseline, cells)
    };
    let mut table = DataTable::headed(results.iter().map(row));
    if results.len() > DISTRIBUTIONS_IN_THE_OPEN {
        table.rows.iter_mut().for_each(|row| row.folded = take(&mut row.cells[0].small));
    }
    table
}

/// The cell of a difference with its p. It shows the number of items if rows of `results` have
/// other numbers. It is coloured if the test finds a difference.
pub(super) fn difference(found: &Difference, results: &[&DecoderResult]) -> TableCell {
    let mut cell = TableCell::number(Unit::Points, Some((found.mean, Some(found.interval))));
    if results.iter().any(|result| result.items != found.items) {
        cell.small.push(counted(found.items, "item"));
    }
    cell.small.push(p_value(found.p_adjusted));
    cell.tone = tone(found.p_adjusted, found.mean);
    cell
}

fn tone(p: f64, difference: f64) -> &'static str {
    match p < 1.0 - CONFIDENCE {
        true if difference > 0.0 => "good",
        true => "bad",
        false => "",
    }
}

/// Subjects, categories or levels in rows, decoders in columns; none with fewer than two rows.
pub(super) fn groups(results: &[&DecoderResult]) -> Option<DataTable> {
    let first = results.iter().max_by_key(|result| result.groups.len());
    let first = first.filter(|it| it.groups.len() > 1)?;
    let graded = results.iter().any(|result| !result.accuracy.is_nan());
    let unit = if graded { "correct %" } else { "tokens/s" };
    let part = format!("part ({unit})");
    let header = [TableCell::plain(part), TableCell::plain("items")].into_iter();
    let header = header.chain(results.iter().map(|result| TableCell::plain(&result.decoder)));
    let cell = |result: &DecoderResult, name: &str| {
        let own = result.groups.iter().find(|group| group.name == name);
        own.map_or(TableCell::none(), |group| match graded {
            true => TableCell::plain(Unit::Percent.write(group.accuracy)),
            false => TableCell::plain(Unit::Digits.write(group.tokens_per_second)),
        })
    };
    let rows = first.groups.iter().map(|group| {
        let cells = [&group.name, &group.items.to_string()].map(TableCell::plain).into_iter();
        TableRow::of(cells.chain(results.iter().map(|result| cell(result, &group.name))))
    });
    Some(DataTable { header: header.collect(), rows: rows.collect() })
}

/// Decoders in rows, graded tasks in columns, and the mean over tasks; none for fewer than two
/// graded tasks.
pub(super) fn overview(tasks: &[(&str, Vec<&DecoderResult>)], baseline: &str) -> Option<DataTable> {
    let accuracy = metric("accuracy")?;
    let graded: Vec<_> = tasks.iter().filter(|(_, results)| accuracy.is_in(results)).collect();
    if graded.len() < 2 {
        return None;
    }
    let names = graded.iter().flat_map(|(_, results)| results).map(|it| it.decoder.as_str());
    let row = |name: &str| {
        let own = |(_, results): &&(&str, Vec<&DecoderResult>)| {
            results.iter().find(|it| it.decoder == name).and_then(|it| accuracy.of(it))
        };
        let found: Vec<_> = graded.iter().map(own).collect();
        let all: Option<f64> = found.iter().map(|it| it.map(|(value, _)| value)).sum();
        let mean = all.map(|sum| (sum / found.len() as f64, None));
        let cells = found.into_iter().chain([mean]).map(|it| TableCell::number(accuracy.unit, it));
        let cells = std::iter::once(TableCell::plain(name)).chain(cells);
        TableRow { is_baseline: name == baseline, ..TableRow::of(cells) }
    };
    let heads = graded.iter().map(|(task, _)| TableCell::with(*task, "correct %"));
    let header = std::iter::once(TableCell::plain("decoder")).chain(heads);
    let header = header.chain([TableCell::with("mean", "of the tasks")]).collect();
    Some(DataTable { header, rows: unique(names).into_iter().map(row).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::summary::Group;
    use crate::numbers::NONE;
    use crate::report::sample_runs;

    fn texts(row: &TableRow) -> Vec<&str> {
        row.cells.iter().map(|cell| cell.text.as_str()).collect()
    }

    /// Correct of 200: 25, 140 and 198 on one task, half as many (12, 70 and 99) on the other.
    #[test]
    fn several_tasks_have_an_overview_with_their_mean() {
        let summary = sample_runs::summary();
        let by_task: Vec<_> =
            summary.tasks().into_iter().map(|task| (task, summary.on(task))).collect();
        let table = overview(&by_task, "large base").unwrap();
        assert_eq!(texts(&table.rows[0]), ["large base", "12.5", "6.0", "9.2"]);
        assert_eq!(texts(&table.rows[1]), ["small aligned", "70.0", "35.0", "52.5"]);
        assert!(table.rows[0].is_baseline && !table.rows[1].is_baseline);
        // A sweep that one of the tasks lacks.
        assert_eq!(texts(&table.rows[3])[1..], ["20.5", NONE, NONE]);
        assert!(overview(&by_task[..1], "large base").is_none());
    }

    #[test]
    fn parts_of_a_task_are_rows_and_one_part_is_none() {
        let mut summary = sample_runs::summary();
        let group = |name: &str, accuracy| Group {
            name: name.to_owned(),
            items: 7,
            accuracy,
            tokens_per_second: 81.3,
        };
        summary.results[0].groups = vec![group("x", 0.5), group("y", 0.25)];
        summary.results[1].groups = vec![group("y", 1.0)];
        let results: Vec<&DecoderResult> = summary.results[..2].iter().collect();
        let table = groups(&results).unwrap();
        assert_eq!(texts(&table.rows[0]), ["x", "7", "50.0", NONE]);
        assert_eq!(texts(&table.rows[1]), ["y", "7", "25.0", "100.0"]);
        assert!(groups(&results[1..]).is_none());
        summary.results[0].accuracy = f64::NAN;
        let table = groups(&[&summary.results[0]]).unwrap();
        assert_eq!(texts(&table.rows[0])[2], "81.3", "for speed");
    }

    #[test]
    fn only_a_difference_that_the_test_finds_is_coloured() {
        assert_eq!([tone(0.01, 0.2), tone(0.01, -0.2), tone(0.2, 0.9)], ["good", "bad", ""]);
        assert_eq!(tone(f64::NAN, 0.2), "");
    }
}
