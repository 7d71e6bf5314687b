//! Profile of an experiment on this machine: forward-pass times, cost of drafts, acceptance rates.
//!
//! | part | file |
//! |---|---|
//! | the profile file | `file/` |
//! | refusal of a profile made under other conditions | `compatibility.rs` |
//! | models, composed distributions, lookups and trees of an experiment | `targets.rs` |
//! | prompts | `prompts.rs` |
//! | making a profile | `profiler.rs` |
//! | forward-pass times by width and context length | `passes.rs` |
//! | acceptance of each drafter and token tree by each verifier | `pairs.rs` |
//! | per-round overhead beyond the models' forward passes | `round_overhead.rs` |
//! | plain texts with every candidate's probabilities and drafts | `traces.rs` |

mod compatibility;
mod file;
mod pairs;
mod passes;
mod profiler;
mod prompts;
mod round_overhead;
mod targets;
mod traces;

pub(crate) use compatibility::task_names;
pub(crate) use file::{
    CandidateCost, CandidateProfile, Profile, ProfileConditions, ProfileSettings,
};
pub(crate) use passes::{PassGrid, time_passes, times_without};
pub(crate) use profiler::Profiler;
pub(crate) use prompts::{Prompts, in_turn};
pub(crate) use targets::{ProfileTargets, listed};

#[cfg(test)]
pub(crate) mod sample_profile;
