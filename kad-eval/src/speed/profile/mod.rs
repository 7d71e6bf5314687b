//! What models, composed distributions and lookups do on this machine, measured; and what follows
//! from it.
//!
//! | what | where |
//! |---|---|
//! | the file | `format.rs` |
//! | whether it is of what runs now | `stale.rs` |
//! | decoding with a clock | `steps.rs` |
//! | what can be measured | `targets.rs` |
//! | how long passes take | `passes.rs` |
//! | making a profile | `measure.rs`, of pairs `pairs.rs`, of trees `trees.rs` |
//! | what everything makes of plain texts | `texts.rs` |
//! | what rounds take beside passes | `beside.rs` |
//! | the chains that follow, ranked | `ranking.rs` |

mod compatibility;
mod format;
mod measure;
mod pairs;
mod passes;
mod progress;
mod ranking;
mod round_overhead;
pub(crate) mod steps;
mod targets;
mod texts;
mod trees;

pub(crate) use compatibility::sources;
pub(crate) use format::{About, Cost, Effort, Profile};
pub(crate) use measure::{Measurement, Prompts};
pub(crate) use passes::{Grid, Passes};
pub(crate) use progress::Progress;
pub(crate) use ranking::{
    ChainRanking, LevelInsertion, RankedChain, RankingRequest, ReplayRange, Verdict,
};
pub(crate) use targets::{ProfileTargets, listed, same_distribution, tree_definition};

impl RankingRequest {
    /// The most levels that are looked for unless more are asked for, the target included.
    pub(crate) const MAX_LEVELS: usize = 4;
    /// The most tokens that a level waits for unless more are asked for.
    pub(crate) const MAX_LENGTH: usize = 16;
}

#[cfg(test)]
pub(crate) mod fixtures;
