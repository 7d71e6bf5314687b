//! The tch backend: the suite of `libraries.rs`, whose tolerances are in `support/library.rs`.

use crate::libraries::suite;
use crate::support::library::{Library, TCH};

suite!(TCH);
