//! A table as data: rendered as text, as Markdown, or by the template of a page.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{Cell, CellAlignment, TableStyle};
use serde::Serialize;

use super::empty;
use crate::analysis::metric::Unit;
use crate::analysis::stats::Interval;
use crate::numbers::{NONE, interval};

/// A table with its heads.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct DataTable {
    pub(crate) header: Vec<TableCell>,
    pub(crate) rows: Vec<TableRow>,
}

/// One row; its first cell is its head.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TableRow {
    pub(crate) is_baseline: bool,
    /// Lines below the head that the reader of a page unfolds.
    pub(crate) folded: Vec<String>,
    pub(crate) cells: Vec<TableCell>,
}

/// The head of a column, and a cell below it.
pub(crate) type HeadedCell = (TableCell, TableCell);

/// A word or number, with small lines below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct TableCell {
    pub(crate) text: String,
    pub(crate) small: Vec<String>,
    /// Class of the page's style: `good`, `bad`, `faint` or none.
    pub(crate) tone: &'static str,
}

impl TableCell {
    /// Text without small lines.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Text with one small line, if that is not empty.
    pub(crate) fn with(text: impl Into<String>, small: impl Into<String>) -> Self {
        let small = Some(small.into()).filter(|small| !small.is_empty());
        Self { text: text.into(), small: small.into_iter().collect(), tone: "" }
    }

    /// A dash.
    pub(crate) fn none() -> Self {
        Self::plain(NONE)
    }

    /// A number with its interval, or a dash.
    pub(crate) fn number(unit: Unit, value: Option<(f64, Option<Interval>)>) -> Self {
        let Some((value, range)) = value else { return Self::none() };
        let small = range.map(|range| interval(range, |end| unit.write(end)));
        Self { text: unit.write(value), small: small.into_iter().collect(), tone: "" }
    }

    /// A number and its interval, written by `number`, or a dash.
    pub(crate) fn written(value: Option<(f64, Interval)>, number: fn(f64) -> String) -> Self {
        value.map_or(Self::none(), |(value, range)| {
            Self::with(number(value), interval(range, number))
        })
    }

    /// All lines with `between` them.
    pub(super) fn joined(&self, between: &str) -> String {
        let lines = std::iter::once(&self.text).chain(&self.small);
        lines.map(String::as_str).collect::<Vec<_>>().join(between)
    }
}

/// A cell below a head with a small line, if that is not empty.
pub(crate) fn headed(head: impl Into<String>, small: &str, cell: TableCell) -> HeadedCell {
    (TableCell::with(head, small), cell)
}

impl TableRow {
    /// A row of these cells.
    pub(crate) fn of(cells: impl IntoIterator<Item = TableCell>) -> Self {
        Self { cells: cells.into_iter().collect(), ..Self::default() }
    }
}

impl DataTable {
    /// A table of rows whose cells come with the heads of their columns, the same in every row; true
    /// marks the baseline's row.
    pub(crate) fn headed(rows: impl IntoIterator<Item = (bool, Vec<HeadedCell>)>) -> Self {
        let mut header = Vec::new();
        let row = |(is_baseline, cells): (bool, Vec<HeadedCell>)| {
            let (heads, cells) = cells.into_iter().unzip();
            header = heads;
            TableRow { is_baseline, cells, ..TableRow::default() }
        };
        let rows = rows.into_iter().map(row).collect();
        Self { header, rows }
    }

    /// Heads and rows of cells without small lines.
    pub(crate) fn plain<const N: usize>(
        header: [&str; N],
        rows: impl Iterator<Item = [String; N]>,
    ) -> Self {
        Self {
            header: header.map(TableCell::plain).into(),
            rows: rows.map(|row| TableRow::of(row.map(TableCell::plain))).collect(),
        }
    }

    /// The table as text: left-aligned in the first `words` columns, right-aligned in the others.
    pub(crate) fn render(&self, style: TableStyle, words: usize) -> String {
        let between = if style == ASCII_MARKDOWN { "<br>" } else { "\n" };
        let mut table = empty(style);
        table.set_header(self.header.iter().map(|cell| cell.joined(between)));
        for row in &self.rows {
            table.add_row(row.cells.iter().enumerate().map(|(column, cell)| {
                let side = if column < words { CellAlignment::Left } else { CellAlignment::Right };
                Cell::new(cell.joined(between)).set_alignment(side)
            }));
        }
        table.to_string()
    }
}
