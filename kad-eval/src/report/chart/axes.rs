//! Axes with the margins around them.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::theme::{FAINT, GRID, INK};
use crate::report::chart::{self, Area, Chart, TEXT};

/// A scale with its numbers and title.
pub(crate) struct Axis<'a> {
    pub(crate) range: Range<f64>,
    /// Approximate number of ticks, at round values; 0 also hides the grid.
    pub(crate) ticks: usize,
    /// Title with the unit.
    pub(crate) title: &'a str,
    pub(crate) number: &'a dyn Fn(&f64) -> String,
}

impl<'a> Axis<'a> {
    /// A scale of shares from 0 to `end`, in percent.
    pub(crate) fn shares(end: f64, title: &'a str) -> Self {
        Self { range: 0.0..end, ticks: 11, title, number: &|share| format!("{:.0}", 100.0 * share) }
    }

    /// A scale without numbers or lines, for rows with their own labels.
    pub(crate) fn hidden(range: Range<f64>) -> Self {
        Self { range, ticks: 0, title: "", number: &|_| String::new() }
    }
}

/// Two axes and the margins around them, in pixels.
pub(crate) struct Axes<'a> {
    pub(crate) top: i32,
    pub(crate) right: i32,
    /// Room for the numbers and the title of `x`.
    pub(crate) bottom: i32,
    /// Room for numbers and title of `y`, or for the labels of rows.
    pub(crate) left: i32,
    pub(crate) x: Axis<'a>,
    pub(crate) y: Axis<'a>,
}

impl Axes<'_> {
    /// Draws axes and grid, and returns the chart to draw into.
    pub(crate) fn draw<'c, 'b>(self, area: &Area<'b>) -> Result<Chart<'c, 'b>> {
        let Self { top, right, bottom, left, x, y } = self;
        let mut chart = ChartBuilder::on(area)
            .margin_top(top)
            .margin_right(right)
            .x_label_area_size(bottom)
            .y_label_area_size(left)
            .build_cartesian_2d(x.range, y.range)?;
        let mut mesh = chart.configure_mesh();
        mesh.max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .x_labels(x.ticks)
            .y_labels(y.ticks)
            .x_desc(x.title)
            .y_desc(y.title)
            .x_label_formatter(x.number)
            .y_label_formatter(y.number)
            .x_label_style(chart::text_style(TEXT, INK, HPos::Center))
            .y_label_style(chart::text_style(TEXT, INK, HPos::Right))
            .axis_desc_style(chart::text_style(TEXT, INK, HPos::Center));
        if x.ticks == 0 {
            mesh.disable_x_mesh();
        }
        if y.ticks == 0 {
            mesh.disable_y_mesh();
        }
        mesh.draw()?;
        drop(mesh);
        Ok(chart)
    }
}
