//! CommonsenseQA (Talmor et al., arXiv 1811.00937): questions about everyday life, in files of
//! ARC's format.

use super::{HubFiles, TaskKind, arc_challenge, multiple_choice};

pub(super) static KIND: TaskKind = TaskKind {
    name: "commonsense_qa",
    measures: "everyday knowledge, multiple choice",
    metric: "accuracy",
    items: 1221,
    file: Some("validation.jsonl"),
    examples: Some("train.jsonl"),
    hub: Some(HubFiles { path: "tau/commonsense_qa/data", splits: &["validation", "train"] }),
    licence: "MIT",
    source: "the hub's tau/commonsense_qa, split validation",
    keys: multiple_choice::KEYS,
    sets: |table| arc_challenge::sets(table, &KIND, "everyday life"),
};
