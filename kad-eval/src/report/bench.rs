//! The page of a benchmark: what was expected of chains, and what they did.

use anyhow::Result;
use serde::Serialize;

use super::format::{NONE, fixed, interval, milliseconds, parameter, percent};
use super::page::{self, Figure};
use super::predicted::{Comparison, predicted};
use super::times::{TimeBar, times};
use super::widths::{WidthCurve, widths};
use crate::profile::{Cost, Profile};
use crate::stats::{CONFIDENCE, Interval};

/// What a benchmark measured. Times are in seconds per token, intervals at [`CONFIDENCE`].
#[derive(Clone, Debug)]
pub(crate) struct Bench<'a> {
    /// Of the experiment.
    pub(crate) name: &'a str,
    /// What ran where and how much of it, a line each.
    pub(crate) setting: Vec<String>,
    /// The first is what the others are compared with.
    pub(crate) decoders: Vec<Benched>,
    /// What the predictions come from.
    pub(crate) profile: Option<&'a Profile>,
}

/// One decoder of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Benched {
    pub(crate) decoder: String,
    /// What its tokens are distributed as.
    pub(crate) law: String,
    pub(crate) measured: f64,
    pub(crate) measured_interval: Interval,
    /// In the passes of each model, the target's first.
    pub(crate) passes: Vec<(String, f64)>,
    /// The first decoder's time over this one's; none for the first.
    pub(crate) speed_up: Option<(f64, Interval)>,
    /// From the profile, where it knows the chain.
    pub(crate) predicted: Option<Predicted>,
}

/// What a profile says about a decoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Predicted {
    pub(crate) time: f64,
    pub(crate) interval: Interval,
    /// Predicted over measured.
    pub(crate) ratio: f64,
    pub(crate) ratio_interval: Interval,
    /// What Lemma 3.1 of the polybasic paper says, for chains.
    pub(crate) lemma: Option<f64>,
}

impl Benched {
    fn bar(&self) -> TimeBar {
        TimeBar {
            decoder: self.decoder.clone(),
            total: self.measured,
            interval: Some(self.measured_interval),
            passes: self.passes.clone(),
        }
    }

    fn comparison(&self) -> Option<Comparison> {
        self.predicted.map(|predicted| Comparison {
            decoder: self.decoder.clone(),
            predicted: predicted.time,
            predicted_interval: predicted.interval,
            measured: self.measured,
            measured_interval: self.measured_interval,
            lemma: predicted.lemma,
        })
    }

    /// Share of the time that is not spent in passes.
    fn engine(&self) -> f64 {
        let passes: f64 = self.passes.iter().map(|(_, seconds)| seconds).sum();
        (1.0 - passes / self.measured).max(0.0)
    }
}

/// The page as self-contained HTML: nothing is fetched, no script runs.
///
/// # Errors
/// If a chart cannot be drawn or the template fails.
pub(crate) fn bench_html(bench: &Bench<'_>) -> Result<String> {
    let first = bench.decoders.first();
    page::render(
        include_str!("bench.html.j2"),
        Page {
            name: bench.name,
            setting: &bench.setting,
            baseline: first.map(|decoder| decoder.decoder.as_str()),
            confidence: parameter(100.0 * CONFIDENCE),
            rows: bench.decoders.iter().map(row).collect(),
            figures: figures(bench)?,
        },
    )
}

/// What the template knows.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    setting: &'a [String],
    baseline: Option<&'a str>,
    confidence: String,
    rows: Vec<Row<'a>>,
    figures: Vec<Figure>,
}

/// A line of the table; times in milliseconds per token.
#[derive(Serialize)]
struct Row<'a> {
    decoder: &'a str,
    law: &'a str,
    /// Each with its interval, or a dash alone.
    measured: Cell,
    speed_up: Cell,
    /// What the speed-up comes to.
    verdict: &'static str,
    predicted: Cell,
    ratio: Cell,
    lemma: String,
    engine: String,
}

/// A number and its interval.
#[derive(Serialize)]
struct Cell {
    number: String,
    interval: Option<String>,
}

impl Cell {
    fn of(value: Option<(f64, Interval)>, number: fn(f64) -> String) -> Self {
        match value {
            Some((value, i)) => Self { number: number(value), interval: Some(interval(i, number)) },
            None => Self { number: NONE.to_owned(), interval: None },
        }
    }
}

fn row(decoder: &Benched) -> Row<'_> {
    let predicted = decoder.predicted;
    let two = |value| fixed(value, 2);
    Row {
        decoder: &decoder.decoder,
        law: &decoder.law,
        measured: Cell::of(Some((decoder.measured, decoder.measured_interval)), milliseconds),
        speed_up: Cell::of(decoder.speed_up, two),
        verdict: verdict(decoder.speed_up),
        predicted: Cell::of(predicted.map(|p| (p.time, p.interval)), milliseconds),
        ratio: Cell::of(predicted.map(|p| (p.ratio, p.ratio_interval)), two),
        lemma: predicted.and_then(|p| p.lemma).map_or(NONE.to_owned(), milliseconds),
        engine: percent(decoder.engine()),
    }
}

/// In words; a loss is called one.
fn verdict(speed_up: Option<(f64, Interval)>) -> &'static str {
    match speed_up {
        None => "baseline",
        Some((_, Interval { low, .. })) if low > 1.0 => "faster",
        Some((_, Interval { high, .. })) if high < 1.0 => "slower",
        Some(_) => "no difference shown",
    }
}

fn figures(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let confidence = parameter(100.0 * CONFIDENCE);
    let bars: Vec<TimeBar> = bench.decoders.iter().map(Benched::bar).collect();
    let comparisons: Vec<Comparison> =
        bench.decoders.iter().filter_map(Benched::comparison).collect();
    let time = Figure::of(
        times(&bars)?,
        format!("Time per token by what takes it, measured, with {confidence} % intervals."),
        "Time per token of each decoder; the numbers are in the table above".to_owned(),
    );
    let compared = Figure::of(
        predicted(&comparisons)?,
        "Predicted against measured time per token. Above the diagonal, decoding takes longer than \
         predicted."
            .to_owned(),
        "Predicted against measured time; the numbers are in the table above".to_owned(),
    );
    let passes = bench.profile.map(passes).transpose()?.flatten();
    Ok([time, compared, passes].into_iter().flatten().collect())
}

/// How passes grow with their width, from a profile.
///
/// # Errors
/// If the chart cannot be drawn.
pub(super) fn passes(profile: &Profile) -> Result<Option<Figure>> {
    let curve = |candidate: &crate::profile::Candidate| match &candidate.cost {
        Cost::Law { times, .. } => WidthCurve::of(&candidate.name, times, profile.context),
        Cost::Lookup { .. } => None,
    };
    let curves: Vec<WidthCurve> = profile.candidates.iter().filter_map(curve).collect();
    let caption = format!(
        "Passes over several tokens at once, relative to a pass over one, near {} tokens of \
         context; the widest as a multiple of one. Bands are {} % intervals.",
        profile.context,
        parameter(100.0 * CONFIDENCE)
    );
    let label = "Time of a pass by its width, for each model of the profile".to_owned();
    Ok(Figure::of(widths(&curves)?, caption, label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::sample::law;

    fn around(value: f64) -> Interval {
        Interval { low: 0.97 * value, high: 1.04 * value }
    }

    fn benched(decoder: &str, measured: f64, speed_up: Option<f64>) -> Benched {
        Benched {
            decoder: decoder.to_owned(),
            law: "exactly large at T = 0.7".to_owned(),
            measured,
            measured_interval: around(measured),
            passes: vec![
                ("large".to_owned(), 0.6 * measured),
                ("small".to_owned(), 0.3 * measured),
            ],
            speed_up: speed_up.map(|value| (value, around(value))),
            predicted: Some(Predicted {
                time: 0.95 * measured,
                interval: around(0.95 * measured),
                ratio: 0.95,
                ratio_interval: around(0.95),
                lemma: Some(0.8 * measured),
            }),
        }
    }

    fn page(decoders: Vec<Benched>) -> String {
        let profile = crate::profile::sample::profile(
            vec![law("large", 0.020, 0.001), law("small", 0.004, 0.0005)],
            vec![],
        );
        let setting = vec!["2 threads".to_owned()];
        let bench = Bench { name: "a <bench>", setting, decoders, profile: Some(&profile) };
        bench_html(&bench).unwrap()
    }

    #[test]
    fn every_number_is_in_the_table_and_every_chart_on_the_page() {
        let plain = Benched { predicted: None, ..benched("plain", 0.0221, None) };
        let page = page(vec![plain, benched("a chain", 0.0130, Some(1.7))]);
        let start = page.find("<th scope=\"row\">a chain<").unwrap();
        let row = &page[start..][..page[start..].find("</tr>").unwrap()];
        for number in [
            "13.0",
            "[12.6, 13.5]",
            "1.70",
            "[1.65, 1.77]",
            "faster",
            "12.3",
            "[12.0, 12.8]",
            "0.95",
            "[0.92, 0.99]",
            "10.4",
            "10.0",
        ] {
            assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("a &lt;bench&gt;") && page.contains("2 threads"));
    }

    #[test]
    fn a_loss_is_called_one() {
        let speed_up = |low, high| Some((f64::midpoint(low, high), Interval { low, high }));
        assert_eq!(verdict(speed_up(1.01, 1.2)), "faster");
        assert_eq!(verdict(speed_up(0.8, 0.99)), "slower");
        assert_eq!(verdict(speed_up(0.9, 1.1)), "no difference shown");
        assert_eq!(verdict(speed_up(f64::NAN, f64::NAN)), "no difference shown");
    }

    #[test]
    fn the_engine_is_what_the_passes_leave() {
        assert!((benched("x", 0.010, None).engine() - 0.1).abs() < 1e-12);
        let all = Benched { passes: vec![("m".to_owned(), 0.0101)], ..benched("x", 0.01, None) };
        assert_eq!(all.engine(), 0.0);
    }

    #[test]
    fn nothing_outside_the_page_is_named() {
        let page = page(vec![benched("plain", 0.0221, None)]);
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for outside in ["://", "url(", "@import", " src=", " href=", "<link", "<script", "//"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn nothing_measured_is_a_page_too() {
        assert!(page(Vec::new()).contains("Nothing was measured."));
    }

    /// Writes the page to look at: `KAD_SAMPLE=page.html cargo test bench_page -- --ignored`.
    #[test]
    #[ignore = "for looking at the page"]
    fn bench_page() {
        let path = std::env::var_os("KAD_SAMPLE").unwrap();
        let mut decoders = vec![benched("large", 0.0221, None)];
        decoders.push(benched("large ← 6 middle ← 3 small", 0.0130, Some(1.7)));
        decoders.push(benched("large ← 4 small", 0.0215, Some(1.028)));
        decoders.push(benched("large ← 8 tiny", 0.0250, Some(0.884)));
        std::fs::write(path, page(decoders)).unwrap();
    }
}
