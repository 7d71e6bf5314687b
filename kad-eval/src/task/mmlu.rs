//! MMLU (Hendrycks et al., arXiv 2009.03300): multiple choice in 57 subjects.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;

use super::choice::{self, Question};
use super::files::{self, Records};
use super::{Loading, Problem, Set, order};
use crate::config::MmluPlan;

/// Its subjects, as its files name them.
pub(crate) const SUBJECTS: [&str; 57] = [
    "abstract_algebra",
    "anatomy",
    "astronomy",
    "business_ethics",
    "clinical_knowledge",
    "college_biology",
    "college_chemistry",
    "college_computer_science",
    "college_mathematics",
    "college_medicine",
    "college_physics",
    "computer_security",
    "conceptual_physics",
    "econometrics",
    "electrical_engineering",
    "elementary_mathematics",
    "formal_logic",
    "global_facts",
    "high_school_biology",
    "high_school_chemistry",
    "high_school_computer_science",
    "high_school_european_history",
    "high_school_geography",
    "high_school_government_and_politics",
    "high_school_macroeconomics",
    "high_school_mathematics",
    "high_school_microeconomics",
    "high_school_physics",
    "high_school_psychology",
    "high_school_statistics",
    "high_school_us_history",
    "high_school_world_history",
    "human_aging",
    "human_sexuality",
    "international_law",
    "jurisprudence",
    "logical_fallacies",
    "machine_learning",
    "management",
    "marketing",
    "medical_genetics",
    "miscellaneous",
    "moral_disputes",
    "moral_scenarios",
    "nutrition",
    "philosophy",
    "prehistory",
    "professional_accounting",
    "professional_law",
    "professional_medicine",
    "professional_psychology",
    "public_relations",
    "security_studies",
    "sociology",
    "us_foreign_policy",
    "virology",
    "world_religions",
];

#[derive(Deserialize)]
struct Line {
    question: String,
    subject: String,
    choices: Vec<String>,
    /// Index of the right choice.
    answer: usize,
}

/// The test split: one subject, or all of them in turn; examples are of the dev split.
pub(super) fn load(plan: &MmluPlan, from: Loading<'_>) -> Result<Set> {
    let read = |lines| problems(plan, lines, from.seed);
    let lines: Records<Line> = files::records(from.data, "mmlu/test.jsonl")?;
    let count = lines.len();
    let problems = read(lines)?;
    if problems.is_empty() {
        let subject = plan.subject.as_deref().unwrap_or("any subject");
        bail!("mmlu has no question about {subject} among its {count}: fetch the whole set");
    }
    let examples = files::optional(from.data, "mmlu/dev.jsonl")?.map(read).transpose()?;
    let place = |problem: &Problem| {
        let subject = problem.item.group.as_deref();
        SUBJECTS.iter().position(|known| Some(*known) == subject).unwrap_or(SUBJECTS.len())
    };
    let by = plan.choosing.by;
    Ok(Set {
        problems: order::in_turn(problems, place),
        examples,
        grading: choice::grading(by),
        frame: choice::frame(by),
    })
}

fn problems(plan: &MmluPlan, lines: Records<Line>, seed: u64) -> Result<Vec<Problem>> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut problems = Vec::new();
    for (at, line) in lines {
        if plan.subject.as_ref().is_some_and(|subject| *subject != line.subject) {
            continue;
        }
        let count = counts.entry(line.subject.clone()).or_default();
        let id = format!("{}-{count:04}", line.subject);
        *count += 1;
        let about = line.subject.replace('_', " ");
        let question = Question {
            id,
            text: line.question,
            options: line.choices,
            right: line.answer,
            group: Some(line.subject),
        };
        question.check().map_err(|problem| anyhow!("{at}: {problem}"))?;
        problems.push(question.problem(plan.choosing, seed, &about));
    }
    Ok(problems)
}
