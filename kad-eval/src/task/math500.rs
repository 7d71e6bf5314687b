//! MATH-500: five hundred problems of MATH (Hendrycks et al., arXiv 2103.03874; the selection is that
//! of Lightman et al., arXiv 2305.20050).

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::gsm8k::step_by_step;
use super::{Extractor, Frame, Grading, Item, Problem, Set, files};

/// How the KAD experiments ask for the form of the answer.
const FORM: &str = r"Present the answer in LaTex format: \boxed{Your answer}";

#[derive(Deserialize)]
struct Line {
    problem: String,
    solution: String,
    /// 1 to 5.
    #[serde(default)]
    level: Option<u64>,
}

/// The published files: `test.jsonl`, and `train.jsonl` for examples if it is there.
pub(super) fn load(data: Option<&Path>) -> Result<Set> {
    let (path, text) = files::read(data, "math500/test.jsonl")?;
    let examples = match files::read_optional(data, "math500/train.jsonl")? {
        Some((path, text)) => Some(problems(&path, &text)?),
        None => None,
    };
    Ok(Set {
        problems: problems(&path, &text)?,
        examples,
        grading: Grading::Answer(Extractor::Boxed),
        frame: Frame::QUESTION,
    })
}

fn problems(path: &Path, text: &str) -> Result<Vec<Problem>> {
    let opening = step_by_step();
    let lines = files::lines::<Line>(path, text)?.into_iter().enumerate();
    lines
        .map(|(index, (number, line))| {
            // The gold answer must be in a box: without one, all of the solution would be it.
            let boxed = line.solution.contains("\\boxed") || line.solution.contains("\\fbox");
            let gold = boxed.then(|| Extractor::Boxed.read(&line.solution, 0)).flatten();
            let gold = gold.with_context(|| {
                format!("{} line {number}: the solution has no \\boxed answer", path.display())
            })?;
            let item = Item {
                id: format!("test-{index:03}"),
                turns: vec![format!("{}\n\n{FORM}", line.problem)],
                gold,
                group: line.level.map(|level| format!("level {level}")),
                opening: opening.clone(),
                ..Item::default()
            };
            Ok(Problem { item, reply: line.solution })
        })
        .collect()
}
