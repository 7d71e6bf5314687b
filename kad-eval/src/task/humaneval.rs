//! HumanEval (Chen et al., arXiv 2107.03374): heads of Python functions, for measuring speed.
//! Nothing that a model writes is run.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::files::{self, Records};
use super::{Frame, Grading, Item, Problem, Set};

#[derive(Deserialize)]
struct Line {
    task_id: String,
    prompt: String,
}

/// The published file, unpacked: `HumanEval.jsonl`.
pub(super) fn load(data: Option<&Path>) -> Result<Set> {
    let lines: Records<Line> = files::records(data, "humaneval/HumanEval.jsonl")?;
    files::distinct(&lines, |line| line.task_id.clone())?;
    let item = |line: Line| Item { id: line.task_id, turns: vec![line.prompt], ..Item::default() };
    let problem = |line| Problem { item: item(line), reply: String::new() };
    Ok(Set {
        problems: lines.into_iter().map(|(_, line)| problem(line)).collect(),
        examples: None,
        grading: Grading::Speed,
        // In plain text the head of the function is itself the beginning.
        frame: Frame::NONE,
    })
}
