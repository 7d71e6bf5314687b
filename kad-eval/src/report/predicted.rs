//! Predicted against measured time per token: whether a profile says what will happen.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, PITCH, Patch};
use super::plot::{self, Area, Chart, Look, Point, SMALL, TEXT, WIDTH};
use super::theme::{FAINT, GREY, INK, PAPER};
use crate::analysis::stats::Interval;
use crate::numbers::{fixed, milliseconds, parameter, shorten};

/// Of the chart's square, in pixels; the list of decoders is on its right.
const SIDE: i32 = 480;
const TOP: i32 = 16;
const BOTTOM: i32 = 56;
const LEFT: i32 = 72;
/// Where the list begins, and its lines.
const LIST: i32 = LEFT + SIDE + 24;
const LINE: i32 = 40;
/// What is drawn around the diagonal.
const BAND: f64 = 0.1;
const LONGEST_LABEL: usize = 38;

/// What was expected of a decoder and what it did, in seconds per token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    pub(super) decoder: String,
    pub(super) predicted: f64,
    /// Both intervals at 95 %.
    pub(super) predicted_interval: Interval,
    pub(super) measured: f64,
    pub(super) measured_interval: Interval,
    /// What Lemma 3.1 of the polybasic paper says, for chains.
    pub(super) lemma: Option<f64>,
}

impl Comparison {
    fn is_drawable(&self) -> bool {
        let Self { predicted_interval: p, measured_interval: m, .. } = self;
        let all = [self.predicted, p.low, p.high, self.measured, m.low, m.high];
        all.into_iter().chain(self.lemma).all(|seconds| seconds.is_finite() && seconds > 0.0)
    }

    /// Everything of it on either axis, in milliseconds.
    fn extent(&self) -> impl Iterator<Item = f64> {
        let Self { predicted_interval: p, measured_interval: m, .. } = self;
        let all = [self.predicted, p.low, p.high, self.measured, m.low, m.high];
        all.into_iter().chain(self.lemma).map(|seconds| 1e3 * seconds)
    }
}

/// The chart for `comparisons`. `None` if there is nothing to draw.
pub(super) fn predicted(comparisons: &[Comparison]) -> Result<Option<String>> {
    let shown: Vec<&Comparison> = comparisons.iter().filter(|c| c.is_drawable()).collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let range = range(&shown);
    let list = TOP + shown.len() as i32 * LINE + 4 * PITCH;
    let height = (TOP + SIDE + BOTTOM).max(list);
    plot::svg(height as u32, |area| {
        let axis = |title| Axis {
            range: range.0..range.1,
            ticks: 8,
            title,
            number: &|ms: &f64| parameter((1e4 * ms).round() / 1e4),
        };
        let (x, y) = (axis("predicted (ms per token)"), axis("measured (ms per token)"));
        let bottom = height - TOP - SIDE;
        let right = WIDTH as i32 - LEFT - SIDE;
        let chart = Axes { top: TOP, right, bottom, left: LEFT, x, y }.draw(area)?;
        draw_band(area, &chart, range)?;
        let place = |seconds: (f64, f64)| chart.backend_coord(&(1e3 * seconds.0, 1e3 * seconds.1));
        let mark = |(index, &comparison)| Mark { index, comparison, place: &place };
        let marks: Vec<Mark<'_>> = shown.iter().enumerate().map(mark).collect();
        marks.iter().try_for_each(|mark| mark.draw_lemma(area))?;
        marks.iter().try_for_each(|mark| mark.draw_bars(area))?;
        marks.iter().try_for_each(|mark| mark.look().mark(area, mark.place()))?;
        draw_numbers(area, &marks)?;
        marks.iter().try_for_each(|mark| mark.draw_entry(area))?;
        draw_key(area, TOP + shown.len() as i32 * LINE + PITCH)
    })
    .map(Some)
}

/// One scale for both axes, in milliseconds: what is drawn and a little more.
fn range(shown: &[&Comparison]) -> (f64, f64) {
    let extent = || shown.iter().flat_map(|comparison| comparison.extent());
    let (least, most) = (extent().fold(f64::INFINITY, f64::min), extent().fold(0.0, f64::max));
    let margin = 0.06 * (most - least).max(0.5 * most);
    ((least - margin).max(0.0), most + margin)
}

/// The corners of the band of [`BAND`] around the diagonal within `range`, in milliseconds:
/// predicted, measured.
fn band((low, high): (f64, f64)) -> Vec<(f64, f64)> {
    let (below, above) = (1.0 - BAND, 1.0 + BAND);
    let mut corners = vec![(low, low), (low, (above * low).min(high))];
    corners.extend([((high / above).max(low), high), (high, high)]);
    corners.push((high, (below * high).max(low)));
    corners.push(((low / below).min(high), low));
    corners
}

fn draw_band(area: &Area<'_>, chart: &Chart<'_, '_>, range: (f64, f64)) -> Result<()> {
    let at = |place: &(f64, f64)| chart.backend_coord(place);
    let corners: Vec<Point> = band(range).iter().map(at).collect();
    area.draw(&Polygon::new(corners, GREY.mix(0.18).filled()))?;
    let ends = [(range.0, range.0), (range.1, range.1)].map(|place| at(&place));
    plot::line(area, &ends, FAINT.stroke_width(1))
}

/// A decoder in the chart.
struct Mark<'a> {
    index: usize,
    comparison: &'a Comparison,
    /// Where a prediction and a measurement are, both in seconds.
    place: &'a dyn Fn((f64, f64)) -> Point,
}

impl Mark<'_> {
    fn look(&self) -> Look {
        Look::new(self.index)
    }

    fn at(&self, predicted: f64, measured: f64) -> Point {
        (self.place)((predicted, measured))
    }

    fn place(&self) -> Point {
        self.at(self.comparison.predicted, self.comparison.measured)
    }

    /// A hollow mark at the lemma's prediction, joined to the exact one.
    fn lemma(&self) -> Option<Point> {
        self.comparison.lemma.map(|seconds| self.at(seconds, self.comparison.measured))
    }

    fn draw_lemma(&self, area: &Area<'_>) -> Result<()> {
        let Some(place) = self.lemma() else {
            return Ok(());
        };
        let colour = self.look().colour;
        plot::dashed(area, [self.place(), place], plot::pale(colour).stroke_width(1))?;
        hollow(area, place, colour)
    }

    fn draw_bars(&self, area: &Area<'_>) -> Result<()> {
        let c = self.comparison;
        let (p, m) = (c.predicted_interval, c.measured_interval);
        let style = self.look().colour.stroke_width(1);
        plot::error_bar(area, [self.at(p.low, c.measured), self.at(p.high, c.measured)], style)?;
        plot::error_bar(area, [self.at(c.predicted, m.low), self.at(c.predicted, m.high)], style)
    }

    /// A line of the list: mark, name, and the numbers below it.
    fn draw_entry(&self, area: &Area<'_>) -> Result<()> {
        let c = self.comparison;
        let y = TOP + self.index as i32 * LINE + LINE / 3;
        let name = format!("{}: {}", self.index + 1, shorten(&c.decoder, LONGEST_LABEL));
        self.look().mark(area, (LIST, y))?;
        plot::write(area, &name, (LIST + 14, y), (TEXT, INK, HPos::Left))?;
        let [predicted, measured] = [c.predicted, c.measured].map(milliseconds);
        let ratio = fixed(c.predicted / c.measured, 2);
        let lemma = c.lemma.map(|s| format!("; Lemma 3.1: {}", milliseconds(s)));
        let numbers = format!(
            "predicted {predicted}, measured {measured}: {ratio}{}",
            lemma.unwrap_or_default()
        );
        plot::write(area, &numbers, (LIST + 14, y + 17), (SMALL, FAINT, HPos::Left))
    }
}

/// What stands for a prediction of the lemma: no family looks like it.
fn hollow(area: &Area<'_>, at: Point, colour: RGBColor) -> Result<()> {
    let corners = [(0, -6), (6, 0), (0, 6), (-6, 0), (0, -6)].map(|(x, y)| (at.0 + x, at.1 + y));
    area.draw(&Polygon::new(corners.to_vec(), PAPER.filled()))?;
    plot::line(area, &corners, colour.stroke_width(2))
}

/// Each decoder's number beside its mark, where there is room; the list has the look in any case.
fn draw_numbers(area: &Area<'_>, marks: &[Mark<'_>]) -> Result<()> {
    let around = |at: Point| Patch::around(at, 7, 7);
    let mut taken: Vec<Patch> = marks.iter().map(|mark| around(mark.place())).collect();
    taken.extend(marks.iter().filter_map(Mark::lemma).map(around));
    for mark in marks {
        let number = (mark.index + 1).to_string();
        if let Some(place) = labels::beside(mark.place(), &number, &taken) {
            let style = (SMALL, mark.look().colour, HPos::Center);
            plot::write(area, &number, place.middle, style)?;
            taken.push(place);
        }
    }
    Ok(())
}

/// What the lines mean, below the list.
fn draw_key(area: &Area<'_>, y: i32) -> Result<()> {
    let text = |line: i32, text| {
        plot::write(area, text, (LIST + 40, y + line * PITCH), (SMALL, INK, HPos::Left))
    };
    let swatch = |line: i32| [(LIST - 4, y + line * PITCH - 6), (LIST + 28, y + line * PITCH + 6)];
    area.draw(&Rectangle::new(swatch(0), GREY.mix(0.18).filled()))?;
    plot::line(area, &swatch(0).map(|(x, _)| (x, y)), FAINT.stroke_width(1))?;
    text(0, "as predicted, ±10 %")?;
    hollow(area, (LIST + 12, y + PITCH), GREY)?;
    text(1, "where Lemma 3.1 would have it")?;
    plot::error_bar(area, swatch(2).map(|(x, _)| (x, y + 2 * PITCH)), GREY.stroke_width(1))?;
    text(2, "95 % intervals")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(decoder: &str, predicted: f64, measured: f64) -> Comparison {
        let around = |s: f64| Interval { low: 0.97 * s, high: 1.04 * s };
        Comparison {
            decoder: decoder.to_owned(),
            predicted,
            predicted_interval: around(predicted),
            measured,
            measured_interval: around(measured),
            lemma: Some(0.87 * predicted),
        }
    }

    #[test]
    fn the_band_is_ten_percent_on_either_side_of_the_diagonal_and_within_the_chart() {
        let corners = band((2.0, 22.0));
        for (predicted, measured) in &corners {
            let ratio: f64 = measured / predicted;
            assert!((0.9 - 1e-12..=1.1 + 1e-12).contains(&ratio), "{corners:?}");
            assert!((2.0..=22.0).contains(predicted) && (2.0..=22.0).contains(measured));
        }
        let edges = corners.iter().filter(|(p, m)| (m / p - 1.0).abs() > 0.1 - 1e-12).count();
        assert_eq!(edges, 4, "two on either side");
        assert!(corners.contains(&(2.0, 2.0)) && corners.contains(&(22.0, 22.0)));
    }

    #[test]
    fn a_narrow_chart_is_all_band() {
        for (predicted, measured) in band((10.0, 10.5)) {
            assert!((10.0..=10.5).contains(&predicted) && (10.0..=10.5).contains(&measured));
        }
    }

    #[test]
    fn both_axes_show_every_bar_and_every_lemma() {
        let all = [comparison("a", 0.010, 0.012), comparison("b", 0.0040, 0.0041)];
        let (low, high) = range(&[&all[0], &all[1]]);
        let extent: Vec<f64> = all.iter().flat_map(Comparison::extent).collect();
        assert_eq!(extent.len(), 14);
        assert!(extent.iter().all(|ms| low < *ms && *ms < high), "{low} {high} {extent:?}");
        assert!(low > 0.0 && (extent[6] - 8.7).abs() < 1e-9);
    }

    #[test]
    fn every_decoder_is_in_the_list_and_a_loss_too() {
        let all = [comparison("a chain", 0.010, 0.012), comparison("another", 0.0040, 0.0041)];
        let chart = predicted(&all).unwrap().unwrap();
        for text in [
            "1: a chain",
            "predicted 10.0, measured 12.0: 0.83; Lemma 3.1: 8.70",
            "2: another",
            "0.98",
        ] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
    }

    #[test]
    fn what_is_no_time_is_left_out() {
        assert_eq!(predicted(&[]).unwrap(), None);
        assert_eq!(predicted(&[comparison("x", f64::NAN, 1.0)]).unwrap(), None);
        assert_eq!(predicted(&[comparison("x", 1.0, 0.0)]).unwrap(), None);
    }
}
