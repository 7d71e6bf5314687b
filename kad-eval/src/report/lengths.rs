//! How many tokens of each draft were accepted: a row of histograms per chain, one per level.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::plot::{self, Area, Point, SMALL, TEXT, WIDTH};
use super::theme::{COLOURS, FAINT, GRID, INK};
use crate::numbers::{fixed, shorten};

/// The name of the decoder above its histograms, and the title of each, in pixels.
const NAME: i32 = 30;
const TITLE: i32 = 22;
/// The mean in words, below the title.
const MEAN: i32 = 26;
/// The histogram itself; numbers and, in the last row, the title of the axis below.
const PLOT: i32 = 92;
const NUMBERS: i32 = 26;
const AXIS_TITLE: i32 = 24;
/// Left of each histogram, for the shares; right of it, for nothing.
const LEFT: i32 = 52;
const RIGHT: i32 = 16;
/// Few panels do not fill the page.
const WIDEST: i32 = 460;
const LONGEST_LABEL: usize = 90;

/// The drafts of one decoder, level by level.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChainLengths {
    pub(super) decoder: String,
    pub(super) levels: Vec<LevelLengths>,
}

/// What one level made of the drafts it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelLengths {
    /// Who verifies whose drafts.
    pub(super) title: String,
    /// How many rounds accepted 0, 1, 2, … tokens.
    pub(super) counts: Vec<u64>,
}

impl LevelLengths {
    /// Share of the rounds by accepted length.
    fn shares(&self) -> Vec<f64> {
        let rounds: u64 = self.counts.iter().sum();
        self.counts.iter().map(|&count| count as f64 / rounds as f64).collect()
    }

    /// Mean accepted length, in tokens.
    fn mean(&self) -> f64 {
        self.shares().iter().enumerate().map(|(length, share)| length as f64 * share).sum()
    }

    fn has_rounds(&self) -> bool {
        self.counts.iter().any(|count| *count > 0)
    }
}

/// The chart for `chains`. `None` if none of them has verified anything.
pub(super) fn lengths(chains: &[ChainLengths]) -> Result<Option<String>> {
    let rounds = |chain: &&ChainLengths| chain.levels.iter().any(LevelLengths::has_rounds);
    let chains: Vec<&ChainLengths> = chains.iter().filter(rounds).collect();
    let levels = || chains.iter().flat_map(|chain| &chain.levels);
    let Some(columns) = chains.iter().map(|chain| chain.levels.len()).max() else {
        return Ok(None);
    };
    let most = levels().filter(|l| l.has_rounds()).flat_map(LevelLengths::shares);
    let top = plot::axis_end(most);
    let height = chains.len() as i32 * row_height() + AXIS_TITLE;
    plot::svg(height as u32, |area| {
        for (row, chain) in chains.iter().enumerate() {
            let y = row as i32 * row_height();
            let name = shorten(&chain.decoder, LONGEST_LABEL);
            let bold = plot::text_style(TEXT, INK, HPos::Left);
            let bold = TextStyle { font: bold.font.style(FontStyle::Bold), ..bold };
            area.draw(&Text::new(name, (8, y + NAME / 2 + 4), bold))?;
            for (column, level) in chain.levels.iter().enumerate() {
                let panel =
                    Panel::new((column, columns), y + NAME + TITLE + MEAN, level.counts.len());
                draw_panel(area, &panel, level, top)?;
            }
        }
        let title = "accepted tokens per draft; height: share of the rounds (%); dashed: mean";
        plot::write(area, title, (8, height - AXIS_TITLE / 2), (TEXT, INK, HPos::Left))
    })
    .map(Some)
}

const fn row_height() -> i32 {
    NAME + TITLE + MEAN + PLOT + NUMBERS
}

/// Where the bars of one histogram stand, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Panel {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
    /// How many lengths there are, 0 among them.
    bins: usize,
}

impl Panel {
    /// The `column`-th of `columns`.
    fn new((column, columns): (usize, usize), top: i32, bins: usize) -> Self {
        let width = (WIDTH as i32 / columns.max(1) as i32).min(WIDEST);
        let left = column as i32 * width;
        let (bottom, bins) = (top + PLOT, bins.max(1));
        Self { left: left + LEFT, right: left + width - RIGHT, top, bottom, bins }
    }

    /// Where accepted length `length` is.
    fn x(&self, length: f64) -> i32 {
        let width = f64::from(self.right - self.left);
        self.left + (width * (length + 0.5) / self.bins as f64).round() as i32
    }

    /// Where `share` is on a scale that ends at `top`.
    fn y(&self, share: f64, top: f64) -> i32 {
        self.bottom - (f64::from(self.bottom - self.top) * share / top).round() as i32
    }

    /// The bar of `length`: a gap of a fifth of the bin, and at most 40 pixels.
    fn bar(&self, length: usize) -> (i32, i32) {
        let bin = f64::from(self.right - self.left) / self.bins as f64;
        let half = (0.4 * bin).clamp(1.0, 20.0) as i32;
        let middle = self.x(length as f64);
        (middle - half, middle + half)
    }

    /// Every how many bins a number is written, so that they do not touch.
    fn every(&self) -> usize {
        let bin = f64::from(self.right - self.left) / self.bins as f64;
        let needed = (f64::from(plot::width("00")) + 6.0) / bin;
        [1, 2, 5, 10, 20, 50].into_iter().find(|&step| step as f64 >= needed).unwrap_or(100)
    }
}

fn draw_panel(area: &Area<'_>, panel: &Panel, level: &LevelLengths, top: f64) -> Result<()> {
    let &Panel { left, right, bottom, .. } = panel;
    let at = (left - LEFT + 8, panel.top - MEAN - TITLE / 2);
    let room = (right - at.0) / plot::width("0").max(1);
    let title = shorten(&level.title, room.max(8) as usize);
    plot::write(area, &title, at, (TEXT, INK, HPos::Left))?;
    if !level.has_rounds() {
        let middle: Point = (left.midpoint(right), panel.top.midpoint(bottom));
        return plot::write(area, "no rounds", middle, (SMALL, FAINT, HPos::Center));
    }
    for share in [0.0, top / 2.0, top] {
        let y = panel.y(share, top);
        plot::line(area, &[(left, y), (right, y)], GRID.stroke_width(1))?;
        let number = fixed(100.0 * share, 0);
        plot::write(area, &number, (left - 6, y), (SMALL, INK, HPos::Right))?;
    }
    for (length, share) in level.shares().into_iter().enumerate() {
        let (from, to) = panel.bar(length);
        let corners = [(from, panel.y(share, top)), (to, bottom)];
        area.draw(&Rectangle::new(corners, plot::pale(COLOURS[0]).filled()))?;
        if length.is_multiple_of(panel.every()) {
            let at = (panel.x(length as f64), bottom + 12);
            plot::write(area, &length.to_string(), at, (SMALL, INK, HPos::Center))?;
        }
    }
    plot::line(area, &[(left, bottom), (right, bottom)], FAINT.stroke_width(1))?;
    draw_mean(area, panel, level)
}

/// A line at the mean, and the mean above the histogram.
fn draw_mean(area: &Area<'_>, panel: &Panel, level: &LevelLengths) -> Result<()> {
    let rounds: u64 = level.counts.iter().sum();
    let x = panel.x(level.mean());
    plot::dashed(area, [(x, panel.top - 4), (x, panel.bottom)], INK.stroke_width(1))?;
    let label = format!("mean {}, {rounds} rounds", fixed(level.mean(), 2));
    let at = (panel.left - LEFT + 8, panel.top - MEAN + 7);
    plot::write(area, &label, at, (SMALL, FAINT, HPos::Left))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(counts: &[u64]) -> LevelLengths {
        LevelLengths { title: "large verifies middle".to_owned(), counts: counts.to_vec() }
    }

    #[test]
    fn shares_add_up_to_one_and_the_mean_is_that_of_the_rounds() {
        let level = level(&[10, 20, 30, 40]);
        assert_eq!(level.shares(), [0.1, 0.2, 0.3, 0.4]);
        assert!((level.shares().iter().sum::<f64>() - 1.0).abs() < 1e-15);
        // (0·10 + 1·20 + 2·30 + 3·40) / 100
        assert!((level.mean() - 2.0).abs() < 1e-15);
    }

    #[test]
    fn bars_stand_apart_within_their_panel_and_the_mean_among_them() {
        for (columns, bins) in [(1, 1), (2, 5), (3, 17), (3, 65)] {
            for column in 0..columns {
                let panel = Panel::new((column, columns), 54, bins);
                assert!(panel.right < WIDTH as i32 && panel.left >= LEFT);
                let bars: Vec<(i32, i32)> = (0..bins).map(|length| panel.bar(length)).collect();
                assert!(bars.iter().all(|(from, to)| panel.left <= *from && *to <= panel.right));
                assert!(bars.windows(2).all(|pair| pair[0].1 < pair[1].0), "{bars:?}");
                let written = bins.div_ceil(panel.every()) as i32;
                assert!(written * plot::width("00") <= panel.right - panel.left + 20);
                for (length, (from, to)) in bars.iter().enumerate() {
                    assert!((*from..=*to).contains(&panel.x(length as f64)));
                }
            }
        }
        let panel = Panel::new((0, 1), 54, 4);
        assert_eq!((panel.y(0.0, 0.5), panel.y(0.5, 0.5)), (panel.bottom, panel.top));
    }

    #[test]
    fn each_level_of_each_chain_has_a_panel() {
        let chains = [
            ChainLengths { decoder: "two".to_owned(), levels: vec![level(&[1, 3])] },
            ChainLengths { decoder: "three".to_owned(), levels: vec![level(&[5]), level(&[0, 2])] },
        ];
        let chart = lengths(&chains).unwrap().unwrap();
        for text in ["two", "three", "mean 0.75, 4 rounds", "mean 0.00, 5", "mean 1.00, 2"] {
            assert!(chart.contains(text), "{text} is not in {chart}");
        }
    }

    #[test]
    fn a_chain_that_verified_nothing_is_no_chart() {
        let chain = ChainLengths { decoder: "two".to_owned(), levels: vec![level(&[0, 0])] };
        assert_eq!(lengths(&[chain]).unwrap(), None);
        assert_eq!(lengths(&[]).unwrap(), None);
    }
}
