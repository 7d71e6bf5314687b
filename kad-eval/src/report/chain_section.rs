//! The part of a page about chains: time by model, and acceptance of drafts by level.

use anyhow::Result;

use super::Expected;
use super::chart::acceptance::acceptance;
use super::chart::prediction::{PredictedMeasured, predicted_measured};
use super::chart::time::{TimeBar, time};
use super::page::Figure;
use super::table::{DataTable, TableCell, headed};
use crate::analysis::stats::Interval;
use crate::analysis::summary::{DecoderResult, LevelResult};
use crate::numbers::fixed;

/// The charts for the task `name`, without empty ones; an error if one cannot be drawn.
pub(super) fn figures(
    name: &str,
    results: &[&DecoderResult],
    (baseline, expected): (&str, &Expected),
) -> Result<Vec<Figure>> {
    let label = |what: &str| format!("{what} on {name}; the numbers are in the tables below");
    let compared = match results.len() {
        0 | 1 => "",
        _ => "; speed-ups are relative to the baseline, which stands first",
    };
    let time = Figure::of(
        time(&bars(results, baseline))?,
        format!(
            "Time per token by model, prompts included{compared}. Valid for this machine and its \
             load only."
        ),
        label("Time per token of each decoder"),
    );
    let accepted = Figure::of(
        acceptance(results)?,
        "Accepted tokens per draft at each verifying level, the target on the left.",
        label("Accepted tokens per draft"),
    );
    let points: Vec<PredictedMeasured> =
        results.iter().filter_map(|result| point(result, expected)).collect();
    let compared = Figure::of(
        predicted_measured(&points)?,
        "Predicted and measured time per token of the decoders in the profile. The measurement \
         includes prompts, the prediction does not.",
        label("Predicted and measured time per token"),
    );
    Ok([time, accepted, compared].into_iter().flatten().collect())
}

/// The baseline first.
fn bars(results: &[&DecoderResult], baseline: &str) -> Vec<TimeBar> {
    let mut results = results.to_vec();
    results.sort_by_key(|result| result.decoder != baseline);
    results.into_iter().filter_map(bar).collect()
}

/// Time per token; `None` without times.
fn bar(result: &DecoderResult) -> Option<TimeBar> {
    let time = result.time.as_ref()?;
    let passes = time.passes.iter().map(|(name, seconds)| (name.clone(), *seconds)).collect();
    let members = members(&result.levels);
    Some(TimeBar::new(&result.decoder, time.total, interval(result), (passes, &members)))
}

/// The interval of the seconds per token; none without an interval of the speed.
fn interval(result: &DecoderResult) -> Option<Interval> {
    let Interval { low, high } = result.tokens_per_second_interval;
    (low > 0.0).then(|| Interval { low: 1.0 / high, high: 1.0 / low })
}

/// Predicted and measured time; `None` for decoders without a prediction.
fn point(result: &DecoderResult, expected: &Expected) -> Option<PredictedMeasured> {
    Some(PredictedMeasured {
        decoder: result.decoder.clone(),
        predicted: *expected.decoders.get(&result.decoder)?,
        measured: 1.0 / result.tokens_per_second,
        interval: interval(result)?,
    })
}

/// The members of a chain, the target first: verifying levels and the last drafter.
pub(super) fn members(levels: &[LevelResult]) -> Vec<&str> {
    let drafter = levels.last().map(|level| level.drafter.as_str());
    levels.iter().map(|level| level.name.as_str()).chain(drafter).collect()
}

/// The table of levels; none without a verifying level.
pub(super) fn levels(results: &[&DecoderResult]) -> Option<DataTable> {
    let row = |result: &DecoderResult, it: &LevelResult| {
        let level = format!("{}: {} verifies {}", it.level, it.name, it.drafter);
        let deviation = format!("± {}", fixed(it.acceptance_length_deviation, 2));
        let length = TableCell::with(fixed(it.acceptance_length, 2), deviation);
        let rate = TableCell::plain(fixed(it.acceptance_rate, 3));
        let two = |value| TableCell::plain(fixed(value, 2));
        let time = if it.level == 1 { milliseconds(result) } else { TableCell::plain("") };
        vec![
            headed("decoder", "", TableCell::plain(&result.decoder)),
            headed("level", "", TableCell::plain(level)),
            headed("acceptance length", "accepted tokens per draft ± deviation", length),
            headed("acceptance rate", "of drafted tokens", rate),
            headed("waste", "tokens emitted per token of the text", two(it.waste)),
            headed("drafted", "tokens per token of the text", two(it.drafted_per_token)),
            headed("ms/token", "by model", time),
        ]
    };
    let rows = results.iter().flat_map(|result| result.levels.iter().map(|it| row(result, it)));
    let table = DataTable::headed(rows.map(|cells| (false, cells)));
    (!table.rows.is_empty()).then_some(table)
}

/// Total time per token, and its parts by model.
fn milliseconds(result: &DecoderResult) -> TableCell {
    let Some(time) = &result.time else { return TableCell::none() };
    let passes = time.passes.iter().map(|(model, seconds)| format!("{model} {:.2}", 1e3 * seconds));
    let parts: Vec<String> = passes.chain([format!("other {:.2}", 1e3 * time.overhead)]).collect();
    TableCell::with(format!("{:.2}", 1e3 * time.total), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{bench_page, sample_runs};

    #[test]
    fn the_baseline_is_the_first_bar_and_bars_are_whole() {
        let summary = sample_runs::chains();
        let refs = summary.on(sample_runs::CHAINS);
        let last = refs.last().unwrap();
        let bars = bars(&refs, &last.decoder);
        assert_eq!((bars.len(), &bars[0].decoder), (refs.len(), &last.decoder));
        for bar in &bars {
            let result = refs.iter().find(|result| result.decoder == bar.decoder).unwrap();
            let time = result.time.as_ref().unwrap();
            let passes: f64 = bar.passes.iter().map(|(_, seconds)| seconds).sum();
            assert!((passes + time.overhead - bar.total).abs() < 1e-12);
            let Interval { low, high } = bar.interval.unwrap();
            assert!(low < bar.total && bar.total < high, "{low} {high} {}", bar.total);
        }
    }

    #[test]
    fn the_target_passes_come_first_whatever_its_name() {
        let summary = sample_runs::chains();
        let chain = summary.results.iter().find(|result| result.levels.len() == 2).unwrap();
        let names: Vec<String> = bar(chain).unwrap().passes.into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["target", "middle", "small"]);
        assert_eq!(members(&chain.levels), ["target", "middle", "small"]);
    }

    #[test]
    fn a_prediction_is_compared_with_the_measurement() {
        let summary = sample_runs::chains();
        let refs = summary.on(sample_runs::CHAINS);
        let ranked = bench_page::samples::ranked(&["target", "small"], 14.0);
        let expected = Expected::of(&[("two levels".to_owned(), ranked)].into(), &[]);
        assert_eq!(point(refs[0], &expected), None, "without a prediction");
        let found = point(refs[1], &expected).unwrap();
        let total = refs[1].time.as_ref().unwrap().total;
        assert!((found.predicted.seconds - 0.014).abs() < 1e-12);
        assert!((found.predicted.lemma.unwrap() - 0.0112).abs() < 1e-12);
        assert!((found.measured - total).abs() < 1e-12);
        assert!(found.interval.low < total && total < found.interval.high);
        let count = |expected| figures("x", &refs, ("plain", expected)).unwrap().len();
        assert_eq!((count(&expected), count(&Expected::default())), (3, 2));
    }

    #[test]
    fn a_run_without_times_has_no_bars() {
        let mut summary = sample_runs::chains();
        summary.results.iter_mut().for_each(|result| result.time = None);
        let refs = summary.on(sample_runs::CHAINS);
        assert_eq!(bars(&refs, "target"), []);
    }

    #[test]
    fn every_level_is_a_row_and_a_histogram() {
        let summary = sample_runs::chains();
        let refs = summary.on(sample_runs::CHAINS);
        let verifying: usize = refs.iter().map(|result| result.levels.len()).sum();
        assert_eq!(levels(&refs).unwrap().rows.len(), verifying);
        assert!(levels(&refs[..1]).is_none());
        let histograms = acceptance(&refs).unwrap().unwrap();
        assert_eq!(histograms.matches(" rounds\n").count(), verifying);
    }
}
