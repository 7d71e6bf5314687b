//! One binary for all integration tests of kad-polybasic.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod acceptance;
mod adaptive;
mod broken;
mod chains;
mod composed;
mod distributions;
mod failures;
mod growth;
mod lookup;
mod passes;
mod steps;
mod support;
mod theory;
mod theory_data;
mod theory_geometric;
mod theory_lemma;
mod theory_plan;
mod theory_predict;
mod theory_replay;
mod theory_texts;
mod trees;
mod uniform;
