//! The page of a benchmark: predicted and measured time per token of chains.

use anyhow::Result;
use serde_json::json;

use super::Prediction;
use super::chart::pass_times::{PassTimeCurves, pass_times};
use super::chart::prediction::{PredictedMeasured, predicted_measured};
use super::chart::time::{TimeBar, time};
use super::page::{self, Figure};
use super::table::{DataTable, HeadedCell, TableCell, headed};
use crate::analysis::stats::Interval;
use crate::numbers::{NONE, fixed, milliseconds};
use crate::speed::bench::{BenchResult, Ratio};
use crate::speed::profile::Profile;

/// Milliseconds as seconds, the unit of charts.
fn seconds(milliseconds: Interval) -> Interval {
    Interval { low: 1e-3 * milliseconds.low, high: 1e-3 * milliseconds.high }
}

fn bar(result: &BenchResult) -> TimeBar {
    let members = result.predicted.as_ref().map(|predicted| predicted.members.as_slice());
    let members: Vec<&str> = members.unwrap_or_default().iter().map(String::as_str).collect();
    let passes = result.passes.iter().map(|(model, ms)| (model.clone(), 1e-3 * ms));
    TimeBar::new(
        &result.name,
        1e-3 * result.milliseconds_per_token,
        Some(seconds(result.interval)),
        (passes.collect(), &members),
    )
}

fn point(result: &BenchResult) -> Option<PredictedMeasured> {
    Some(PredictedMeasured {
        decoder: result.name.clone(),
        predicted: result.predicted.as_ref().map(Prediction::of)?,
        measured: 1e-3 * result.milliseconds_per_token,
        interval: seconds(result.interval),
    })
}

/// The page of a benchmark of the experiment `name` as self-contained HTML. `setting` is its size and
/// the machine, a line each; the first of `results` is the baseline; `profile` made the predictions.
///
/// # Errors
/// Fails if a chart cannot be drawn or the template fails.
pub(crate) fn bench_html(
    name: &str,
    setting: &[String],
    results: &[BenchResult],
    profile: Option<&Profile>,
) -> Result<String> {
    let rows = results.iter().enumerate().map(|(place, it)| (place == 0, row(it)));
    let page = json!({
        "name": name,
        "setting": setting,
        "confidence": page::confidence(),
        "table": DataTable::headed(rows),
        "figures": figures(results, profile)?,
    });
    page::render(include_str!("templates/bench.html.j2"), page)
}

fn row(result: &BenchResult) -> Vec<HeadedCell> {
    let predicted = result.predicted.as_ref().map(Prediction::of);
    let two = |value| fixed(value, 2);
    let ms = |value: f64| milliseconds(1e-3 * value);
    let pair = |estimate: &Ratio| (estimate.value, estimate.interval);
    let tone = match result.speedup.map(|estimate| estimate.interval) {
        Some(Interval { low, .. }) if low > 1.0 => "good",
        Some(Interval { high, .. }) if high < 1.0 => "bad",
        _ => "faint",
    };
    let lemma = predicted.and_then(|it| it.lemma).map_or(NONE.to_owned(), milliseconds);
    let name = TableCell::with(&result.name, &result.distribution);
    let measured = Some((result.milliseconds_per_token, result.interval));
    let ratio = |of: &Option<Ratio>| TableCell::written(of.as_ref().map(pair), two);
    let predicted = predicted.map(|it| (it.seconds, it.interval));
    vec![
        headed("decoder", "distribution of its tokens", name),
        headed("measured", "ms per token", TableCell::written(measured, ms)),
        headed("speed-up", "over the first", ratio(&result.speedup)),
        headed("verdict", "", TableCell { tone, ..TableCell::plain(result.verdict()) }),
        headed("predicted", "ms per token", TableCell::written(predicted, milliseconds)),
        headed("predicted", "÷ measured", ratio(&result.predicted_over_measured)),
        headed("Lemma 3.1", "ms per token", TableCell::plain(lemma)),
        headed("overhead", "% of the time", TableCell::plain(fixed(result.overhead_percent, 1))),
    ]
}

fn figures(results: &[BenchResult], profile: Option<&Profile>) -> Result<Vec<Figure>> {
    let confidence = page::confidence();
    let bars: Vec<TimeBar> = results.iter().map(bar).collect();
    let points: Vec<PredictedMeasured> = results.iter().filter_map(point).collect();
    let time = Figure::of(
        time(&bars)?,
        format!("Measured time per token by model, with {confidence} % intervals."),
        "Time per token of each decoder; the numbers are in the table above",
    );
    let compared = Figure::of(
        predicted_measured(&points)?,
        "Predicted and measured time per token. Above the diagonal, decoding takes longer than \
         predicted.",
        "Predicted and measured time; the numbers are in the table above",
    );
    let passes = profile.map(|profile| passes(&PassTimeCurves::of(profile))).transpose()?.flatten();
    Ok([time, compared, passes].into_iter().flatten().collect())
}

/// The chart of pass times by width, from a profile; an error if it cannot be drawn.
pub(super) fn passes(of: &PassTimeCurves) -> Result<Option<Figure>> {
    let caption = format!(
        "Time of forward passes over several tokens relative to a pass over one token, at about {} \
         tokens of context; labels: the widest pass as a multiple of a pass over one token. Bands \
         are {} % intervals.",
        of.context,
        page::confidence()
    );
    let label = "Time of a pass by its width, for each model of the profile";
    Ok(Figure::of(pass_times(&of.curves)?, caption, label))
}

/// Made-up predictions for tests.
#[cfg(test)]
pub(super) mod samples {
    use kad_polybasic::theory::BootstrapInterval as PredictedInterval;

    use super::*;
    use crate::speed::chain_ranking::RankedChain;

    pub(in crate::report) fn around(value: f64) -> Interval {
        Interval { low: 0.97 * value, high: 1.04 * value }
    }

    fn expected(value: f64) -> PredictedInterval {
        let Interval { low, high } = around(value);
        PredictedInterval { low, high }
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
    use super::samples::{around, ranked};
    use super::*;
    use crate::speed::profile::sample_profile::distribution;

    fn result(name: &str, members: &[&str], measured: f64, speedup: Option<f64>) -> BenchResult {
        let estimate = |value| Ratio { value, interval: around(value) };
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
        let profile = crate::speed::profile::sample_profile::profile(candidates, vec![]);
        bench_html("a <bench>", &["2 threads".to_owned()], results, Some(&profile)).unwrap()
    }

    #[test]
    fn every_number_is_in_the_table_and_every_chart_on_the_page() {
        let plain = BenchResult { predicted: None, ..result("plain", &["large"], 22.1, None) };
        let page = page(&[plain, result("a chain", &["large", "small"], 13.0, Some(1.7))]);
        let start = page.find("<th scope=\"row\">a chain<").unwrap();
        let row = &page[start..][..page[start..].find("</tr>").unwrap()];
        let numbers = "13.0 | [12.6, 13.5] | 1.70 | [1.65, 1.77] | 12.3 | [12.0, 12.8] | 0.95 \
                       | [0.92, 0.99] | 9.88 | 10.0 | faster than plain decoding";
        for number in numbers.split(" | ") {
            assert!(row.contains(&format!(">{number}<")), "{number} is not in {row}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        assert!(page.contains("a &lt;bench&gt;") && page.contains("2 threads"));
        crate::report::sample_runs::is_self_contained(&page);
    }

    #[test]
    fn the_target_comes_first_and_the_overhead_is_the_rest() {
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
    fn nothing_measured_is_a_page_too() {
        assert!(page(&[]).contains("Nothing was measured."));
    }
}
