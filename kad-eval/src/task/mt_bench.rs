//! MT-bench (Zheng et al., arXiv 2306.05685): conversations of two turns, for measuring speed.
//! Replies are not graded.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Grading, HubFiles, Item, LoadOptions, LoadedItems, SolvedItem, TaskKind, TaskSet, parts,
};
use crate::toml_table::{ConfigError, Table};

pub(super) static KIND: TaskKind = TaskKind {
    name: "mt_bench",
    measures: "speed on conversations of two turns",
    metric: "speed",
    items: 80,
    file: Some("question.jsonl"),
    examples: None,
    hub: Some(HubFiles { path: "HuggingFaceH4/mt_bench_prompts/data", splits: &["train"] }),
    licence: "Apache-2.0",
    source: "github.com/lm-sys/FastChat (fastchat/llm_judge/data/mt_bench)",
    keys: "category = NAME or a list",
    sets: |table| sets(table, &KIND, "category", &CATEGORIES, |category| category),
};

const CATEGORIES: [&str; 8] =
    ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"];

#[derive(Deserialize)]
struct ConversationRow {
    /// The hub's MT-bench has its own numbers for the same questions, and other names of fields.
    #[serde(alias = "prompt_id")]
    question_id: u64,
    category: String,
    #[serde(alias = "prompt")]
    turns: Vec<String>,
}

/// The sets of a kind whose file has MT-bench's format: one for each of the parts `names` that the
/// key `key` names, or one of all of them. `part_of` gives the part of a category.
pub(super) fn sets(
    table: &Table<'_>,
    kind: &'static TaskKind,
    key: &'static str,
    names: &'static [&'static str],
    part_of: fn(&str) -> &str,
) -> Result<Vec<TaskSet>, ConfigError> {
    let set = |part: Option<String>| {
        let of = part.clone();
        let load = move |_: &Value, options: LoadOptions<'_>| {
            let loaded = kind.load(options, |_, _, row| item(row, part_of))?;
            let items = parts::select(kind.name, loaded.items, of.as_deref(), names)?;
            Ok(LoadedItems { items, examples: None })
        };
        let set = TaskSet::new(json!({ key: part }), Grading::Speed, load);
        TaskSet { part, ..set }
    };
    Ok(parts::read(table, key, names)?.into_iter().map(set).collect())
}

fn item(row: ConversationRow, part_of: fn(&str) -> &str) -> Result<SolvedItem> {
    ensure!(!row.turns.is_empty(), "`turns` is empty");
    let id = format!("{}-{}", row.category, row.question_id);
    let group = Some(part_of(&row.category).to_owned());
    Ok(Item { id, turns: row.turns, group, ..Item::default() }.into())
}
