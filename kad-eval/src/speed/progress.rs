//! How far measuring is: a bar on a terminal, a line at the beginning of each part elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// One part of the work.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// `total` pieces of `what`.
    pub(crate) fn new(what: &str, total: usize) -> Self {
        let bar = if output::shows_progress() {
            ProgressBar::new(total as u64)
        } else {
            output::note(&format!("{total} {what}"));
            ProgressBar::hidden()
        };
        let template =
            format!("{{elapsed_precise}} {{wide_bar}} {{pos}}/{{len}} {what}, {{eta}} left");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// One more is done.
    pub(crate) fn one(&self) {
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
