//! Experiments in TOML: what a file may say, and what it means once checked.

mod decoders;
mod error;
mod experiment;
mod read;
mod rule;
mod table;

pub(crate) use decoders::DEFAULT_DRAFT_LENGTH;
pub(crate) use error::ConfigError;
pub(crate) use experiment::{
    DecoderKind, DecoderPlan, DraftPart, Execution, Experiment, ModelPlan, SamplingPlan, TaskPlan,
};
pub(crate) use read::read;
pub(crate) use rule::RulePlan;
