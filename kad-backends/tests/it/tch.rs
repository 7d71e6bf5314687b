//! The tch backend: the suite of `tensor_libraries.rs` with the tolerances of
//! `support/backends.rs`.

use crate::support::backends::{BackendCase, TCH};
use crate::tensor_libraries::suite;

suite!(TCH);
