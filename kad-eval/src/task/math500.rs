//! MATH-500: five hundred problems of MATH (Hendrycks et al., arXiv 2103.03874; the selection is
//! that of Lightman et al., arXiv 2305.20050).

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::files::{self, Records};
use super::gsm8k::step_by_step;
use super::{Extractor, Frame, Grading, Item, Problem, Set};

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
    Ok(Set {
        problems: problems(files::records(data, "math500/test.jsonl")?)?,
        examples: files::optional(data, "math500/train.jsonl")?.map(problems).transpose()?,
        grading: Grading::Answer(Extractor::Boxed),
        frame: Frame::QUESTION,
    })
}

fn problems(lines: Records<Line>) -> Result<Vec<Problem>> {
    let opening = step_by_step();
    let lines = lines.into_iter().enumerate();
    lines
        .map(|(index, (at, line))| {
            // The gold answer must be in a box: without one, all of the solution would be it.
            let boxed = line.solution.contains("\\boxed") || line.solution.contains("\\fbox");
            let gold = boxed.then(|| Extractor::Boxed.read(&line.solution, 0)).flatten();
            let gold = gold.with_context(|| format!("{at}: the solution has no \\boxed answer"))?;
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
