//! What models, composed laws and lookups do on this machine, measured; and what follows from it.
//!
//! | what | where |
//! |---|---|
//! | the file | `format.rs` |
//! | whether it is of what runs now | `stale.rs` |

mod format;
mod stale;

pub(crate) use format::{About, Candidate, Cost, Effort, ModelIdentity, Pair, Profile};
pub(crate) use stale::Stale;

#[cfg(test)]
pub(crate) mod sample;
