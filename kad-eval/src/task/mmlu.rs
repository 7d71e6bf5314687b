//! MMLU (Hendrycks et al., arXiv 2009.03300): multiple choice in 57 subjects.

use std::collections::HashMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::multiple_choice::{AnswerMode, Question};
use super::{HubFiles, LoadOptions, LoadedItems, Shots, SolvedItem, TaskKind, TaskSet, parts};
use crate::toml_table::{ConfigError, Table};

pub(super) static KIND: TaskKind = TaskKind {
    name: "mmlu",
    measures: "knowledge in 57 subjects, multiple choice",
    metric: "accuracy",
    items: 14_042,
    file: Some("test.jsonl"),
    examples: Some("dev.jsonl"),
    hub: Some(HubFiles { path: "cais/mmlu/all", splits: &["test", "dev"] }),
    licence: "MIT",
    source: "the hub's cais/mmlu, all, splits test and dev",
    keys: "subject = NAME or a list; by = \"answer\" | \"likelihood\"; shuffle = true",
    sets,
};

/// The subjects by the names in the files, between spaces.
const SUBJECTS: &str = "abstract_algebra anatomy astronomy business_ethics clinical_knowledge \
    college_biology college_chemistry college_computer_science college_mathematics \
    college_medicine college_physics computer_security conceptual_physics econometrics \
    electrical_engineering elementary_mathematics formal_logic global_facts high_school_biology \
    high_school_chemistry high_school_computer_science high_school_european_history \
    high_school_geography high_school_government_and_politics high_school_macroeconomics \
    high_school_mathematics high_school_microeconomics high_school_physics \
    high_school_psychology high_school_statistics high_school_us_history \
    high_school_world_history human_aging human_sexuality international_law jurisprudence \
    logical_fallacies machine_learning management marketing medical_genetics miscellaneous \
    moral_disputes moral_scenarios nutrition philosophy prehistory professional_accounting \
    professional_law professional_medicine professional_psychology public_relations \
    security_studies sociology us_foreign_policy virology world_religions";

fn subjects() -> Vec<&'static str> {
    SUBJECTS.split_whitespace().collect()
}

#[derive(Serialize)]
struct MmluKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(flatten)]
    mode: AnswerMode,
}

fn sets(table: &Table<'_>) -> Result<Vec<TaskSet>, ConfigError> {
    let mode = AnswerMode::read(table)?;
    let set = |subject: Option<String>| {
        let set = mode.set(MmluKeys { subject: subject.clone(), mode }, load);
        TaskSet { part: subject, shots: Shots::OfGroup, ..set }
    };
    Ok(parts::read(table, "subject", &subjects())?.into_iter().map(set).collect())
}

#[derive(Deserialize)]
struct MmluRow {
    question: String,
    subject: String,
    choices: Vec<String>,
    /// Index of the right choice.
    answer: usize,
}

/// The test split: one subject, or all of them in turn. Worked examples are of the dev split.
fn load(keys: &MmluKeys, options: LoadOptions<'_>) -> Result<LoadedItems> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let item = |_: &str, _: usize, row: MmluRow| -> Result<SolvedItem> {
        let count = counts.entry(row.subject.clone()).or_default();
        let id = format!("{}-{count:04}", row.subject);
        *count += 1;
        let about = row.subject.replace('_', " ");
        let (text, group) = (row.question, Some(row.subject));
        let question = Question { id, text, options: row.choices, right: row.answer, group };
        question.solved(keys.mode, options.seed, &about)
    };
    let LoadedItems { items, examples } = KIND.load(options, item)?;
    let items = parts::select(KIND.name, items, keys.subject.as_deref(), &subjects())?;
    Ok(LoadedItems { items, examples })
}
