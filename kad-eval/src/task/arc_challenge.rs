//! ARC-Challenge (Clark et al., arXiv 1803.05457): science questions.

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::multiple_choice::{self, AnswerMode, Question};
use super::{HubFiles, TaskKind, TaskSet};
use crate::toml_table::{ConfigError, Table};

pub(super) static KIND: TaskKind = TaskKind {
    name: "arc_challenge",
    measures: "science questions, multiple choice",
    metric: "accuracy",
    items: 1172,
    file: Some("test.jsonl"),
    examples: Some("train.jsonl"),
    hub: Some(HubFiles { path: "allenai/ai2_arc/ARC-Challenge", splits: &["test", "train"] }),
    licence: "CC-BY-SA 4.0",
    source: "the hub's allenai/ai2_arc, ARC-Challenge, split test",
    keys: multiple_choice::KEYS,
    sets: |table| sets(table, &KIND, "science"),
};

/// The set of a kind whose files have ARC's format, with questions about `about`.
pub(super) fn sets(
    table: &Table<'_>,
    kind: &'static TaskKind,
    about: &'static str,
) -> Result<Vec<TaskSet>, ConfigError> {
    let mode = AnswerMode::read(table)?;
    Ok(vec![mode.set(mode, move |mode, options| {
        kind.load(options, |_, _, row: ArcRow| row.question()?.solved(*mode, options.seed, about))
    })])
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArcRow {
    id: String,
    question: String,
    choices: ArcChoices,
    answer_key: String,
}

#[derive(Deserialize)]
struct ArcChoices {
    label: Vec<String>,
    text: Vec<String>,
}

impl ArcRow {
    /// The question with its options as A, B, …: a few published ones are labelled 1 to 4, which
    /// an extractor of letters would never find.
    fn question(self) -> Result<Question> {
        let ArcChoices { label, text: options } = self.choices;
        if label.len() != options.len() {
            bail!("{} labels for {} options", label.len(), options.len());
        }
        let right = label.iter().position(|label| *label == self.answer_key);
        let right = right.with_context(|| {
            format!("the answer {:?} is none of the labels {}", self.answer_key, label.join(", "))
        })?;
        Ok(Question { id: self.id, text: self.question, options, right, group: None })
    }
}
