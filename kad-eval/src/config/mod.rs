//! Experiments in TOML: what a file may say, and what it means once checked.

mod chain;
mod decoders;
mod error;
mod experiment;
mod levels;
mod passes;
mod prove;
mod read;
mod rule;
mod set;
mod table;
mod tasks;
mod words;

pub(crate) use chain::lookup;
pub(crate) use decoders::DEFAULT_DRAFT_LENGTH;
pub(crate) use error::ConfigError;
pub(crate) use experiment::{
    DecoderKind, DecoderPlan, DraftPart, EarlyExit, Execution, Experiment, ModelPlan, SamplingPlan,
};
pub(crate) use levels::{
    ChainPlan, DraftPlan, LevelPlan, Levels, Part, TreePlan, plain_decoding, same_distribution,
};
pub(crate) use passes::PassesPlan;
pub(crate) use prove::{Claim, Proof, read_proof};
pub(crate) use read::read;
pub(crate) use rule::{RulePlan, RulePlanError, unknown as unknown_rule};
pub(crate) use set::{Setting, set};
pub(crate) use table::nearest;
pub(crate) use tasks::{
    By, Choosing, Format, JsonlPlan, MmluPlan, TaskPlan, TaskSet, TextPlan, Truth, default_task,
};
pub(crate) use words::distribution_in_words;

/// Two parts of a name, with a comma between them if both say something.
fn joined(a: &str, b: &str) -> String {
    let comma = if a.is_empty() || b.is_empty() { "" } else { ", " };
    format!("{a}{comma}{b}")
}
