//! Results of a benchmark as a table, Markdown, JSON or a page.

use anyhow::{Result, bail};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Table, TableStyle};
use serde::Serialize;

use super::shared::{factor, milliseconds, number_row, number_table, with_interval};
use crate::cli::BenchArgs;
use crate::failure::WrongRequest;
use crate::machine::Machine;
use crate::numbers::{Interval, NONE, counted};
use crate::report;
use crate::speed::bench::{BenchResult, Ratio};
use crate::speed::profile::Profile;

#[derive(Serialize)]
struct BenchJson<'a> {
    experiment: &'a str,
    machine: Machine,
    repetitions: usize,
    prompts: usize,
    /// Description of the prompts.
    which: &'a str,
    /// The first one is the baseline.
    decoders: &'a [BenchResult],
}

/// The results in the requested format. Fails if for every prompt some text ended with its first
/// step.
pub(super) fn text(
    args: &BenchArgs,
    experiment: &str,
    results: &[BenchResult],
    which: &str,
) -> Result<String> {
    let prompts = results.first().map_or(0, BenchResult::prompts);
    if prompts == 0 {
        bail!(WrongRequest(
            "for every prompt some decoder ended with the step that read the prompt: ask for more \
             with `--tokens` or `--prompts`"
                .to_owned()
        ));
    }
    if args.json {
        let (machine, repetitions) = (Machine::here(), args.reps);
        let json =
            BenchJson { experiment, machine, repetitions, prompts, which, decoders: results };
        return Ok(serde_json::to_string_pretty(&json)?);
    }
    let style = if args.markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED };
    let head = format!("{experiment}: {}", setting(args, prompts, which).join("; "));
    let words: Vec<String> = results.iter().filter_map(in_words).collect();
    let gap = if args.markdown { "\n\n" } else { "\n" };
    Ok([head, table(results, style).to_string(), words.join(gap)].join(gap))
}

/// Size and conditions of the measurement, a line each.
fn setting(args: &BenchArgs, prompts: usize, which: &str) -> [String; 4] {
    let machine = Machine::here();
    [
        format!(
            "{} × {}, up to {}",
            counted(prompts, "prompt"),
            counted(args.reps, "repetition"),
            counted(args.tokens, "token")
        ),
        which.to_owned(),
        format!("{}, {}", machine.cpu, counted(machine.threads, "thread")),
        "95 % intervals; steps that read a prompt are not timed".to_owned(),
    ]
}

/// The results as a page.
pub(super) fn page(
    args: &BenchArgs,
    experiment: &str,
    results: &[BenchResult],
    which: &str,
    profile: Option<&Profile>,
) -> Result<String> {
    let prompts = results.first().map_or(0, BenchResult::prompts);
    let setting = setting(args, prompts, which);
    report::bench_html(experiment, &setting, results, profile)
}

const HEADER: [&str; 8] = [
    "decoder",
    "predicted ms/token",
    "measured ms/token",
    "predicted ÷ measured",
    "Lemma 3.1 ÷ measured",
    "speed-up",
    "tokens/s",
    "overhead %",
];

fn table(results: &[BenchResult], style: TableStyle) -> Table {
    let row = |result: &BenchResult| {
        let none = || NONE.to_owned();
        let number = |value: f64| format!("{value:.2}");
        let Interval { low, high } = result.interval;
        let numbers = [
            result.predicted.as_ref().map_or_else(none, |predicted| {
                let (value, ends) = (predicted.milliseconds_per_token, predicted.interval);
                with_interval(value, ends.low, ends.high, milliseconds)
            }),
            with_interval(result.milliseconds_per_token, low, high, milliseconds),
            result.predicted_over_measured.as_ref().map_or_else(none, |e| estimate(e, number)),
            result.lemma_over_measured.map_or_else(none, number),
            result.speedup.as_ref().map_or_else(|| "baseline".to_owned(), |e| estimate(e, factor)),
            format!("{:.1}", result.tokens_per_second),
            format!("{:.1}", result.overhead_percent),
        ];
        number_row(&result.name, numbers)
    };
    number_table(style, &HEADER, results.iter().map(row))
}

fn estimate(estimate: &Ratio, number: fn(f64) -> String) -> String {
    with_interval(estimate.value, estimate.interval.low, estimate.interval.high, number)
}

/// The comparison with the baseline; `None` for the baseline itself.
fn in_words(result: &BenchResult) -> Option<String> {
    let speedup = result.speedup.as_ref()?;
    let texts = result.same_text.map_or(String::new(), |same| format!("; {same}"));
    Some(format!("{}: {} ({}){texts}", result.name, result.verdict(), estimate(speedup, factor)))
}
