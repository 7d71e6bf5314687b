//! Spec-Bench (Xia et al., arXiv 2401.07851): prompts of six kinds, for measuring speed. What the models
//! answer is not judged.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Item, Task, data_file, read_lines};

/// Its parts, as the benchmark names them; `mt_bench` holds eight categories.
pub(crate) const PARTS: [&str; 6] =
    ["mt_bench", "translation", "summarization", "qa", "math_reasoning", "rag"];

#[derive(Deserialize)]
struct Line {
    question_id: u64,
    category: String,
    turns: Vec<String>,
}

/// The published file, `spec_bench/question.jsonl` in the data folder: of one part, or of all of
/// them in turn, so that the first few items are of every kind. Of conversations the first turn is
/// asked.
pub(super) fn load(part: Option<&str>, data: Option<&Path>) -> Result<Task> {
    let path = data_file(data, "spec_bench/question.jsonl")?;
    let mut parts: BTreeMap<usize, Vec<Item>> = BTreeMap::new();
    for (number, line) in read_lines::<Line>(&path)? {
        let Some(prompt) = line.turns.into_iter().next() else {
            bail!("{} line {number}: `turns` is empty", path.display());
        };
        let index = PARTS.iter().position(|part| *part == line.category).unwrap_or(0);
        if part.is_none_or(|part| part == PARTS[index]) {
            let id = format!("{}-{}", line.category, line.question_id);
            parts.entry(index).or_default().push(Item { id, prompt, gold: String::new() });
        }
    }
    let longest = parts.values().map(Vec::len).max().with_context(|| {
        format!("{} has no item of {}", path.display(), part.unwrap_or("any part"))
    })?;
    let in_turn = (0..longest).flat_map(|i| parts.values().filter_map(move |part| part.get(i)));
    Ok(Task {
        name: String::new(),
        system: None,
        items: in_turn.cloned().collect(),
        extract: |_| None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_turns_and_only_first_turns_are_asked() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("spec_bench")).unwrap();
        let lines = [
            r#"{"question_id": 81, "category": "writing", "turns": ["a", "b"]}"#,
            r#"{"question_id": 82, "category": "coding", "turns": ["c"]}"#,
            r#"{"question_id": 7, "category": "qa", "turns": ["d"], "reference": []}"#,
        ];
        let file = data.path().join("spec_bench/question.jsonl");
        std::fs::write(&file, lines.join("\n")).unwrap();
        let items = |part| -> Vec<(String, String)> {
            let task = load(part, Some(data.path())).unwrap();
            task.items.into_iter().map(|item| (item.id, item.prompt)).collect()
        };
        let pair = |id: &str, prompt: &str| (id.to_owned(), prompt.to_owned());
        let all = [pair("writing-81", "a"), pair("qa-7", "d"), pair("coding-82", "c")];
        assert_eq!(items(None), all);
        assert_eq!(items(Some("qa")), all[1..2]);
        let error = load(Some("rag"), Some(data.path())).unwrap_err().to_string();
        assert!(error.contains("no item of rag"), "{error}");
        std::fs::write(&file, r#"{"question_id": 1, "category": "qa", "turns": []}"#).unwrap();
        let error = load(None, Some(data.path())).unwrap_err().to_string();
        assert!(error.contains("line 1: `turns` is empty"), "{error}");
    }
}
