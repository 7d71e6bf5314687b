//! GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, zero-shot chain of thought.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::files::{self, Records};
use super::{Extractor, Frame, Grading, Item, Opening, Problem, Set};

/// The system prompt of the KAD experiments (Hammal et al., their `configs/tasks.py`).
pub(super) const STEP_BY_STEP: &str =
    "Answer the question by walking through the reasoning step by step.";

/// The opening of every item of the KAD experiments.
pub(super) fn step_by_step() -> Arc<Opening> {
    Arc::new(Opening { system: Some(STEP_BY_STEP.to_owned()), shots: Vec::new() })
}

/// `<<16-3-4=9>>`: what the published answers have for a calculator.
static CALCULATOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<<[^>]*>>").expect("the pattern is a constant"));

#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
}

/// The published files: `test.jsonl`, and `train.jsonl` for examples if it is there.
pub(super) fn load(data: Option<&Path>) -> Result<Set> {
    let examples = files::optional(data, "gsm8k/train.jsonl")?;
    Ok(Set {
        problems: problems(files::records(data, "gsm8k/test.jsonl")?, "test")?,
        examples: examples.map(|lines| problems(lines, "train")).transpose()?,
        grading: Grading::Answer(Extractor::Number),
        frame: Frame::QUESTION,
    })
}

fn problems(lines: Records<Line>, split: &str) -> Result<Vec<Problem>> {
    let opening = step_by_step();
    let lines = lines.into_iter().enumerate();
    lines
        .map(|(index, (at, line))| {
            let parts = parts(&line.answer);
            let (steps, gold) =
                parts.with_context(|| format!("{at}: the answer has no `#### number`"))?;
            let reply = format!("{steps}\nThe answer is {gold}.");
            let id = format!("{split}-{index:04}");
            let (turns, opening) = (vec![line.question], opening.clone());
            Ok(Problem { item: Item { id, turns, gold, opening, ..Item::default() }, reply })
        })
        .collect()
}

/// The steps before `####`, and the number after it.
fn parts(answer: &str) -> Option<(String, String)> {
    let (steps, gold) = answer.rsplit_once("####")?;
    let steps = CALCULATOR.replace_all(steps.trim(), "").into_owned();
    Some((steps, Extractor::Number.gold(gold)?))
}
