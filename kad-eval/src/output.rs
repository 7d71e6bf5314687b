//! The two streams: results on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes text to stdout at once; a closed pipe is an error, never a panic.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to stdout.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    print(&format!("{text}\n"))
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether notes and progress are wanted.
pub(crate) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// Whether somebody looks at stderr and wants to see progress.
pub(crate) fn shows_progress() -> bool {
    !QUIET.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}

/// Writes a line to stderr, unless the user wants quiet.
pub(crate) fn note(text: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        error(text);
    }
}

/// Writes a line to stderr in any case. Nobody can be told if that fails.
pub(crate) fn error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
