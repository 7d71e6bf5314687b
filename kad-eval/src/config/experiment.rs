//! A checked experiment: defaults filled in, sweeps expanded, every name resolved.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use kad_backends::{Backend, Dtype};
use kad_core::{Sampling, SamplingError, SamplingSettings};
use serde::{Deserialize, Serialize};

use super::RulePlan;

/// Models × decoders × tasks.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Experiment {
    pub(crate) name: String,
    pub(crate) question: Option<String>,
    pub(crate) seed: u64,
    pub(crate) models: BTreeMap<String, ModelPlan>,
    pub(crate) sampling: SamplingPlan,
    pub(crate) decoders: Vec<DecoderPlan>,
    /// Name of the decoder that the others are compared with.
    pub(crate) baseline: String,
    pub(crate) tasks: Vec<TaskPlan>,
}

/// Where a model comes from and how it runs.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelPlan {
    pub(crate) source: String,
    #[serde(serialize_with = "as_text")]
    pub(crate) backend: Backend,
    #[serde(serialize_with = "as_text")]
    pub(crate) dtype: Dtype,
}

/// How tokens are drawn, and when rules look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SamplingPlan {
    pub(crate) temperature: f64,
    pub(crate) top_k: Option<u64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) repetition_penalty: f64,
    pub(crate) max_new_tokens: u64,
    /// Temperature at which deferral rules see the laws; nothing is cut there.
    pub(crate) decision_temperature: f64,
}

impl Default for SamplingPlan {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
            max_new_tokens: 256,
            decision_temperature: 1.0,
        }
    }
}

impl SamplingPlan {
    /// The law tokens are drawn from.
    pub(crate) fn sampling(&self) -> Result<Sampling, SamplingError> {
        Sampling::new(SamplingSettings {
            temperature: self.temperature,
            top_k: self.top_k.map(|k| k as usize),
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        })
    }

    /// The law that rules look at.
    pub(crate) fn decision(&self) -> Result<Sampling, SamplingError> {
        Sampling::at_temperature(self.decision_temperature)
            .map_err(|error| SamplingError { key: "decision_temperature", ..error })
    }
}

/// One decoder; a sweep has become several.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DecoderPlan {
    /// Unique; a member of a sweep carries its parameter: `kad primal, budget 0.3`.
    pub(crate) name: String,
    /// The name in the file, shared by the members of a sweep.
    pub(crate) family: String,
    #[serde(flatten)]
    pub(crate) kind: DecoderKind,
    /// The experiment's settings with this decoder's own on top.
    pub(crate) sampling: SamplingPlan,
}

/// What a decoder is made of.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DecoderKind {
    /// One model.
    Single { model: String },
    /// A base model that defers to an aligned one.
    Deferral {
        base: String,
        aligned: String,
        rule: RulePlan,
        #[serde(flatten)]
        execution: Execution,
    },
    /// A base model moved by what alignment did to a small one.
    ImplicitReward {
        base: String,
        small: String,
        aligned: String,
        /// The most that `ln q*(y) − ln q(y)` counts, in nats, above 0; without it, tokens with
        /// `q(y) = 0` are impossible.
        #[serde(skip_serializing_if = "Option::is_none")]
        cap_log_ratio: Option<f64>,
        #[serde(flatten)]
        execution: Execution,
    },
}

impl DecoderKind {
    /// The models it runs. The one whose chat template and end tokens lead comes last.
    pub(crate) fn models(&self) -> Vec<&str> {
        match self {
            DecoderKind::Single { model } => vec![model],
            DecoderKind::Deferral { base, aligned, .. } => vec![base, aligned],
            DecoderKind::ImplicitReward { base, small, aligned, .. } => vec![base, small, aligned],
        }
    }

    /// How a composed law is decoded.
    pub(crate) fn execution(&self) -> Option<Execution> {
        match self {
            DecoderKind::Single { .. } => None,
            DecoderKind::Deferral { execution, .. }
            | DecoderKind::ImplicitReward { execution, .. } => Some(*execution),
        }
    }
}

/// How a composed law is decoded. All ways have the same law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "execution", rename_all = "kebab-case")]
pub(crate) enum Execution {
    /// Every model at every token, a token at a time, as published.
    Autoregressive,
    /// The aligned model only after a deferred draw.
    Lazy,
    /// `drafter` drafts and the law is verified.
    Speculative { draft_length: NonZeroUsize, bonus: bool, drafter: DraftPart },
}

/// The part of a composed law that drafts for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DraftPart {
    Aligned,
    Small,
}

impl std::fmt::Display for Execution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Execution::Autoregressive => f.write_str("autoregressive"),
            Execution::Lazy => f.write_str("lazy"),
            Execution::Speculative { draft_length, bonus, drafter } => {
                let part = match drafter {
                    DraftPart::Aligned => "aligned",
                    DraftPart::Small => "small",
                };
                let bonus = if *bonus { "" } else { ", no bonus" };
                write!(f, "speculative, {draft_length} drafted by {part}{bonus}")
            }
        }
    }
}

/// A set of items.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum TaskPlan {
    /// Problems of the shipped small world.
    Nano { split: String, items: Option<u64> },
    /// Grade-school word problems, from the data folder.
    Gsm8k { items: Option<u64> },
}

impl TaskPlan {
    /// As files and records name it.
    pub(crate) fn name(&self) -> String {
        match self {
            TaskPlan::Nano { split, .. } => format!("nano/{split}"),
            TaskPlan::Gsm8k { .. } => "gsm8k".to_owned(),
        }
    }

    /// How many items at most; `None` for all.
    pub(crate) fn items(&self) -> Option<u64> {
        match self {
            TaskPlan::Nano { items, .. } | TaskPlan::Gsm8k { items } => *items,
        }
    }
}

fn as_text<T: ToString, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_string())
}
