//! Spec-Bench (Xia et al., arXiv 2401.07851): prompts of six kinds, for measuring speed. Its file
//! has MT-bench's format, and MT-bench is one of its parts.

use super::{TaskKind, mt_bench};

pub(super) static KIND: TaskKind = TaskKind {
    name: "spec_bench",
    measures: "speed on prompts of six kinds, some of two turns",
    metric: "speed",
    items: 480,
    file: Some("question.jsonl"),
    examples: None,
    hub: None,
    licence: "Apache-2.0",
    source: "github.com/hemingkx/Spec-Bench (data/spec_bench)",
    keys: "part = NAME or a list",
    sets: |table| mt_bench::sets(table, &KIND, "part", &PARTS, part_of),
};

const PARTS: [&str; 6] =
    ["mt_bench", "translation", "summarization", "qa", "math_reasoning", "rag"];

/// The part of a category: the eight categories of MT-bench are one part.
fn part_of(category: &str) -> &str {
    if PARTS.contains(&category) { category } else { "mt_bench" }
}
