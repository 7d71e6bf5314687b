//! The page of a benchmark: what was expected of chains, and what they did.

use anyhow::Result;
use kad_polybasic::theory::BootstrapInterval as Expected;
use serde::Serialize;

use super::Prediction;
use super::page::{self, Figure};
use super::predicted::{Comparison, predicted};
use super::times::{TimeBar, times};
use super::widths::{Widths, widths};
use crate::analysis::stats::{CONFIDENCE, Interval};
use crate::numbers::{NONE, fixed, interval, milliseconds, parameter};
use crate::speed::bench::{BenchResult, Estimate};
use crate::speed::profile::Profile;

/// What a benchmark measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bench<'a> {
    /// Of the experiment.
    pub(crate) name: &'a str,
    /// What ran where and how much of it, a line each.
    pub(crate) setting: &'a [String],
    /// The first is what the others are compared with.
    pub(crate) results: &'a [BenchResult],
    /// What the predictions come from.
    pub(crate) profile: Option<&'a Profile>,
}

/// An interval of the theory's as one of the statistics'.
fn own(Expected { low, high }: Expected) -> Interval {
    Interval { low, high }
}

/// Milliseconds as seconds, which charts take.
fn seconds(milliseconds: Interval) -> Interval {
    Interval { low: 1e-3 * milliseconds.low, high: 1e-3 * milliseconds.high }
}

fn bar(result: &BenchResult) -> TimeBar {
    let members = result.predicted.as_ref().map(|predicted| predicted.members.as_slice());
    let mut passes: Vec<(String, f64)> =
        result.passes.iter().map(|(model, ms)| (model.clone(), 1e-3 * ms)).collect();
    let place = |name: &String| {
        let members = members.unwrap_or_default();
        members.iter().position(|member| member == name).unwrap_or(members.len())
    };
    passes.sort_by_key(|(name, _)| place(name));
    TimeBar {
        decoder: result.name.clone(),
        total: 1e-3 * result.milliseconds_per_token,
        interval: Some(seconds(result.interval)),
        passes,
    }
}

fn comparison(result: &BenchResult) -> Option<Comparison> {
    let (measured, interval) = (1e-3 * result.milliseconds_per_token, seconds(result.interval));
    let predicted = result.predicted.as_ref().map(Prediction::of);
    predicted.map(|predicted| compare(&result.name, &predicted, measured, interval))
}

/// What a profile says of `decoder`, beside seconds per token that were measured.
pub(super) fn compare(
    decoder: &str,
    predicted: &Prediction,
    measured: f64,
    measured_interval: Interval,
) -> Comparison {
    Comparison {
        decoder: decoder.to_owned(),
        predicted: predicted.seconds,
        predicted_interval: predicted.interval,
        measured,
        measured_interval,
        lemma: predicted.lemma,
    }
}

/// The page as self-contained HTML: nothing is fetched, no script runs.
///
/// # Errors
/// If a chart cannot be drawn or the template fails.
pub(crate) fn bench_html(bench: &Bench<'_>) -> Result<String> {
    page::render(
        include_str!("bench.html.j2"),
        Page {
            name: bench.name,
            setting: bench.setting,
            confidence: parameter(100.0 * CONFIDENCE),
            rows: bench.results.iter().map(row).collect(),
            figures: figures(bench)?,
        },
    )
}

/// What the template knows.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    setting: &'a [String],
    confidence: String,
    rows: Vec<Row<'a>>,
    figures: Vec<Figure>,
}

/// A line of the table; times in milliseconds per token.
#[derive(Serialize)]
struct Row<'a> {
    decoder: &'a str,
    distribution: &'a str,
    /// Each with its interval, or a dash alone.
    measured: Cell,
    speed_up: Cell,
    /// What the speed-up comes to, and the class it is written in.
    verdict: &'static str,
    tone: &'static str,
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

fn row(result: &BenchResult) -> Row<'_> {
    let predicted = result.predicted.as_ref();
    let two = |value| fixed(value, 2);
    let ms = |value: f64| milliseconds(1e-3 * value);
    let pair = |estimate: &Estimate| (estimate.value, estimate.interval);
    Row {
        decoder: &result.name,
        distribution: &result.distribution,
        measured: Cell::of(Some((result.milliseconds_per_token, result.interval)), ms),
        speed_up: Cell::of(result.speedup.as_ref().map(pair), two),
        verdict: result.verdict(),
        tone: match result.speedup.map(|estimate| estimate.interval) {
            Some(Interval { low, .. }) if low > 1.0 => "good",
            Some(Interval { high, .. }) if high < 1.0 => "bad",
            _ => "faint",
        },
        predicted: Cell::of(predicted.map(|p| (p.milliseconds_per_token, own(p.interval))), ms),
        ratio: Cell::of(result.predicted_over_measured.as_ref().map(pair), two),
        lemma: predicted
            .and_then(|it| Prediction::of(it).lemma)
            .map_or(NONE.to_owned(), milliseconds),
        engine: fixed(result.overhead_percent, 1),
    }
}

fn figures(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let confidence = parameter(100.0 * CONFIDENCE);
    let bars: Vec<TimeBar> = bench.results.iter().map(bar).collect();
    let comparisons: Vec<Comparison> = bench.results.iter().filter_map(comparison).collect();
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
    let passes = bench.profile.map(|profile| passes(&Widths::of(profile))).transpose()?.flatten();
    Ok([time, compared, passes].into_iter().flatten().collect())
}

/// How passes grow with their width, from a profile.
///
/// # Errors
/// If the chart cannot be drawn.
pub(super) fn passes(of: &Widths) -> Result<Option<Figure>> {
    let caption = format!(
        "Passes over several tokens at once, relative to a pass over one, near {} tokens of \
         context; on the right the widest, as a multiple of the pass over one. Bands are {} % \
         intervals.",
        of.context,
        parameter(100.0 * CONFIDENCE)
    );
    let label = "Time of a pass by its width, for each model of the profile".to_owned();
    Ok(Figure::of(widths(&of.curves)?, caption, label))
}

/// Made-up predictions for the tests.
#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::speed::chain_ranking::RankedChain;

    pub(in crate::report) fn around(value: f64) -> Interval {
        Interval { low: 0.97 * value, high: 1.04 * value }
    }

    fn expected(value: f64) -> Expected {
        let Interval { low, high } = around(value);
        Expected { low, high }
    }

    pub(in crate::report) fn ranked(members: &[&str], milliseconds: f64) -> RankedChain {
        RankedChain {
            members: members.iter().map(|name| (*name).to_owned()).collect(),
            lengths: vec![4; members.len() - 1],
            milliseconds_per_token: milliseconds,
            interval: expected(milliseconds),
            tokens_per_second: 1e3 / milliseconds,
            speedup: 1.0,
            speedup_interval: expected(1.0),
            replayed: false,
            lemma_milliseconds_per_token: 0.8 * milliseconds,
            levels: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{around, ranked};
    use super::*;
    use crate::speed::profile::fixtures::distribution;

    fn result(name: &str, members: &[&str], measured: f64, speedup: Option<f64>) -> BenchResult {
        let estimate = |value| Estimate { value, interval: around(value) };
        let share = 0.9 / members.len() as f64;
        BenchResult {
            name: name.to_owned(),
            distribution: "exactly large at T = 0.7".to_owned(),
            distribution_of_baseline: true,
            predicted: Some(ranked(members, 0.95 * measured)),
            milliseconds_per_token: measured,
            interval: around(measured),
            tokens_per_second: 1e3 / measured,
            predicted_over_measured: Some(estimate(0.95)),
            lemma_over_measured: Some(0.76),
            speedup: speedup.map(estimate),
            overhead_percent: 10.0,
            passes: members.iter().map(|name| ((*name).to_owned(), share * measured)).collect(),
            passes_per_token: Default::default(),
            first_milliseconds: 50.0,
            tokens: 100,
            same_text: None,
            texts: vec![Vec::new(); 2],
        }
    }

    fn page(results: &[BenchResult]) -> String {
        let candidates =
            vec![distribution("large", 0.020, 0.001), distribution("small", 0.004, 0.0005)];
        let profile = crate::speed::profile::fixtures::profile(candidates, vec![]);
        let setting = ["2 threads".to_owned()];
        let (name, profile) = ("a <bench>", Some(&profile));
        bench_html(&Bench { name, setting: &setting, results, profile }).unwrap()
    }

    #[test]
    fn every_number_is_in_the_table_and_every_chart_on_the_page() {
        let plain = BenchResult { predicted: None, ..result("plain", &["large"], 22.1, None) };
        let page = page(&[plain, result("a chain", &["large", "small"], 13.0, Some(1.7))]);
        let start = page.find("<th scope=\"row\">a chain<").unwrap();
        let row = &page[start..][..page[start..].find("</tr>").unwrap()];
        for number in [
            "13.0",
            "[12.6, 13.5]",
            "1.70",
            "[1.65, 1.77]",
            "12.3",
            "[12.0, 12.8]",
            "0.95",
            "[0.92, 0.99]",
            "9.88",
            "10.0",
            "faster than plain decoding",
        ] {
            assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("a &lt;bench&gt;") && page.contains("2 threads"));
    }

    #[test]
    fn the_targets_passes_come_first_and_the_engine_is_what_they_leave() {
        let bar = bar(&result("x", &["target", "middle", "a"], 10.0, None));
        let names: Vec<&str> = bar.passes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["target", "middle", "a"]);
        let passes: f64 = bar.passes.iter().map(|(_, seconds)| seconds).sum();
        assert!((passes - 0.9 * bar.total).abs() < 1e-12 && bar.total == 0.01);
    }

    #[test]
    fn the_lemma_says_nothing_of_plain_decoding() {
        assert_eq!(Prediction::of(&ranked(&["large"], 10.0)).lemma, None);
        let chain = Prediction::of(&ranked(&["large", "small"], 10.0)).lemma.unwrap();
        assert!((chain - 0.008).abs() < 1e-12);
    }

    #[test]
    fn nothing_outside_the_page_is_named() {
        let page = page(&[result("plain", &["large"], 22.1, None)]);
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        for outside in ["://", "url(", "@import", " src=", " href=", "<link", "<script", "//"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn nothing_measured_is_a_page_too() {
        assert!(page(&[]).contains("Nothing was measured."));
    }

    /// Writes the page to look at: `KAD_SAMPLE=page.html cargo test bench_page -- --ignored`.
    #[test]
    #[ignore = "for looking at the page"]
    fn bench_page() {
        let path = std::env::var_os("KAD_SAMPLE").unwrap();
        let results = [
            result("large, plain", &["large"], 22.1, None),
            result("large ← 6 middle ← 3 small", &["large", "middle", "small"], 13.0, Some(1.7)),
            result("large ← 4 small", &["large", "small"], 21.5, Some(1.028)),
            result("large ← 8 tiny", &["large", "tiny"], 25.0, Some(0.884)),
        ];
        std::fs::write(path, page(&results)).unwrap();
    }
}
