//! `[[tasks]]`: which items, how many, and in what form they are asked.

mod read;

use std::path::PathBuf;

use serde::Serialize;

use super::ConfigError;
use super::experiment::{DecoderKind, DecoderPlan};
use super::table::Value;
use crate::task::Extractor;

pub(crate) use read::default_task;
pub(super) use read::tasks;

/// A set of items, and how they are asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TaskPlan {
    #[serde(flatten)]
    pub(crate) set: TaskSet,
    /// As files and records name it, where the file says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How many items at most; `None` for all.
    pub(crate) items: Option<u64>,
    /// Worked examples before each item.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) shots: u64,
    #[serde(skip_serializing_if = "Format::is_chat")]
    pub(crate) format: Format,
}

/// Where items come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum TaskSet {
    Nano { split: String },
    Gsm8k,
    Math500,
    Svamp,
    ArcChallenge(Choosing),
    CommonsenseQa(Choosing),
    Truthfulqa { metric: Truth, by: By },
    Mmlu(MmluPlan),
    SpecBench { part: Option<String> },
    MtBench { category: Option<String> },
    Humaneval,
    Perplexity(TextPlan),
    Jsonl(JsonlPlan),
}

/// How a multiple-choice answer is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Choosing {
    pub(crate) by: By,
    /// Whether options change places, by the experiment's seed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shuffle: bool,
}

/// Whether the decoder writes an answer, or its distribution is asked for the options'
/// probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Answer,
    Likelihood,
}

/// Which of TruthfulQA's two scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Truth {
    /// One option is true: is it chosen?
    Mc1,
    /// Several are: how much probability have they together?
    Mc2,
}

/// MMLU: one of its subjects, or all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MmluPlan {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(flatten)]
    pub(crate) choosing: Choosing,
}

/// A text whose perplexity is measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TextPlan {
    pub(crate) file: UserFile,
    /// Bytes of a piece, at most; it ends at a line break where there is one.
    pub(crate) piece_bytes: u64,
}

/// A user's own items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct JsonlPlan {
    pub(crate) file: UserFile,
    /// Templates over the fields of a line.
    pub(crate) prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<String>,
    /// None: nothing is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extractor: Option<Extractor>,
}

/// A file that an experiment names: what it wrote, and where that is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct UserFile {
    pub(crate) written: String,
    /// Taken from the folder of the experiment file.
    #[serde(skip)]
    pub(crate) path: PathBuf,
}

/// How a question becomes the text before the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// The model's chat template, or one lent by another model of the experiment.
    #[default]
    Chat,
    /// `Question: …`, line break, `Answer:`, or what the set says instead.
    Plain,
}

impl Format {
    fn is_chat(&self) -> bool {
        *self == Format::Chat
    }
}

/// What a task says about a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Nothing but speed.
    Speed,
    /// The share of items that are right.
    Accuracy,
    /// The mean of points between 0 and 1.
    Mean,
    /// exp of the mean negative log-likelihood per token.
    Perplexity,
}

impl TaskPlan {
    /// The first `items` of a set (all without), asked through the chat template, without examples.
    #[cfg(test)]
    pub(crate) fn new(set: TaskSet, items: Option<u64>) -> Self {
        Self { set, name: None, items, shots: 0, format: Format::Chat }
    }

    /// As files and records name it.
    pub(crate) fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let mut words = vec![self.set.name()];
        words.extend(self.set.manner());
        if self.shots > 0 {
            let plural = if self.shots == 1 { "" } else { "s" };
            words.push(format!("{} shot{plural}", self.shots));
        }
        if self.format == Format::Plain {
            words.push("plain".to_owned());
        }
        words.join(", ")
    }

    /// As `kind` in a file.
    pub(crate) fn kind(&self) -> &'static str {
        match self.set {
            TaskSet::Nano { .. } => "nano",
            TaskSet::Gsm8k => "gsm8k",
            TaskSet::Math500 => "math500",
            TaskSet::Svamp => "svamp",
            TaskSet::ArcChallenge(_) => "arc_challenge",
            TaskSet::CommonsenseQa(_) => "commonsense_qa",
            TaskSet::Truthfulqa { .. } => "truthfulqa",
            TaskSet::Mmlu(_) => "mmlu",
            TaskSet::SpecBench { .. } => "spec_bench",
            TaskSet::MtBench { .. } => "mt_bench",
            TaskSet::Humaneval => "humaneval",
            TaskSet::Perplexity(_) => "perplexity",
            TaskSet::Jsonl(_) => "jsonl",
        }
    }

    /// How many items at most; `None` for all.
    pub(crate) fn items(&self) -> Option<u64> {
        self.items
    }

    /// What it measures.
    pub(crate) fn measure(&self) -> Measure {
        match &self.set {
            TaskSet::SpecBench { .. } | TaskSet::MtBench { .. } | TaskSet::Humaneval => {
                Measure::Speed
            }
            TaskSet::Jsonl(plan) if plan.answer.is_none() => Measure::Speed,
            TaskSet::Truthfulqa { metric: Truth::Mc2, .. } => Measure::Mean,
            TaskSet::Perplexity(_) => Measure::Perplexity,
            _ => Measure::Accuracy,
        }
    }

    /// Whether there are right answers.
    pub(crate) fn is_graded(&self) -> bool {
        matches!(self.measure(), Measure::Accuracy | Measure::Mean)
    }

    /// Whether nothing is written: the decoder's distribution is asked for probabilities.
    pub(crate) fn scores_distribution(&self) -> bool {
        match &self.set {
            TaskSet::ArcChallenge(choosing) | TaskSet::CommonsenseQa(choosing) => {
                choosing.by == By::Likelihood
            }
            TaskSet::Mmlu(plan) => plan.choosing.by == By::Likelihood,
            TaskSet::Truthfulqa { by, .. } => *by == By::Likelihood,
            TaskSet::Perplexity(_) => true,
            _ => false,
        }
    }
}

impl TaskSet {
    /// The set, and the part of it.
    fn name(&self) -> String {
        let part = |set: &str, part: &Option<String>| match part {
            Some(part) => format!("{set}/{part}"),
            None => set.to_owned(),
        };
        match self {
            TaskSet::Nano { split } => format!("nano/{split}"),
            TaskSet::Gsm8k => "gsm8k".to_owned(),
            TaskSet::Math500 => "math500".to_owned(),
            TaskSet::Svamp => "svamp".to_owned(),
            TaskSet::ArcChallenge(_) => "arc_challenge".to_owned(),
            TaskSet::CommonsenseQa(_) => "commonsense_qa".to_owned(),
            TaskSet::Truthfulqa { metric: Truth::Mc1, .. } => "truthfulqa/mc1".to_owned(),
            TaskSet::Truthfulqa { metric: Truth::Mc2, .. } => "truthfulqa/mc2".to_owned(),
            TaskSet::Mmlu(plan) => part("mmlu", &plan.subject),
            TaskSet::SpecBench { part: name } => part("spec_bench", name),
            TaskSet::MtBench { category } => part("mt_bench", category),
            TaskSet::Humaneval => "humaneval".to_owned(),
            TaskSet::Perplexity(plan) => format!("perplexity/{}", plan.file.stem()),
            TaskSet::Jsonl(plan) => format!("jsonl/{}", plan.file.stem()),
        }
    }

    /// What is unusual about how it is asked.
    fn manner(&self) -> Vec<String> {
        let (by, shuffle) = match self {
            TaskSet::ArcChallenge(choosing) | TaskSet::CommonsenseQa(choosing) => {
                (choosing.by, choosing.shuffle)
            }
            TaskSet::Mmlu(plan) => (plan.choosing.by, plan.choosing.shuffle),
            TaskSet::Truthfulqa { metric: Truth::Mc1, by } => (*by, false),
            _ => return Vec::new(),
        };
        let likelihood = (by == By::Likelihood).then(|| "by likelihood".to_owned());
        likelihood.into_iter().chain(shuffle.then(|| "shuffled".to_owned())).collect()
    }

    /// Whether worked examples can stand before an item.
    fn takes_shots(&self) -> bool {
        !matches!(
            self,
            TaskSet::SpecBench { .. }
                | TaskSet::MtBench { .. }
                | TaskSet::Humaneval
                | TaskSet::Perplexity(_)
                | TaskSet::Jsonl(_)
        )
    }
}

impl UserFile {
    fn read(value: &Value<'_>) -> Result<Self, ConfigError> {
        Ok(Self { written: value.str()?.to_owned(), path: value.path()? })
    }

    fn stem(&self) -> String {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.unwrap_or_else(|| self.written.clone())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(count: &u64) -> bool {
    *count == 0
}
