//! Experiment files: read, checked, sweeps expanded.

mod chain;
mod decoders;
mod experiment;
mod levels;
mod prove;
mod read;
mod rule;
mod set;

pub(crate) use chain::lookup;
pub(crate) use decoders::DEFAULT_DRAFT_LENGTH;
pub use experiment::Experiment;
pub(crate) use experiment::{
    DecoderKind, DecoderPlan, DraftPart, EarlyExit, Execution, ModelPlan, PassesPlan, SamplingPlan,
    distribution_in_words,
};
pub(crate) use levels::{
    ChainPlan, DraftPlan, LevelPlan, Levels, Lookup, LookupKind, NamedDistribution, PlannedLevels,
    TreePlan, plain_decoding, same_distribution, toml_string,
};
pub(crate) use prove::{Claim, Proof, read_proof};
pub(crate) use read::{read, read_file};
pub(crate) use rule::{RulePlan, RulePlanError, unknown as unknown_rule};
pub(crate) use set::Setting;

/// The members of a product of sweeps, each with the words that distinguish it: every one of
/// `members` followed by every one of `values`.
fn product<T: Clone>(
    members: &[(Vec<T>, String)],
    values: &[(T, String)],
) -> Vec<(Vec<T>, String)> {
    let each = |(member, words): &(Vec<T>, String)| {
        let with = |(value, own): &(T, String)| {
            ([&member[..], std::slice::from_ref(value)].concat(), joined(words, own))
        };
        values.iter().map(with).collect::<Vec<_>>()
    };
    members.iter().flat_map(each).collect()
}

/// Two phrases of a name, with a comma between them if neither is empty.
fn joined(a: &str, b: &str) -> String {
    let comma = if a.is_empty() || b.is_empty() { "" } else { ", " };
    format!("{a}{comma}{b}")
}
