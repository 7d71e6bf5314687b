//! A checked experiment: defaults filled in, sweeps expanded, every name resolved.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use kad_backends::{Backend, Dtype, ModelOptions};
use kad_core::{Sampling, SamplingError, SamplingSettings};
use serde::{Deserialize, Serialize};

use super::RulePlan;
use super::levels::ChainPlan;
use crate::task::TaskPlan;

/// An experiment: models, decoders made of them, and tasks. Every decoder decodes every item.
///
/// It is read from TOML and checked: defaults are written out and sweeps expanded.
///
/// ```
/// use kad_eval::Experiment;
///
/// let toml = r#"
///     name = "two-models"
///     models.small.source = "nano:small-base"
///     models.large.source = "nano:large-base"
///     decoders = [
///         { name = "small", kind = "single", model = "small" },
///         { name = "large", kind = "single", model = "large" },
///     ]
///     tasks = [{ kind = "nano" }]
/// "#;
/// assert_eq!(toml.parse::<Experiment>()?.name(), "two-models");
///
/// // A mistake is shown with its line.
/// let error = toml.replace("model = \"small\"", "model = \"smal\"").parse::<Experiment>();
/// assert!(error.unwrap_err().to_string().contains("smal"));
/// # Ok::<(), kad_eval::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Experiment {
    pub(crate) name: String,
    pub(crate) question: Option<String>,
    pub(crate) seed: u64,
    pub(crate) models: BTreeMap<String, ModelPlan>,
    pub(crate) sampling: SamplingPlan,
    /// Forward passes to time before decoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) passes: Option<PassesPlan>,
    pub(crate) decoders: Vec<DecoderPlan>,
    /// The decoder that the others are compared with.
    pub(crate) baseline: String,
    pub(crate) tasks: Vec<TaskPlan>,
}

/// A model: its source, and the backend that runs it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModelPlan {
    pub(crate) source: String,
    #[serde(serialize_with = "as_text")]
    pub(crate) backend: Backend,
    #[serde(serialize_with = "as_text")]
    pub(crate) dtype: Dtype,
    /// Threads and device, for backends that have the choice.
    #[serde(flatten)]
    pub(crate) options: ModelOptions,
    /// A run goes on without an optional model whose backend or files are missing, and without the
    /// decoders that need it.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) optional: bool,
    /// Set if it is the first layers of another model, with its head and without a copy of its
    /// weights. The other fields are those of that model.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) early_exit: Option<EarlyExit>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct EarlyExit {
    /// The model's name in the file.
    #[serde(rename = "early_exit_of")]
    pub(crate) of: String,
    pub(crate) layers: usize,
}

/// Forward passes to time, of every model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PassesPlan {
    /// Tokens per pass, increasing from 1.
    pub(crate) widths: Vec<usize>,
    /// Tokens in the KV cache before the pass.
    pub(crate) context: NonZeroUsize,
    /// Repetitions of each pass; by default as many as `kad profile` makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<NonZeroUsize>,
}

impl PassesPlan {
    pub(crate) fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }
}

/// The settings of sampling, and of the distributions that deferral rules see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SamplingPlan {
    pub(crate) temperature: f64,
    pub(crate) top_k: Option<u64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) min_p: Option<f64>,
    pub(crate) repetition_penalty: f64,
    pub(crate) max_new_tokens: u64,
    /// The temperature of the distributions that deferral rules see; no top-k, top-p or min-p there.
    pub(crate) decision_temperature: f64,
    /// Does an end token end a text? Else it goes on to `max_new_tokens`.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub(crate) stop_at_end: bool,
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
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
            stop_at_end: true,
        }
    }
}

impl SamplingPlan {
    pub(crate) fn sampling(&self) -> Result<Sampling, SamplingError> {
        Sampling::new(SamplingSettings {
            temperature: self.temperature,
            top_k: self.top_k.map(|k| k as usize),
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
        })
    }

    /// The sampling settings of the distributions that rules see.
    pub(crate) fn decision(&self) -> Result<Sampling, SamplingError> {
        Sampling::at_temperature(self.decision_temperature)
            .map_err(|error| SamplingError { key: "decision_temperature", ..error })
    }
}

/// One decoder; a sweep makes several.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DecoderPlan {
    /// Unique; a member of a sweep carries its parameter: `kad primal, budget 0.3`.
    pub(crate) name: String,
    /// The name in the file, shared by the members of a sweep.
    pub(crate) family: String,
    #[serde(flatten)]
    pub(crate) kind: DecoderKind,
    /// The experiment's settings, with this decoder's own on top.
    pub(crate) sampling: SamplingPlan,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DecoderKind {
    Single {
        model: String,
    },
    /// A base model that defers to an aligned one.
    Deferral {
        base: String,
        aligned: String,
        rule: RulePlan,
        #[serde(flatten)]
        execution: Execution,
    },
    /// A base model times the ratio of a small aligned model to its base model.
    ImplicitReward {
        base: String,
        small: String,
        aligned: String,
        /// The maximum of `ln q*(y) − ln q(y)`, in nats, above 0. Without it, tokens with
        /// `q(y) = 0` are impossible.
        #[serde(skip_serializing_if = "Option::is_none")]
        cap_log_ratio: Option<f64>,
        #[serde(flatten)]
        execution: Execution,
    },
    /// A target of one of the other kinds, with levels that draft for it.
    Chain(ChainPlan),
}

impl DecoderKind {
    /// The models it runs. The last one gives the chat template and the end tokens.
    pub(crate) fn models(&self) -> Vec<&str> {
        match self {
            DecoderKind::Single { model } => vec![model],
            DecoderKind::Deferral { base, aligned, .. } => vec![base, aligned],
            DecoderKind::ImplicitReward { base, small, aligned, .. } => vec![base, small, aligned],
            DecoderKind::Chain(chain) => chain.models(),
        }
    }

    /// The kind with the same distribution and the plainest execution: itself, or its target. A
    /// lenient chain only approximates it.
    pub(crate) fn distribution(&self) -> &DecoderKind {
        match self {
            DecoderKind::Chain(chain) => &chain.target.distribution,
            other => other,
        }
    }

    /// Are tokens drafted and verified?
    pub(crate) fn speculates(&self) -> bool {
        matches!(self, DecoderKind::Chain(_))
            || matches!(self.execution(), Some(Execution::Speculative { .. }))
    }

    /// The name of level `level`: 1 is the target. Empty if there is no such level.
    pub(crate) fn level_name(&self, level: usize) -> String {
        match (self, self.execution(), level) {
            (DecoderKind::Chain(chain), ..) => chain.level_name(level),
            (DecoderKind::Single { model }, _, 1) => model.clone(),
            (DecoderKind::Deferral { .. }, _, 1) => "mixture".to_owned(),
            (DecoderKind::ImplicitReward { .. }, _, 1) => "implicit reward".to_owned(),
            (
                DecoderKind::ImplicitReward { small: drafter, .. },
                Some(Execution::Speculative { drafter: DraftPart::Small, .. }),
                2,
            )
            | (
                DecoderKind::Deferral { aligned: drafter, .. }
                | DecoderKind::ImplicitReward { aligned: drafter, .. },
                Some(Execution::Speculative { .. }),
                2,
            ) => drafter.clone(),
            _ => String::new(),
        }
    }

    /// Are verified tokens kept from one step to the next?
    pub(crate) fn carries_tokens(&self) -> bool {
        match self {
            DecoderKind::Chain(chain) => {
                chain.listed().iter().any(|level| level.surplus == kad_polybasic::Surplus::Keep)
            }
            _ => false,
        }
    }

    /// Is its distribution the stated one, exactly (lossless)?
    pub(crate) fn is_exact(&self) -> bool {
        !matches!(self, DecoderKind::Chain(chain) if chain.leniency().is_some())
    }

    /// The execution in words, if there is a choice.
    pub(crate) fn execution_in_words(&self) -> Option<String> {
        match self {
            DecoderKind::Chain(chain) => Some(chain.in_words()),
            other => other.execution().map(|execution| execution.to_string()),
        }
    }

    /// The kind with another execution, if it is composed.
    pub(crate) fn executed(&self, as_asked: Execution) -> Self {
        let mut kind = self.clone();
        if let DecoderKind::Deferral { execution, .. }
        | DecoderKind::ImplicitReward { execution, .. } = &mut kind
        {
            *execution = as_asked;
        }
        kind
    }

    pub(crate) fn execution(&self) -> Option<Execution> {
        match self {
            DecoderKind::Single { .. } | DecoderKind::Chain(_) => None,
            DecoderKind::Deferral { execution, .. }
            | DecoderKind::ImplicitReward { execution, .. } => Some(*execution),
        }
    }
}

/// The execution of a composed distribution. All executions have the same distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "execution", rename_all = "kebab-case")]
pub(crate) enum Execution {
    /// Every model at every token, a token at a time, as published.
    Autoregressive,
    /// The aligned model runs only after a deferred draw.
    Lazy,
    /// `drafter` drafts; the distribution verifies.
    Speculative { draft_length: NonZeroUsize, bonus: bool, drafter: DraftPart },
}

/// The model of a composed distribution that drafts for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DraftPart {
    /// The aligned model
    Aligned,
    /// The small base model
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

fn as_text<T: ToString, S: serde::Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_string())
}

/// The distribution of a decoder in words: its models, its rule and its settings. A chain has the
/// distribution of its target; a lenient one approximates it.
pub(crate) fn distribution_in_words(kind: &DecoderKind, sampling: &SamplingPlan) -> String {
    let leniency = match kind {
        DecoderKind::Chain(chain) => chain.leniency(),
        _ => None,
    };
    let distribution = target(kind.distribution(), sampling);
    match leniency {
        Some(leniency) => {
            format!("approximate: lenient verification {leniency} towards {distribution}")
        }
        None => format!("exactly {distribution}"),
    }
}

fn target(kind: &DecoderKind, sampling: &SamplingPlan) -> String {
    let drawn = settings(sampling);
    match kind {
        DecoderKind::Single { model } => format!("{model} at {drawn}"),
        DecoderKind::Deferral { base, aligned, rule, .. } => {
            let seen = sampling.decision_temperature;
            format!(
                "the mixture of {base} and {aligned}, {rule}, decided at T = {seen}, drawn at {drawn}"
            )
        }
        DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, .. } => {
            let cap = cap_log_ratio.map_or(String::new(), |cap| format!(", log ratio ≤ {cap}"));
            format!("{base} × {aligned} / {small}{cap}, normalised, at {drawn}")
        }
        DecoderKind::Chain(chain) => target(&chain.target.distribution, &chain.target.sampling),
    }
}

/// The settings that shape the distribution; settings without effect are left out.
fn settings(plan: &SamplingPlan) -> String {
    let mut words = vec![format!("T = {}", plan.temperature)];
    words.extend(plan.top_k.map(|k| format!("top-k {k}")));
    words.extend(plan.top_p.map(|p| format!("top-p {p}")));
    words.extend(plan.min_p.map(|p| format!("min-p {p}")));
    if plan.repetition_penalty != 1.0 {
        words.push(format!("repetition penalty {}", plan.repetition_penalty));
    }
    words.join(", ")
}
