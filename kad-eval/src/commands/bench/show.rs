//! The comparison as a table, as Markdown and as JSON.

use anyhow::{Result, bail};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, Table, TableStyle};
use serde::Serialize;

use super::speed::{factor, milliseconds, with_interval};
use crate::cli::BenchArgs;
use crate::failure::WrongRequest;
use crate::machine::Machine;
use crate::report;
use crate::speed::bench::{BenchResult, Estimate};
use crate::speed::profile::Profile;

#[derive(Serialize)]
struct Comparison<'a> {
    experiment: &'a str,
    machine: Machine,
    repetitions: usize,
    prompts: usize,
    /// Which prompts these are.
    which: &'a str,
    /// The first one is the baseline.
    decoders: &'a [BenchResult],
}

/// As the user wants it.
///
/// # Errors
/// If of every prompt some text ended with its first step.
pub(super) fn text(
    args: &BenchArgs,
    experiment: &str,
    results: &[BenchResult],
    which: &str,
) -> Result<String> {
    let prompts = results.first().map_or(0, |result| result.texts.len());
    if prompts == 0 {
        bail!(WrongRequest(
            "no prompt has a text of every decoder that goes on behind the step which read the \
             prompt: ask for more with `--tokens`"
                .to_owned()
        ));
    }
    if args.json {
        let (machine, repetitions) = (Machine::here(), args.reps);
        let comparison =
            Comparison { experiment, machine, repetitions, prompts, which, decoders: results };
        return Ok(serde_json::to_string_pretty(&comparison)?);
    }
    let style = if args.markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED };
    let head = format!("{experiment}: {}", setting(args, prompts, which).join("; "));
    let words: Vec<String> = results.iter().filter_map(in_words).collect();
    let gap = if args.markdown { "\n\n" } else { "\n" };
    Ok([head, table(results, style).to_string(), words.join(gap)].join(gap))
}

/// What was measured, and on what.
fn setting(args: &BenchArgs, prompts: usize, which: &str) -> [String; 4] {
    let machine = Machine::here();
    [
        format!("{prompts} prompts × {} repetitions, up to {} tokens", args.reps, args.tokens),
        which.to_owned(),
        format!("{}, {} threads", machine.cpu, machine.threads),
        "intervals 95 %, steps that read a prompt not timed".to_owned(),
    ]
}

/// The comparison as a page.
///
/// # Errors
/// If a chart cannot be drawn or the template fails.
pub(super) fn page(
    args: &BenchArgs,
    experiment: &str,
    results: &[BenchResult],
    which: &str,
    profile: Option<&Profile>,
) -> Result<String> {
    let prompts = results.first().map_or(0, |result| result.texts.len());
    let setting = setting(args, prompts, which);
    report::bench_html(&report::Bench { name: experiment, setting: &setting, results, profile })
}

const HEADER: [&str; 8] = [
    "decoder",
    "predicted ms/token",
    "measured ms/token",
    "predicted ÷ measured",
    "Lemma 3.1 ÷ measured",
    "speed-up",
    "tokens/s",
    "engine %",
];

fn table(results: &[BenchResult], style: TableStyle) -> Table {
    let mut table = Table::new();
    table.load_style(style);
    table.set_header(HEADER);
    for result in results {
        let none = || "–".to_owned();
        let number = |value: f64| format!("{value:.2}");
        let numbers = [
            result.predicted.as_ref().map_or_else(none, |predicted| {
                let (value, ends) = (predicted.milliseconds_per_token, predicted.interval);
                with_interval(value, ends.low, ends.high, milliseconds)
            }),
            with_interval(
                result.milliseconds_per_token,
                result.interval.low,
                result.interval.high,
                milliseconds,
            ),
            result.predicted_over_measured.as_ref().map_or_else(none, |e| estimate(e, number)),
            result.lemma_over_measured.map_or_else(none, number),
            result.speedup.as_ref().map_or_else(|| "baseline".to_owned(), |e| estimate(e, factor)),
            format!("{:.1}", result.tokens_per_second),
            format!("{:.1}", result.overhead_percent),
        ];
        let numbers = numbers.map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(&result.name)).chain(numbers));
    }
    table
}

fn estimate(estimate: &Estimate, number: fn(f64) -> String) -> String {
    with_interval(estimate.value, estimate.interval.low, estimate.interval.high, number)
}

/// What the comparison with the baseline says; None for the baseline itself.
fn in_words(result: &BenchResult) -> Option<String> {
    let speedup = result.speedup.as_ref()?;
    let texts = result.same_text.map_or(String::new(), |same| format!("; {same}"));
    Some(format!("{}: {} ({}){texts}", result.name, result.verdict(), estimate(speedup, factor)))
}
