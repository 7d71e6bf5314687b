//! The table that compares models: for terminals, Markdown and pages.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::Serialize;

use super::{DataTable, HeadedCell, TableCell, headed};
use crate::analysis::model_comparison::{LogitAgreement, MeasuredModel, ModelComparison, ModelRow};
use crate::numbers::{NONE, counted, fixed, milliseconds, significant};

/// The table of a [`ModelComparison`].
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelTable {
    pub(crate) caption: String,
    pub(crate) table: DataTable,
    /// The meaning of the columns.
    pub(crate) notes: Vec<String>,
}

impl ModelTable {
    /// The table of `rows`.
    pub(crate) fn of(rows: &ModelComparison) -> Self {
        let row = |row: &ModelRow| (row.decoder.as_ref() == Some(&rows.baseline), cells(row, rows));
        let positions = rows.rows.iter().filter_map(|row| Some(row.agreement.as_ref()?.positions));
        let positions = positions
            .max()
            .map_or(String::new(), |n| format!(", logits over {}", counted(n, "token")));
        let ModelComparison { context, rounds, .. } = rows;
        Self {
            caption: format!(
                "comparison of models: passes after {}, {}{positions}",
                counted(*context, "token"),
                counted(*rounds, "round")
            ),
            table: DataTable::headed(rows.rows.iter().map(row)),
            notes: notes(rows),
        }
    }

    /// The table for a terminal.
    pub(crate) fn text(&self) -> String {
        let table = self.table.render(UTF8_FULL_CONDENSED, 1);
        format!("{}\n{table}\n{}", self.caption, self.notes.join("\n"))
    }

    /// The table as a Markdown file; `left_out` are sentences about missing models.
    pub(crate) fn markdown(&self, left_out: &[String]) -> String {
        let row = |cells: &[TableCell]| {
            let cells = cells.iter().map(|cell| cell.joined("<br>").replace('|', "\\|"));
            format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
        };
        let DataTable { header, rows } = &self.table;
        let rule = "| --- ".to_owned() + &"| ---: ".repeat(header.len().saturating_sub(1));
        let lines = rows.iter().map(|line| row(&line.cells)).collect::<String>();
        let notes = self.notes.iter().chain(left_out).map(|note| format!("- {note}\n"));
        let notes = notes.collect::<String>();
        format!("{}\n\n{}{rule}|\n{lines}\n{notes}", self.caption, row(header))
    }
}

fn cells(row: &ModelRow, rows: &ModelComparison) -> Vec<HeadedCell> {
    let measured = row.measured.as_ref();
    let name = TableCell::plain(row.decoder.as_deref().unwrap_or(NONE));
    let model = match (&row.model, measured) {
        (Some(name), Some(MeasuredModel { backend, dtype, .. })) => {
            TableCell::with(name, format!("{backend}, {dtype}"))
        }
        _ => TableCell::none(),
    };
    let speed = row.speed.map(|speed| (speed.tokens_per_second, speed.interval));
    let load = measured.and_then(|measured| measured.load_seconds);
    let load = load.map_or(TableCell::none(), |seconds| TableCell::plain(fixed(seconds, 2)));
    let mut cells = vec![
        headed("decoder", "", name),
        headed("model", "backend, dtype", model),
        headed("tokens/s", "", TableCell::written(speed, significant)),
    ];
    let widths = rows.widths.iter().enumerate();
    cells.extend(widths.map(|(place, width)| time(measured, place, *width)));
    cells.extend([
        headed("memory", "MB", measured.map_or(TableCell::none(), memory)),
        headed("load", "s", load),
        headed("logits", "worst difference", logits(row, rows)),
        headed("texts", "equal to the baseline's", same(row, rows)),
        headed("gap", "at the difference", gap(row, rows)),
    ]);
    cells
}

/// T(1) in the first place, T(k)/T(1) of a wider pass in the others.
fn time(measured: Option<&MeasuredModel>, place: usize, width: usize) -> HeadedCell {
    let times = measured.and_then(|it| Some((it.passes.first()?, it.passes.get(place)?)));
    let cell = times.map_or(TableCell::none(), |(one, own)| match place {
        0 => TableCell::with(
            milliseconds(one.seconds),
            format!("± {}", milliseconds(one.standard_error)),
        ),
        _ => TableCell::plain(fixed(own.seconds / one.seconds, 2)),
    });
    match place {
        0 => headed("T(1)", "ms", cell),
        _ => headed(format!("T({width})/T(1)"), "", cell),
    }
}

fn memory(measured: &MeasuredModel) -> TableCell {
    let megabytes = |bytes: u64| fixed(bytes as f64 / 1e6, 1);
    let grown = measured.resident_bytes.map_or(NONE.to_owned(), megabytes);
    TableCell::with(grown, format!("weights {}", megabytes(measured.weight_bytes)))
}

fn logits(row: &ModelRow, rows: &ModelComparison) -> TableCell {
    let Some(agreement) = &row.agreement else {
        return if row.model.is_some() { TableCell::plain("reference") } else { TableCell::none() };
    };
    let share = format!("same best token {} %", fixed(100.0 * agreement.same_top, 1));
    let whose = match rows.reference.as_ref() == Some(&agreement.reference) {
        true => String::new(),
        false => format!(" (to `{}`)", agreement.reference),
    };
    TableCell::with(format!("{}{whose}", difference(agreement.worst)), share)
}

/// A difference of logits; small ones by their order of magnitude.
fn difference(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        small if small < 0.01 => format!("{small:.1e}"),
        large => fixed(large, 2),
    }
}

fn same(row: &ModelRow, rows: &ModelComparison) -> TableCell {
    match &row.texts {
        Some(texts) => TableCell::plain(texts.same.to_string()),
        None if row.decoder.as_ref() == Some(&rows.baseline) => TableCell::plain("baseline"),
        None => TableCell::none(),
    }
}

/// The range of gaps, and whether rounding explains them.
fn gap(row: &ModelRow, rows: &ModelComparison) -> TableCell {
    let Some(gaps) = row.texts.as_ref().and_then(|texts| texts.gaps) else {
        return TableCell::none();
    };
    let range = match gaps.smallest == gaps.largest {
        true => difference(gaps.smallest),
        false => format!("{} to {}", difference(gaps.smallest), difference(gaps.largest)),
    };
    // Texts are compared with the baseline's: the logits must be compared with the same model.
    let same = |it: &&LogitAgreement| rows.reference.as_ref() == Some(&it.reference);
    match row.agreement.as_ref().filter(same).and_then(|agreement| gaps.explained(agreement)) {
        Some(true) => TableCell::with(range, "ties"),
        Some(false) => TableCell::with(range, "NOT ties"),
        None => TableCell::plain(range),
    }
}

fn notes(rows: &ModelComparison) -> Vec<String> {
    let reference = rows.reference.as_deref().unwrap_or(NONE);
    vec![
        "T(k): median time of a forward pass over k tokens with the next-token distribution after each. \
         Passes over one token follow each other, as in plain decoding; a wider pass follows a pass \
         of another model, as in chains. Valid for this machine and its load only."
            .to_owned(),
        "memory: growth of the process while the model was loaded, without mapped parts of the file \
         that the first pass reads; weights: bytes of the matrices in memory, or of the files where \
         that is not known."
            .to_owned(),
        format!(
            "logits: largest absolute difference after any token of the first prompts, and share of \
             equal best tokens, to a model with the same weights or to `{reference}`."
        ),
        format!(
            "gap: difference between the two largest logits of `{reference}` at the first different \
             token of greedy texts. Ties: at most twice the worst difference of logits, so that \
             rounding can turn them."
        ),
    ]
}

#[cfg(test)]
mod tests {
    use kad_polybasic::theory::PassTime;

    use super::*;
    use crate::analysis::equal_texts::EqualTexts;
    use crate::analysis::model_comparison::{DecoderSpeed, LogitGaps, TextAgreement};
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
            texts: worst.map(|_| TextAgreement { same: EqualTexts { equal: 3, of: 4 }, gaps }),
        }
    }

    fn rows() -> ModelComparison {
        let mut chain = row("chain", [1.0, 1.0], None, None);
        chain.model = None;
        chain.measured = None;
        let same = EqualTexts { equal: 4, of: 4 };
        chain.texts = Some(TextAgreement { same, gaps: None });
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
comparison of models: passes after 16 tokens, 5 rounds, logits over 40 tokens

| decoder | model<br>backend, dtype | tokens/s | T(1)<br>ms | T(8)/T(1) | memory<br>MB | load<br>s | logits<br>worst difference | texts<br>equal to the baseline's | gap<br>at the difference |
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
