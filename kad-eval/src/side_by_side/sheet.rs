//! The one table of models side by side: for terminals, in Markdown, and for the page's template.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell as Shown, CellAlignment, ContentArrangement, Table};
use kad_polybasic::theory::PassTime;
use serde::Serialize;

use super::texts::SameTexts;
use super::{OfModel, Row, Rows};
use crate::report::{NONE, fixed, milliseconds, significant};

/// A table in words.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sheet {
    pub(crate) caption: String,
    pub(crate) header: Vec<Cell>,
    pub(crate) rows: Vec<Line>,
    /// What the columns mean.
    pub(crate) notes: Vec<String>,
}

/// One row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) is_baseline: bool,
    pub(crate) cells: Vec<Cell>,
}

/// A word or number, and what stands small below it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) small: Option<String>,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), small: None }
    }

    fn with(text: impl Into<String>, small: impl Into<String>) -> Self {
        Self { text: text.into(), small: Some(small.into()) }
    }

    fn none() -> Self {
        Self::plain(NONE)
    }

    /// Both parts with `between` them.
    fn joined(&self, between: &str) -> String {
        let small = self.small.as_ref().map(|small| format!("{between}{small}"));
        format!("{}{}", self.text, small.unwrap_or_default())
    }
}

impl Sheet {
    /// `rows` in words.
    pub(crate) fn of(rows: &Rows) -> Self {
        let line = |row: &Row| Line {
            is_baseline: row.decoder.as_ref() == Some(&rows.baseline),
            cells: cells(row, rows),
        };
        let positions = rows.rows.iter().filter_map(|row| Some(row.agreement.as_ref()?.positions));
        let positions =
            positions.max().map_or(String::new(), |n| format!(", logits over {n} tokens"));
        let Rows { context, rounds, .. } = rows;
        Self {
            caption: format!(
                "models side by side: passes after {context} tokens, {rounds} rounds{positions}"
            ),
            header: header(rows),
            rows: rows.rows.iter().map(line).collect(),
            notes: notes(rows),
        }
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(self.header.iter().map(|cell| cell.joined("\n")));
        for line in &self.rows {
            let right =
                |cell: &Cell| Shown::new(cell.joined("\n")).set_alignment(CellAlignment::Right);
            let first = line.cells.first().map(|cell| Shown::new(cell.joined("\n")));
            table.add_row(first.into_iter().chain(line.cells.iter().skip(1).map(right)));
        }
        format!("{}\n{table}\n{}", self.caption, self.notes.join("\n"))
    }

    /// As a file of its own; `left_out` is what the run went on without.
    pub(crate) fn markdown(&self, left_out: &[String]) -> String {
        let row = |cells: &[Cell]| {
            let cells = cells.iter().map(|cell| cell.joined("<br>").replace('|', "\\|"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let rule = "| --- ".to_owned() + &"| ---: ".repeat(self.header.len().saturating_sub(1));
        let lines = self.rows.iter().map(|line| row(&line.cells)).collect::<String>();
        let notes = self.notes.iter().map(|note| format!("- {note}\n")).collect::<String>();
        let left_out = left_out.iter().map(|line| format!("- {line}\n"));
        let left_out = left_out.collect::<String>();
        format!("{}\n\n{}{rule}|\n{lines}\n{notes}{left_out}", self.caption, row(&self.header))
    }
}

fn header(rows: &Rows) -> Vec<Cell> {
    let wider = rows.widths.iter().skip(1).map(|width| Cell::plain(format!("T({width})/T(1)")));
    [Cell::plain("decoder"), Cell::with("model", "backend, dtype"), Cell::plain("tokens/s")]
        .into_iter()
        .chain([Cell::with("T(1)", "ms")])
        .chain(wider)
        .chain([
            Cell::with("memory", "MB"),
            Cell::with("load", "s"),
            Cell::with("logits", "worst difference"),
            Cell::with("texts", "as the baseline's"),
            Cell::with("gap", "where they part"),
        ])
        .collect()
}

fn cells(row: &Row, rows: &Rows) -> Vec<Cell> {
    let measured = row.measured.as_ref();
    let name = row.decoder.as_deref().unwrap_or(NONE);
    let model = match (&row.model, measured) {
        (Some(name), Some(OfModel { backend, dtype, .. })) => {
            Cell::with(name, format!("{backend}, {dtype}"))
        }
        _ => Cell::none(),
    };
    let speed = row.speed.map_or(Cell::none(), |speed| {
        let (low, high) = (significant(speed.interval.low), significant(speed.interval.high));
        Cell::with(significant(speed.tokens_per_second), format!("[{low}, {high}]"))
    });
    let passes = measured.map_or(&[][..], |measured| &measured.passes);
    let memory = measured.map_or(Cell::none(), memory);
    let load = measured.and_then(|measured| measured.load_seconds);
    let load = load.map_or(Cell::none(), |seconds| Cell::plain(fixed(seconds, 2)));
    [Cell::plain(name), model, speed]
        .into_iter()
        .chain(times(passes, rows.widths.len()))
        .chain([memory, load, logits(row, rows), same(row, rows), gap(row)])
        .collect()
}

/// T(1), and how much longer wider passes take.
fn times(passes: &[PassTime], widths: usize) -> Vec<Cell> {
    let Some((first, wider)) = passes.split_first() else { return vec![Cell::none(); widths] };
    let ratio = |time: &PassTime| Cell::plain(fixed(time.seconds / first.seconds, 2));
    let one = Cell::with(
        milliseconds(first.seconds),
        format!("± {}", milliseconds(first.standard_error)),
    );
    std::iter::once(one).chain(wider.iter().map(ratio)).collect()
}

fn memory(measured: &OfModel) -> Cell {
    let megabytes = |bytes: u64| fixed(bytes as f64 / 1e6, 1);
    let grown = measured.resident_bytes.map_or(NONE.to_owned(), megabytes);
    Cell::with(grown, format!("weights {}", megabytes(measured.weight_bytes)))
}

fn logits(row: &Row, rows: &Rows) -> Cell {
    let Some(agreement) = &row.agreement else {
        return if row.model.is_some() { Cell::plain("reference") } else { Cell::none() };
    };
    let share = format!("same best token {} %", fixed(100.0 * agreement.same_top, 1));
    let whose = match rows.reference.as_ref() == Some(&agreement.reference) {
        true => String::new(),
        false => format!(" (to `{}`)", agreement.reference),
    };
    Cell::with(format!("{}{whose}", difference(agreement.worst)), share)
}

/// Of logits: where it is small, its size is what counts.
fn difference(value: f64) -> String {
    if value < 0.01 { format!("{value:.1e}") } else { fixed(value, 2) }
}

fn same(row: &Row, rows: &Rows) -> Cell {
    match &row.texts {
        Some(SameTexts { equal, of, .. }) => Cell::plain(format!("{equal} of {of}")),
        None if row.decoder.as_ref() == Some(&rows.baseline) => Cell::plain("baseline"),
        None => Cell::none(),
    }
}

/// From the smallest to the largest, and whether rounding explains them.
fn gap(row: &Row) -> Cell {
    let Some(gaps) = row.texts.as_ref().and_then(|texts| texts.gaps) else { return Cell::none() };
    let range = match gaps.smallest == gaps.largest {
        true => difference(gaps.smallest),
        false => format!("{} to {}", difference(gaps.smallest), difference(gaps.largest)),
    };
    match row.agreement.as_ref().and_then(|agreement| gaps.explained(agreement)) {
        Some(true) => Cell::with(range, "ties"),
        Some(false) => Cell::with(range, "NOT ties"),
        None => Cell::plain(range),
    }
}

fn notes(rows: &Rows) -> Vec<String> {
    let reference = rows.reference.as_deref().unwrap_or(NONE);
    vec![
        "T(k): median of a pass over k tokens with the laws after each of them; it holds for this \
         machine and its load alone."
            .to_owned(),
        "Memory: by how much the process grew while the model was loaded; of its weights, the \
         matrices as they are kept, or the files where that is not known."
            .to_owned(),
        format!(
            "Logits: the largest absolute difference after any token of the first prompts, and how \
             often the best token is the same, against a model of the same weights or `{reference}`."
        ),
        format!(
            "Gap: how far the two best logits of `{reference}` are apart where greedy texts first \
             part. Ties: no further than twice the worst difference of logits, so rounding turns them."
        ),
    ]
}
