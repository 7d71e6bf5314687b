//! The two streams: results on stdout, everything else on stderr.

use std::io::Write;

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

/// Writes a line to stderr. Nobody can be told if that fails.
pub(crate) fn note(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
