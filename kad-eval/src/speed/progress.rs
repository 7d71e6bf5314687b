//! Progress of a measurement: a bar on a terminal, elsewhere a line at the beginning of each part.

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Progress of one part of a measurement.
pub(crate) struct MeasurementProgress {
    bar: ProgressBar,
}

impl MeasurementProgress {
    /// `total` steps, named `what`.
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

    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }
}

impl Drop for MeasurementProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
