//! GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, zero-shot chain of thought.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::{Extractor, Frame, Grading, Item, Opening, Problem, Set, files};

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
    let (path, text) = files::read(data, "gsm8k/test.jsonl")?;
    let examples = match files::read_optional(data, "gsm8k/train.jsonl")? {
        Some((path, text)) => Some(problems(&path, &text, "train")?),
        None => None,
    };
    Ok(Set {
        problems: problems(&path, &text, "test")?,
        examples,
        grading: Grading::Answer(Extractor::Number),
        frame: Frame::QUESTION,
    })
}

fn problems(path: &Path, text: &str, split: &str) -> Result<Vec<Problem>> {
    let opening = step_by_step();
    let lines = files::lines::<Line>(path, text)?.into_iter().enumerate();
    lines
        .map(|(index, (number, line))| {
            let (steps, gold) = parts(&line.answer).with_context(|| {
                format!("{} line {number}: the answer has no `#### number`", path.display())
            })?;
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
