//! Ctrl-C: the first one gives up the current item, the second one ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::failure::INTERRUPTED_EXIT;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// True after Ctrl-C.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Listens for Ctrl-C from now on.
///
/// # Errors
/// Fails if the system refuses.
pub(crate) fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED_EXIT.into());
        }
    })
    .context("cannot listen for Ctrl-C")
}
