//! Terminal tables that fit the width: columns of low rank are left out, and named below.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, TableStyle, Width};

use super::{DataTable, TableCell, empty};

/// Text columns are wrapped to no fewer letters than this.
const LEAST: usize = 16;

/// A column with its cells.
pub(super) struct FittedColumn {
    head: String,
    cells: Vec<String>,
    /// Small ranks are kept first; a column without a rank is always kept.
    rank: Option<usize>,
    /// True if the head may be wrapped.
    wraps: bool,
}

impl FittedColumn {
    /// A column of text, always kept, or of numbers, kept by `rank` without wrapping or left out.
    pub(super) fn new(
        head: &str,
        rank: Option<usize>,
        cells: impl Iterator<Item = String>,
    ) -> Self {
        Self { head: head.to_owned(), cells: cells.collect(), rank, wraps: rank.is_none() }
    }

    /// Its least width in letters.
    fn least(&self) -> usize {
        let letters = |text: &String| text.chars().count();
        let (head, cells) =
            (letters(&self.head), self.cells.iter().map(letters).max().unwrap_or(0));
        match (self.rank, self.wraps) {
            (None, _) => head.max(cells).min(LEAST),
            (Some(_), true) => cells.max(head.min(LEAST)),
            (Some(_), false) => cells.max(head),
        }
    }
}

/// The columns of a table, from left to right.
pub(super) struct FittedTable(pub(super) Vec<FittedColumn>);

/// Padding of a cell, and the border on one side of it.
const AROUND: usize = 3;

impl FittedTable {
    /// The columns of `table`: text in the first `words`, numbers in the others.
    pub(super) fn of(table: &DataTable, words: usize) -> Self {
        let column = |(place, head): (usize, &TableCell)| FittedColumn {
            head: head.text.clone(),
            cells: table.rows.iter().map(|row| row.cells[place].joined(" ")).collect(),
            rank: place.checked_sub(words),
            wraps: true,
        };
        Self(table.header.iter().enumerate().map(column).collect())
    }

    /// The table, and below it the columns left out for lack of width.
    pub(super) fn text(self, style: TableStyle) -> String {
        let mut table = empty(style);
        // Markdown and files have no width.
        let width = table.width().filter(|_| style != ASCII_MARKDOWN).map(usize::from);
        let kept = self.kept(width);
        let part = |wanted: bool| {
            let own = self.0.iter().zip(&kept).filter(move |(_, kept)| **kept == wanted);
            own.map(|(column, _)| column)
        };
        let shown = || part(true);
        table.set_header(shown().map(|column| column.head.clone()));
        let rows = self.0.iter().map(|column| column.cells.len()).max().unwrap_or(0);
        for row in 0..rows {
            table.add_row(shown().map(|column| {
                let cell = Cell::new(column.cells.get(row).map_or("", String::as_str));
                match column.rank {
                    Some(_) => cell.set_alignment(CellAlignment::Right),
                    None => cell,
                }
            }));
        }
        for (column, shown) in table.column_iter_mut().zip(shown()) {
            let least = shown.least() + AROUND - 1;
            column.set_constraint(match (shown.rank, shown.wraps) {
                (Some(_), false) => ColumnConstraint::ContentWidth,
                _ => ColumnConstraint::LowerBoundary(Width::Fixed(least as u16)),
            });
        }
        let out: Vec<&str> = part(false).map(|column| &*column.head).collect();
        format!("{table}{}", left_out(&out, width.unwrap_or(0)))
    }

    /// True for each column that fits into `width` letters.
    fn kept(&self, width: Option<usize>) -> Vec<bool> {
        let Some(width) = width else { return vec![true; self.0.len()] };
        let mut kept: Vec<bool> = self.0.iter().map(|column| column.rank.is_none()).collect();
        let always = self.0.iter().filter(|column| column.rank.is_none());
        let mut used = 1 + always.map(|column| column.least() + AROUND).sum::<usize>();
        let mut order: Vec<usize> = (0..self.0.len()).filter(|place| !kept[*place]).collect();
        order.sort_by_key(|place| self.0[*place].rank);
        for (first, place) in order.into_iter().enumerate() {
            let more = self.0[place].least() + AROUND;
            // One number is always shown.
            if first == 0 || used + more <= width {
                used += more;
                kept[place] = true;
            }
        }
        kept
    }
}

/// The most columns named.
const NAMED: usize = 6;

fn left_out(heads: &[&str], width: usize) -> String {
    let more = heads.len().saturating_sub(NAMED);
    let named = heads.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match (heads.len(), more) {
        (0, _) => String::new(),
        (_, 0) => format!("\nnot shown in {width} columns: {named}; summary.md has all"),
        _ => format!("\nnot shown in {width} columns: {named} and {more} more; summary.md has all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> FittedTable {
        let cells = |text: &str| vec![text.to_owned(); 2].into_iter();
        FittedTable(vec![
            FittedColumn::new("decoder", None, cells("KAD dual, threshold 0.2, at length")),
            FittedColumn::new("p", Some(1), cells("<0.001")),
            FittedColumn::new("correct %", Some(0), cells("92.5 [80.1, 97.4]")),
            FittedColumn::new("tokens/s", Some(2), cells("628 [319, 1358]")),
        ])
    }

    #[test]
    fn columns_are_kept_by_rank_within_the_width() {
        let all = columns();
        assert_eq!(all.kept(None), [true; 4]);
        // 1 + 19 + 20 for the name and the first number, 9 for p, 18 for the last.
        for (width, wanted) in [
            (20, [true, false, true, false]),
            (48, [true, false, true, false]),
            (49, [true, true, true, false]),
            (66, [true, true, true, false]),
            (67, [true, true, true, true]),
        ] {
            assert_eq!(all.kept(Some(width)), wanted, "{width}");
        }
    }

    #[test]
    fn columns_left_out_are_named() {
        assert_eq!(left_out(&[], 80), "");
        let said = left_out(&["p", "tokens/s"], 80);
        assert_eq!(said, "\nnot shown in 80 columns: p, tokens/s; summary.md has all");
        assert!(left_out(&["a"; 9], 80).contains("a, a, a, a, a, a and 3 more;"));
    }

    #[test]
    fn markdown_has_everything_in_one_line_each() {
        let text = columns().text(ASCII_MARKDOWN);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("| KAD dual, threshold 0.2, at length | <0.001 |"), "{text}");
    }
}
