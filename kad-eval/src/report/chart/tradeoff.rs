//! Accuracy against its cost: deferral mass, or forward passes of the largest model.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, LabelBox, SWATCH};
use super::theme::INK;
use super::{self as chart, Area, Chart, MarkStyle, Point, SMALL, TEXT};
use crate::analysis::summary::DecoderResult;
use crate::numbers::{clip, parameter, percent};

const HEIGHT: u32 = 470;
const LONGEST_LABEL: usize = 24;

/// The cost on the horizontal axis.
#[derive(Clone, Copy)]
pub(crate) struct CostAxis<'a> {
    pub(crate) title: &'a str,
    /// None for results that are drawn as horizontal lines.
    pub(crate) of: &'a dyn Fn(&DecoderResult) -> Option<f64>,
}

/// The probability of deferring to the aligned model.
pub(crate) const MASS: CostAxis<'static> = CostAxis {
    title: "deferral mass (mean probability per token of deferring to the aligned model)",
    of: &|result| result.deferral_mass,
};

/// Curves of results with a cost, lines for results without.
struct TradeoffData<'a> {
    curves: Vec<Curve<'a>>,
    references: Vec<(MarkStyle, &'a DecoderResult)>,
}

/// The results of a family.
struct Curve<'a> {
    family: &'a str,
    style: MarkStyle,
    /// CostAxis and result, in order of cost.
    points: Vec<(f64, &'a DecoderResult)>,
}

/// The chart for `results`, all of one task; `families` give the styles. None if no result has a
/// cost.
pub(crate) fn tradeoff(
    results: &[&DecoderResult],
    families: &[&str],
    cost: CostAxis<'_>,
) -> Result<Option<String>> {
    let content = content(results, families, cost);
    if content.curves.is_empty() {
        return Ok(None);
    }
    let points = || content.curves.iter().flat_map(|curve| &curve.points);
    let single = content.references.iter().map(|(_, result)| result.accuracy);
    let x_end = end(points().map(|(cost, _)| *cost).fold(0.0, f64::max));
    let shares = points().flat_map(|(_, result)| [result.accuracy, result.accuracy_interval.high]);
    let y_end = chart::axis_end(shares.chain(single));
    let names: Vec<&str> = content.curves.iter().map(|curve| curve.family).collect();
    let (places, legend) = labels::legend_places(&names);
    let widths =
        content.references.iter().map(|(_, result)| chart::width(&reference_label(result)));
    let right = widths.max().map_or(24, |width| width + 28);
    chart::svg(HEIGHT + legend as u32, |area| {
        let (x, y) = axes(x_end, y_end, cost.title);
        let axes = Axes { top: legend + 12, right, bottom: 56, left: 64, x, y };
        let chart = axes.draw(area)?;
        labels::legend(area, &names, &places, |index, (x, y)| {
            let style = content.curves[index].style;
            chart::line(area, &[(x, y), (x + SWATCH - 8, y)], style.colour.stroke_width(2))?;
            style.mark(area, (x + (SWATCH - 8) / 2, y))
        })?;
        draw_references(area, &chart, &content.references, x_end)?;
        for curve in &content.curves {
            draw_curve(area, &chart, curve)?;
        }
        draw_parameters(area, &chart, &content)
    })
}

/// The end of the cost axis: a multiple of 0.1, with room for the last mark.
fn end(most: f64) -> f64 {
    (1.02 * most * 10.0).ceil().max(1.0) / 10.0
}

fn content<'a>(
    results: &[&'a DecoderResult],
    families: &[&'a str],
    cost: CostAxis<'_>,
) -> TradeoffData<'a> {
    let cost = |result: &DecoderResult| (cost.of)(result).filter(|cost| cost.is_finite());
    let results: Vec<&DecoderResult> =
        results.iter().copied().filter(|result| chart::drawable(result)).collect();
    let curves = families.iter().filter_map(|family| {
        let own = results.iter().filter(|result| result.family == *family);
        let mut points: Vec<(f64, &DecoderResult)> =
            own.filter_map(|result| Some((cost(result)?, *result))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let style = chart::style(families, family);
        (!points.is_empty()).then_some(Curve { family, style, points })
    });
    let single = results.iter().filter(|result| cost(result).is_none());
    TradeoffData {
        curves: curves.collect(),
        references: single
            .map(|result| (chart::style(families, &result.family), *result))
            .collect(),
    }
}

fn axes(x_end: f64, y_end: f64, title: &str) -> (Axis<'_>, Axis<'_>) {
    let cost = Axis {
        range: 0.0..x_end,
        ticks: 11,
        title,
        number: &|cost| parameter((100.0 * cost).round() / 100.0),
    };
    let accuracy = Axis {
        range: 0.0..y_end,
        ticks: 11,
        title: "accuracy (%)",
        number: &|share| format!("{:.0}", 100.0 * share),
    };
    (cost, accuracy)
}

fn reference_label(result: &DecoderResult) -> String {
    format!("{} {}", clip(&result.decoder, LONGEST_LABEL), percent(result.accuracy))
}

/// Dashed lines across the chart, each labelled at its right end.
fn draw_references(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    references: &[(MarkStyle, &DecoderResult)],
    x_end: f64,
) -> Result<()> {
    let (_, bottom) = chart.backend_coord(&(0.0, 0.0));
    let mut lines: Vec<(i32, &(MarkStyle, &DecoderResult))> = references
        .iter()
        .map(|reference| (chart.backend_coord(&(0.0, reference.1.accuracy)).1, reference))
        .collect();
    lines.sort_by_key(|(y, _)| *y);
    let wanted: Vec<i32> = lines.iter().map(|(y, _)| *y).collect();
    for ((y, (style, result)), label_y) in lines.iter().zip(labels::spread(&wanted, bottom)) {
        let [left, right] = [0.0, x_end].map(|mass| (chart.backend_coord(&(mass, 0.0)).0, *y));
        chart::dashed(area, [left, right], style.colour.stroke_width(2))?;
        let label = (right.0 + 18, label_y);
        let leader = [(right.0 + 2, *y), (right.0 + 14, label_y)];
        chart::line(area, &leader, style.colour.stroke_width(1))?;
        chart::write(area, &reference_label(result), label, (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

/// A line through the results of one family, with error bars and marks.
fn draw_curve(area: &Area<'_>, chart: &Chart<'_, '_>, curve: &Curve<'_>) -> Result<()> {
    let Curve { style, points, .. } = curve;
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
fn draw_parameters(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    content: &TradeoffData<'_>,
) -> Result<()> {
    let points = || {
        content.curves.iter().flat_map(|Curve { style, points, .. }| {
            points.iter().map(|(mass, result)| {
                (chart.backend_coord(&(*mass, result.accuracy)), *style, *result)
            })
        })
    };
    let mut taken: Vec<LabelBox> =
        points().map(|(mark, ..)| LabelBox::around(mark, 6, 6)).collect();
    for (mark, style, result) in points() {
        let Some(text) = result.parameter.map(parameter) else {
            continue;
        };
        if let Some(place) = labels::beside(mark, &text, &taken) {
            chart::write(area, &text, place.middle, (SMALL, style.colour, HPos::Center))?;
            taken.push(place);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    #[test]
    fn curves_and_references_share_out_the_families() {
        let summary = fixtures::summary();
        let results: Vec<&DecoderResult> =
            summary.results.iter().filter(|a| a.task == "nano/test").collect();
        let families = chart::families(&summary);
        let content = content(&results, &families, MASS);
        assert_eq!(content.curves.len() + content.references.len(), families.len());
        for Curve { points, .. } in &content.curves {
            assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of mass");
        }
        let chart = tradeoff(&results, &families, MASS).unwrap().unwrap();
        for family in families {
            assert!(chart.contains(family), "{family}");
        }
    }

    #[test]
    fn no_mass_is_no_chart() {
        let mut summary = fixtures::summary();
        summary.results.iter_mut().for_each(|result| result.deferral_mass = None);
        let results: Vec<&DecoderResult> = summary.results.iter().collect();
        assert_eq!(tradeoff(&results, &chart::families(&summary), MASS).unwrap(), None);
        summary.results.iter_mut().for_each(|result| result.deferral_mass = Some(f64::NAN));
        let results: Vec<&DecoderResult> = summary.results.iter().collect();
        assert_eq!(tradeoff(&results, &chart::families(&summary), MASS).unwrap(), None);
    }
}
