//! HumanEval (Chen et al., arXiv 2107.03374): heads of Python functions, for measuring speed.
//! Nothing that a model writes is run.

use anyhow::Result;
use serde::Deserialize;

use super::{Grading, HubFiles, Item, PlainFormat, SolvedItem, TaskKind, TaskSet};

pub(super) static KIND: TaskKind = TaskKind {
    name: "humaneval",
    measures: "speed on heads of Python functions; nothing is run",
    metric: "speed",
    items: 164,
    file: Some("HumanEval.jsonl"),
    examples: None,
    hub: Some(HubFiles { path: "openai/openai_humaneval/openai_humaneval", splits: &["test"] }),
    licence: "MIT",
    source: "github.com/openai/human-eval (data, unpacked)",
    keys: "",
    sets: |_| {
        let set = TaskSet::new((), Grading::Speed, |(), options| KIND.load(options, item));
        // The head of the function is itself the beginning of a plain text.
        Ok(vec![TaskSet { plain: PlainFormat::NONE, ..set }])
    },
};

#[derive(Deserialize)]
struct HumanEvalRow {
    task_id: String,
    prompt: String,
}

fn item(_: &str, _: usize, row: HumanEvalRow) -> Result<SolvedItem> {
    Ok(Item { id: row.task_id, turns: vec![row.prompt], ..Item::default() }.into())
}
