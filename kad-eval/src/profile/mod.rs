//! What models, composed laws and lookups do on this machine, measured; and what follows from it.
//!
//! | what | where |
//! |---|---|
//! | the file | `format.rs` |
//! | whether it is of what runs now | `stale.rs` |
//! | decoding with a clock | `steps.rs` |
//! | how long passes take | `passes.rs` |
//! | the chains that follow, ranked | `outlook.rs` |

mod format;
mod outlook;
mod passes;
mod stale;
pub(crate) mod steps;

pub(crate) use format::{About, Candidate, Cost, Effort, Lookup, ModelIdentity, Pair, Profile};
pub(crate) use outlook::{Ask, Outlook, Ranked, Verdict};
pub(crate) use stale::Stale;

#[cfg(test)]
pub(crate) mod sample;
