//! SVAMP (Patel et al., arXiv 2103.07191): word problems that differ in what is asked.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::files::{self, At, Records};
use super::gsm8k::step_by_step;
use super::{Extractor, Frame, Grading, Item, Problem, Set};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ID")]
    id: String,
    body: String,
    question: String,
    equation: String,
    answer: Answer,
    #[serde(rename = "Type")]
    kind: String,
}

/// A number in the authors' file, the text of one in the hub's.
#[derive(Deserialize)]
#[serde(untagged, expecting = "`Answer` is neither a number nor a text")]
enum Answer {
    Number(f64),
    Text(String),
}

/// The published file, `SVAMP.json`: all 1,000 problems. The hub's `ChilleD/SVAMP` has 700 of them
/// in a train split and 300 in a test split; put together in the order of their numbers they are
/// the file.
pub(super) fn load(data: Option<&Path>) -> Result<Set> {
    let mut entries: Records<Entry> = files::records(data, "svamp/SVAMP.json")?;
    files::distinct(&entries, |entry| entry.id.clone())?;
    // `chal-17`
    entries.sort_by_key(|(_, entry)| {
        let number = entry.id.rsplit('-').next().and_then(|number| number.parse().ok());
        number.unwrap_or(u64::MAX)
    });
    Ok(Set {
        problems: entries.into_iter().map(problem).collect::<Result<_>>()?,
        examples: None,
        grading: Grading::Answer(Extractor::Number),
        frame: Frame::QUESTION,
    })
}

fn problem((at, entry): (At, Entry)) -> Result<Problem> {
    let answer = match entry.answer {
        Answer::Number(number) => number.to_string(),
        Answer::Text(text) => text,
    };
    let gold = Extractor::Number.gold(&answer);
    let gold = gold.with_context(|| format!("{at}: the answer {answer:?} is no number"))?;
    let number = |text: &str| Extractor::Number.gold(text).unwrap_or_default();
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
    let reply = format!("{} = {gold}. The answer is {gold}.", bare.unwrap_or(&sum));
    Ok(Problem { item, reply })
}
