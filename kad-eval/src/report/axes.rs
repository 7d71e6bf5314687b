//! Axes, and the room around them: what every chart with a scale begins with.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::plot::{self, Area, Chart, TEXT};
use super::theme::{FAINT, GRID, INK};

/// A scale and what is written along it.
pub(super) struct Axis<'a> {
    pub(super) range: Range<f64>,
    /// About as many numbers as this, at round values; with none there is no grid either.
    pub(super) ticks: usize,
    /// With the unit.
    pub(super) title: &'a str,
    pub(super) number: &'a dyn Fn(&f64) -> String,
}

impl Axis<'_> {
    /// A scale without numbers or lines: for rows that are labelled one by one.
    pub(super) fn hidden(range: Range<f64>) -> Self {
        Self { range, ticks: 0, title: "", number: &|_| String::new() }
    }
}

/// Two axes and the room around them, in pixels.
pub(super) struct Axes<'a> {
    pub(super) top: i32,
    pub(super) right: i32,
    /// For the numbers and the title of `x`.
    pub(super) bottom: i32,
    /// For those of `y`, or the labels of rows.
    pub(super) left: i32,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
}

impl Axes<'_> {
    /// Draws the axes and their grid, and returns the place to draw in.
    ///
    /// # Errors
    /// If the backend fails.
    pub(super) fn draw<'c, 'b>(self, area: &Area<'b>) -> Result<Chart<'c, 'b>> {
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
            .x_label_style(plot::text_style(TEXT, INK, HPos::Center))
            .y_label_style(plot::text_style(TEXT, INK, HPos::Right))
            .axis_desc_style(plot::text_style(TEXT, INK, HPos::Center));
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
