//! SVAMP (Patel et al., arXiv 2103.07191): word problems that differ in what is asked.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;

use super::gsm8k::step_by_step;
use super::{Extractor, Frame, Grading, Item, Problem, Set, files};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    body: String,
    question: String,
    equation: String,
    answer: f64,
    #[serde(rename = "Type")]
    kind: String,
}

/// The published file, `SVAMP.json`: all 1,000 problems. (The hub's `ChilleD/SVAMP` has 300 of them in
/// its test split.)
pub(super) fn load(data: Option<&Path>) -> Result<Set> {
    let (path, text) = files::read(data, "svamp/SVAMP.json")?;
    let entries: Vec<Entry> = files::json(&path, &text)?;
    if entries.is_empty() {
        bail!("{} holds no items", path.display());
    }
    Ok(Set {
        problems: entries.into_iter().map(problem).collect(),
        examples: None,
        grading: Grading::Answer(Extractor::Number),
        frame: Frame::QUESTION,
    })
}

fn problem(entry: Entry) -> Problem {
    let number = |text: &str| Extractor::Number.gold(text).unwrap_or_default();
    let gold = number(&entry.answer.to_string());
    let sum: Vec<String> = entry
        .equation
        .split_whitespace()
        .map(|part| if part.parse::<f64>().is_ok() { number(part) } else { part.to_owned() })
        .collect();
    let sum = sum.join(" ");
    // One pair of parentheses around all of it says nothing.
    let bare = sum.strip_prefix("( ").and_then(|rest| rest.strip_suffix(" )"));
    let bare = bare.filter(|inside| !inside.contains(['(', ')']));
    let item = Item {
        id: entry.id,
        turns: vec![format!("{} {}", entry.body.trim(), entry.question.trim())],
        gold: gold.clone(),
        group: Some(entry.kind),
        opening: step_by_step(),
        ..Item::default()
    };
    Problem { item, reply: format!("{} = {gold}. The answer is {gold}.", bare.unwrap_or(&sum)) }
}
