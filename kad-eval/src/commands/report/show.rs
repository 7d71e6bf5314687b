//! Runs as a table, as Markdown, CSV and JSON.

use anyhow::{Result, bail};
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_FULL_CONDENSED};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde::Serialize;
use serde_json::Value;

use super::Run;
use crate::cli::ReportArgs;
use crate::compare::{Change, Pair, changes, pairs};
use crate::failure::WrongRequest;
use crate::summary::Arm;
use crate::table;

/// As the user wants it.
///
/// # Errors
/// If numbers cannot be written.
pub(super) fn text(args: &ReportArgs, runs: &[Run]) -> Result<String> {
    if args.csv {
        return csv(runs);
    }
    match runs {
        [] => bail!(WrongRequest("name at least one run".to_owned())),
        [run] if args.json => json(&run.summary),
        [run] if args.markdown => Ok(table::markdown(&run.summary) + "\n"),
        [run] => Ok(table::render(&run.summary) + "\n"),
        [first, others @ ..] => {
            let each: Vec<Comparison> = others.iter().map(|it| Comparison::of(first, it)).collect();
            if args.json {
                return json(&each);
            }
            let texts: Vec<String> = each.iter().map(|it| it.text(args.markdown)).collect();
            Ok(texts.join("\n"))
        }
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// One line per decoder and task; models have columns of their own.
fn csv(runs: &[Run]) -> Result<String> {
    let mut models: Vec<&str> = Vec::new();
    let arms = || runs.iter().flat_map(|run| run.summary.arms.iter().map(move |arm| (run, arm)));
    for model in arms().flat_map(|(_, arm)| arm.passes_per_token.keys()) {
        if !models.contains(&model.as_str()) {
            models.push(model);
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let passes = models.iter().map(|model| format!("passes_per_token:{model}"));
    writer.write_record(COLUMNS.iter().map(|name| (*name).to_owned()).chain(passes))?;
    for (run, arm) in arms() {
        let per_model =
            models.iter().map(|model| number(arm.passes_per_token.get(*model).copied()));
        writer.write_record(row(run, arm).into_iter().chain(per_model))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

const COLUMNS: [&str; 27] = [
    "run",
    "run_id",
    "complete",
    "task",
    "decoder",
    "law",
    "exact",
    "items",
    "correct",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "answered",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "p_adjusted",
    "deferral_mass",
    "deferral_rate",
    "acceptance_rate",
    "acceptance_length",
    "new_tokens",
    "tokens_per_item",
    "tokens_per_second",
    "tokens_per_second_low",
    "tokens_per_second_high",
];

/// What is not there is empty.
fn number(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or(String::new(), |value| value.to_string())
}

fn row(run: &Run, arm: &Arm) -> [String; 27] {
    let (some, difference) = (|value: f64| number(Some(value)), arm.difference.as_ref());
    let of_difference = |get: fn(&crate::summary::Difference) -> f64| number(difference.map(get));
    [
        run.summary.name.clone(),
        run.summary.run_id.clone(),
        run.summary.complete.to_string(),
        arm.task.clone(),
        arm.decoder.clone(),
        arm.law.clone(),
        arm.exact.to_string(),
        arm.items.to_string(),
        arm.correct.to_string(),
        some(arm.accuracy),
        some(arm.accuracy_interval.low),
        some(arm.accuracy_interval.high),
        some(arm.answered),
        of_difference(|it| it.mean),
        of_difference(|it| it.interval.low),
        of_difference(|it| it.interval.high),
        of_difference(|it| it.p_value),
        of_difference(|it| it.p_adjusted),
        number(arm.deferral_mass),
        number(arm.deferral_rate),
        number(arm.drafting.as_ref().map(|it| it.acceptance_rate)),
        number(arm.drafting.as_ref().map(|it| it.acceptance_length)),
        arm.new_tokens.to_string(),
        some(arm.tokens_per_item),
        some(arm.tokens_per_second),
        some(arm.tokens_per_second_interval.low),
        some(arm.tokens_per_second_interval.high),
    ]
}

/// A run against the first one.
#[derive(Serialize)]
struct Comparison<'r> {
    first: String,
    second: String,
    /// What differs in their plans.
    plan: Vec<Change>,
    decoders: Vec<Pair<'r>>,
}

impl<'r> Comparison<'r> {
    fn of(first: &'r Run, second: &'r Run) -> Self {
        Self {
            first: first.folder.display().to_string(),
            second: second.folder.display().to_string(),
            plan: changes(&first.plan, &second.plan),
            decoders: pairs([&first.summary, &second.summary], [&first.records, &second.records]),
        }
    }

    fn text(&self, markdown: bool) -> String {
        let gap = if markdown { "\n\n" } else { "\n" };
        let style = if markdown { ASCII_MARKDOWN } else { UTF8_FULL_CONDENSED };
        let mut parts = vec![format!("A: {}\nB: {}", self.first, self.second)];
        if self.plan.is_empty() {
            parts.push("their plans are the same".to_owned());
        } else {
            let mut table = Table::new();
            table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
            table.set_header(["differs in the plan", "A", "B"]);
            let shown = |value: &Option<Value>| value.as_ref().map_or("–".into(), Value::to_string);
            for Change { key, first, second } in &self.plan {
                table.add_row([key.clone(), shown(first), shown(second)]);
            }
            parts.push(table.to_string());
        }
        let mut table = Table::new();
        table.load_style(style).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(HEADER);
        for pair in &self.decoders {
            let cells = cells(pair).into_iter().enumerate().map(|(column, text)| {
                let side = if column < 2 { CellAlignment::Left } else { CellAlignment::Right };
                Cell::new(text).set_alignment(side)
            });
            table.add_row(cells);
        }
        parts.push(table.to_string());
        parts.push(EXPLAINED.to_owned() + "\n");
        parts.join(gap)
    }
}

const HEADER: [&str; 9] =
    ["task", "decoder", "A %", "B %", "B − A", "p", "A tok/s", "B tok/s", "B ÷ A"];

const EXPLAINED: &str = "B − A: points on the items both finished, [95 %, paired bootstrap]; p: exact \
McNemar test, adjusted for all decoders of a task (Holm); speeds of two runs also differ by what \
else the machines did";

fn cells(pair: &Pair<'_>) -> [String; 9] {
    let none = || "–".to_owned();
    let percent = |arm: Option<&Arm>| {
        let accuracy = arm.map(|arm| arm.accuracy).filter(|accuracy| !accuracy.is_nan());
        accuracy.map_or_else(none, |accuracy| format!("{:.1}", 100.0 * accuracy))
    };
    let speed =
        |arm: Option<&Arm>| arm.map_or_else(none, |arm| format!("{:.0}", arm.tokens_per_second));
    [
        pair.task.to_owned(),
        pair.decoder.to_owned(),
        percent(pair.first),
        percent(pair.second),
        pair.difference.map_or_else(none, |d| {
            let points = |share: f64| 100.0 * share;
            let (low, high) = (points(d.interval.low), points(d.interval.high));
            format!("{:+.1} [{low:+.1}, {high:+.1}]", points(d.mean))
        }),
        pair.difference.map_or_else(none, |d| format!("{:.3}", d.p_adjusted)),
        speed(pair.first),
        speed(pair.second),
        pair.speed.map_or_else(none, |it| {
            format!("{:.2} [{:.2}, {:.2}]", it.value, it.interval.low, it.interval.high)
        }),
    ]
}
