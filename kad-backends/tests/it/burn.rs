//! The burn backend: the suite of `libraries.rs`, whose tolerances are in `support/library.rs`.

use crate::libraries::suite;
use crate::support::library::{BURN, Library};

suite!(BURN);
