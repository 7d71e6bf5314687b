//! One number of several runs beside each other: a block of marks with intervals for each decoder.

use std::ops::Range;

use anyhow::Result;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, SWATCH};
use super::plot::{self, Area, Chart, Look, TEXT};
use super::theme::{FAINT, INK};
use crate::analysis::stats::Interval;
use crate::numbers::shorten;

/// Lines of a block, the gap between blocks, and the room for the axis, in pixels.
const LINE: i32 = 16;
const GAP: i32 = 12;
const BOTTOM: i32 = 56;
const RIGHT: i32 = 32;
const LONGEST_LABEL: usize = 40;

/// The runs' numbers of one decoder.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) label: String,
    /// In the order of the runs; none where a run has no such number.
    pub(super) marks: Vec<Option<(f64, Interval)>>,
}

/// What is drawn along the axis.
#[derive(Clone, Copy)]
pub(super) struct Scale<'a> {
    pub(super) title: &'a str,
    pub(super) number: &'a dyn Fn(&f64) -> String,
    /// Where nothing changed, if marks are changes.
    pub(super) reference: Option<f64>,
}

/// The chart for `blocks` of the `runs`. `None` if there is nothing to draw.
pub(super) fn forest(blocks: &[Block], runs: &[&str], scale: Scale<'_>) -> Result<Option<String>> {
    let drawable = |block: &&Block| block.marks.iter().flatten().any(|mark| is_finite(*mark));
    let blocks: Vec<&Block> = blocks.iter().filter(drawable).collect();
    let Some(range) = range(&blocks, scale.reference) else { return Ok(None) };
    let (places, legend) = labels::legend_places(runs);
    let label = |block: &&Block| shorten(&block.label, LONGEST_LABEL);
    let left = blocks.iter().map(|block| plot::width(&label(block))).max().unwrap_or(0) + 24;
    let height = blocks.len() as i32 * block_height(runs.len());
    plot::svg((legend + 12 + height + BOTTOM) as u32, |area| {
        let x = Axis { range, ticks: 9, title: scale.title, number: scale.number };
        let y = Axis::hidden(f64::from(height)..0.0);
        let chart = Axes { top: legend + 12, right: RIGHT, bottom: BOTTOM, left, x, y };
        let chart = chart.draw(area)?;
        labels::legend(area, runs, &places, |run, (x, y)| {
            Look::new(run).mark(area, (x + SWATCH - 14, y))
        })?;
        if let Some(reference) = scale.reference {
            let ends = [0.0, f64::from(height)].map(|y| chart.backend_coord(&(reference, y)));
            plot::dashed(area, ends, FAINT.into())?;
        }
        for (place, block) in blocks.iter().enumerate() {
            let top = place as i32 * block_height(runs.len());
            draw(area, &chart, block, top)?;
            let middle = f64::from(top) + f64::from(block_height(runs.len())) / 2.0;
            let y = chart.backend_coord(&(0.0, middle)).1;
            plot::write(area, &label(block), (8, y), (TEXT, INK, HPos::Left))?;
        }
        Ok(())
    })
    .map(Some)
}

fn block_height(runs: usize) -> i32 {
    runs as i32 * LINE + GAP
}

fn is_finite((value, Interval { low, high }): (f64, Interval)) -> bool {
    [value, low, high].iter().all(|end| end.is_finite())
}

/// Of all marks with their intervals, and a little more; none if there are none.
fn range(blocks: &[&Block], reference: Option<f64>) -> Option<Range<f64>> {
    let marks = || blocks.iter().flat_map(|block| block.marks.iter().flatten().copied());
    let ends = marks().filter(|mark| is_finite(*mark)).flat_map(|(_, it)| [it.low, it.high]);
    let ends: Vec<f64> = ends.chain(reference).collect();
    marks().next()?;
    let (low, high) =
        ends.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), e| (l.min(*e), h.max(*e)));
    let margin = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    Some(low - margin..high + margin)
}

fn draw(area: &Area<'_>, chart: &Chart<'_, '_>, block: &Block, top: i32) -> Result<()> {
    for (run, mark) in block.marks.iter().enumerate() {
        let Some((value, Interval { low, high })) = mark.filter(|mark| is_finite(*mark)) else {
            continue;
        };
        let look = Look::new(run);
        let y = f64::from(top + GAP / 2 + run as i32 * LINE + LINE / 2);
        let at = |value: f64| chart.backend_coord(&(value, y));
        plot::error_bar(area, [at(low), at(high)], look.colour.into())?;
        look.mark(area, at(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, values: &[f64]) -> Block {
        let mark = |v: &f64| Some((*v, Interval { low: v - 0.1, high: v + 0.2 }));
        Block { label: label.to_owned(), marks: values.iter().map(mark).collect() }
    }

    fn scale() -> Scale<'static> {
        Scale { title: "share", number: &|x| format!("{x:.1}"), reference: Some(0.0) }
    }

    #[test]
    fn the_axis_shows_every_interval_and_the_reference() {
        let blocks = [block("a", &[0.5, 0.7]), block("b", &[0.2])];
        let found = range(&[&blocks[0], &blocks[1]], Some(0.0)).unwrap();
        assert!(found.start < 0.0 && 0.9 < found.end && found.end < 1.0, "{found:?}");
        assert!(range(&[&block("c", &[])], Some(0.0)).is_none());
    }

    #[test]
    fn every_decoder_and_every_run_is_named() {
        let blocks = [block("first decoder", &[0.5, 0.7]), block("second", &[f64::NAN, 0.2])];
        let chart = forest(&blocks, &["A", "B: other"], scale()).unwrap().unwrap();
        for text in ["first decoder", "second", "B: other", "share"] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
        assert_eq!(forest(&[block("x", &[f64::NAN])], &["A"], scale()).unwrap(), None);
    }
}
