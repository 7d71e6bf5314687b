//! The conformance matrix: runs the suite of `kad_core::testing` on every backend of this build, in
//! every dtype, with a small random model of every family, and compares the logits with `naive` on
//! the same weights. The tests run the same suite on the same models.
//!
//! ```text
//! cargo run -p kad-backends --example conformance --features burn,tch,ort
//! cargo run -p kad-backends --example conformance -- --json
//! ```
//!
//! Missing backends and libraries are listed under the table; they are failures only with
//! `--strict`. `--json` prints all measurements instead of the table. The exit code is 1 if a cell
//! fails.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use kad_backends::Backend;
use kad_core::testing::conformance::Report;
use serde_json::{Value as Json, json};

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod support;

use support::backends::BackendCase;
use support::tiny;

/// Columns: the small models of `support/tiny.rs`, and the folders of `tests/onnx`.
const FAMILIES: [&str; 6] = ["llama", "qwen2", "mistral", "qwen3", "olmo2", "gemma3"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if arguments.iter().any(|argument| argument != "--json" && argument != "--strict") {
        eprintln!("usage: conformance [--json] [--strict]");
        return ExitCode::from(2);
    }
    // A failed check panics and is reported in its cell.
    std::panic::set_hook(Box::new(|_| ()));
    let mut matrix = ConformanceMatrix::default();
    matrix.interpreters();
    matrix.graphs();
    matrix.missing();
    match has("--json") {
        true => println!("{:#}", matrix.json()),
        false => print!("{}", matrix.markdown()),
    }
    let strictly = has("--strict") && !matrix.absent.is_empty();
    ExitCode::from(u8::from(strictly || matrix.fails().next().is_some()))
}

/// Result of a check, or its failure message.
type Cell = Result<Report, String>;

/// One backend in one dtype.
struct MatrixRow {
    backend: &'static str,
    dtype: String,
    /// One per family; `None` if there is no such model.
    cells: Vec<Option<Cell>>,
    /// Largest difference from the logits of transformers over the models of `tests/golden`.
    transformers: Option<Result<f64, String>>,
}

#[derive(Default)]
struct ConformanceMatrix {
    rows: Vec<MatrixRow>,
    /// Backends that did not run, with the remedy.
    absent: Vec<(&'static str, String)>,
}

/// The result of `run`, or its panic message.
fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked without a text".to_owned())
    })
}

impl ConformanceMatrix {
    /// Runs the interpreters; reports the progress on stderr.
    fn interpreters(&mut self) {
        for library in BackendCase::all() {
            eprintln!("{} {}", library.name, library.dtype);
            let blocks = library.stored.iter().any(|stored| stored.is_quantized());
            let specs = [
                tiny::llama(),
                tiny::qwen2(),
                tiny::mistral(),
                tiny::qwen3(),
                tiny::olmo2(),
                tiny::gemma3(),
            ];
            let cells = specs.map(|spec| {
                let spec = if blocks { tiny::of_whole_blocks(spec) } else { spec };
                Some(caught(|| library.check(&spec)))
            });
            let stored: Vec<String> = library.stored.iter().map(ToString::to_string).collect();
            self.rows.push(MatrixRow {
                backend: library.name,
                dtype: match blocks {
                    true => format!("{} ({})", library.dtype, stored.join(", ")),
                    false => library.dtype.to_string(),
                },
                cells: cells.into(),
                transformers: caught(|| library.difference_from_transformers()).transpose(),
            });
        }
    }

    /// Runs the ONNX graphs.
    #[cfg(feature = "ort")]
    fn graphs(&mut self) {
        use kad_backends::LoadError;
        use support::graphs::{ALL, PAST, folder, open};
        // Other errors show up in every cell below.
        if let Err(error @ LoadError::NotFound { .. }) = open(&folder("llama").join(PAST.file)) {
            self.absent.push(("ort", error.to_string()));
            return;
        }
        for graphs in ALL {
            eprintln!("ort {}", graphs.what);
            let has = |family: &&str| graphs.families.contains(family);
            let check =
                |family| Some(family).filter(has).map(|family| caught(|| graphs.check(family)));
            self.rows.push(MatrixRow {
                backend: "ort",
                dtype: graphs.what.to_owned(),
                cells: FAMILIES.map(check).into(),
                transformers: None,
            });
        }
    }

    #[cfg(not(feature = "ort"))]
    fn graphs(&mut self) {}

    /// Lists the backends that are not compiled.
    fn missing(&mut self) {
        for backend in Backend::all().map(Backend::name) {
            let here = self.rows.iter().any(|row| row.backend == backend)
                || self.absent.iter().any(|(absent, _)| *absent == backend);
            if !here {
                let advice = format!("not compiled: run with --features {backend}");
                self.absent.push((backend, advice));
            }
        }
    }

    fn fails(&self) -> impl Iterator<Item = String> {
        self.rows.iter().flat_map(|row| {
            let of = move |what: &str, error: &String| {
                format!("{} {}, {what}: {error}", row.backend, row.dtype)
            };
            let cells = row.cells.iter().zip(FAMILIES).filter_map(move |(cell, family)| {
                cell.as_ref()?.as_ref().err().map(|error| of(family, error))
            });
            let last = row.transformers.iter().filter_map(|found| found.as_ref().err());
            cells.chain(last.map(move |error| of("transformers", error)))
        })
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "| backend | dtype | {} | largest logit | other passes | k tokens = k × 1 | tree mask | \
             transformers |\n|---|---|{}\n",
            FAMILIES.join(" | "),
            "---|".repeat(FAMILIES.len() + 5)
        );
        self.rows.iter().for_each(|row| text += &row.markdown());
        for (backend, advice) in &self.absent {
            text += &format!("\nNot run: {backend}: {advice}\n");
        }
        self.fails().for_each(|fail| text += &format!("\nFAILED: {fail}\n"));
        let cells = self.rows.iter().flat_map(|row| &row.cells).flatten().count();
        text + &format!("\n{cells} cells, {} failed.\n", self.fails().count())
    }

    fn json(&self) -> Json {
        let absent = |(backend, advice): &(&str, String)| json!({"backend": backend, "do": advice});
        json!({
            "rows": self.rows.iter().map(MatrixRow::json).collect::<Vec<_>>(),
            "not_run": self.absent.iter().map(absent).collect::<Vec<_>>(),
            "failed": self.fails().collect::<Vec<_>>(),
        })
    }
}

impl MatrixRow {
    fn reports(&self) -> impl Iterator<Item = &Report> {
        self.cells.iter().flatten().flatten()
    }

    fn worst(&self, of: fn(&Report) -> f64) -> f64 {
        self.reports().map(of).fold(0.0, f64::max)
    }

    fn markdown(&self) -> String {
        let cell = |cell: &Option<Cell>| match cell {
            None => "".to_owned(),
            Some(Ok(report)) => shown(report.reference),
            Some(Err(_)) => "**fails**".to_owned(),
        };
        let cells: Vec<String> = self.cells.iter().map(cell).collect();
        let same = self.reports().all(|report| report.batch_invariant);
        let trees = match self.reports().all(|report| report.trees) {
            true => shown(self.worst(|report| report.in_trees)),
            false => "no trees".to_owned(),
        };
        let transformers = match &self.transformers {
            None => "".to_owned(),
            Some(Ok(worst)) => shown(*worst),
            Some(Err(_)) => "**fails**".to_owned(),
        };
        format!(
            "| {} | {} | {} | {:.1} | {} | {} | {trees} | {transformers} |\n",
            self.backend,
            self.dtype,
            cells.join(" | "),
            self.worst(|report| report.largest),
            shown(self.worst(|report| report.passes)),
            if same { "same bits" } else { "no" },
        )
    }

    fn json(&self) -> Json {
        let cell = |(cell, family): (&Option<Cell>, &str)| match cell {
            None => None,
            Some(Ok(report)) => Some(json!({
                "family": family,
                "to_naive": report.reference,
                "other_passes": report.passes,
                "in_trees": report.trees.then_some(report.in_trees),
                "largest_logit": report.largest,
                "same_bits": report.batch_invariant,
                "rows_compared": report.rows,
            })),
            Some(Err(error)) => Some(json!({"family": family, "failed": error})),
        };
        let transformers = self.transformers.as_ref().map(|found| match found {
            Ok(worst) => json!(worst),
            Err(error) => json!({"failed": error}),
        });
        json!({
            "backend": self.backend,
            "dtype": self.dtype,
            "cells": self.cells.iter().zip(FAMILIES).filter_map(cell).collect::<Vec<_>>(),
            "to_transformers": transformers,
        })
    }
}

fn shown(difference: f64) -> String {
    if difference == 0.0 { "0".to_owned() } else { format!("{difference:.1e}") }
}
