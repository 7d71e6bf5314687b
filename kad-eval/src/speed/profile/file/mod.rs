//! The profile file: JSON with a layout version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use kad_polybasic::theory::{PassTime, PassTimes, RunLengths, TextTrace};
use serde::{Deserialize, Serialize};

use crate::config::{Lookup, SamplingPlan};
use crate::failure::WrongRequest;
use crate::files;
use crate::machine::Machine;

const AGAIN: &str = "make it again with `kad profile FILE.toml --out PROFILE`";

/// Measurements of models, composed distributions and lookups on one machine: pass times, and how
/// far each verifier accepts each drafter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) version: u64,
    pub(crate) experiment: String,
    /// The distribution of the experiment's baseline, if it was measured: the default target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    pub(crate) conditions: ProfileConditions,
    pub(crate) settings: ProfileSettings,
    /// Context length at which pass times are looked up: tokens before the middle of a text, the
    /// mean over the prompts.
    pub(crate) context: usize,
    pub(crate) candidates: Vec<CandidateProfile>,
    pub(crate) pairs: Vec<PairProfile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) texts: Option<TracedTexts>,
}

/// Plain texts of one distribution, each with the probabilities and drafts of every candidate that
/// may draft for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TracedTexts {
    /// The candidate that wrote them.
    pub(crate) target: String,
    /// A trace for each prompt. Distributions, lookups and trees have the names of the candidates.
    pub(crate) traces: Vec<TextTrace>,
}

/// The conditions of a measurement: under others, its numbers do not hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileConditions {
    /// Version of this program.
    pub(crate) kad: String,
    pub(crate) machine: Machine,
    /// Sampling settings: acceptance depends on them.
    pub(crate) sampling: SamplingPlan,
    /// Models by their names in the experiment.
    pub(crate) models: BTreeMap<String, ProfiledModel>,
}

/// A model as it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfiledModel {
    pub(crate) source: String,
    /// Number of layers: an early exit has fewer than its source.
    pub(crate) layers: usize,
    pub(crate) digest: String,
    pub(crate) backend: String,
    pub(crate) dtype: String,
    pub(crate) device: String,
    /// Number of threads, if the experiment sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
    /// Version of the backend's library, if it is found at run time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<String>,
}

/// Size of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProfileSettings {
    /// Tasks of the prompts.
    pub(crate) tasks: Vec<String>,
    pub(crate) prompts: usize,
    /// Maximum number of new tokens of a text.
    pub(crate) tokens: usize,
    /// Rounds of passes for each width and context length.
    pub(crate) rounds: usize,
    /// Width of the passes that verify the longest drafts.
    pub(crate) draft_length: usize,
    pub(crate) seed: u64,
}

impl ProfileSettings {
    /// Minimum of [`lookup_length`](Self::lookup_length).
    pub(crate) const MIN_LOOKUP_LENGTH: usize = 16;

    /// Tokens requested of a lookup at each position of a text.
    pub(crate) fn lookup_length(&self) -> usize {
        self.draft_length.max(Self::MIN_LOOKUP_LENGTH)
    }
}

/// Measurements of a candidate for a level of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CandidateProfile {
    pub(crate) name: String,
    /// The models it runs; none for a lookup.
    pub(crate) models: Vec<String>,
    /// The parts of a composed distribution or a tree, so that a changed rule or shape is noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) definition: Option<String>,
    pub(crate) cost: CandidateCost,
}

/// Seconds of a candidate's work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum CandidateCost {
    /// The distribution of one model, or one composed of several.
    Distribution {
        /// A forward pass of all its models by width and context length, with the next-token
        /// distributions after its tokens.
        times: PassTimes,
        /// Time of a next-token distribution, which is part of the pass.
        distribution: PassTime,
        /// A token of plain decoding beyond its pass and distribution, the mean: sampling,
        /// bookkeeping, and slower passes than alone.
        token_overhead: f64,
        /// A token of plain decoding of a composed distribution: its decoder does not run every
        /// model for every token.
        #[serde(skip_serializing_if = "Option::is_none")]
        plain: Option<PassTime>,
    },
    /// A lookup in the text so far.
    Lookup {
        lookup: Lookup,
        /// A draft, whatever its length.
        draft_seconds: f64,
        /// Each of its tokens.
        token_seconds: f64,
    },
    /// A token tree of the shape that a chain of the experiment has.
    Tree {
        /// The level as in an experiment file.
        toml: String,
        /// All passes of the drafter for a draft, the mean over rounds. The rest of a round is in
        /// the overhead of the pair.
        draft_seconds: f64,
        /// Nodes of a draft, the mean over rounds.
        nodes: f64,
        /// Length of the longest path.
        depth: usize,
    },
}

/// Measurements of a verifier and its drafter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairProfile {
    pub(crate) verifier: String,
    pub(crate) drafter: String,
    /// Numbers of tokens accepted in a row.
    pub(crate) runs: RunLengths,
    pub(crate) round_overhead: RoundOverhead,
}

/// Per-round overhead beyond the models' forward passes. Passes are slower between passes of
/// another model, which leave the processor's caches full of other weights, than one after the
/// other; then there are acceptance, residual and rollback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoundOverhead {
    /// Seconds of every round.
    pub(crate) round: f64,
    /// Seconds of every drafted token.
    pub(crate) token: f64,
}

impl CandidateProfile {
    /// True for distributions and trees of several models.
    pub(crate) fn is_composed(&self) -> bool {
        self.models.len() > 1
    }
}

impl CandidateCost {
    /// Pass times of a distribution.
    pub(crate) fn times(&self) -> Option<&PassTimes> {
        match self {
            Self::Distribution { times, .. } => Some(times),
            Self::Lookup { .. } | Self::Tree { .. } => None,
        }
    }

    /// Seconds of a pass over one token after `context` tokens; 0 without models.
    pub(super) fn pass_seconds(&self, context: usize) -> f64 {
        self.times().map_or(0.0, |times| times.seconds(1, context))
    }

    /// Every number of it that must be finite and ≥ 0.
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Distribution { distribution, token_overhead, plain, .. } => {
                let times = [Some(distribution), plain.as_ref()].into_iter().flatten();
                let times = times.flat_map(|time| [time.seconds, time.standard_error]);
                times.chain([*token_overhead]).collect()
            }
            Self::Lookup { draft_seconds, token_seconds, .. } => {
                vec![*draft_seconds, *token_seconds]
            }
            Self::Tree { draft_seconds, nodes, .. } => vec![*draft_seconds, *nodes],
        }
    }
}

impl Profile {
    /// Version of the layout; files of another one are refused.
    pub(crate) const VERSION: u64 = 4;

    /// Reads a profile. An error names the command that makes one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            let path = path.display();
            anyhow!(WrongRequest(format!(
                "cannot read the profile {path}: {error}; make one with `kad profile FILE.toml --out \
                 PROFILE`"
            )))
        })?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        let wrong = |error: serde_json::Error| {
            anyhow!(WrongRequest(format!("this is not a profile: {error}; {AGAIN}")))
        };
        let Version { version } = serde_json::from_str(text).map_err(wrong)?;
        if version != Self::VERSION {
            bail!(WrongRequest(format!(
                "this profile has layout {version}, kad {} reads layout {}; {AGAIN}",
                env!("CARGO_PKG_VERSION"),
                Self::VERSION
            )));
        }
        let profile: Self = serde_json::from_str(text).map_err(wrong)?;
        match profile.damage() {
            None => Ok(profile),
            Some(what) => bail!(WrongRequest(format!("{what}: the file was changed; {AGAIN}"))),
        }
    }

    /// A name that is no candidate, or an impossible number.
    fn damage(&self) -> Option<String> {
        let unknown = |name: &String| self.candidate(name).is_none();
        let bad = |seconds: &f64| !(seconds.is_finite() && *seconds >= 0.0);
        let pair = |pair: &PairProfile| {
            let PairProfile { verifier, drafter, round_overhead, .. } = pair;
            let pair = format!("the pair (`{verifier}`, `{drafter}`)");
            if let Some(name) = [verifier, drafter].into_iter().find(|name| unknown(name)) {
                return Some(format!("{pair} names `{name}`, which is no candidate"));
            }
            let found = [round_overhead.round, round_overhead.token].into_iter().find(bad)?;
            Some(format!("{pair} has a round overhead of {found} seconds"))
        };
        let candidate = |CandidateProfile { name, cost, .. }: &CandidateProfile| {
            let found = cost.numbers().into_iter().find(bad)?;
            Some(format!("`{name}` has a time of {found} seconds"))
        };
        let texts = self
            .texts
            .as_ref()
            .filter(|texts| unknown(&texts.target))
            .map(|texts| format!("the texts are of `{}`, which is no candidate", texts.target));
        let pairs = self.pairs.iter().find_map(pair);
        pairs.or(texts).or_else(|| self.candidates.iter().find_map(candidate))
    }

    pub(crate) fn candidate(&self, name: &str) -> Option<&CandidateProfile> {
        self.candidates.iter().find(|candidate| candidate.name == name)
    }

    pub(crate) fn pair(&self, verifier: &str, drafter: &str) -> Option<&PairProfile> {
        self.pairs.iter().find(|pair| pair.verifier == verifier && pair.drafter == drafter)
    }

    /// Writes the file atomically.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = compact(&serde_json::to_string_pretty(self)?);
        files::write(path, &text)
            .with_context(|| format!("cannot write the profile {}", path.display()))
    }
}

/// Puts consecutive numbers of an array on one line: they are most of a profile.
fn compact(pretty: &str) -> String {
    let number = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_suffix(',').unwrap_or(line);
        !line.is_empty()
            && line.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e'))
    };
    let (mut text, mut after_number) = (String::with_capacity(pretty.len()), false);
    for line in pretty.lines() {
        let is_number = number(line);
        match is_number && after_number {
            true => text.extend([" ", line.trim_start()]),
            false if text.is_empty() => text.push_str(line),
            false => text.extend(["\n", line]),
        }
        after_number = is_number;
    }
    text + "\n"
}

#[cfg(test)]
mod tests;
