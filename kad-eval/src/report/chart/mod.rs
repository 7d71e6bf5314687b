//! Charts as SVG, one file each; here their common parts: size, text, and the mark of each family.
//!
//! The backend knows no fonts, so widths of texts are upper estimates. Errors are the backend's.

pub(crate) mod acceptance;
pub(crate) mod accuracy;
mod axes;
pub(crate) mod forest;
mod labels;
pub(crate) mod pass_times;
pub(crate) mod prediction;
pub(crate) mod theme;
pub(crate) mod time;
pub(crate) mod tradeoff;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::analysis::stats::Interval;
use crate::analysis::summary::{DecoderResult, Summary};
use crate::analysis::unique;
use crate::numbers::parameter;
use theme::{COLOURS, INK, PAPER};

/// Width of every chart in pixels.
pub(crate) const WIDTH: u32 = 960;
/// Size of ordinary text in pixels.
pub(crate) const TEXT: f64 = 14.0;
/// Size of remarks beside marks, in pixels.
pub(crate) const SMALL: f64 = 12.0;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub(crate) type Point = (i32, i32);

/// The shape of a mark tells families apart without colour.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
}

const SHAPES: [Shape; 6] =
    [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond, Shape::Ring, Shape::Cross];

/// Colour and shape of a family, in every chart of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MarkStyle {
    pub(crate) colour: RGBColor,
    shape: Shape,
}

impl MarkStyle {
    /// The style of the `index`-th family; styles repeat after 42 families.
    pub(crate) fn new(index: usize) -> Self {
        Self { colour: COLOURS[index % COLOURS.len()], shape: SHAPES[index % SHAPES.len()] }
    }

    /// Draws the family's mark around `at`.
    pub(crate) fn mark(self, area: &Area<'_>, at: Point) -> Result<()> {
        let around = |offsets: &[Point]| -> Vec<Point> {
            offsets.iter().map(|(x, y)| (at.0 + x, at.1 + y)).collect()
        };
        let (fill, line) = (self.colour.filled(), self.colour.stroke_width(2));
        match self.shape {
            Shape::Circle => area.draw(&Circle::new(at, 5, fill))?,
            Shape::Ring => {
                area.draw(&Circle::new(at, 5, PAPER.filled()))?;
                area.draw(&Circle::new(at, 5, line))?;
            }
            Shape::Square => {
                area.draw(&Polygon::new(around(&[(-4, -4), (5, -4), (5, 5), (-4, 5)]), fill))?;
            }
            Shape::Triangle => {
                area.draw(&Polygon::new(around(&[(0, -6), (6, 5), (-6, 5)]), fill))?;
            }
            Shape::Diamond => {
                area.draw(&Polygon::new(around(&[(0, -7), (6, 0), (0, 7), (-6, 0)]), fill))?;
            }
            Shape::Cross => {
                area.draw(&PathElement::new(around(&[(-5, -5), (5, 5)]), line))?;
                area.draw(&PathElement::new(around(&[(-5, 5), (5, -5)]), line))?;
            }
        }
        Ok(())
    }
}

/// The families of `summary` in order of first appearance.
pub(crate) fn families(summary: &Summary) -> Vec<&str> {
    unique(summary.results.iter().map(|result| result.family.as_str()))
}

/// The style of `family`, one of `families`.
pub(crate) fn style(families: &[&str], family: &str) -> MarkStyle {
    MarkStyle::new(families.iter().position(|name| *name == family).unwrap_or(0))
}

/// A transparent `colour`, for areas that lines cross.
pub(crate) fn pale(colour: RGBColor) -> RGBAColor {
    colour.mix(0.6)
}

/// True if the result's accuracy can be drawn.
pub(crate) fn drawable(result: &DecoderResult) -> bool {
    result.accuracy.is_finite()
}

/// Both ends of the interval of the result's accuracy, if it has one.
pub(crate) fn whisker(result: &DecoderResult) -> Option<[f64; 2]> {
    let Interval { low, high } = result.accuracy_interval;
    (low.is_finite() && high.is_finite()).then_some([low, high])
}

/// The end of an axis for `shares`: a multiple of 0.1, at most 1.
pub(crate) fn axis_end(shares: impl Iterator<Item = f64>) -> f64 {
    let most = shares.fold(0.0, f64::max);
    ((most * 10.0 - 1e-9).ceil().max(1.0) / 10.0).min(1.0)
}

/// An SVG of `height` pixels, painted by `paint`.
pub(crate) fn svg(
    height: u32,
    paint: impl for<'a> FnOnce(&Area<'a>) -> Result<()>,
) -> Result<Option<String>> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    area.fill(&PAPER)?;
    paint(&area)?;
    area.present()?;
    drop(area);
    Ok(Some(svg))
}

/// Text of `size` pixels, anchored at its left end, middle or right end.
pub(crate) fn text_style(size: f64, colour: RGBColor, anchor: HPos) -> TextStyle<'static> {
    // The backend divides sizes by this.
    let font = ("sans-serif", size * 1.24).into_font();
    font.color(&colour).pos(Pos::new(anchor, VPos::Center))
}

/// Writes `text` at `at`, which is its left end, middle or right end.
pub(crate) fn write(
    area: &Area<'_>,
    text: &str,
    at: Point,
    (size, colour, anchor): (f64, RGBColor, HPos),
) -> Result<()> {
    Ok(area.draw(&Text::new(text.to_owned(), at, text_style(size, colour, anchor)))?)
}

/// Writes a bold heading with its left end at `at`.
pub(crate) fn heading(area: &Area<'_>, text: &str, at: Point) -> Result<()> {
    let style = text_style(TEXT, INK, HPos::Left);
    let bold = TextStyle { font: style.font.style(FontStyle::Bold), ..style };
    Ok(area.draw(&Text::new(text.to_owned(), at, bold))?)
}

/// A number of an axis, without the noise of floating point.
pub(crate) fn tick(value: &f64) -> String {
    parameter((1e4 * value).round() / 1e4)
}

/// An upper estimate of the width in pixels of `text` of size [`TEXT`].
pub(crate) fn width(text: &str) -> i32 {
    (text.chars().count() as f64 * TEXT * 0.6).ceil() as i32
}

/// A line through `points`.
pub(crate) fn line(area: &Area<'_>, points: &[Point], style: ShapeStyle) -> Result<()> {
    Ok(area.draw(&PathElement::new(points.to_vec(), style))?)
}

/// A dashed straight line.
pub(crate) fn dashed(area: &Area<'_>, ends: [Point; 2], style: ShapeStyle) -> Result<()> {
    Ok(area.draw(&DashedPathElement::new(ends, 7, 5, style))?)
}

/// An error bar between two points on a vertical or horizontal line, with caps.
pub(crate) fn error_bar(area: &Area<'_>, ends: [Point; 2], style: ShapeStyle) -> Result<()> {
    const CAP: i32 = 4;
    let vertical = ends[0].0 == ends[1].0;
    let (x, y) = if vertical { (CAP, 0) } else { (0, CAP) };
    line(area, &ends, style)?;
    for end in ends {
        line(area, &[(end.0 - x, end.1 - y), (end.0 + x, end.1 + y)], style)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_differ_for_42_families() {
        let styles: Vec<MarkStyle> = (0..42).map(MarkStyle::new).collect();
        for (index, style) in styles.iter().enumerate() {
            assert!(!styles[..index].contains(style), "{index}");
        }
    }

    #[test]
    fn axes_end_at_the_next_tenth() {
        for (shares, wanted) in
            [(&[][..], 0.1), (&[0.0], 0.1), (&[0.61, 0.2], 0.7), (&[0.7], 0.7), (&[1.0], 1.0)]
        {
            assert_eq!(axis_end(shares.iter().copied()), wanted);
        }
    }

    #[test]
    fn every_shape_draws() {
        let painted = svg(100, |area| {
            (0..SHAPES.len()).try_for_each(|index| MarkStyle::new(index).mark(area, (20, 20)))
        });
        assert!(painted.unwrap().unwrap().matches('<').count() > SHAPES.len());
    }
}
