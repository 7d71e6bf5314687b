//! The profile file: JSON, versioned, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use kad_polybasic::theory::{PassTime, PassTimes, RunLengths, TextTrace};
use serde::{Deserialize, Serialize};

use crate::config::SamplingPlan;
use crate::failure::WrongRequest;
use crate::files;
use crate::machine::Machine;

/// Of the file's layout; another one is refused.
const VERSION: u64 = 3;

/// What models, composed distributions and lookups do on one machine: how long a pass takes and how
/// far each accepts what another drafts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    pub(crate) version: u64,
    /// Whose models and prompts these are.
    pub(crate) experiment: String,
    /// The distribution of its baseline, if that was measured: what to plan for unless told
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// What was measured, and with what.
    pub(crate) about: About,
    /// How it was measured.
    pub(crate) effort: Effort,
    /// Tokens before the middle of a text, the mean over the prompts: where passes are looked up.
    pub(crate) context: usize,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) pairs: Vec<Pair>,
    /// Plain texts of one distribution, and what the others would have made of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) texts: Option<Texts>,
}

/// Texts that one distribution wrote by itself, each up to the limit of the effort's tokens, read
/// again by everything that may draft for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    /// The candidate that wrote them.
    pub(crate) target: String,
    /// One for each prompt. Distributions, lookups and trees have the names of the candidates.
    pub(crate) traces: Vec<TextTrace>,
}

/// What a profile holds for: as soon as any of it changes, the numbers are of something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// Version of this program.
    pub(crate) kad: String,
    pub(crate) machine: Machine,
    /// How tokens are drawn: acceptance depends on it.
    pub(crate) sampling: SamplingPlan,
    /// By the names the experiment gives them.
    pub(crate) models: BTreeMap<String, ModelIdentity>,
}

/// A model as it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelIdentity {
    pub(crate) source: String,
    /// Its blocks: an early exit has fewer than its source.
    pub(crate) layers: usize,
    /// Of its files.
    pub(crate) digest: String,
    pub(crate) backend: String,
    pub(crate) dtype: String,
    /// What computes.
    #[serde(default = "ModelIdentity::processor")]
    pub(crate) device: String,
    /// Threads, where the file asks for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<usize>,
    /// The version of the backend's library, where that is found when the program runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<String>,
}

impl ModelIdentity {
    /// What computed the models of profiles that do not say.
    fn processor() -> String {
        kad_backends::Device::Cpu.to_string()
    }
}

/// How much was decoded to measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Effort {
    /// Where the prompts are from.
    pub(crate) tasks: Vec<String>,
    pub(crate) prompts: usize,
    /// The most new tokens for each of them.
    pub(crate) tokens: usize,
    /// Passes measured for each width and context.
    pub(crate) rounds: usize,
    /// The width of the passes that verify the longest drafts.
    pub(crate) draft_length: usize,
    pub(crate) seed: u64,
}

impl Effort {
    /// Lookups are asked for this many tokens at least.
    pub(crate) const LOOKED_UP: usize = 16;

    /// Tokens that lookups were asked for at each place of a text: what plans may ask of them, at
    /// least.
    pub(crate) fn looked_up(&self) -> usize {
        self.draft_length.max(Self::LOOKED_UP)
    }
}

/// What can be a level of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Candidate {
    /// The experiment's name for it.
    pub(crate) name: String,
    /// The models it runs; none for a lookup.
    pub(crate) models: Vec<String>,
    /// What a composed distribution or a tree is made of, so that a changed rule or shape is
    /// noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) definition: Option<String>,
    pub(crate) cost: Cost,
}

/// What a candidate's work takes, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Cost {
    /// A distribution: one model's, or one composed of several.
    Distribution {
        /// A pass of all its models over so many tokens after so many others, and the distributions
        /// after each of them.
        times: PassTimes,
        /// The part of it that making one distribution takes.
        distribution: PassTime,
        /// A token of plain decoding beside its pass and distribution: drawing it, bookkeeping, and
        /// what a pass takes longer there than by itself; the mean.
        token_overhead: f64,
        /// A token of plain decoding, for composed distributions: their decoders do not ask every
        /// model for every token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plain: Option<PassTime>,
    },
    /// Earlier text, looked up.
    Lookup {
        lookup: Lookup,
        /// A draft, however short.
        draft_seconds: f64,
        /// Each of its tokens.
        token_seconds: f64,
    },
    /// A tree of drafts in the shape that the experiment's chains have.
    Tree {
        /// The level as an experiment file has it.
        toml: String,
        /// All passes of the drafter for a draft, the mean over rounds; what else a round takes is
        /// in the pairs' `beside`.
        draft_seconds: f64,
        /// The nodes of a draft, the mean over rounds.
        nodes: f64,
        /// The longest path.
        depth: usize,
    },
}

/// What is looked up; the keys of experiment files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Lookup {
    /// What followed the last few tokens when they occurred before.
    NGram { longest: NonZeroUsize, shortest: NonZeroUsize },
    /// What followed the longest suffix that occurred before.
    SuffixAutomaton { longest: NonZeroUsize, shortest: NonZeroUsize },
}

/// Who verified whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pair {
    pub(crate) verifier: String,
    pub(crate) drafter: String,
    /// How many tokens in a row were accepted.
    pub(crate) runs: RunLengths,
    /// What their rounds take beside the times of both.
    pub(crate) beside: RoundOverhead,
}

/// What rounds of a verifier and its drafter take longer than the times of both add up to: passes
/// take longer between those of another model, which leave the processor's caches full of something
/// else, than one after the other; then acceptance, residual, roll-back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoundOverhead {
    /// Seconds of every round.
    pub(crate) round: f64,
    /// Seconds of every drafted token.
    pub(crate) token: f64,
}

impl Profile {
    /// Version of the layout that is written here.
    pub(crate) const VERSION: u64 = VERSION;

    /// Reads a profile.
    ///
    /// # Errors
    /// If the file is not there, is no profile, or one of another layout; with what to do.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            let again = "make one with `kad profile FILE.toml --out PROFILE`";
            anyhow!(WrongRequest(format!(
                "cannot read the profile {}: {error}; {again}",
                path.display()
            )))
        })?;
        Self::parse(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// The profile in `text`.
    ///
    /// # Errors
    /// If it is no profile, or one of another layout.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        const AGAIN: &str = "make it again with `kad profile FILE.toml --out PROFILE`";
        let wrong = |error: serde_json::Error| {
            anyhow!(WrongRequest(format!("this is no profile: {error}; {AGAIN}")))
        };
        let Version { version } = serde_json::from_str(text).map_err(wrong)?;
        if version != VERSION {
            bail!(WrongRequest(format!(
                "this profile has layout {version}, kad {} reads layout {VERSION}; {AGAIN}",
                env!("CARGO_PKG_VERSION")
            )));
        }
        let profile: Self = serde_json::from_str(text).map_err(wrong)?;
        profile.check()?;
        Ok(profile)
    }

    /// Whether pairs are of candidates, and seconds are seconds.
    fn check(&self) -> Result<()> {
        for pair in &self.pairs {
            for name in [&pair.verifier, &pair.drafter] {
                if self.candidate(name).is_none() {
                    bail!(WrongRequest(format!(
                        "the pair (`{}`, `{}`) names `{name}`, which is no candidate: the file was \
                         changed; make it again with `kad profile`",
                        pair.verifier, pair.drafter
                    )));
                }
            }
        }
        if let Some(texts) = &self.texts
            && self.candidate(&texts.target).is_none()
        {
            bail!(WrongRequest(format!(
                "the texts are of `{}`, which is no candidate: the file was changed; make it again \
                 with `kad profile`",
                texts.target
            )));
        }
        let bad = |seconds: &f64| !(seconds.is_finite() && *seconds >= 0.0);
        for Pair { verifier, drafter, beside, .. } in &self.pairs {
            if let Some(found) = [beside.round, beside.token].iter().find(|seconds| bad(seconds)) {
                bail!(WrongRequest(format!(
                    "a round of `{verifier}` and `{drafter}` takes {found} seconds beside their \
                     passes: the file was changed; make it again with `kad profile`"
                )));
            }
        }
        for Candidate { name, cost, .. } in &self.candidates {
            let seconds = match cost {
                Cost::Distribution { distribution, token_overhead, plain, .. } => {
                    let spread = [Some(distribution), plain.as_ref()].into_iter().flatten();
                    let spread = spread.flat_map(|time| [time.seconds, time.standard_error]);
                    spread.chain([*token_overhead]).collect()
                }
                Cost::Lookup { draft_seconds, token_seconds, .. } => {
                    vec![*draft_seconds, *token_seconds]
                }
                Cost::Tree { draft_seconds, nodes, .. } => vec![*draft_seconds, *nodes],
            };
            if let Some(found) = seconds.iter().find(|seconds| bad(seconds)) {
                bail!(WrongRequest(format!(
                    "`{name}` has a time of {found} seconds: the file was changed; make it again \
                     with `kad profile`"
                )));
            }
        }
        Ok(())
    }

    /// The candidate of this name.
    pub(crate) fn candidate(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.name == name)
    }

    /// How `verifier` accepts what `drafter` proposes, if that was measured.
    pub(crate) fn pair(&self, verifier: &str, drafter: &str) -> Option<&Pair> {
        self.pairs.iter().find(|pair| pair.verifier == verifier && pair.drafter == drafter)
    }

    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// If the disk is full or the folder is not there.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = compact(&serde_json::to_string_pretty(self)?);
        files::write(path, &text)
            .with_context(|| format!("cannot write the profile {}", path.display()))
    }
}

/// Numbers that follow each other in an array share a line: they are most of a profile.
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
