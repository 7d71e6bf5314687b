//! GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, zero-shot chain of thought.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::{Extractor, Grading, HubFiles, Item, Opening, SolvedItem, TaskKind, TaskSet};

pub(super) static KIND: TaskKind = TaskKind {
    name: "gsm8k",
    measures: "grade-school word problems, steps and a number",
    metric: "accuracy",
    items: 1319,
    file: Some("test.jsonl"),
    examples: Some("train.jsonl"),
    hub: Some(HubFiles { path: "openai/gsm8k/main", splits: &["test", "train"] }),
    licence: "MIT",
    source: "github.com/openai/grade-school-math (grade_school_math/data)",
    keys: "",
    sets: |_| {
        let grading = Grading::Answer(Extractor::Number);
        Ok(vec![TaskSet::new((), grading, |(), options| KIND.load(options, item))])
    },
};

/// The opening of every item in the KAD experiments (Hammal et al., their `configs/tasks.py`): a
/// system message.
pub(super) fn step_by_step() -> Arc<Opening> {
    let system = "Answer the question by walking through the reasoning step by step.";
    Arc::new(Opening { system: Some(system.to_owned()), shots: Vec::new() })
}

#[derive(Deserialize)]
struct Gsm8kRow {
    question: String,
    /// Steps, `####` and the number.
    answer: String,
}

fn item(split: &str, index: usize, row: Gsm8kRow) -> Result<SolvedItem> {
    let (steps, gold) = steps_and_gold(&row.answer).context("the answer has no `#### number`")?;
    let reply = format!("{steps}\nThe answer is {gold}.");
    let id = format!("{split}-{index:04}");
    let (turns, opening) = (vec![row.question], step_by_step());
    Ok(SolvedItem { item: Item { id, turns, gold, opening, ..Item::default() }, reply })
}

/// `<<16-3-4=9>>`: an annotation for a calculator.
static CALCULATOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<<[^>]*>>").expect("the pattern is a constant"));

/// The steps before `####`, and the number after it.
fn steps_and_gold(answer: &str) -> Option<(String, String)> {
    let (steps, gold) = answer.rsplit_once("####")?;
    let steps = CALCULATOR.replace_all(steps.trim(), "").into_owned();
    Some((steps, Extractor::Number.gold(gold)?))
}
