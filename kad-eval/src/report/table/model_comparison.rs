//! The one table of models side by side: for terminals, in Markdown, and for the page's template.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell as Shown, CellAlignment};
use kad_polybasic::theory::PassTime;
use serde::Serialize;

use super as table;
use crate::analysis::model_comparison::{
    LogitAgreement, MeasuredModel, ModelComparison, ModelRow, TextAgreement,
};
use crate::numbers::{NONE, fixed, milliseconds, significant};

/// A table in words.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelTable {
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

impl ModelTable {
    /// `rows` in words.
    pub(crate) fn of(rows: &ModelComparison) -> Self {
        let line = |row: &ModelRow| Line {
            is_baseline: row.decoder.as_ref() == Some(&rows.baseline),
            cells: cells(row, rows),
        };
        let positions = rows.rows.iter().filter_map(|row| Some(row.agreement.as_ref()?.positions));
        let positions =
            positions.max().map_or(String::new(), |n| format!(", logits over {n} tokens"));
        let ModelComparison { context, rounds, .. } = rows;
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
        let mut table = table::empty(UTF8_FULL_CONDENSED);
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

fn header(rows: &ModelComparison) -> Vec<Cell> {
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

fn cells(row: &ModelRow, rows: &ModelComparison) -> Vec<Cell> {
    let measured = row.measured.as_ref();
    let name = row.decoder.as_deref().unwrap_or(NONE);
    let model = match (&row.model, measured) {
        (Some(name), Some(MeasuredModel { backend, dtype, .. })) => {
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
        .chain([memory, load, logits(row, rows), same(row, rows), gap(row, rows)])
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

fn memory(measured: &MeasuredModel) -> Cell {
    let megabytes = |bytes: u64| fixed(bytes as f64 / 1e6, 1);
    let grown = measured.resident_bytes.map_or(NONE.to_owned(), megabytes);
    Cell::with(grown, format!("weights {}", megabytes(measured.weight_bytes)))
}

fn logits(row: &ModelRow, rows: &ModelComparison) -> Cell {
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
    match value {
        0.0 => "0".to_owned(),
        small if small < 0.01 => format!("{small:.1e}"),
        large => fixed(large, 2),
    }
}

fn same(row: &ModelRow, rows: &ModelComparison) -> Cell {
    match &row.texts {
        Some(TextAgreement { equal, of, .. }) => Cell::plain(format!("{equal} of {of}")),
        None if row.decoder.as_ref() == Some(&rows.baseline) => Cell::plain("baseline"),
        None => Cell::none(),
    }
}

/// From the smallest to the largest, and whether rounding explains them.
fn gap(row: &ModelRow, rows: &ModelComparison) -> Cell {
    let Some(gaps) = row.texts.as_ref().and_then(|texts| texts.gaps) else { return Cell::none() };
    let range = match gaps.smallest == gaps.largest {
        true => difference(gaps.smallest),
        false => format!("{} to {}", difference(gaps.smallest), difference(gaps.largest)),
    };
    // Texts are the baseline's; the difference of logits must be to the same model.
    let same = |it: &&LogitAgreement| rows.reference.as_ref() == Some(&it.reference);
    match row.agreement.as_ref().filter(same).and_then(|agreement| gaps.explained(agreement)) {
        Some(true) => Cell::with(range, "ties"),
        Some(false) => Cell::with(range, "NOT ties"),
        None => Cell::plain(range),
    }
}

fn notes(rows: &ModelComparison) -> Vec<String> {
    let reference = rows.reference.as_deref().unwrap_or(NONE);
    vec![
        "T(k): median of a pass over k tokens with the distributions after each of them. Passes over one token \
         follow each other, as in plain decoding; wider ones each follow a pass of another model, as \
         in chains. It holds for this machine and its load alone."
            .to_owned(),
        "Memory: by how much the process grew while the model was loaded, without what stays in the \
         mapped file until the first pass; of its weights, the matrices as they are kept, or the \
         files where that is not known."
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::model_comparison::{DecoderSpeed, LogitGaps};
    use crate::analysis::stats::Interval;

    fn row(name: &str, milliseconds: [f64; 2], worst: Option<f64>, gap: Option<f64>) -> ModelRow {
        let time = |ms: f64| PassTime { seconds: ms / 1e3, standard_error: 1e-5 };
        let agreement = |worst| {
            let reference = "one".to_owned();
            LogitAgreement { reference, positions: 40, worst, same_top: 0.975 }
        };
        let gaps = gap.map(|gap| LogitGaps { smallest: gap / 2.0, largest: gap });
        let interval = Interval { low: 90.0, high: 110.0 };
        ModelRow {
            decoder: Some(format!("on {name}")),
            model: Some(name.to_owned()),
            measured: Some(MeasuredModel {
                source: "nano:draft".to_owned(),
                backend: "candle".to_owned(),
                dtype: "f32".to_owned(),
                load_seconds: Some(0.25),
                resident_bytes: Some(2_500_000),
                weight_bytes: 1_000_000,
                passes: milliseconds.map(time).to_vec(),
            }),
            agreement: worst.map(agreement),
            speed: Some(DecoderSpeed { tokens_per_second: 100.0, interval }),
            texts: worst.map(|_| TextAgreement { equal: 3, of: 4, gaps }),
        }
    }

    fn rows() -> ModelComparison {
        let mut chain = row("chain", [1.0, 1.0], None, None);
        chain.model = None;
        chain.measured = None;
        chain.texts = Some(TextAgreement { equal: 4, of: 4, gaps: None });
        let rows = vec![
            row("one", [2.0, 3.0], None, None),
            row("two", [4.0, 10.0], Some(2e-5), Some(4e-5)),
            row("three", [4.0, 10.0], Some(2e-5), Some(5e-5)),
            row("four", [4.0, 10.0], Some(0.75), Some(0.5)),
            chain,
        ];
        let (baseline, reference) = ("on one".to_owned(), Some("one".to_owned()));
        ModelComparison { context: 16, widths: vec![1, 8], rounds: 5, baseline, reference, rows }
    }

    #[test]
    fn a_table_golden() {
        let wanted = "\
models side by side: passes after 16 tokens, 5 rounds, logits over 40 tokens

| decoder | model<br>backend, dtype | tokens/s | T(1)<br>ms | T(8)/T(1) | memory<br>MB | load<br>s | logits<br>worst difference | texts<br>as the baseline's | gap<br>where they part |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| on one | one<br>candle, f32 | 100<br>[90.0, 110] | 2.00<br>± 0.010 | 1.50 | 2.5<br>weights 1.0 | 0.25 | reference | baseline | – |
| on two | two<br>candle, f32 | 100<br>[90.0, 110] | 4.00<br>± 0.010 | 2.50 | 2.5<br>weights 1.0 | 0.25 | 2.0e-5<br>same best token 97.5 % | 3 of 4 | 2.0e-5 to 4.0e-5<br>ties |
| on three | three<br>candle, f32 | 100<br>[90.0, 110] | 4.00<br>± 0.010 | 2.50 | 2.5<br>weights 1.0 | 0.25 | 2.0e-5<br>same best token 97.5 % | 3 of 4 | 2.5e-5 to 5.0e-5<br>NOT ties |
| on four | four<br>candle, f32 | 100<br>[90.0, 110] | 4.00<br>± 0.010 | 2.50 | 2.5<br>weights 1.0 | 0.25 | 0.75<br>same best token 97.5 % | 3 of 4 | 0.25 to 0.50 |
| on chain | – | 100<br>[90.0, 110] | – | – | – | – | – | 4 of 4 | – |
";
        let found = ModelTable::of(&rows()).markdown(&["model `x` is left out: gone".to_owned()]);
        assert!(found.starts_with(wanted), "{found}");
        assert!(found.ends_with("- model `x` is left out: gone\n"), "{found}");
        let text = ModelTable::of(&rows()).text();
        for part in ["NOT ties", "reference", "baseline", "T(8)/T(1)"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
