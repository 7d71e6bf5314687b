//! Spec-Bench (Xia et al., arXiv 2401.07851) and MT-bench (Zheng et al., arXiv 2306.05685):
//! conversations of one or two turns, for measuring speed. What the models answer is not judged.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::files::{self, Records};
use super::{Frame, Grading, Item, Problem, Set, order};

/// Parts of Spec-Bench, as it names them; `mt_bench` holds eight categories.
pub(crate) const SPEC_BENCH_PARTS: [&str; 6] =
    ["mt_bench", "translation", "summarization", "qa", "math_reasoning", "rag"];

/// Categories of MT-bench.
pub(crate) const MT_BENCH_CATEGORIES: [&str; 8] =
    ["writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities"];

#[derive(Deserialize)]
struct Line {
    /// The hub's MT-bench has numbers of its own for the same questions, and other names.
    #[serde(alias = "prompt_id")]
    question_id: u64,
    category: String,
    #[serde(alias = "prompt")]
    turns: Vec<String>,
}

impl Line {
    fn id(&self) -> String {
        format!("{}-{}", self.category, self.question_id)
    }
}

/// The published file of Spec-Bench: one part, or all of them in turn, so that the first few items
/// are of every kind.
pub(super) fn spec_bench(part: Option<&str>, data: Option<&Path>) -> Result<Set> {
    let index =
        |category: &str| SPEC_BENCH_PARTS.iter().position(|part| *part == category).unwrap_or(0);
    load(data, "spec_bench/question.jsonl", part, &SPEC_BENCH_PARTS, index)
}

/// The published file of MT-bench: one category, or all of them in turn.
pub(super) fn mt_bench(category: Option<&str>, data: Option<&Path>) -> Result<Set> {
    let index = |found: &str| {
        let known = MT_BENCH_CATEGORIES.iter().position(|category| *category == found);
        known.unwrap_or(MT_BENCH_CATEGORIES.len())
    };
    load(data, "mt_bench/question.jsonl", category, &MT_BENCH_CATEGORIES, index)
}

/// The conversations of `part`, or of all, of the parts that `index` finds by category.
fn load(
    data: Option<&Path>,
    file: &str,
    part: Option<&str>,
    parts: &[&str],
    index: impl Fn(&str) -> usize,
) -> Result<Set> {
    let lines: Records<Line> = files::records(data, file)?;
    files::distinct(&lines, Line::id)?;
    let (count, mut problems) = (lines.len(), Vec::new());
    for (at, line) in lines {
        if line.turns.is_empty() {
            bail!("{at}: `turns` is empty");
        }
        let own = parts.get(index(&line.category)).copied();
        if part.is_some_and(|part| own != Some(part)) {
            continue;
        }
        let id = line.id();
        let group = Some(own.unwrap_or(&line.category).to_owned());
        let item = Item { id, turns: line.turns, group, ..Item::default() };
        problems.push(Problem { item, reply: String::new() });
    }
    if let (Some(part), true) = (part, problems.is_empty()) {
        bail!("{file} has no item of {part} among its {count}: fetch it again");
    }
    let of = |problem: &Problem| index(problem.item.id.rsplit_once('-').map_or("", |(c, _)| c));
    let problems = order::in_turn(problems, of);
    Ok(Set { problems, examples: None, grading: Grading::Speed, frame: Frame::QUESTION })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_take_turns_and_conversations_keep_theirs() {
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
            let set = spec_bench(part, Some(data.path())).unwrap();
            set.problems.into_iter().map(|p| (p.item.id, p.item.turns.join("|"))).collect()
        };
        let pair = |id: &str, prompt: &str| (id.to_owned(), prompt.to_owned());
        let all = [pair("writing-81", "a|b"), pair("qa-7", "d"), pair("coding-82", "c")];
        assert_eq!(items(None), all);
        assert_eq!(items(Some("qa")), all[1..2]);
        let failed = |part| spec_bench(part, Some(data.path())).err().unwrap().to_string();
        assert!(failed(Some("rag")).contains("no item of rag"));
        std::fs::write(&file, r#"{"question_id": 1, "category": "qa", "turns": []}"#).unwrap();
        assert!(failed(None).contains("line 1: `turns` is empty"));
    }
}
