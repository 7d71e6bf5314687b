//! One binary for all integration tests: the program as users run it, and rules about the
//! source tree.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod backends;
mod bad_input;
mod bench;
mod chains;
mod compare;
mod data;
mod dry_run;
mod experiments;
mod explain;
mod generate;
mod help;
mod kad;
mod many;
mod model_comparison;
mod nano_chains;
mod plan;
mod profile;
mod prove;
mod recomputed;
mod report;
mod resume;
mod rules;
mod scale;
mod score;
mod shards;
mod storeys;
mod tasks;
mod tidy;
