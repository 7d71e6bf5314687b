//! ARC-Challenge (Clark et al., arXiv 1803.05457) and CommonsenseQA (Talmor et al., arXiv
//! 1811.00937), whose files have one form.

use anyhow::{Result, anyhow};
use serde::Deserialize;

use super::choice::{self, Question};
use super::files::{self, Records};
use super::{Loading, Problem, Set};
use crate::config::Choosing;

/// Where a set of this form lies, and what it is about.
pub(super) struct Source {
    file: &'static str,
    /// The split that examples are from, if it is there.
    examples: &'static str,
    about: &'static str,
}

pub(super) const ARC_CHALLENGE: Source = Source {
    file: "arc_challenge/test.jsonl",
    examples: "arc_challenge/train.jsonl",
    about: "science",
};

pub(super) const COMMONSENSE_QA: Source = Source {
    file: "commonsense_qa/validation.jsonl",
    examples: "commonsense_qa/train.jsonl",
    about: "everyday life",
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    id: String,
    question: String,
    choices: Choices,
    answer_key: String,
}

#[derive(Deserialize)]
struct Choices {
    label: Vec<String>,
    text: Vec<String>,
}

/// The published file.
pub(super) fn load(source: &Source, choosing: Choosing, from: Loading<'_>) -> Result<Set> {
    let read = |lines| problems(lines, source, choosing, from.seed);
    Ok(Set {
        problems: read(files::records(from.data, source.file)?)?,
        examples: files::optional(from.data, source.examples)?.map(read).transpose()?,
        grading: choice::grading(choosing.by),
        frame: choice::frame(choosing.by),
    })
}

fn problems(
    lines: Records<Line>,
    source: &Source,
    choosing: Choosing,
    seed: u64,
) -> Result<Vec<Problem>> {
    files::distinct(&lines, |line| line.id.clone())?;
    lines
        .into_iter()
        .map(|(at, line)| {
            let question = question(line).map_err(|problem| anyhow!("{at}: {problem}"))?;
            Ok(question.problem(choosing, seed, source.about))
        })
        .collect()
}

/// Options get the letters A, B, … whatever their labels: some published ones are 1 to 4, and an
/// answer that is looked for as a letter would then never be found.
fn question(line: Line) -> Result<Question, String> {
    let Choices { label, text } = line.choices;
    if label.len() != text.len() {
        return Err(format!("{} labels for {} options", label.len(), text.len()));
    }
    let right = label.iter().position(|label| *label == line.answer_key);
    let right = right.ok_or_else(|| {
        format!("the answer {:?} is none of the labels {}", line.answer_key, label.join(", "))
    })?;
    let question = Question { id: line.id, text: line.question, options: text, right, group: None };
    question.check().map(|()| question)
}
