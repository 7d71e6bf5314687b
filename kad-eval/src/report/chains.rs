//! What the report says of chains: where the time goes, and what each level makes of its drafts.

use anyhow::Result;

use super::grid::{Cell, Grid, Line};
use super::lengths::{ChainLengths, LevelLengths, lengths};
use super::page::Figure;
use super::predicted::{Comparison, predicted};
use super::times::{TimeBar, times};
use super::{Expected, bench};
use crate::analysis::stats::Interval;
use crate::analysis::summary::{DecoderResult, Level};
use crate::numbers::fixed;

/// The charts of chains for the task `name`, as far as there is something to draw.
///
/// # Errors
/// If a chart cannot be drawn.
pub(super) fn figures(
    name: &str,
    results: &[&DecoderResult],
    (baseline, expected): (&str, &Expected),
) -> Result<Vec<Figure>> {
    let label = |what: &str| format!("{what} on {name}; the numbers are in the tables below");
    let time = Figure::of(
        times(&bars(results, baseline))?,
        format!(
            "Time per token by what takes it, prompts included{}. It holds for the machine and the \
             load of this run alone.",
            if results.len() > 1 {
                "; speed-ups are over the baseline, which stands first"
            } else {
                ""
            }
        ),
        label("Time per token of each decoder"),
    );
    let chains: Vec<ChainLengths> = results.iter().map(|result| chain(result)).collect();
    let accepted = Figure::of(
        lengths(&chains)?,
        "Accepted tokens per draft, for each level that verifies: the target on the left."
            .to_owned(),
        label("Accepted tokens per draft"),
    );
    let comparisons: Vec<Comparison> =
        results.iter().filter_map(|result| comparison(result, expected)).collect();
    let compared = Figure::of(
        predicted(&comparisons)?,
        "Predicted against measured time per token, for the decoders that the profile knows. The \
         measurement has the prompts in it, the prediction has not."
            .to_owned(),
        label("Predicted against measured time per token"),
    );
    Ok([time, accepted, compared].into_iter().flatten().collect())
}

/// The baseline first.
fn bars(results: &[&DecoderResult], baseline: &str) -> Vec<TimeBar> {
    let mut results = results.to_vec();
    results.sort_by_key(|result| result.decoder != baseline);
    results.into_iter().filter_map(bar).collect()
}

/// None where the time in passes was not taken.
fn bar(result: &DecoderResult) -> Option<TimeBar> {
    let time = result.time.as_ref()?;
    let members = members(&result.levels);
    let place = |name: &str| members.iter().position(|m| *m == name).unwrap_or(members.len());
    let mut passes: Vec<(String, f64)> =
        time.passes.iter().map(|(name, seconds)| (name.clone(), *seconds)).collect();
    passes.sort_by_key(|(name, _)| place(name));
    let interval = interval(result);
    Some(TimeBar { decoder: result.decoder.clone(), total: time.total, interval, passes })
}

/// Of the seconds per token; None without an interval of the speed.
fn interval(result: &DecoderResult) -> Option<Interval> {
    let Interval { low, high } = result.tokens_per_second_interval;
    (low > 0.0).then(|| Interval { low: 1.0 / high, high: 1.0 / low })
}

/// None for decoders that no profile knows.
fn comparison(result: &DecoderResult, expected: &Expected) -> Option<Comparison> {
    let predicted = expected.decoders.get(&result.decoder)?;
    let measured_interval = interval(result)?;
    Some(bench::compare(
        &result.decoder,
        predicted,
        1.0 / result.tokens_per_second,
        measured_interval,
    ))
}

fn chain(result: &DecoderResult) -> ChainLengths {
    let level = |level: &Level| LevelLengths {
        title: format!("{} verifies {}", level.name, level.drafter),
        counts: level.counts.drafts.lengths.clone(),
    };
    ChainLengths {
        decoder: result.decoder.clone(),
        levels: result.levels.iter().map(level).collect(),
    }
}

/// Who is at which level, the target first: those that verify, and the last one's drafter.
pub(super) fn members(levels: &[Level]) -> Vec<&str> {
    let drafter = levels.last().map(|level| level.drafter.as_str());
    levels.iter().map(|level| level.name.as_str()).chain(drafter).collect()
}

/// The table of levels; none if nothing is verified.
pub(super) fn levels(results: &[&DecoderResult]) -> Option<Grid> {
    let header = [
        Cell::plain("decoder"),
        Cell::plain("level"),
        Cell::plain("verifies"),
        Cell::plain("drafts"),
        Cell::with("accepted ↑", "of drafted tokens"),
        Cell::with("per draft ↑", "± deviation"),
        Cell::with("drafted", "per token of the text"),
        Cell::with("handed on ↓", "per token of the text"),
    ];
    let row = |result: &DecoderResult, level: &Level| Line {
        cells: vec![
            Cell::plain(&result.decoder),
            Cell::plain(level.level.to_string()),
            Cell::plain(&level.name),
            Cell::plain(&level.drafter),
            Cell::plain(fixed(level.acceptance_rate, 3)),
            Cell::with(
                fixed(level.acceptance_length, 2),
                format!("± {}", fixed(level.acceptance_length_deviation, 2)),
            ),
            Cell::plain(fixed(level.drafted_per_token, 2)),
            Cell::plain(fixed(level.waste, 2)),
        ],
        ..Line::default()
    };
    let of = |result: &&DecoderResult| {
        result.levels.iter().map(|level| row(result, level)).collect::<Vec<_>>()
    };
    let rows: Vec<Line> = results.iter().flat_map(of).collect();
    (!rows.is_empty()).then(|| Grid { header: header.into(), rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixtures;

    fn results() -> Vec<DecoderResult> {
        fixtures::chains().results
    }

    #[test]
    fn the_baseline_is_the_first_bar_and_bars_are_whole() {
        let results = results();
        let refs: Vec<&DecoderResult> = results.iter().collect();
        let last = results.last().unwrap();
        let bars = bars(&refs, &last.decoder);
        assert_eq!((bars.len(), &bars[0].decoder), (results.len(), &last.decoder));
        for bar in &bars {
            let result = results.iter().find(|result| result.decoder == bar.decoder).unwrap();
            let time = result.time.as_ref().unwrap();
            let passes: f64 = bar.passes.iter().map(|(_, seconds)| seconds).sum();
            assert!((passes + time.overhead - bar.total).abs() < 1e-12);
            let Interval { low, high } = bar.interval.unwrap();
            assert!(low < bar.total && bar.total < high, "{low} {high} {}", bar.total);
        }
    }

    #[test]
    fn the_target_passes_come_first_whatever_its_name() {
        let results = results();
        let chain = results.iter().find(|result| result.levels.len() == 2).unwrap();
        let names: Vec<String> = bar(chain).unwrap().passes.into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["target", "middle", "small"]);
        assert_eq!(members(&chain.levels), ["target", "middle", "small"]);
    }

    #[test]
    fn what_a_profile_expected_is_set_against_what_was_measured() {
        let results = results();
        let refs: Vec<&DecoderResult> = results.iter().collect();
        let ranked = bench::fixtures::ranked(&["target", "small"], 14.0);
        let expected = Expected::of(&[("two levels".to_owned(), ranked)].into(), &[]);
        assert_eq!(comparison(refs[0], &expected), None, "no profile knows it");
        let found = comparison(refs[1], &expected).unwrap();
        let total = refs[1].time.as_ref().unwrap().total;
        assert!((found.predicted - 0.014).abs() < 1e-12);
        assert!((found.lemma.unwrap() - 0.0112).abs() < 1e-12);
        assert!((found.measured - total).abs() < 1e-12);
        assert!(found.measured_interval.low < total && total < found.measured_interval.high);
        let count = |expected| figures("x", &refs, ("plain", expected)).unwrap().len();
        assert_eq!((count(&expected), count(&Expected::default())), (3, 2));
    }

    #[test]
    fn a_run_that_took_no_time_in_passes_has_no_bars() {
        let mut results = results();
        results.iter_mut().for_each(|result| result.time = None);
        let refs: Vec<&DecoderResult> = results.iter().collect();
        assert_eq!(bars(&refs, "target"), []);
    }

    #[test]
    fn every_level_is_a_row_and_a_panel() {
        let results = results();
        let refs: Vec<&DecoderResult> = results.iter().collect();
        let verifying: usize = results.iter().map(|result| result.levels.len()).sum();
        assert_eq!(levels(&refs).unwrap().rows.len(), verifying);
        assert!(levels(&refs[..1]).is_none());
        let panels: usize = refs.iter().map(|result| chain(result).levels.len()).sum();
        assert_eq!(panels, verifying);
    }
}
