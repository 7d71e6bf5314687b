//! One binary for all integration tests of kad-core.

// Helpers outside `#[test]` functions unwrap too; a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod decoding;
mod mixture_law;
mod predictors;
