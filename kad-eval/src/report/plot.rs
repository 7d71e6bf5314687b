//! What the charts share: size, text, and the look of each family.
//!
//! The backend knows no fonts, so widths of texts are estimates from above.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::theme::{COLOURS, PAPER};
use crate::analysis::stats::Interval;
use crate::analysis::summary::{DecoderResult, Summary};

/// Width of every chart in pixels.
pub(super) const WIDTH: u32 = 960;
/// Size of ordinary text in pixels.
pub(super) const TEXT: f64 = 14.0;
/// Size of remarks beside marks, in pixels.
pub(super) const SMALL: f64 = 12.0;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub(super) type Point = (i32, i32);

/// The shape of a mark: tells families apart without colour.
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

/// How a family is drawn, in every chart of a page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Look {
    pub(super) colour: RGBColor,
    shape: Shape,
}

impl Look {
    /// The look of the `index`-th family. Looks repeat after 42 families.
    pub(super) fn new(index: usize) -> Self {
        Self { colour: COLOURS[index % COLOURS.len()], shape: SHAPES[index % SHAPES.len()] }
    }

    /// Draws the family's mark around `at`.
    pub(super) fn mark(self, area: &Area<'_>, at: Point) -> Result<()> {
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

/// The families of `summary` in order of first appearance; the index gives the look.
pub(super) fn families(summary: &Summary) -> Vec<&str> {
    let mut families: Vec<&str> = Vec::new();
    for result in &summary.results {
        if !families.contains(&result.family.as_str()) {
            families.push(&result.family);
        }
    }
    families
}

/// Where `family` stands in `families`.
pub(super) fn look(families: &[&str], family: &str) -> Look {
    Look::new(families.iter().position(|name| *name == family).unwrap_or(0))
}

/// `colour` as a paper shows through it, for areas that lines cross.
pub(super) fn pale(colour: RGBColor) -> RGBAColor {
    colour.mix(0.6)
}

/// True if the result's accuracy can be drawn.
pub(super) fn drawable(result: &DecoderResult) -> bool {
    result.accuracy.is_finite()
}

/// Both ends of the interval of the result's accuracy, where it has one.
pub(super) fn whisker(result: &DecoderResult) -> Option<[f64; 2]> {
    let Interval { low, high } = result.accuracy_interval;
    (low.is_finite() && high.is_finite()).then_some([low, high])
}

/// The end of an axis of shares that shows `shares`: a multiple of a tenth, at most 1.
pub(super) fn axis_end(shares: impl Iterator<Item = f64>) -> f64 {
    let most = shares.fold(0.0, f64::max);
    ((most * 10.0 - 1e-9).ceil().max(1.0) / 10.0).min(1.0)
}

/// An SVG of `height` pixels, painted by `paint` on paper.
pub(super) fn svg(
    height: u32,
    paint: impl for<'a> FnOnce(&Area<'a>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    area.fill(&PAPER)?;
    paint(&area)?;
    area.present()?;
    drop(area);
    Ok(svg)
}

/// The style of text of `size` pixels, beginning, centred or ending at its place.
pub(super) fn text_style(size: f64, colour: RGBColor, anchor: HPos) -> TextStyle<'static> {
    // The backend divides sizes by this.
    let font = ("sans-serif", size * 1.24).into_font();
    font.color(&colour).pos(Pos::new(anchor, VPos::Center))
}

/// Writes `text` beginning, centred or ending at `at`.
pub(super) fn write(
    area: &Area<'_>,
    text: &str,
    at: Point,
    (size, colour, anchor): (f64, RGBColor, HPos),
) -> Result<()> {
    Ok(area.draw(&Text::new(text.to_owned(), at, text_style(size, colour, anchor)))?)
}

/// About as many pixels as `text` of [`TEXT`] size takes, or more.
pub(super) fn width(text: &str) -> i32 {
    (text.chars().count() as f64 * TEXT * 0.6).ceil() as i32
}

/// A line through `points`.
pub(super) fn line(area: &Area<'_>, points: &[Point], style: ShapeStyle) -> Result<()> {
    Ok(area.draw(&PathElement::new(points.to_vec(), style))?)
}

/// A dashed straight line.
pub(super) fn dashed(area: &Area<'_>, ends: [Point; 2], style: ShapeStyle) -> Result<()> {
    Ok(area.draw(&DashedPathElement::new(ends, 7, 5, style))?)
}

/// An error bar between two points on a vertical or horizontal line, with caps.
pub(super) fn error_bar(area: &Area<'_>, ends: [Point; 2], style: ShapeStyle) -> Result<()> {
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
    fn looks_differ_for_42_families() {
        let looks: Vec<Look> = (0..42).map(Look::new).collect();
        for (index, look) in looks.iter().enumerate() {
            assert!(!looks[..index].contains(look), "{index}");
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
            (0..SHAPES.len()).try_for_each(|index| Look::new(index).mark(area, (20, 20)))
        });
        assert!(painted.unwrap().matches('<').count() > SHAPES.len());
    }
}
