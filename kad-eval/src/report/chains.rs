//! What the report says of chains: where the time goes, and what each level makes of its drafts.

use anyhow::Result;

use super::format::fixed;
use super::grid::{Cell, Grid, Line};
use super::lengths::{ChainLengths, LevelLengths, lengths};
use super::page::Figure;
use super::predicted::{Comparison, predicted};
use super::times::{TimeBar, times};
use super::{Expected, bench};
use crate::stats::Interval;
use crate::summary::{Arm, Level};

/// The charts of chains for the task `name`, as far as there is something to draw.
///
/// # Errors
/// If a chart cannot be drawn.
pub(super) fn figures(
    name: &str,
    arms: &[&Arm],
    (baseline, expected): (&str, &Expected),
) -> Result<Vec<Figure>> {
    let label = |what: &str| format!("{what} on {name}; the numbers are in the tables below");
    let time = Figure::of(
        times(&bars(arms, baseline))?,
        format!(
            "Time per token by what takes it, prompts included{}. It holds for the machine and the \
             load of this run alone.",
            if arms.len() > 1 {
                "; speed-ups are over the baseline, which stands first"
            } else {
                ""
            }
        ),
        label("Time per token of each decoder"),
    );
    let chains: Vec<ChainLengths> = arms.iter().map(|arm| chain(arm)).collect();
    let accepted = Figure::of(
        lengths(&chains)?,
        "Accepted tokens per draft, for each level that verifies: the target on the left."
            .to_owned(),
        label("Accepted tokens per draft"),
    );
    let comparisons: Vec<Comparison> =
        arms.iter().filter_map(|arm| comparison(arm, expected)).collect();
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
fn bars(arms: &[&Arm], baseline: &str) -> Vec<TimeBar> {
    let mut arms = arms.to_vec();
    arms.sort_by_key(|arm| arm.decoder != baseline);
    arms.into_iter().filter_map(bar).collect()
}

/// None where the time in passes was not taken.
fn bar(arm: &Arm) -> Option<TimeBar> {
    let time = arm.time.as_ref()?;
    let members = members(&arm.levels);
    let place = |name: &str| members.iter().position(|m| *m == name).unwrap_or(members.len());
    let mut passes: Vec<(String, f64)> =
        time.passes.iter().map(|(name, seconds)| (name.clone(), *seconds)).collect();
    passes.sort_by_key(|(name, _)| place(name));
    let interval = interval(arm);
    Some(TimeBar { decoder: arm.decoder.clone(), total: time.total, interval, passes })
}

/// Of the seconds per token; None without an interval of the speed.
fn interval(arm: &Arm) -> Option<Interval> {
    let Interval { low, high } = arm.tokens_per_second_interval;
    (low > 0.0).then(|| Interval { low: 1.0 / high, high: 1.0 / low })
}

/// None for decoders that no profile knows.
fn comparison(arm: &Arm, expected: &Expected) -> Option<Comparison> {
    let predicted = expected.decoders.get(&arm.decoder)?;
    let measured_interval = interval(arm)?;
    Some(bench::compare(&arm.decoder, predicted, 1.0 / arm.tokens_per_second, measured_interval))
}

fn chain(arm: &Arm) -> ChainLengths {
    let level = |level: &Level| LevelLengths {
        title: format!("{} verifies {}", level.name, level.drafter),
        counts: level.counts.drafts.lengths.clone(),
    };
    ChainLengths { decoder: arm.decoder.clone(), levels: arm.levels.iter().map(level).collect() }
}

/// Who is at which level, the target first: those that verify, and the last one's drafter.
pub(super) fn members(levels: &[Level]) -> Vec<&str> {
    let drafter = levels.last().map(|level| level.drafter.as_str());
    levels.iter().map(|level| level.name.as_str()).chain(drafter).collect()
}

/// The table of levels; none if nothing is verified.
pub(super) fn levels(arms: &[&Arm]) -> Option<Grid> {
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
    let row = |arm: &Arm, level: &Level| Line {
        cells: vec![
            Cell::plain(&arm.decoder),
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
    let of = |arm: &&Arm| arm.levels.iter().map(|level| row(arm, level)).collect::<Vec<_>>();
    let rows: Vec<Line> = arms.iter().flat_map(of).collect();
    (!rows.is_empty()).then(|| Grid { header: header.into(), rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn arms() -> Vec<Arm> {
        sample::chains().arms
    }

    #[test]
    fn the_baseline_is_the_first_bar_and_bars_are_whole() {
        let arms = arms();
        let refs: Vec<&Arm> = arms.iter().collect();
        let last = arms.last().unwrap();
        let bars = bars(&refs, &last.decoder);
        assert_eq!((bars.len(), &bars[0].decoder), (arms.len(), &last.decoder));
        for bar in &bars {
            let arm = arms.iter().find(|arm| arm.decoder == bar.decoder).unwrap();
            let time = arm.time.as_ref().unwrap();
            let passes: f64 = bar.passes.iter().map(|(_, seconds)| seconds).sum();
            assert!((passes + time.overhead - bar.total).abs() < 1e-12);
            let Interval { low, high } = bar.interval.unwrap();
            assert!(low < bar.total && bar.total < high, "{low} {high} {}", bar.total);
        }
    }

    #[test]
    fn the_target_passes_come_first_whatever_its_name() {
        let arms = arms();
        let chain = arms.iter().find(|arm| arm.levels.len() == 2).unwrap();
        let names: Vec<String> = bar(chain).unwrap().passes.into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["target", "middle", "small"]);
        assert_eq!(members(&chain.levels), ["target", "middle", "small"]);
    }

    #[test]
    fn what_a_profile_expected_is_set_against_what_was_measured() {
        let arms = arms();
        let refs: Vec<&Arm> = arms.iter().collect();
        let ranked = bench::sample::ranked(&["target", "small"], 14.0);
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
        let mut arms = arms();
        arms.iter_mut().for_each(|arm| arm.time = None);
        let refs: Vec<&Arm> = arms.iter().collect();
        assert_eq!(bars(&refs, "target"), []);
    }

    #[test]
    fn every_level_is_a_row_and_a_panel() {
        let arms = arms();
        let refs: Vec<&Arm> = arms.iter().collect();
        let verifying: usize = arms.iter().map(|arm| arm.levels.len()).sum();
        assert_eq!(levels(&refs).unwrap().rows.len(), verifying);
        assert!(levels(&refs[..1]).is_none());
        let panels: usize = refs.iter().map(|arm| chain(arm).levels.len()).sum();
        assert_eq!(panels, verifying);
    }
}
