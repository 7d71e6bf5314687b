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
mod file;
mod measure;
mod pairs;
mod passes;
mod round_overhead;
mod targets;
mod traces;
mod trees;

pub(crate) use compatibility::sources;
pub(crate) use file::{About, Candidate, Cost, Effort, Profile};
pub(crate) use measure::{Measurement, Prompts};
pub(crate) use passes::{Grid, Passes, times_without};
pub(crate) use targets::{ProfileTargets, listed, tree_definition};

#[cfg(test)]
pub(crate) mod fixtures;
