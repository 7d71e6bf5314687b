//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::record::Record;

const LINE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    tokens: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(total: usize, already: usize) -> Self {
        let terminal = output::shows_progress();
        let bar = if terminal { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        bar.set_length(total as u64);
        bar.set_position(already as u64);
        bar.reset_eta();
        let template = "{elapsed_precise} {wide_bar} {pos}/{len} items, {msg}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if already > 0 {
            output::note(&format!("continuing: {already} of {total} items are done"));
        }
        let now = Instant::now();
        Self { bar, terminal, tokens: 0, started: now, last_line: now }
    }

    pub(super) fn item(&mut self, record: &Record) {
        self.bar.inc(1);
        self.tokens += record.new_tokens;
        let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{speed:.0} tokens/s"));
        if !self.terminal && self.last_line.elapsed() > LINE_EVERY {
            self.last_line = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            output::note(&format!("{done}/{total} items, {speed:.0} tokens/s"));
        }
    }

    /// An item that could not be done; the run goes on.
    pub(super) fn failed(&self, message: &str) {
        self.bar.inc(1);
        self.bar.suspend(|| output::error(&format!("failed: {message}")));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
