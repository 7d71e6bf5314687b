//! What other crates test their parts with (feature `testing`): panics are its way of failing.

pub mod conformance;
