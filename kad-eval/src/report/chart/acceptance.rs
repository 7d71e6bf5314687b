//! Histograms of accepted tokens per draft: a row per chain, one histogram per level.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Axis};
use super::theme::{COLOURS, FAINT, INK};
use crate::analysis::summary::{DecoderResult, LevelResult};
use crate::numbers::{counted, fixed, shorten};
use crate::report::chart::{self, Area, SMALL, TEXT, WIDTH};

/// Height of the decoder's name above its histograms, in pixels.
const NAME: i32 = 30;
/// Height of a histogram: title and mean above the bars, numbers below.
const HEIGHT: i32 = 166;
const TITLE: i32 = 22;
const MEAN: i32 = 26;
const NUMBERS: i32 = 26;
/// Height of the key below all histograms.
const KEY: i32 = 24;
/// Margins of the bars; the shares stand on the left.
const LEFT: i32 = 52;
const RIGHT: i32 = 16;
/// A few histograms do not fill the page, and a few bars not their histogram.
const WIDEST: i32 = 460;
const WIDEST_BAR: f64 = 40.0;
const LONGEST_LABEL: usize = 90;

/// Shares of the drafts that a level verified, by accepted length.
fn shares(level: &LevelResult) -> impl Iterator<Item = f64> {
    let drafts = level.counts.drafts.drafts() as f64;
    level.counts.drafts.lengths.iter().map(move |count| *count as f64 / drafts)
}

/// The chart for `results`; none without any draft.
pub(crate) fn acceptance(results: &[&DecoderResult]) -> Result<Option<String>> {
    let has_drafts = |level: &LevelResult| level.counts.drafts.drafts() > 0;
    let chains = results.iter().filter(|result| result.levels.iter().any(has_drafts));
    let chains: Vec<&&DecoderResult> = chains.collect();
    let Some(columns) = chains.iter().map(|chain| chain.levels.len()).max() else {
        return Ok(None);
    };
    let levels = chains.iter().flat_map(|chain| &chain.levels).filter(|level| has_drafts(level));
    let top = chart::axis_end(levels.flat_map(shares));
    let width = (WIDTH as i32 / columns.max(1) as i32).min(WIDEST);
    let height = chains.len() as i32 * (NAME + HEIGHT) + KEY;
    chart::svg(height as u32, |area| {
        for (row, chain) in chains.iter().enumerate() {
            let y = row as i32 * (NAME + HEIGHT);
            let name = shorten(&chain.decoder, LONGEST_LABEL);
            chart::heading(area, &name, (8, y + NAME / 2 + 4))?;
            for (column, level) in chain.levels.iter().enumerate() {
                draw_histogram(area, (column as i32 * width, y + NAME), (width, top), level)?;
            }
        }
        let key = "accepted tokens per draft; height: share of the rounds (%); dashed: mean";
        chart::write(area, key, (8, height - KEY / 2), (TEXT, INK, HPos::Left))
    })
}

/// The histogram of a level, in `width` pixels with shares up to `top`.
fn draw_histogram(
    area: &Area<'_>,
    (left, y): (i32, i32),
    (width, top): (i32, f64),
    level: &LevelResult,
) -> Result<()> {
    let room = (width - RIGHT - 8) / chart::width("0").max(1);
    let title = format!("{} verifies {}", level.name, level.drafter);
    let title = shorten(&title, room.max(8) as usize);
    chart::write(area, &title, (left + 8, y + TITLE / 2), (TEXT, INK, HPos::Left))?;
    let (drafts, bins) = (level.counts.drafts.drafts(), level.counts.drafts.lengths.len());
    if drafts == 0 {
        let middle = (left + width / 2, y + HEIGHT / 2);
        return chart::write(area, "no rounds", middle, (SMALL, FAINT, HPos::Center));
    }
    let mean = level.acceptance_length;
    let label = format!("mean {}, {}", fixed(mean, 2), counted(drafts, "round"));
    chart::write(area, &label, (left + 8, y + TITLE + 7), (SMALL, FAINT, HPos::Left))?;
    let whole =
        |length: &f64| if length.fract() == 0.0 { fixed(*length, 0) } else { String::new() };
    let percent = |share: &f64| fixed(100.0 * share, 0);
    let range = -0.5..bins as f64 - 0.5;
    let x = Axis { range, ticks: bins.min(10), title: "", number: &whole };
    let y_axis = Axis { range: 0.0..top, ticks: 5, title: "", number: &percent };
    let place = area.clone().shrink((left, y), (width, HEIGHT));
    let axes = Axes { top: TITLE + MEAN, right: RIGHT, bottom: NUMBERS, left: LEFT, x, y: y_axis };
    let chart = axes.draw(&place)?;
    let at = |length: f64, share: f64| chart.backend_coord(&(length, share));
    let pixels = f64::from(width - LEFT - RIGHT) / bins as f64;
    let half = (0.5 * WIDEST_BAR / pixels).min(0.4);
    for (length, share) in shares(level).enumerate() {
        let length = length as f64;
        let corners = [at(length - half, share), at(length + half, 0.0)];
        area.draw(&Rectangle::new(corners, chart::pale(COLOURS[0]).filled()))?;
    }
    chart::dashed(area, [top, 0.0].map(|share| at(mean, share)), INK.stroke_width(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_runs;

    fn chain(decoder: &str, levels: &[&[u64]]) -> DecoderResult {
        let level = |lengths: &&[u64]| sample_runs::level(1, ["large", "middle"], lengths);
        let levels = levels.iter().map(level).collect();
        DecoderResult {
            decoder: decoder.to_owned(),
            levels,
            ..sample_runs::chains().results.remove(0)
        }
    }

    #[test]
    fn each_level_of_each_chain_has_a_histogram() {
        let chains = [chain("two", &[&[1, 3]]), chain("three", &[&[5], &[0, 2]])];
        let chart = acceptance(&[&chains[0], &chains[1]]).unwrap().unwrap();
        for text in ["two", "three", "mean 0.75, 4 rounds", "mean 0.00, 5", "mean 1.00, 2"] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
        let level = sample_runs::level(1, ["large", "middle"], &[10, 20, 30, 40]);
        assert_eq!(shares(&level).collect::<Vec<f64>>(), [0.1, 0.2, 0.3, 0.4]);
        // (0·10 + 1·20 + 2·30 + 3·40) / 100
        assert!((level.acceptance_length - 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_chain_that_verified_nothing_is_no_chart() {
        assert_eq!(acceptance(&[&chain("two", &[&[0, 0]])]).unwrap(), None);
        assert_eq!(acceptance(&[]).unwrap(), None);
    }
}
