//! MATH-500: five hundred problems of MATH (Hendrycks et al., arXiv 2103.03874), selected by
//! Lightman et al. (arXiv 2305.20050).

use anyhow::{Context, Result};
use serde::Deserialize;

use super::gsm8k::step_by_step;
use super::{Extractor, Grading, HubFiles, Item, SolvedItem, TaskKind, TaskSet};

pub(super) static KIND: TaskKind = TaskKind {
    name: "math500",
    measures: "competition mathematics, a formula in a box",
    metric: "accuracy",
    items: 500,
    file: Some("test.jsonl"),
    examples: Some("train.jsonl"),
    hub: Some(HubFiles { path: "HuggingFaceH4/MATH-500", splits: &["test"] }),
    licence: "MIT",
    source: "the hub's HuggingFaceH4/MATH-500, split test",
    keys: "",
    sets: |_| {
        let grading = Grading::Answer(Extractor::Boxed);
        Ok(vec![TaskSet::new((), grading, |(), options| KIND.load(options, item))])
    },
};

/// The request for a box in the KAD experiments, word for word.
const BOX: &str = r"Present the answer in LaTex format: \boxed{Your answer}";

#[derive(Deserialize)]
struct Math500Row {
    problem: String,
    solution: String,
    /// 1 to 5.
    #[serde(default)]
    level: Option<u64>,
}

fn item(_: &str, index: usize, row: Math500Row) -> Result<SolvedItem> {
    // Without a box, the gold answer would be the whole solution.
    let boxed = row.solution.contains("\\boxed") || row.solution.contains("\\fbox");
    let gold = boxed.then(|| Extractor::Boxed.read(&row.solution, 0)).flatten();
    let item = Item {
        id: format!("test-{index:03}"),
        turns: vec![format!("{}\n\n{BOX}", row.problem)],
        gold: gold.context("the solution has no \\boxed answer")?,
        group: row.level.map(|level| format!("level {level}")),
        opening: step_by_step(),
        ..Item::default()
    };
    Ok(SolvedItem { item, reply: row.solution })
}
