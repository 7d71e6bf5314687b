//! GSM8K (Cobbe et al., arXiv 2110.14168): grade-school word problems, zero-shot chain of thought.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::{Item, Task, data_file, extract, read_lines};

/// The system prompt of the KAD experiments (Hammal et al., their `configs/tasks.py`).
const SYSTEM: &str = "Answer the question by walking through the reasoning step by step.";

#[derive(Deserialize)]
struct Line {
    question: String,
    answer: String,
}

/// The published test file, `gsm8k/test.jsonl` in the data folder.
pub(super) fn load(data: Option<&Path>) -> Result<Task> {
    let path = data_file(data, "gsm8k/test.jsonl")?;
    let lines: Vec<(usize, Line)> = read_lines(&path)?;
    let items = lines.into_iter().enumerate().map(|(index, (number, line))| {
        let gold = gold(&line.answer).with_context(|| {
            format!("{} line {number}: the answer has no `#### number`", path.display())
        })?;
        Ok(Item { id: format!("test-{index:04}"), prompt: line.question, gold })
    });
    Ok(Task {
        name: String::new(),
        system: Some(SYSTEM),
        items: items.collect::<Result<_>>()?,
        extract: extract::last_number,
    })
}

/// The number after `####`.
fn gold(answer: &str) -> Option<String> {
    extract::last_number(answer.rsplit_once("####")?.1)
}
