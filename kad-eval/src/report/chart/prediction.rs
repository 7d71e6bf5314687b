//! Predicted and measured time per token: the accuracy of a profile's predictions.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels::{self, LabelBox, PITCH};
use super::theme::{FAINT, GREY, INK, PAPER};
use crate::analysis::stats::Interval;
use crate::numbers::{fixed, milliseconds, shorten};
use crate::report::Prediction;
use crate::report::chart::{self, Area, Chart, MarkStyle, Point, SMALL, TEXT, WIDTH};

/// Side of the square, in pixels; the list of decoders is on its right.
const SIDE: i32 = 480;
const TOP: i32 = 16;
const BOTTOM: i32 = 56;
const LEFT: i32 = 72;
/// Left end of the list, and the height of an entry.
const LIST: i32 = LEFT + SIDE + 24;
const LINE: i32 = 40;
/// Half-width of the band around the diagonal.
const BAND: f64 = 0.1;
const LONGEST_LABEL: usize = 38;

/// Predicted and measured seconds per token of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PredictedMeasured {
    pub(crate) decoder: String,
    pub(crate) predicted: Prediction,
    pub(crate) measured: f64,
    /// 95 % interval of the measurement.
    pub(crate) interval: Interval,
}

impl PredictedMeasured {
    fn values(&self) -> impl Iterator<Item = f64> {
        [self.predicted.seconds, self.measured].into_iter().chain(self.predicted.lemma)
    }

    fn is_drawable(&self) -> bool {
        self.values().all(|seconds| seconds.is_finite() && seconds > 0.0)
    }

    /// Both ends of the error bars of prediction and measurement: intervals of noisy measurements
    /// can reach below 0 or have no end.
    fn bars(&self) -> [[f64; 2]; 2] {
        let ends = |Interval { low, high }: Interval, value: f64| {
            [low, high].map(|end| if end.is_finite() { end.max(0.0) } else { value })
        };
        let Self { predicted, measured, interval, .. } = self;
        [ends(predicted.interval, predicted.seconds), ends(*interval, *measured)]
    }

    /// All its coordinates, in milliseconds.
    fn extent(&self) -> impl Iterator<Item = f64> {
        self.bars().into_iter().flatten().chain(self.values()).map(|seconds| 1e3 * seconds)
    }
}

/// The chart for `points`; none if there is nothing to draw.
pub(crate) fn predicted_measured(points: &[PredictedMeasured]) -> Result<Option<String>> {
    let shown: Vec<&PredictedMeasured> = points.iter().filter(|c| c.is_drawable()).collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let range = range(&shown);
    let list = TOP + shown.len() as i32 * LINE + 4 * PITCH;
    let height = (TOP + SIDE + BOTTOM).max(list);
    chart::svg(height as u32, |area| {
        let axis = |title| Axis { range: range.0..range.1, ticks: 8, title, number: &chart::tick };
        let (x, y) = (axis("predicted (ms per token)"), axis("measured (ms per token)"));
        let bottom = height - TOP - SIDE;
        let right = WIDTH as i32 - LEFT - SIDE;
        let chart = Axes { top: TOP, right, bottom, left: LEFT, x, y }.draw(area)?;
        draw_band(area, &chart, range)?;
        let at = |predicted: f64, measured: f64| -> Point {
            chart.backend_coord(&(1e3 * predicted, 1e3 * measured))
        };
        let all = || (0..).map(MarkStyle::new).zip(shown.iter().copied());
        let mut taken = Vec::new();
        for (MarkStyle { colour, .. }, it) in all() {
            let place = at(it.predicted.seconds, it.measured);
            taken.push(LabelBox::around(place, 7, 7));
            if let Some(lemma) = it.predicted.lemma.map(|seconds| at(seconds, it.measured)) {
                taken.push(LabelBox::around(lemma, 7, 7));
                chart::dashed(area, [place, lemma], chart::pale(colour).stroke_width(1))?;
                hollow(area, lemma, colour)?;
            }
        }
        for (style, it) in all() {
            let [across, along] = it.bars();
            let line = style.colour.stroke_width(1);
            chart::error_bar(area, across.map(|seconds| at(seconds, it.measured)), line)?;
            chart::error_bar(area, along.map(|seconds| at(it.predicted.seconds, seconds)), line)?;
        }
        for (style, it) in all() {
            style.mark(area, at(it.predicted.seconds, it.measured))?;
        }
        for (number, (style, it)) in (1..).zip(all()) {
            let (place, number) = (at(it.predicted.seconds, it.measured), number.to_string());
            labels::write_beside(area, place, &number, style.colour, &mut taken)?;
        }
        for (index, (style, it)) in all().enumerate() {
            draw_entry(area, index, style, it)?;
        }
        draw_key(area, TOP + shown.len() as i32 * LINE + PITCH)
    })
}

/// The range of both axes in milliseconds, with a margin.
fn range(shown: &[&PredictedMeasured]) -> (f64, f64) {
    let extent = || shown.iter().flat_map(|point| point.extent());
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
    chart::line(area, &ends, FAINT.stroke_width(1))
}

/// An entry of the list: mark, name, and the numbers below it.
fn draw_entry(
    area: &Area<'_>,
    index: usize,
    style: MarkStyle,
    it: &PredictedMeasured,
) -> Result<()> {
    let y = TOP + index as i32 * LINE + LINE / 3;
    let name = format!("{}: {}", index + 1, shorten(&it.decoder, LONGEST_LABEL));
    style.mark(area, (LIST, y))?;
    chart::write(area, &name, (LIST + 14, y), (TEXT, INK, HPos::Left))?;
    let [predicted, measured] = [it.predicted.seconds, it.measured].map(milliseconds);
    let ratio = fixed(it.predicted.seconds / it.measured, 2);
    let lemma = it.predicted.lemma.map(|s| format!("; Lemma 3.1: {}", milliseconds(s)));
    let lemma = lemma.unwrap_or_default();
    let numbers = format!("predicted {predicted}, measured {measured}: {ratio}{lemma}");
    chart::write(area, &numbers, (LIST + 14, y + 17), (SMALL, FAINT, HPos::Left))
}

/// The mark of a prediction by the lemma, unlike the mark of any family.
fn hollow(area: &Area<'_>, at: Point, colour: RGBColor) -> Result<()> {
    let corners = [(0, -6), (6, 0), (0, 6), (-6, 0), (0, -6)].map(|(x, y)| (at.0 + x, at.1 + y));
    area.draw(&Polygon::new(corners.to_vec(), PAPER.filled()))?;
    chart::line(area, &corners, colour.stroke_width(2))
}

/// The key below the list.
fn draw_key(area: &Area<'_>, y: i32) -> Result<()> {
    let text = |line: i32, text| {
        chart::write(area, text, (LIST + 40, y + line * PITCH), (SMALL, INK, HPos::Left))
    };
    let swatch = |line: i32| [(LIST - 4, y + line * PITCH - 6), (LIST + 28, y + line * PITCH + 6)];
    area.draw(&Rectangle::new(swatch(0), GREY.mix(0.18).filled()))?;
    chart::line(area, &swatch(0).map(|(x, _)| (x, y)), FAINT.stroke_width(1))?;
    text(0, "as predicted, ±10 %")?;
    hollow(area, (LIST + 12, y + PITCH), GREY)?;
    text(1, "predicted by Lemma 3.1")?;
    chart::error_bar(area, swatch(2).map(|(x, _)| (x, y + 2 * PITCH)), GREY.stroke_width(1))?;
    text(2, "95 % intervals")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(decoder: &str, predicted: f64, measured: f64) -> PredictedMeasured {
        let around = |s: f64| Interval { low: 0.97 * s, high: 1.04 * s };
        let lemma = Some(0.87 * predicted);
        PredictedMeasured {
            decoder: decoder.to_owned(),
            predicted: Prediction { seconds: predicted, interval: around(predicted), lemma },
            measured,
            interval: around(measured),
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
        // A narrow chart is all band.
        let narrow = band((10.0, 10.5));
        assert!(narrow.iter().flat_map(|(p, m)| [p, m]).all(|ms| (10.0..=10.5).contains(ms)));
    }

    #[test]
    fn both_axes_show_every_bar_and_every_lemma() {
        let all = [point("a", 0.010, 0.012), point("b", 0.0040, 0.0041)];
        let (low, high) = range(&[&all[0], &all[1]]);
        let extent: Vec<f64> = all.iter().flat_map(PredictedMeasured::extent).collect();
        assert_eq!(extent.len(), 14);
        assert!(extent.iter().all(|ms| low < *ms && *ms < high), "{low} {high} {extent:?}");
        assert!(low > 0.0 && (extent[6] - 8.7).abs() < 1e-9);
    }

    #[test]
    fn every_decoder_is_in_the_list_and_a_loss_too() {
        let all = [point("a chain", 0.010, 0.012), point("another", 0.0040, 0.0041)];
        let chart = predicted_measured(&all).unwrap().unwrap();
        let numbers = "predicted 10.0, measured 12.0: 0.83; Lemma 3.1: 8.70";
        for text in ["1: a chain", numbers, "2: another", "0.98"] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
    }

    #[test]
    fn invalid_times_are_left_out() {
        assert_eq!(predicted_measured(&[]).unwrap(), None);
        assert_eq!(predicted_measured(&[point("x", f64::NAN, 1.0)]).unwrap(), None);
        assert_eq!(predicted_measured(&[point("x", 1.0, 0.0)]).unwrap(), None);
        let mut noisy = point("x", 1.0, 1.0);
        noisy.interval = Interval { low: -0.5, high: f64::INFINITY };
        assert_eq!(noisy.bars()[1], [0.0, 1.0], "its chart is drawn");
        assert!(predicted_measured(&[noisy]).unwrap().is_some());
    }
}
