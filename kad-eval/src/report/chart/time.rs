//! Time per token of each decoder as stacked bars: forward passes by model, and the rest.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::labels;
use super::theme::{COLOURS, GREY, INK};
use crate::analysis::stats::Interval;
use crate::analysis::unique;
use crate::numbers::{interval, milliseconds, shorten};
use crate::report::chart::{self, Area, Chart, Point, SMALL, TEXT, WIDTH};

/// Room above the bars for the heading of the numbers; below them for the axis, in pixels.
const HEADING: i32 = 28;
const BOTTOM: i32 = 56;
/// A decoder: its name, then its bar, in pixels from the top.
const ROW: i32 = 50;
const NAME: i32 = 10;
const MIDDLE: i32 = 31;
const BAR: i32 = 20;
/// Room on the right for time with interval, and for the speed-up.
const NUMBERS: i32 = 236;
const SPEED_UP: i32 = 52;
const LONGEST_LABEL: usize = 90;
const LONGEST_MODEL: usize = 40;
const LEFT: i32 = 12;
/// Right end of the numbers.
const RIGHT: i32 = WIDTH as i32 - 8;
/// Time outside forward passes.
const OVERHEAD: &str = "overhead (outside passes)";

/// Seconds per token of one decoder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeBar {
    pub(crate) decoder: String,
    pub(crate) total: f64,
    /// 95 % interval of the total.
    pub(crate) interval: Option<Interval>,
    /// Passes by model, the target first.
    pub(crate) passes: Vec<(String, f64)>,
}

impl TimeBar {
    /// Passes are sorted by the place of the model in `members`, other models last.
    pub(crate) fn new(
        decoder: &str,
        total: f64,
        interval: Option<Interval>,
        (mut passes, members): (Vec<(String, f64)>, &[&str]),
    ) -> Self {
        let place = |name: &str| members.iter().position(|it| *it == name);
        passes.sort_by_key(|(name, _)| place(name).unwrap_or(members.len()));
        Self { decoder: decoder.to_owned(), total, interval, passes }
    }

    /// The time outside passes.
    fn overhead(&self) -> f64 {
        (self.total - self.passes.iter().map(|(_, seconds)| seconds).sum::<f64>()).max(0.0)
    }

    fn is_drawable(&self) -> bool {
        let positive = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        positive(self.total) && self.passes.iter().all(|(_, seconds)| positive(*seconds))
    }

    /// The parts from left to right: index in the legend, and both ends in milliseconds. Models are
    /// in the order of `models`; the overhead comes after the last one.
    fn segments(&self, models: &[&str]) -> Vec<(usize, [f64; 2])> {
        let place = |name: &str| models.iter().position(|model| *model == name);
        let passes = self.passes.iter().filter_map(|(name, s)| Some((place(name)?, *s)));
        let mut parts: Vec<(usize, f64)> =
            passes.chain([(models.len(), self.overhead())]).collect();
        parts.sort_by_key(|(part, _)| *part);
        let mut end = 0.0;
        let segment = |(part, seconds): (usize, f64)| {
            let from = end;
            end += 1e3 * seconds;
            (part, [from, end])
        };
        parts.into_iter().map(segment).collect()
    }
}

/// The chart for `bars`; the first is the baseline of the speed-ups. `None` if there is nothing to
/// draw.
pub(crate) fn time(bars: &[TimeBar]) -> Result<Option<String>> {
    let bars: Vec<&TimeBar> = bars.iter().filter(|bar| bar.is_drawable()).collect();
    let Some(first) = bars.first() else {
        return Ok(None);
    };
    let passes = bars.iter().flat_map(|bar| &bar.passes);
    let models = unique(passes.map(|(name, _)| name.as_str()));
    let names: Vec<String> = models.iter().map(|name| shorten(name, LONGEST_MODEL)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain([OVERHEAD]).collect();
    let (places, legend) = labels::legend_places(&names);
    let end = bars.iter().map(|bar| bar.interval.map_or(bar.total, |i| i.high.max(bar.total)));
    let end = 1e3 * end.filter(|s| s.is_finite()).fold(0.0, f64::max).max(1e-6) * 1.02;
    let (top, height) = (legend + HEADING, ROW * bars.len() as i32);
    chart::svg((top + height + BOTTOM) as u32, |area| {
        let x = Axis {
            range: 0.0..end,
            ticks: 8,
            title: "time per token (ms), with 95 % intervals",
            number: &chart::tick,
        };
        let y = Axis::hidden(f64::from(height)..0.0);
        let chart = Axes { top, right: NUMBERS, bottom: BOTTOM, left: LEFT, x, y }.draw(area)?;
        labels::legend(area, &names, &places, |part, (x, y)| {
            let corners = [(x + 16, y - 7), (x + SWATCH_END, y + 7)];
            Ok(area.draw(&Rectangle::new(corners, fill(part, models.len())))?)
        })?;
        let compared = (bars.len() > 1).then_some(first.total);
        let head = |text, x| chart::write(area, text, (x, top - 12), (SMALL, INK, HPos::Right));
        compared.map_or(Ok(()), |_| head("speed-up", RIGHT))?;
        head("ms per token", RIGHT - SPEED_UP - 16)?;
        (0..)
            .step_by(ROW as usize)
            .zip(&bars)
            .try_for_each(|(row, bar)| draw_bar(area, &chart, (row, bar), (&models, compared)))
    })
}

const SWATCH_END: i32 = labels::SWATCH - 8;

/// Six colours, then the same fainter; grey for the overhead, after the last model.
fn fill(part: usize, models: usize) -> ShapeStyle {
    let colours = &COLOURS[..COLOURS.len() - 1];
    if part == models {
        return chart::pale(GREY).filled();
    }
    let strength = if part < colours.len() { 0.65 } else { 0.3 };
    colours[part % colours.len()].mix(strength).filled()
}

fn draw_bar(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    (row, bar): (i32, &TimeBar),
    (models, first): (&[&str], Option<f64>),
) -> Result<()> {
    let at = |ms: f64| -> Point { chart.backend_coord(&(ms, f64::from(row + MIDDLE))) };
    let y = at(0.0).1;
    let name = shorten(&bar.decoder, LONGEST_LABEL);
    chart::write(area, &name, (LEFT + 5, y - MIDDLE + NAME), (TEXT, INK, HPos::Left))?;
    for (part, ends) in bar.segments(models) {
        let [from, to] = ends.map(|end| at(end).0);
        // A gap between segments tells them apart without colour.
        let corners = [(from, y - BAR / 2), ((to - 1).max(from), y + BAR / 2)];
        area.draw(&Rectangle::new(corners, fill(part, models.len())))?;
        let label = milliseconds(1e-3 * (ends[1] - ends[0]));
        if chart::width(&label) < to - from - 4 {
            let middle = (from.midpoint(to), y);
            chart::write(area, &label, middle, (SMALL, INK, HPos::Center))?;
        }
    }
    if let Some(Interval { low, high }) = bar.interval.filter(|i| i.high.is_finite()) {
        // Below the numbers in the segments.
        let ends = [at(1e3 * low), at(1e3 * high)].map(|(x, y)| (x, y + BAR / 2 + 4));
        chart::error_bar(area, ends, INK.stroke_width(1))?;
    }
    let own = milliseconds(bar.total);
    let own = bar.interval.map_or(own.clone(), |i| format!("{own} {}", interval(i, milliseconds)));
    chart::write(area, &own, (RIGHT - SPEED_UP - 16, y), (TEXT, INK, HPos::Right))?;
    let Some(first) = first else { return Ok(()) };
    let speed_up = format!("{:.2}×", first / bar.total);
    chart::write(area, &speed_up, (RIGHT, y), (TEXT, INK, HPos::Right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(decoder: &str, total: f64, passes: &[(&str, f64)]) -> TimeBar {
        let passes = passes.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect();
        let interval = Some(Interval { low: 0.95 * total, high: 1.06 * total });
        TimeBar { decoder: decoder.to_owned(), total, interval, passes }
    }

    #[test]
    fn segments_lie_end_to_end_and_add_up_to_the_total() {
        let chain = bar("chain", 0.0124, &[("small", 0.003), ("large", 0.006), ("middle", 0.002)]);
        let segments = chain.segments(&["large", "small", "middle"]);
        // As in the legend, the overhead last.
        let wanted = [[0.0, 6.0], [6.0, 9.0], [9.0, 11.0], [11.0, 12.4]];
        assert_eq!(segments.len(), wanted.len());
        for ((place, (part, ends)), wanted) in segments.iter().enumerate().zip(wanted) {
            assert_eq!(*part, place);
            assert!(ends.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{segments:?}");
        }
        assert_eq!(segments[0].1[0], 0.0);
        assert!(segments.windows(2).all(|pair| pair[0].1[1] == pair[1].1[0]));
    }

    #[test]
    fn every_decoder_says_its_time_and_its_speed_up() {
        let bars =
            [bar("plain", 0.022, &[("large", 0.02)]), bar("chain", 0.011, &[("large", 0.005)])];
        let chart = time(&bars).unwrap().unwrap();
        for text in ["plain", "chain", "22.0 [20.9, 23.3]", "1.00×", "2.00×", "large", OVERHEAD] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
    }

    #[test]
    fn the_legend_has_models_in_order_of_appearance_and_the_overhead_last() {
        let bars = [
            bar("plain", 0.022, &[("first", 0.02)]),
            bar("chain", 0.011, &[("second", 0.005), ("first", 0.002), ("third", 0.001)]),
        ];
        let chart = time(&bars).unwrap().unwrap();
        let places = ["first", "second", "third", OVERHEAD].map(|name| chart.find(name).unwrap());
        assert!(places.is_sorted(), "{places:?} in {chart}");
    }

    #[test]
    fn alone_a_decoder_has_no_speed_up_and_longer_passes_leave_no_overhead() {
        assert_eq!(bar("x", 0.010, &[("large", 0.0101)]).overhead(), 0.0);
        let chart = time(&[bar("plain", 0.022, &[("large", 0.02)])]).unwrap().unwrap();
        assert!(chart.contains("22.0 [") && !chart.contains("1.00×"), "{chart}");
        assert!(!chart.contains("speed-up"));
    }

    #[test]
    fn invalid_times_are_left_out() {
        assert_eq!(time(&[]).unwrap(), None);
        let odd = [bar("x", f64::NAN, &[]), bar("y", 0.1, &[("large", f64::INFINITY)])];
        assert_eq!(time(&odd).unwrap(), None);
    }
}
