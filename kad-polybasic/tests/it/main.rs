//! One binary for all integration tests of kad-polybasic.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod acceptance;
mod broken;
mod chains;
mod composed;
mod failures;
mod laws;
mod passes;
mod steps;
mod support;
mod uniform;
