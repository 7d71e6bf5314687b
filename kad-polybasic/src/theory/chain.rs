//! A chain of levels as plain data, the input of predictor, simulator and planner.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, checked_seconds};
use super::pass_times::PassTimes;
use super::run_lengths::Acceptance;
use crate::level::Surplus;

/// A level that verifies the tokens of the level below: `M_1` … `M_{n−1}`. [`Chain`] has an
/// example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyingLevel {
    /// The model's name.
    pub name: String,
    /// Seconds per pass, `T_i`.
    pub times: PassTimes,
    /// Acceptance of the tokens of the level below.
    pub acceptance: Acceptance,
    /// Tokens wanted before verification, ≥ 1: the draft length `K` for the lowest verifier, the
    /// threshold `μ` for the others. Ignored above a tree, which has its depth.
    pub length: usize,
    /// True if a bonus token follows a fully accepted buffer.
    pub bonus: bool,
    /// The treatment of tokens beyond `length`. Default: [`Surplus::Flush`], which verifies a
    /// buffer of `B ≥ length` tokens in one pass.
    ///
    /// For [`Surplus::Keep`] the model is an approximation: kept tokens wait for the next round if
    /// all tokens before them were accepted and no bonus was drawn; otherwise they are dropped; and
    /// they do not outlive the round of the level above. A decoder also keeps them in that case,
    /// and where a bonus or corrected token agrees with them, so it is slightly faster than
    /// predicted.
    #[serde(default)]
    pub surplus: Surplus,
    /// Overhead, in seconds per round: distributions, acceptance, rollback. Default: 0.
    #[serde(default)]
    pub overhead: f64,
    /// Overhead, in seconds per token, of this model in plain decoding: one distribution, one draw.
    /// Used by [`Chain::plain`] only. Default: 0.
    #[serde(default)]
    pub token_overhead: f64,
}

/// The lowest level of a chain. Without a verifier above it, it decodes alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proposer {
    /// A model; one token per pass.
    Model {
        /// The name.
        name: String,
        /// Seconds per pass, `T_n`.
        times: PassTimes,
        /// Overhead, in seconds per token. Default: 0.
        #[serde(default)]
        overhead: f64,
    },
    /// A lookup of earlier text or another drafter that is no model. It may propose fewer tokens
    /// than requested.
    Lookup {
        /// The name.
        name: String,
        /// Seconds per draft, independent of its length.
        draft_seconds: f64,
        /// Seconds per proposed token.
        token_seconds: f64,
    },
    /// A drafter of trees with a fixed number of nodes. The run lengths of its verifier count the
    /// accepted depth, and the verifier's pass is as wide as the tree.
    Tree {
        /// The name.
        name: String,
        /// Seconds per draft, including all passes of the drafter.
        draft_seconds: f64,
        /// Nodes of a tree; its root, the last token of the text, is not counted.
        nodes: usize,
        /// The longest path, in tokens.
        depth: usize,
    },
}

impl Proposer {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Model { name, .. } | Self::Lookup { name, .. } | Self::Tree { name, .. } => name,
        }
    }

    /// Checks times and counts.
    pub(super) fn check(&self) -> Result<(), TheoryError> {
        match self {
            Self::Model { overhead, .. } => checked_seconds("the overhead of a token", *overhead)?,
            Self::Lookup { draft_seconds, token_seconds, .. } => {
                checked_seconds("a draft", *draft_seconds)?;
                checked_seconds("a drafted token", *token_seconds)?
            }
            Self::Tree { name, draft_seconds, nodes, depth } => {
                if *nodes == 0 || *depth == 0 {
                    return Err(TheoryError::NoNodes { name: name.clone() });
                }
                checked_seconds("a draft", *draft_seconds)?
            }
        };
        Ok(())
    }
}

/// A chain of n ≥ 1 levels, target first: n − 1 verifiers and the proposer at the bottom.
///
/// In one round, verifier `i` collects a buffer from below until it has its length: one draft for
/// the lowest verifier, rounds of level `i + 1` for the others. It verifies the buffer in one pass
/// and hands on the accepted tokens and one of its own, the corrected or the bonus token.
///
/// ```
/// use kad_polybasic::theory::{Acceptance, Chain, PassTimes, Proposer, Surplus, VerifyingLevel};
/// let target = VerifyingLevel {
///     name: "large".into(),
///     times: PassTimes::constant(22e-3)?,
///     acceptance: Acceptance::Rate(0.7),
///     length: 5,
///     bonus: true,
///     surplus: Surplus::Flush,
///     overhead: 0.0,
///     token_overhead: 0.0,
/// };
/// let times = PassTimes::constant(1.5e-3)?;
/// let proposer = Proposer::Model { name: "small".into(), times, overhead: 0.0 };
/// let chain = Chain { verifiers: vec![target], proposer, plain_seconds: None };
/// let predicted = chain.predict(0)?;
/// // (T_1 + K T_2) / ((1 − a^(K+1)) / (1 − a))
/// let wanted = (22e-3 + 5.0 * 1.5e-3) / ((1.0 - 0.7f64.powi(6)) / 0.3);
/// assert!((predicted.seconds_per_token - wanted).abs() < 1e-12);
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// `M_1` … `M_{n−1}`; empty for plain decoding.
    pub verifiers: Vec<VerifyingLevel>,
    /// `M_n`, or the target itself in plain decoding.
    pub proposer: Proposer,
    /// Measured seconds per token of plain decoding, at any context length. Needed if plain
    /// decoding costs more than the target's pass: a deferral mixture drafted by its own aligned
    /// model also runs that model. Default: `None`, which takes the target's pass over one token
    /// and its `token_overhead`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_seconds: Option<f64>,
}

impl Chain {
    /// The number of levels, n.
    pub fn levels(&self) -> usize {
        self.verifiers.len() + 1
    }

    /// The names of the levels, target first.
    pub fn names(&self) -> Vec<&str> {
        let verifiers = self.verifiers.iter().map(|verifier| verifier.name.as_str());
        verifiers.chain([self.proposer.name()]).collect()
    }

    /// The lengths of the verifiers, target first.
    pub fn lengths(&self) -> Vec<usize> {
        self.verifiers.iter().map(|verifier| verifier.length).collect()
    }

    /// Plain decoding with the target of this chain: per token its pass over one token and its
    /// `token_overhead`, or `plain_seconds` if given.
    pub fn plain(&self) -> Self {
        let proposer = match self.verifiers.first() {
            None => self.proposer.clone(),
            Some(target) => Proposer::Model {
                name: target.name.clone(),
                times: target.times.clone(),
                overhead: target.token_overhead,
            },
        };
        Self { verifiers: Vec::new(), proposer, plain_seconds: self.plain_seconds }
    }

    /// Checks that the numbers describe a chain.
    ///
    /// # Errors
    /// If a length is 0, a rate is no probability, a time is negative or no number, or the only
    /// level is no model.
    pub fn check(&self) -> Result<(), TheoryError> {
        for (index, verifier) in self.verifiers.iter().enumerate() {
            if verifier.length == 0 {
                return Err(TheoryError::ZeroLength { level: index + 1 });
            }
            verifier.acceptance.check()?;
            checked_seconds("the overhead of a round", verifier.overhead)?;
            checked_seconds("the overhead of a token", verifier.token_overhead)?;
        }
        if let Some(seconds) = self.plain_seconds {
            checked_seconds("a token of plain decoding", seconds)?;
        }
        self.proposer.check()?;
        match &self.proposer {
            Proposer::Lookup { name, .. } | Proposer::Tree { name, .. }
                if self.verifiers.is_empty() =>
            {
                Err(TheoryError::NoModel { name: name.clone() })
            }
            _ => Ok(()),
        }
    }
}
