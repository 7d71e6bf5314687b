//! The burn backend: the suite of `tensor_libraries.rs` with the tolerances of
//! `support/backends.rs`.

use crate::support::backends::{BURN, BackendCase};
use crate::tensor_libraries::suite;

suite!(BURN);
