//! Test support for other crates (feature `testing`). Failures panic.

pub mod conformance;
