//! Accuracy against its cost: deferral mass, or forward passes of the largest model.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, LabelBox, SWATCH};
use super::theme::INK;
use crate::analysis::summary::DecoderResult;
use crate::numbers::{clip, parameter, percent};
use crate::report::chart::{self, Area, Chart, MarkStyle, Point, TEXT};

const HEIGHT: u32 = 470;
const LONGEST_LABEL: usize = 24;

/// The cost on the horizontal axis.
#[derive(Clone, Copy)]
pub(crate) struct CostAxis<'a> {
    pub(crate) title: &'a str,
    /// Cost of a result; `None` for results that are drawn as horizontal lines.
    pub(crate) of: &'a dyn Fn(&DecoderResult) -> Option<f64>,
}

/// The probability of deferring to the aligned model.
pub(crate) const MASS: CostAxis<'static> = CostAxis {
    title: "deferral mass (mean probability per token of deferring to the aligned model)",
    of: &|result| result.deferral_mass,
};

/// The results of a family with their costs, by rising cost.
type Curve<'a> = (&'a str, MarkStyle, Vec<(f64, &'a DecoderResult)>);

/// The chart for `results`, all of one task; `families` give the styles. `None` if no result has a
/// cost.
pub(crate) fn tradeoff(
    results: &[&DecoderResult],
    families: &[&str],
    cost: CostAxis<'_>,
) -> Result<Option<String>> {
    let (curves, references) = content(results, families, cost);
    if curves.is_empty() {
        return Ok(None);
    }
    let points = || curves.iter().flat_map(|(.., points)| points);
    let single = references.iter().map(|result| result.accuracy);
    let x_end = end(points().map(|(cost, _)| *cost).fold(0.0, f64::max));
    let shares = points().flat_map(|(_, result)| [result.accuracy, result.accuracy_interval.high]);
    let y_end = chart::axis_end(shares.chain(single));
    let names: Vec<&str> = curves.iter().map(|(family, ..)| *family).collect();
    let (places, legend) = labels::legend_places(&names);
    let widths = references.iter().map(|result| chart::width(&reference_label(result)));
    let right = widths.max().map_or(24, |width| width + 28);
    chart::svg(HEIGHT + legend as u32, |area| {
        let number: &dyn Fn(&f64) -> String = &|cost| parameter((100.0 * cost).round() / 100.0);
        let x = Axis { range: 0.0..x_end, ticks: 11, title: cost.title, number };
        let y = Axis::shares(y_end, "accuracy (%)");
        let axes = Axes { top: legend + 12, right, bottom: 56, left: 64, x, y };
        let chart = axes.draw(area)?;
        labels::legend(area, &names, &places, |index, (x, y)| {
            let (_, style, _) = curves[index];
            chart::line(area, &[(x, y), (x + SWATCH - 8, y)], style.colour.stroke_width(2))?;
            style.mark(area, (x + (SWATCH - 8) / 2, y))
        })?;
        draw_references(area, &chart, (&references, families), x_end)?;
        curves.iter().try_for_each(|curve| draw_curve(area, &chart, curve))?;
        draw_parameters(area, &chart, &curves)
    })
}

/// The end of the cost axis: a multiple of 0.1, with room for the last mark.
fn end(most: f64) -> f64 {
    (1.02 * most * 10.0).ceil().max(1.0) / 10.0
}

/// Curves of results with a cost, and the results without.
fn content<'a>(
    results: &[&'a DecoderResult],
    families: &[&'a str],
    cost: CostAxis<'_>,
) -> (Vec<Curve<'a>>, Vec<&'a DecoderResult>) {
    let cost = |result: &DecoderResult| (cost.of)(result).filter(|cost| cost.is_finite());
    let results: Vec<&DecoderResult> =
        results.iter().copied().filter(|result| chart::drawable(result)).collect();
    let curves = families.iter().filter_map(|family| {
        let own = results.iter().filter(|result| result.family == *family);
        let mut points: Vec<(f64, &DecoderResult)> =
            own.filter_map(|result| Some((cost(result)?, *result))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        (!points.is_empty()).then(|| (*family, chart::style(families, family), points))
    });
    let curves = curves.collect();
    (curves, results.into_iter().filter(|result| cost(result).is_none()).collect())
}

fn reference_label(result: &DecoderResult) -> String {
    format!("{} {}", clip(&result.decoder, LONGEST_LABEL), percent(result.accuracy))
}

/// Dashed lines across the chart, each labelled at its right end.
fn draw_references(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    (references, families): (&[&DecoderResult], &[&str]),
    x_end: f64,
) -> Result<()> {
    let at = |mass: f64, accuracy: f64| chart.backend_coord(&(mass, accuracy));
    let mut lines: Vec<(i32, &DecoderResult)> =
        references.iter().map(|result| (at(0.0, result.accuracy).1, *result)).collect();
    lines.sort_by_key(|(y, _)| *y);
    let wanted: Vec<i32> = lines.iter().map(|(y, _)| *y).collect();
    for ((y, result), label_y) in lines.into_iter().zip(labels::spread(&wanted, at(0.0, 0.0).1)) {
        let colour = chart::style(families, &result.family).colour;
        let [left, right] = [0.0, x_end].map(|mass| (at(mass, 0.0).0, y));
        chart::dashed(area, [left, right], colour.stroke_width(2))?;
        let leader = [(right.0 + 2, y), (right.0 + 14, label_y)];
        chart::line(area, &leader, colour.stroke_width(1))?;
        let label = (right.0 + 18, label_y);
        chart::write(area, &reference_label(result), label, (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

/// A line through the results of one family, with error bars and marks.
fn draw_curve(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    (_, style, points): &Curve<'_>,
) -> Result<()> {
    let at = |mass: f64, accuracy: f64| chart.backend_coord(&(mass, accuracy));
    let places: Vec<Point> =
        points.iter().map(|(mass, result)| at(*mass, result.accuracy)).collect();
    chart::line(area, &places, style.colour.stroke_width(2))?;
    for ((mass, result), place) in points.iter().zip(places) {
        if let Some(ends) = chart::whisker(result) {
            let bar = chart::pale(style.colour).stroke_width(1);
            chart::error_bar(area, ends.map(|share| at(*mass, share)), bar)?;
        }
        style.mark(area, place)?;
    }
    Ok(())
}

/// Writes each result's parameter beside its mark. Parameters without room are left out; the table
/// has them.
fn draw_parameters(area: &Area<'_>, chart: &Chart<'_, '_>, curves: &[Curve<'_>]) -> Result<()> {
    let mark = |(mass, result): &(f64, &DecoderResult)| -> Point {
        chart.backend_coord(&(*mass, result.accuracy))
    };
    let points =
        || curves.iter().flat_map(|(_, style, points)| points.iter().map(|it| (*style, it)));
    let mut taken = points().map(|(_, it)| LabelBox::around(mark(it), 6, 6)).collect();
    for (style, it) in points() {
        if let Some(text) = it.1.parameter.map(parameter) {
            labels::write_beside(area, mark(it), &text, style.colour, &mut taken)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_runs;

    #[test]
    fn curves_and_references_share_out_the_families() {
        let summary = sample_runs::summary();
        let (results, families) = (summary.on("nano/test"), chart::families(&summary));
        let (curves, references) = content(&results, &families, MASS);
        assert_eq!(curves.len() + references.len(), families.len());
        for (.., points) in &curves {
            assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of mass");
        }
        let chart = tradeoff(&results, &families, MASS).unwrap().unwrap();
        for family in families {
            assert!(chart.contains(family), "{family}");
        }
    }

    #[test]
    fn no_mass_is_no_chart() {
        let mut summary = sample_runs::summary();
        for mass in [None, Some(f64::NAN)] {
            summary.results.iter_mut().for_each(|result| result.deferral_mass = mass);
            let results: Vec<&DecoderResult> = summary.results.iter().collect();
            assert_eq!(tradeoff(&results, &chart::families(&summary), MASS).unwrap(), None);
        }
    }
}
