//! A chain of levels as plain data: what is predicted, simulated and planned.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, checked_seconds};
use super::pass_times::PassTimes;
use super::run_lengths::Acceptance;
use crate::level::Surplus;

/// A level that verifies what the level below proposes: `M_1` … `M_{n−1}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyingLevel {
    /// The model's name.
    pub name: String,
    /// Its pass times `T_i`.
    pub times: PassTimes,
    /// How it accepts what the level below proposes.
    pub acceptance: Acceptance,
    /// `L_i` ≥ 1, in tokens: for the level above the drafter the draft length `K`, above that the
    /// threshold `μ` a buffer must reach. Trees have their depth instead.
    pub length: usize,
    /// Whether a buffer that is accepted whole is followed by a token of this level's own.
    pub bonus: bool,
    /// What becomes of the tokens a buffer has beyond `length`. Default: they are verified with the
    /// others, `B ≥ L_i` tokens in one pass. Kept ones are predicted to wait for the next round if
    /// all of theirs were accepted and no bonus was drawn, to be dropped otherwise, and not to
    /// outlive the round of the level above. That is an approximation: a decoder also saves them
    /// there, and where a bonus or a corrected token happens to agree with them, and does a little
    /// better than predicted.
    #[serde(default)]
    pub surplus: Surplus,
    /// Seconds per round beside the pass: distributions, acceptances, roll-back. Default: 0.
    #[serde(default)]
    pub overhead: f64,
    /// Seconds per token beside the pass where this model decodes plainly: one distribution, one
    /// draw. Used by [`Chain::plain`] alone. Default: 0.
    #[serde(default)]
    pub token_overhead: f64,
}

/// The last level of a chain. Without a verifier above it, it decodes alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Proposer {
    /// A model, one token per pass.
    Model {
        /// Its name.
        name: String,
        /// Its pass times `T_n`.
        times: PassTimes,
        /// Seconds per token beside the pass. Default: 0.
        #[serde(default)]
        overhead: f64,
    },
    /// Something that is no model, such as a lookup of earlier text: its tokens cost hardly
    /// anything, and it may propose fewer than it is asked for.
    Lookup {
        /// Its name.
        name: String,
        /// Seconds per draft, however short.
        draft_seconds: f64,
        /// Seconds per proposed token.
        token_seconds: f64,
    },
    /// Something that drafts a tree of a fixed number of nodes. The run lengths of its verifier are
    /// those of the accepted depth, and the verifier's pass is as wide as the tree.
    Tree {
        /// Its name.
        name: String,
        /// Seconds per draft, all passes of the drafter included.
        draft_seconds: f64,
        /// Nodes of a tree, without the root that is the last token of the text.
        nodes: usize,
        /// The longest path, in tokens.
        depth: usize,
    },
}

impl Proposer {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Model { name, .. } | Self::Lookup { name, .. } | Self::Tree { name, .. } => name,
        }
    }

    /// Seconds, counts: are they any?
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
/// A round of verifier `i` collects a buffer from below until it has its length (one draft for the
/// lowest verifier, rounds of level `i + 1` for the others), verifies it in one pass and hands on
/// the accepted tokens and one of its own: the corrected one, or the bonus.
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
    /// `M_n`, or the target itself if it decodes alone.
    pub proposer: Proposer,
    /// Measured seconds per token of plain decoding, for targets whose pass is not all it takes: a
    /// deferral that is drafted by its own aligned model also runs that model. Where given, it is
    /// what plain decoding costs, after any context; otherwise that is the target's pass over one
    /// token and its `token_overhead`. Default: not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain_seconds: Option<f64>,
}

impl Chain {
    /// Levels, n.
    pub fn levels(&self) -> usize {
        self.verifiers.len() + 1
    }

    /// The names of the levels, target first.
    pub fn names(&self) -> Vec<&str> {
        let verifiers = self.verifiers.iter().map(|verifier| verifier.name.as_str());
        verifiers.chain([self.proposer.name()]).collect()
    }

    /// The lengths `L_1` … `L_{n−1}`.
    pub fn lengths(&self) -> Vec<usize> {
        self.verifiers.iter().map(|verifier| verifier.length).collect()
    }

    /// The target decoding alone: its pass over one token and `token_overhead` per token, or
    /// `plain_seconds` where given.
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

    /// Whether its numbers describe a chain.
    ///
    /// # Errors
    /// If a length is 0, a rate is no probability, a time is negative or no number, or what is no
    /// model would decode alone.
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
