//! All integration tests of kad-core in one binary.

// Helpers outside `#[test]` functions unwrap too: a test fails by panicking.
#![allow(clippy::unwrap_used)]

mod cached_session;
mod generation;
mod hard_distributions;
mod implicit_reward;
mod mixture_distribution;
mod predictors;
mod rule_distributions;
mod rule_formulas;
mod rule_history;
mod rule_invariances;
mod rule_knapsack;
mod sampling;
mod trees;
