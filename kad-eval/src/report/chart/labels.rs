//! Legends, and places of labels without overlap.

use anyhow::Result;
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

use super::theme::INK;
use crate::report::chart::{self, Area, Point, SMALL, TEXT, WIDTH};

/// Height of a legend's line, and its left end, in pixels.
const LEGEND_ROW: i32 = 24;
const LEGEND_LEFT: i32 = 72;
/// Width of a legend's sample, and the gap to the next entry.
pub(crate) const SWATCH: i32 = 40;
const SPACE: i32 = 24;
/// Least distance of labels in a column.
pub(crate) const PITCH: i32 = 18;

/// The left ends of the entries of a legend, broken into lines, and the height of all lines.
pub(crate) fn legend_places(names: &[&str]) -> (Vec<Point>, i32) {
    let (mut x, mut y) = (LEGEND_LEFT, LEGEND_ROW);
    let mut places = Vec::new();
    for name in names {
        let width = SWATCH + chart::width(name) + SPACE;
        if x > LEGEND_LEFT && x + width > WIDTH as i32 {
            (x, y) = (LEGEND_LEFT, y + LEGEND_ROW);
        }
        places.push((x, y));
        x += width;
    }
    (places, y + LEGEND_ROW / 2)
}

/// Draws a legend; `swatch` draws the sample of an entry in the [`SWATCH`] pixels from its place.
pub(crate) fn legend(
    area: &Area<'_>,
    names: &[&str],
    places: &[Point],
    swatch: impl Fn(usize, Point) -> Result<()>,
) -> Result<()> {
    for (index, (name, &at)) in names.iter().zip(places).enumerate() {
        swatch(index, at)?;
        chart::write(area, name, (at.0 + SWATCH, at.1), (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

/// Moves sorted heights at least [`PITCH`] apart, and up from below `bottom`.
pub(crate) fn spread(wanted: &[i32], bottom: i32) -> Vec<i32> {
    let mut heights = wanted.to_vec();
    for i in 1..heights.len() {
        heights[i] = heights[i].max(heights[i - 1] + PITCH);
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = (*height).min(limit);
        limit = *height - PITCH;
    }
    heights
}

/// A rectangle that a label or mark covers.
pub(crate) struct LabelBox {
    middle: Point,
    half_width: i32,
    half_height: i32,
}

impl LabelBox {
    pub(crate) fn around(middle: Point, half_width: i32, half_height: i32) -> Self {
        Self { middle, half_width, half_height }
    }

    fn meets(&self, other: &Self) -> bool {
        (self.middle.0 - other.middle.0).abs() < self.half_width + other.half_width
            && (self.middle.1 - other.middle.1).abs() < self.half_height + other.half_height
    }
}

/// Writes a small `text` beside a mark, and adds its place to those `taken`; not where it would
/// overlap with them.
pub(crate) fn write_beside(
    area: &Area<'_>,
    mark: Point,
    text: &str,
    colour: RGBColor,
    taken: &mut Vec<LabelBox>,
) -> Result<()> {
    let Some(place) = beside(mark, text, taken) else { return Ok(()) };
    chart::write(area, text, place.middle, (SMALL, colour, HPos::Center))?;
    taken.push(place);
    Ok(())
}

/// A place for `text` beside a mark, without overlap with `taken`; none if there is none.
fn beside(mark: Point, text: &str, taken: &[LabelBox]) -> Option<LabelBox> {
    let half_width = chart::width(text) / 2;
    let mut places = [(1, 1), (1, -1), (-1, -1), (-1, 1)].into_iter().map(|(right, down)| {
        LabelBox::around((mark.0 + right * (half_width + 7), mark.1 + down * 13), half_width, 7)
    });
    places.find(|place| !taken.iter().any(|other| place.meets(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(places.iter().all(|(x, _)| x + SWATCH + chart::width(names[0]) <= WIDTH as i32));
        assert!(places.iter().all(|(_, y)| y + LEGEND_ROW / 2 <= height));
    }

    #[test]
    fn a_label_avoids_the_others_or_is_not_written() {
        let mark = (100, 100);
        let mut taken = vec![LabelBox::around(mark, 6, 6)];
        for _ in 0..4 {
            let place = beside(mark, "0.5", &taken).unwrap();
            assert!(taken.iter().all(|other| !place.meets(other)));
            taken.push(place);
        }
        assert!(beside(mark, "0.5", &taken).is_none());
    }
}
