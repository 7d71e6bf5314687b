//! Experiments in TOML: what a file may say, and what it means once checked.

mod error;
mod experiment;
mod read;
mod table;

pub(crate) use error::ConfigError;
pub(crate) use experiment::{
    DecoderKind, DecoderPlan, Experiment, ModelPlan, RulePlan, SamplingPlan, TaskPlan,
};
pub(crate) use read::read;
