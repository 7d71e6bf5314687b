//! One binary for all integration tests of kad-core.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod adversarial;
mod contexts;
mod decoding;
mod implicit_reward;
mod mixture_distribution;
mod predictors;
mod remembering;
mod rule_distributions;
mod rule_formulas;
mod rule_history;
mod rule_knapsack;
mod rule_order;
mod trees;
