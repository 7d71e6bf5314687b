//! Forest plot of one metric: for each decoder the values of several runs with their intervals.

use std::ops::Range;

use anyhow::Result;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, SWATCH};
use super::theme::INK;
use crate::analysis::stats::Interval;
use crate::numbers::shorten;
use crate::report::chart::{self, Area, Chart, MarkStyle, TEXT};

/// Height of a mark, gap between decoders, and room for the axis, in pixels.
const LINE: i32 = 16;
const GAP: i32 = 12;
const BOTTOM: i32 = 56;
const RIGHT: i32 = 32;
const LONGEST_LABEL: usize = 40;

/// The values of one decoder.
#[derive(Clone, Debug)]
pub(crate) struct DecoderMarks {
    pub(crate) label: String,
    /// Value and interval in each run, in the order of the runs; `None` if a run lacks the value.
    pub(crate) marks: Vec<Option<(f64, Interval)>>,
}

/// The chart for `blocks` of the `runs`, with the title and the numbers of the axis; none if there
/// is nothing to draw.
pub(crate) fn forest(
    blocks: &[DecoderMarks],
    runs: &[&str],
    (title, number): (&str, &dyn Fn(&f64) -> String),
) -> Result<Option<String>> {
    let drawable =
        |block: &&DecoderMarks| block.marks.iter().flatten().any(|mark| is_finite(*mark));
    let blocks: Vec<&DecoderMarks> = blocks.iter().filter(drawable).collect();
    let Some(range) = range(&blocks) else { return Ok(None) };
    let (places, legend) = labels::legend_places(runs);
    let label = |block: &&DecoderMarks| shorten(&block.label, LONGEST_LABEL);
    let left = blocks.iter().map(|block| chart::width(&label(block))).max().unwrap_or(0) + 24;
    let height = blocks.len() as i32 * block_height(runs.len());
    chart::svg((legend + 12 + height + BOTTOM) as u32, |area| {
        let x = Axis { range, ticks: 9, title, number };
        let y = Axis::hidden(f64::from(height)..0.0);
        let chart = Axes { top: legend + 12, right: RIGHT, bottom: BOTTOM, left, x, y };
        let chart = chart.draw(area)?;
        labels::legend(area, runs, &places, |run, (x, y)| {
            MarkStyle::new(run).mark(area, (x + SWATCH - 14, y))
        })?;
        for (place, block) in blocks.iter().enumerate() {
            let top = place as i32 * block_height(runs.len());
            draw(area, &chart, block, top)?;
            let middle = f64::from(top) + f64::from(block_height(runs.len())) / 2.0;
            let y = chart.backend_coord(&(0.0, middle)).1;
            chart::write(area, &label(block), (8, y), (TEXT, INK, HPos::Left))?;
        }
        Ok(())
    })
}

fn block_height(runs: usize) -> i32 {
    runs as i32 * LINE + GAP
}

fn is_finite((value, Interval { low, high }): (f64, Interval)) -> bool {
    [value, low, high].iter().all(|end| end.is_finite())
}

/// The range of all intervals with a margin; none without marks.
fn range(blocks: &[&DecoderMarks]) -> Option<Range<f64>> {
    let marks = blocks.iter().flat_map(|block| block.marks.iter().flatten().copied());
    let ends = marks.filter(|mark| is_finite(*mark)).map(|(_, Interval { low, high })| (low, high));
    let (low, high) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    let margin = (0.05 * (high - low)).max(1e-3 * high.abs()).max(1e-9);
    Some(low - margin..high + margin)
}

fn draw(area: &Area<'_>, chart: &Chart<'_, '_>, block: &DecoderMarks, top: i32) -> Result<()> {
    for (run, mark) in block.marks.iter().enumerate() {
        let Some((value, Interval { low, high })) = mark.filter(|mark| is_finite(*mark)) else {
            continue;
        };
        let style = MarkStyle::new(run);
        let y = f64::from(top + GAP / 2 + run as i32 * LINE + LINE / 2);
        let at = |value: f64| chart.backend_coord(&(value, y));
        chart::error_bar(area, [at(low), at(high)], style.colour.into())?;
        style.mark(area, at(value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, values: &[f64]) -> DecoderMarks {
        let mark = |v: &f64| Some((*v, Interval { low: v - 0.1, high: v + 0.2 }));
        DecoderMarks { label: label.to_owned(), marks: values.iter().map(mark).collect() }
    }

    #[test]
    fn the_axis_shows_every_interval() {
        let blocks = [block("a", &[0.5, 0.7]), block("b", &[0.2])];
        let found = range(&[&blocks[0], &blocks[1]]).unwrap();
        assert!((0.0..0.1).contains(&found.start), "{found:?}");
        assert!(0.9 < found.end && found.end < 1.0, "{found:?}");
        assert!(range(&[&block("c", &[])]).is_none());
    }

    #[test]
    fn every_decoder_and_every_run_is_named() {
        let blocks = [block("first decoder", &[0.5, 0.7]), block("second", &[f64::NAN, 0.2])];
        let axis: (&str, &dyn Fn(&f64) -> String) = ("share", &|x| format!("{x:.1}"));
        let chart = forest(&blocks, &["A", "B: other"], axis).unwrap().unwrap();
        for text in ["first decoder", "second", "B: other", "share"] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
        assert_eq!(forest(&[block("x", &[f64::NAN])], &["A"], axis).unwrap(), None);
    }
}
