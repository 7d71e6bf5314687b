//! Accuracy of every decoder on one task as horizontal bars, with 95 % intervals.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::theme::INK;
use crate::analysis::summary::DecoderResult;
use crate::numbers::{clip, interval, percent};
use crate::report::chart::{self, Area, Chart, TEXT, WIDTH};

/// Room above the bars for the baseline's label, in pixels; below them for the axis.
const TOP: i32 = 32;
const BOTTOM: i32 = 56;
/// Height of a row, and the gap around a family of several members.
const ROW: i32 = 26;
const GAP: i32 = 8;
const BAR: i32 = 15;
/// Room on the right for the numbers.
const NUMBERS: i32 = 168;
const INDENT: i32 = 16;
/// Longer labels are cut; the table has the full names.
const LONGEST_LABEL: usize = 40;

/// A row of the chart: the heading of a family, or the bar of a decoder.
struct BarRow<'a> {
    label: String,
    /// The result; `None` for a heading.
    result: Option<&'a DecoderResult>,
    indent: i32,
    /// Middle of the row, in pixels below the top.
    y: i32,
}

/// The chart for `results`, all of one task; `families` give the colours. `None` if there is nothing
/// to draw.
pub(crate) fn accuracy(
    results: &[&DecoderResult],
    families: &[&str],
    baseline: &str,
) -> Result<Option<String>> {
    let results: Vec<&DecoderResult> =
        results.iter().copied().filter(|result| chart::drawable(result)).collect();
    let (rows, height) = layout(&results, families);
    if rows.is_empty() {
        return Ok(None);
    }
    let widest = rows.iter().filter(|row| row.result.is_some());
    let labels = widest.map(|row| row.indent + chart::width(&row.label)).max().unwrap_or(0) + 24;
    let shares = results.iter().flat_map(|result| [result.accuracy, result.accuracy_interval.high]);
    let end = chart::axis_end(shares);
    // A single decoder has no baseline.
    let baseline = results.iter().find(|result| result.decoder == baseline && results.len() > 1);
    chart::svg((TOP + height + BOTTOM) as u32, |area| {
        let x = Axis::shares(end, "accuracy (%), with 95 % intervals");
        let y = Axis::hidden(f64::from(height)..0.0);
        let axes = Axes { top: TOP, right: NUMBERS, bottom: BOTTOM, left: labels, x, y };
        let chart = axes.draw(area)?;
        rows.iter().try_for_each(|row| draw_row(area, &chart, row, families))?;
        baseline.map_or(Ok(()), |result| draw_baseline(area, &chart, result, height))
    })
}

/// The rows of all families in order, and their height. A family of several members has a heading
/// and a gap around it.
fn layout<'a>(results: &[&'a DecoderResult], families: &[&str]) -> (Vec<BarRow<'a>>, i32) {
    let (mut rows, mut top) = (Vec::new(), 0);
    for family in families {
        let members = results.iter().copied().filter(|it| it.family == *family);
        let members: Vec<&DecoderResult> = members.collect();
        let is_sweep = members.len() > 1;
        let heading = is_sweep.then(|| ((*family).to_owned(), None, 0));
        let bars = members.iter().map(|result| {
            let (name, indent) =
                if is_sweep { (own_name(result), INDENT) } else { (&*result.decoder, 0) };
            (clip(name, LONGEST_LABEL), Some(*result), indent)
        });
        top += if is_sweep && top > 0 { GAP } else { 0 };
        for (label, result, indent) in heading.into_iter().chain(bars) {
            rows.push(BarRow { label, result, indent, y: top + ROW / 2 });
            top += ROW;
        }
        top += if is_sweep { GAP } else { 0 };
    }
    (rows, top)
}

/// The decoder's name without the family's name in front.
fn own_name(result: &DecoderResult) -> &str {
    let rest = result.decoder.strip_prefix(&result.family).unwrap_or(&result.decoder);
    let rest = rest.trim_start_matches([',', ' ']);
    if rest.is_empty() { &result.decoder } else { rest }
}

fn draw_row(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    row: &BarRow<'_>,
    families: &[&str],
) -> Result<()> {
    let at = |share: f64| chart.backend_coord(&(share, f64::from(row.y)));
    let (left, y) = (8 + row.indent, at(0.0).1);
    let Some(result) = row.result else {
        return chart::heading(area, &row.label, (left, y));
    };
    chart::write(area, &row.label, (left, y), (TEXT, INK, HPos::Left))?;
    let colour = chart::style(families, &result.family).colour;
    let (from, to) = (at(0.0), at(result.accuracy));
    let corners = [(from.0, y - BAR / 2), (to.0, y + BAR / 2 + 1)];
    area.draw(&Rectangle::new(corners, chart::pale(colour).filled()))?;
    if let Some(ends) = chart::whisker(result) {
        chart::error_bar(area, ends.map(at), INK.stroke_width(1))?;
    }
    let numbers =
        format!("{} {}", percent(result.accuracy), interval(result.accuracy_interval, percent));
    let right = WIDTH as i32 - 8;
    chart::write(area, &numbers, (right, y), (TEXT, INK, HPos::Right))
}

/// A vertical line at the baseline's accuracy, labelled above.
fn draw_baseline(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    result: &DecoderResult,
    height: i32,
) -> Result<()> {
    let [top, bottom] =
        [0.0, f64::from(height)].map(|y| chart.backend_coord(&(result.accuracy, y)));
    chart::dashed(area, [(top.0, top.1 - 6), bottom], INK.stroke_width(1))?;
    let name = clip(&result.decoder, LONGEST_LABEL);
    let label = format!("baseline: {name}, {} %", percent(result.accuracy));
    let half = chart::width(&label) / 2 + 4;
    let x = top.0.clamp(half, WIDTH as i32 - half);
    chart::write(area, &label, (x, top.1 - 17), (TEXT, INK, HPos::Center))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_runs;

    #[test]
    fn every_decoder_has_a_row_and_every_sweep_a_heading() {
        let summary = sample_runs::summary();
        let (results, families) = (summary.on("nano/test"), chart::families(&summary));
        let (rows, height) = layout(&results, &families);
        let headings = rows.iter().filter(|row| row.result.is_none()).count();
        assert_eq!((headings, rows.len() - headings), (sample_runs::SWEEPS, results.len()));
        assert!(rows.windows(2).all(|pair| pair[1].y - pair[0].y >= ROW));
        assert!(rows.iter().all(|row| row.y + ROW / 2 <= height));
        let chart = accuracy(&results, &families, &summary.baseline).unwrap().unwrap();
        for family in families {
            assert!(chart.contains(family), "{family}");
        }
        assert!(chart.contains("baseline: large base"), "{chart}");
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert_eq!(accuracy(&[], &[], "x").unwrap(), None);
        let mut summary = sample_runs::summary();
        summary.results[0].accuracy = f64::NAN;
        assert_eq!(accuracy(&[&summary.results[0]], &["large base"], "x").unwrap(), None);
    }
}
