//! One binary for all integration tests of kad-polybasic.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod laws;
mod passes;
mod steps;
mod theory;
mod theory_data;
mod theory_geometric;
mod theory_lemma;
mod theory_plan;
mod theory_predict;
