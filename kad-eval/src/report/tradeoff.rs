//! Accuracy against deferral mass: what each step towards the aligned model buys.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::format::{clip, parameter, percent};
use super::plot::{self, Area, Chart, FAINT, GRID, INK, Look, Point, SMALL, TEXT, WIDTH};
use crate::stats::Interval;
use crate::summary::Arm;

const HEIGHT: u32 = 470;
/// One line of the legend, and its left end, in pixels.
const LEGEND_ROW: i32 = 24;
const LEGEND_LEFT: i32 = 72;
/// A legend's line with its mark, and the gap to the next entry.
const SWATCH: i32 = 40;
const SPACE: i32 = 24;
/// Labels of reference lines are at least this far apart.
const LABEL_PITCH: i32 = 18;
const LONGEST_LABEL: usize = 24;

/// What is drawn: curves of arms with a deferral mass, lines for those without.
struct Content<'a> {
    curves: Vec<Curve<'a>>,
    references: Vec<(Look, &'a Arm)>,
}

/// A family that defers.
struct Curve<'a> {
    family: &'a str,
    look: Look,
    /// Deferral mass and arm, in order of mass.
    points: Vec<(f64, &'a Arm)>,
}

/// The chart for `arms`, all of one task; `families` decide the looks. `None` if no arm has a
/// deferral mass.
pub(super) fn tradeoff(arms: &[&Arm], families: &[&str]) -> Result<Option<String>> {
    let content = content(arms, families);
    if content.curves.is_empty() {
        return Ok(None);
    }
    let points = || content.curves.iter().flat_map(|curve| &curve.points);
    let single = content.references.iter().map(|(_, arm)| arm.accuracy);
    let x_end = plot::axis_end(points().map(|(mass, _)| *mass));
    let y_end = plot::axis_end(points().map(|(_, arm)| arm.accuracy_interval.high).chain(single));
    let names: Vec<&str> = content.curves.iter().map(|curve| curve.family).collect();
    let (places, legend) = legend_places(&names);
    let labels = content.references.iter().map(|(_, arm)| plot::width(&reference_label(arm)));
    let right = labels.max().map_or(24, |width| width + 28);
    plot::svg(HEIGHT + legend as u32, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(legend + 12)
            .margin_right(right)
            .x_label_area_size(56)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x_end, 0.0..y_end)?;
        axes(&mut chart)?;
        draw_legend(area, &content, &places)?;
        draw_references(area, &chart, &content.references, x_end)?;
        for curve in &content.curves {
            draw_curve(area, &chart, curve)?;
        }
        draw_parameters(area, &chart, &content)
    })
    .map(Some)
}

fn content<'a>(arms: &[&'a Arm], families: &[&'a str]) -> Content<'a> {
    let arms: Vec<&Arm> = arms.iter().copied().filter(|arm| plot::drawable(arm)).collect();
    let curves = families.iter().filter_map(|family| {
        let own = arms.iter().filter(|arm| arm.family == *family);
        let mut points: Vec<(f64, &Arm)> = own
            .filter_map(|arm| Some((arm.deferral_mass.filter(|mass| mass.is_finite())?, *arm)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let look = plot::look(families, family);
        (!points.is_empty()).then_some(Curve { family, look, points })
    });
    let single = arms.iter().filter(|arm| arm.deferral_mass.is_none());
    Content {
        curves: curves.collect(),
        references: single.map(|arm| (plot::look(families, &arm.family), *arm)).collect(),
    }
}

fn axes(chart: &mut Chart<'_, '_>) -> Result<()> {
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .x_labels(11)
        .y_labels(11)
        .x_desc("deferral mass (mean probability per token that the aligned model draws)")
        .y_desc("accuracy (%)")
        .x_label_formatter(&|mass| parameter((100.0 * mass).round() / 100.0))
        .y_label_formatter(&|share| format!("{:.0}", 100.0 * share))
        .x_label_style(plot::text_style(TEXT, INK, HPos::Center))
        .y_label_style(plot::text_style(TEXT, INK, HPos::Right))
        .axis_desc_style(plot::text_style(TEXT, INK, HPos::Center))
        .draw()?;
    Ok(())
}

/// Where each legend entry begins, flowing into lines, and the height of all lines.
fn legend_places(names: &[&str]) -> (Vec<Point>, i32) {
    let (mut x, mut y) = (LEGEND_LEFT, LEGEND_ROW);
    let mut places = Vec::new();
    for name in names {
        let width = SWATCH + plot::width(name) + SPACE;
        if x > LEGEND_LEFT && x + width > WIDTH as i32 {
            (x, y) = (LEGEND_LEFT, y + LEGEND_ROW);
        }
        places.push((x, y));
        x += width;
    }
    (places, y + LEGEND_ROW / 2)
}

fn draw_legend(area: &Area<'_>, content: &Content<'_>, places: &[Point]) -> Result<()> {
    for (Curve { family, look, .. }, &(x, y)) in content.curves.iter().zip(places) {
        plot::line(area, &[(x, y), (x + SWATCH - 8, y)], look.colour.stroke_width(2))?;
        look.mark(area, (x + (SWATCH - 8) / 2, y))?;
        plot::write(area, family, (x + SWATCH, y), (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

fn reference_label(arm: &Arm) -> String {
    format!("{} {}", clip(&arm.decoder, LONGEST_LABEL), percent(arm.accuracy))
}

/// Dashed lines across the chart, each labelled at its right end.
fn draw_references(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    references: &[(Look, &Arm)],
    x_end: f64,
) -> Result<()> {
    let (_, bottom) = chart.backend_coord(&(0.0, 0.0));
    let mut lines: Vec<(i32, &(Look, &Arm))> = references
        .iter()
        .map(|reference| (chart.backend_coord(&(0.0, reference.1.accuracy)).1, reference))
        .collect();
    lines.sort_by_key(|(y, _)| *y);
    let wanted: Vec<i32> = lines.iter().map(|(y, _)| *y).collect();
    for ((y, (look, arm)), label_y) in lines.iter().zip(spread(&wanted, bottom)) {
        let [left, right] = [0.0, x_end].map(|mass| (chart.backend_coord(&(mass, 0.0)).0, *y));
        plot::dashed(area, [left, right], look.colour.stroke_width(2))?;
        let label = (right.0 + 18, label_y);
        let leader = [(right.0 + 2, *y), (right.0 + 14, label_y)];
        plot::line(area, &leader, look.colour.stroke_width(1))?;
        plot::write(area, &reference_label(arm), label, (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

/// Moves sorted heights apart to [`LABEL_PITCH`], and up where they would leave the chart.
fn spread(wanted: &[i32], bottom: i32) -> Vec<i32> {
    let mut heights = wanted.to_vec();
    for i in 1..heights.len() {
        heights[i] = heights[i].max(heights[i - 1] + LABEL_PITCH);
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(limit);
        limit = *height - LABEL_PITCH;
    }
    heights
}

/// A line through the arms of one family, with error bars and marks.
fn draw_curve(area: &Area<'_>, chart: &Chart<'_, '_>, curve: &Curve<'_>) -> Result<()> {
    let Curve { look, points, .. } = curve;
    let at = |mass: f64, accuracy: f64| chart.backend_coord(&(mass, accuracy));
    let places: Vec<Point> = points.iter().map(|(mass, arm)| at(*mass, arm.accuracy)).collect();
    plot::line(area, &places, look.colour.stroke_width(2))?;
    for ((mass, arm), place) in points.iter().zip(places) {
        let Interval { low, high } = arm.accuracy_interval;
        let bar = plot::pale(look.colour).stroke_width(1);
        plot::error_bar(area, [at(*mass, low), at(*mass, high)], bar)?;
        look.mark(area, place)?;
    }
    Ok(())
}

/// Writes each arm's parameter beside its mark. What would cover a mark or another parameter is
/// left out: the table has it.
fn draw_parameters(area: &Area<'_>, chart: &Chart<'_, '_>, content: &Content<'_>) -> Result<()> {
    let points = || {
        content.curves.iter().flat_map(|Curve { look, points, .. }| {
            points
                .iter()
                .map(|(mass, arm)| (chart.backend_coord(&(*mass, arm.accuracy)), *look, *arm))
        })
    };
    let mut taken: Vec<Patch> = points().map(|(mark, ..)| Patch::around(mark, 6, 6)).collect();
    for (mark, look, arm) in points() {
        let Some(text) = arm.parameter.map(parameter) else {
            continue;
        };
        let half_width = plot::width(&text) / 2;
        let offsets = [(1, 1), (1, -1), (-1, -1), (-1, 1)];
        let mut places = offsets.iter().map(|(right, down)| {
            Patch::around((mark.0 + right * (half_width + 7), mark.1 + down * 13), half_width, 7)
        });
        if let Some(place) = places.find(|place| !taken.iter().any(|other| place.meets(other))) {
            plot::write(area, &text, place.middle, (SMALL, look.colour, HPos::Center))?;
            taken.push(place);
        }
    }
    Ok(())
}

/// A part of the chart that something covers.
struct Patch {
    middle: Point,
    half_width: i32,
    half_height: i32,
}

impl Patch {
    fn around(middle: Point, half_width: i32, half_height: i32) -> Self {
        Self { middle, half_width, half_height }
    }

    fn meets(&self, other: &Self) -> bool {
        (self.middle.0 - other.middle.0).abs() < self.half_width + other.half_width
            && (self.middle.1 - other.middle.1).abs() < self.half_height + other.half_height
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn curves_and_references_share_out_the_families() {
        let summary = sample::summary();
        let arms: Vec<&Arm> = summary.arms.iter().filter(|a| a.task == "nano/test").collect();
        let families = plot::families(&summary);
        let content = content(&arms, &families);
        assert_eq!(content.curves.len() + content.references.len(), families.len());
        for Curve { points, .. } in &content.curves {
            assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order of mass");
        }
        let chart = tradeoff(&arms, &families).unwrap().unwrap();
        for family in families {
            assert!(chart.contains(family), "{family}");
        }
    }

    #[test]
    fn no_mass_is_no_chart() {
        let mut summary = sample::summary();
        summary.arms.iter_mut().for_each(|arm| arm.deferral_mass = None);
        let arms: Vec<&Arm> = summary.arms.iter().collect();
        assert_eq!(tradeoff(&arms, &plot::families(&summary)).unwrap(), None);
        summary.arms.iter_mut().for_each(|arm| arm.deferral_mass = Some(f64::NAN));
        let arms: Vec<&Arm> = summary.arms.iter().collect();
        assert_eq!(tradeoff(&arms, &plot::families(&summary)).unwrap(), None);
    }

    #[test]
    fn labels_are_spread_within_the_chart() {
        assert_eq!(spread(&[10, 50], 100), [10, 50]);
        assert_eq!(spread(&[10, 12, 90], 100), [10, 28, 90]);
        assert_eq!(spread(&[95, 96, 97], 100), [64, 82, 100]);
        assert!(spread(&[], 100).is_empty());
    }

    #[test]
    fn legend_breaks_lines_before_the_edge() {
        let names = ["a long name of a family"; 9];
        let (places, height) = legend_places(&names);
        assert!(places.iter().all(|(x, _)| x + SWATCH + plot::width(names[0]) <= WIDTH as i32));
        assert!(places.iter().all(|(_, y)| y + LEGEND_ROW / 2 <= height));
    }
}
