//! One binary for all integration tests of kad-polybasic.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod acceptance_counts;
mod adaptive_lengths;
mod chain_distributions;
mod deferral_distributions;
mod forward_passes;
mod inexact_variants;
mod lookup_drafts;
mod mixture_chains;
mod model_failures;
mod shared_uniforms;
mod step_invariants;
mod support;
mod theory_capped_geometric;
mod theory_lemma;
mod theory_measurements;
mod theory_planner;
mod theory_predictor;
mod theory_replay;
mod theory_replay_totals;
mod theory_support;
mod tree_construction;
mod tree_verification;
