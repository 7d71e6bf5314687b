//! All integration tests of kad-polybasic in one binary. `docs/TESTING.md` lists the numbered
//! properties (S1, P1, K11, …) that test names begin with.

// Helpers outside `#[test]` functions unwrap too; a panic fails the test.
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
mod same_uniforms;
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
