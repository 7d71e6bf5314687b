//! Results go to stdout, everything else to stderr.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Writes text to stdout at once; a closed pipe is an error, never a panic.
///
/// # Errors
/// Fails if stdout cannot be written.
pub(crate) fn print(text: &str) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a line to stdout.
///
/// # Errors
/// Fails if stdout cannot be written.
pub(crate) fn line(text: &str) -> std::io::Result<()> {
    print(&format!("{text}\n"))
}

static QUIET: AtomicBool = AtomicBool::new(false);

/// Calls of [`without_notes`] that have not returned.
static SILENT: AtomicUsize = AtomicUsize::new(0);

fn notes_are_off() -> bool {
    QUIET.load(Ordering::Relaxed) || silent()
}

fn silent() -> bool {
    SILENT.load(Ordering::Relaxed) > 0
}

/// Turns notes and progress off or on.
pub(crate) fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// True if progress is shown: stderr is a terminal and the user does not want quiet.
pub(crate) fn shows_progress() -> bool {
    !notes_are_off() && std::io::stderr().is_terminal()
}

/// Writes a line to stderr, except under `--quiet`.
pub(crate) fn note(text: &str) {
    if !notes_are_off() {
        error(text);
    }
}

/// Writes a warning to stderr, also under `--quiet`.
pub(crate) fn warning(text: &str) {
    if !silent() {
        error(&format!("warning: {text}"));
    }
}

/// Writes a failure that the program survives to stderr, also under `--quiet`.
pub(crate) fn failure(text: &str) {
    if !silent() {
        error(text);
    }
}

/// Does `work` without notes, warnings and progress. They are off in every thread meanwhile.
pub(crate) fn without_notes<T>(work: impl FnOnce() -> T) -> T {
    struct Silence;
    impl Drop for Silence {
        fn drop(&mut self) {
            SILENT.fetch_sub(1, Ordering::Relaxed);
        }
    }
    SILENT.fetch_add(1, Ordering::Relaxed);
    let _silence = Silence;
    work()
}

/// Writes a line to stderr. A failure is ignored: there is nowhere to report it.
pub(crate) fn error(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Columns and rows of the terminal of stderr.
pub(crate) fn screen() -> (usize, usize) {
    let (rows, columns) = console::Term::stderr().size();
    (columns.into(), rows.into())
}

/// A duration for people: at most two units, none smaller than a second.
pub(crate) fn duration(seconds: f64) -> String {
    // The cast saturates; NaN becomes 0.
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole.saturating_add(30) / 60, whole / 3600, whole / 86400);
    match whole {
        0 => "less than 1 s".to_owned(),
        1..100 => format!("{whole} s"),
        100..7200 => format!("{minutes} min"),
        7200..172_800 => format!("{hours} h {} min", (whole % 3600) / 60),
        _ => format!("{days} d {} h", (whole % 86400) / 3600),
    }
}

/// Bytes in MB or GB.
pub(crate) fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e9 { format!("{:.1} MB", bytes / 1e6) } else { format!("{:.1} GB", bytes / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_said_in_units_that_fit() {
        let said =
            [0.2, 1.0, 99.4, 100.0, 121.0, 7199.0, 7200.0, 90_000.0, 200_000.0].map(duration);
        let wanted = [
            "less than 1 s",
            "1 s",
            "99 s",
            "2 min",
            "2 min",
            "120 min",
            "2 h 0 min",
            "25 h 0 min",
            "2 d 7 h",
        ];
        assert_eq!(said, wanted);
        assert_eq!(duration(f64::INFINITY).split(' ').count(), 4, "no panic");
        assert_eq!([size(400_000), size(2_449_000_000)], ["0.4 MB", "2.4 GB"]);
    }
}
