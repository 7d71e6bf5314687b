//! Time of a forward pass over several tokens relative to a pass over one token, which decides the
//! cost of verifying a draft.

use anyhow::Result;
use kad_polybasic::theory::{PassTime, PassTimes};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;
use serde::{Deserialize, Serialize};

use super::axes::{Axes, Axis};
use super::labels;
use super::theme::{FAINT, GRID, INK};
use crate::numbers::{fixed, milliseconds, shorten};
use crate::report::chart::{self, Area, Chart, MarkStyle, Point, SMALL, TEXT, WIDTH};
use crate::speed::profile::Profile;

const HEIGHT: i32 = 440;
const TOP: i32 = 36;
const LEFT: i32 = 64;
const BOTTOM: i32 = 56;
const LONGEST_LABEL: usize = 22;
/// z₀.₉₇₅ of the standard normal distribution.
const NORMAL: f64 = 1.96;

/// Pass times of all models of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PassTimeCurves {
    /// Approximate number of tokens before a pass.
    pub(crate) context: usize,
    pub(crate) curves: Vec<PassTimeCurve>,
}

impl PassTimeCurves {
    pub(crate) fn of(profile: &Profile) -> Self {
        let distributions = profile
            .candidates
            .iter()
            .filter_map(|candidate| Some((&candidate.name, candidate.cost.times()?)));
        let curve = |(name, times): (&String, _)| PassTimeCurve::of(name, times, profile.context);
        Self { context: profile.context, curves: distributions.filter_map(curve).collect() }
    }
}

/// Pass times of one model at one context length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PassTimeCurve {
    model: String,
    /// Seconds of a pass over one token.
    single: f64,
    points: Vec<PassTimePoint>,
}

/// A measured width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct PassTimePoint {
    /// Tokens per pass.
    width: f64,
    /// `v = T(width) / T(1)`.
    ratio: f64,
    /// Ends of its 95 % interval.
    low: f64,
    high: f64,
}

impl PassTimeCurve {
    /// The curve of `times` at the measured context length nearest to `context`. `None` without a
    /// positive time of passes over one token.
    ///
    /// The interval is the normal one of a ratio of independent medians, `(se v / v)² =
    /// (se T(width) / T(width))² + (se T(1) / T(1))²`; at width 1 there is none.
    pub(crate) fn of(model: &str, times: &PassTimes, context: usize) -> Option<Self> {
        // Of two equally near, the first.
        let contexts = times.contexts().iter().zip(times.cells());
        let (_, cells) = contexts.min_by_key(|(own, _)| own.abs_diff(context))?;
        let single = cells[times.widths().iter().position(|width| *width == 1)?];
        if single.seconds.is_nan() || single.seconds <= 0.0 {
            return None;
        }
        let point = |(&width, cell): (&usize, &PassTime)| {
            let ratio = cell.seconds / single.seconds;
            let own = cell.standard_error / single.seconds;
            let shared = ratio * single.standard_error / single.seconds;
            let spread = if width == 1 { 0.0 } else { NORMAL * own.hypot(shared) };
            let (low, high) = ((ratio - spread).max(0.0), ratio + spread);
            PassTimePoint { width: width as f64, ratio, low, high }
        };
        let points = times.widths().iter().zip(cells).map(point).collect();
        Some(Self { model: model.to_owned(), single: single.seconds, points })
    }

    fn end(&self) -> (f64, f64) {
        self.points.last().map_or((1.0, 1.0), |point| (point.width, point.ratio))
    }
}

/// The chart for `curves`; none if no model was measured at two widths.
pub(crate) fn pass_times(curves: &[PassTimeCurve]) -> Result<Option<String>> {
    let curves: Vec<&PassTimeCurve> = curves.iter().filter(|c| c.points.len() > 1).collect();
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most = |of: fn(&PassTimePoint) -> f64| points().map(of).fold(1.0, f64::max);
    let (widest, most) = (most(|point| point.width), most(|point| point.high));
    if curves.is_empty() || !most.is_finite() {
        return Ok(None);
    }
    let right = curves.iter().map(|c| chart::width(&label(c))).max().unwrap_or(0) + 32;
    let top = 1.0 + 1.04 * (most - 1.0).max(0.25);
    chart::svg(HEIGHT as u32, |area| {
        let x = Axis { title: "tokens per pass (width)", ..Axis::hidden(1.0..widest) };
        let y = Axis {
            range: points().map(|point| point.low).fold(1.0, f64::min)..top,
            ticks: 9,
            title: "time of a pass, T(width) / T(1)",
            number: &|ratio| ((ratio * 100.0).round() / 100.0).to_string(),
        };
        let chart = Axes { top: TOP, right, bottom: BOTTOM, left: LEFT, x, y }.draw(area)?;
        let mut measured: Vec<f64> = points().map(|point| point.width).collect();
        measured.sort_by(f64::total_cmp);
        measured.dedup();
        draw_widths(area, &chart, &measured)?;
        draw_limit(area, &chart, widest.min(top))?;
        let mut styled = (0..).map(MarkStyle::new).zip(&curves);
        styled.try_for_each(|(style, curve)| draw_curve(area, &chart, style, curve))?;
        draw_ends(area, &chart, &curves)
    })
}

/// A line and a number at each measured width, as far as there is room.
fn draw_widths(area: &Area<'_>, chart: &Chart<'_, '_>, measured: &[f64]) -> Result<()> {
    let mut free = i32::MIN;
    for width in measured {
        let text = fixed(*width, 0);
        let x = chart.backend_coord(&(*width, 1.0)).0;
        let half = chart::width(&text) / 2;
        if x - half >= free {
            free = x + half + 2;
            let bottom = HEIGHT - BOTTOM;
            chart::line(area, &[(x, TOP), (x, bottom)], GRID.stroke_width(1))?;
            chart::write(area, &text, (x, bottom + 14), (TEXT, INK, HPos::Center))?;
        }
    }
    Ok(())
}

/// The line T(k) = k·T(1), above which verification saves nothing.
fn draw_limit(area: &Area<'_>, chart: &Chart<'_, '_>, end: f64) -> Result<()> {
    let ends = [1.0, end].map(|width| chart.backend_coord(&(width, width)));
    chart::dashed(area, ends, FAINT.stroke_width(1))?;
    let text = "dashed: k single passes";
    let x = (ends[1].0 + 4).min(WIDTH as i32 - chart::width(text));
    chart::write(area, text, (x, TOP - 14), (SMALL, FAINT, HPos::Left))
}

/// Band of the intervals, line of the medians, and marks at measured widths.
fn draw_curve(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    style: MarkStyle,
    curve: &PassTimeCurve,
) -> Result<()> {
    let place = |ratio: fn(&PassTimePoint) -> f64| {
        curve.points.iter().map(move |p| chart.backend_coord(&(p.width, ratio(p))))
    };
    let band: Vec<Point> = place(|p| p.low).chain(place(|p| p.high).rev()).collect();
    area.draw(&Polygon::new(band, style.colour.mix(0.2).filled()))?;
    let line: Vec<Point> = place(|p| p.ratio).collect();
    chart::line(area, &line, style.colour.stroke_width(2))?;
    line.into_iter().try_for_each(|at| style.mark(area, at))
}

fn label(curve: &PassTimeCurve) -> String {
    let (name, ratio) = (shorten(&curve.model, LONGEST_LABEL), fixed(curve.end().1, 2));
    format!("{name}: {ratio} × {} ms", milliseconds(curve.single))
}

/// Names at the right ends, apart from each other.
fn draw_ends(area: &Area<'_>, chart: &Chart<'_, '_>, curves: &[&PassTimeCurve]) -> Result<()> {
    let end = |curve: &PassTimeCurve| -> Point { chart.backend_coord(&curve.end()) };
    let ends = (0..).map(MarkStyle::new).zip(curves).map(|(style, it)| (end(it), style, label(it)));
    let mut ends: Vec<(Point, MarkStyle, String)> = ends.collect();
    ends.sort_by_key(|((_, y), ..)| *y);
    let wanted: Vec<i32> = ends.iter().map(|((_, y), ..)| *y).collect();
    let right = ends.iter().map(|((x, _), ..)| *x).max().unwrap_or(0);
    for (((x, end), style, label), y) in ends.iter().zip(labels::spread(&wanted, HEIGHT - BOTTOM)) {
        chart::line(area, &[(x + 7, *end), (right + 18, y)], style.colour.stroke_width(1))?;
        chart::write(area, label, (right + 22, y), (TEXT, INK, HPos::Left))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At two context lengths.
    fn times() -> PassTimes {
        let cell = |(seconds, standard_error)| PassTime { seconds, standard_error };
        let rows = [
            [(0.010, 0.0003), (0.012, 0.0004), (0.025, 0.001)],
            [(0.020, 0.0), (0.030, 0.0), (0.090, 0.0)],
        ];
        let cells = rows.map(|row| row.map(cell).to_vec()).to_vec();
        PassTimes::new(vec![1, 4, 16], vec![64, 128], cells).unwrap()
    }

    #[test]
    fn ratios_are_to_a_pass_over_one_token_after_the_nearest_context() {
        let times = times();
        let ratios = |context| -> Vec<f64> {
            let curve = PassTimeCurve::of("large", &times, context).unwrap();
            curve.points.iter().map(|p| p.ratio).collect()
        };
        for (context, wanted) in
            [(0, [1.0, 1.2, 2.5]), (95, [1.0, 1.2, 2.5]), (99, [1.0, 1.5, 4.5])]
        {
            for (found, wanted) in ratios(context).iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-12, "{context}: {found} {wanted}");
            }
        }
    }

    /// By hand: 1.96 · √(0.4² + (1.2 · 0.3)²) / 10 = 0.105475… around 1.2.
    #[test]
    fn the_band_is_the_normal_interval_of_a_ratio() {
        let times = times();
        let curve = PassTimeCurve::of("large", &times, 0).unwrap();
        let [one, four, _] = curve.points[..] else { panic!() };
        assert_eq!((one.low, one.high), (1.0, 1.0), "1 by definition");
        let half = 1.96 * (0.04_f64 * 0.04 + 0.036 * 0.036).sqrt();
        assert!((four.high - 1.2 - half).abs() < 1e-12 && (1.2 - four.low - half).abs() < 1e-12);
        assert!((half - 0.105_475).abs() < 1e-5, "{half}");
    }

    #[test]
    fn a_model_without_passes_over_one_token_has_no_curve() {
        let cell = PassTime { seconds: 1.0, standard_error: 0.0 };
        let times = PassTimes::new(vec![2, 4], vec![0], vec![vec![cell; 2]]).unwrap();
        assert_eq!(PassTimeCurve::of("x", &times, 0), None);
        assert_eq!(PassTimeCurve::of("x", &PassTimes::constant(0.0).unwrap(), 0), None);
        let constant = PassTimeCurve::of("x", &PassTimes::constant(1.0).unwrap(), 0).unwrap();
        assert_eq!(pass_times(&[constant]).unwrap(), None, "one width is no curve");
        assert_eq!(pass_times(&[]).unwrap(), None);
    }

    #[test]
    fn every_model_is_named_at_its_end() {
        let times = times();
        let curves: Vec<PassTimeCurve> = (0..12)
            .map(|index| PassTimeCurve::of(&format!("m{index}"), &times, 0).unwrap())
            .collect();
        let chart = pass_times(&curves).unwrap().unwrap();
        for index in 0..12 {
            assert!(chart.contains(&format!("m{index}: 2.50 × 10.0 ms")), "{chart}");
        }
    }
}
