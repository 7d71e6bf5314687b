//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::record::Record;

const LINE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Progress {
    bar: ProgressBar,
    terminal: bool,
    state: RefCell<State>,
}

struct State {
    tokens: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(total: usize, already: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
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
        Self { bar, terminal, state: State { tokens: 0, started: now, last_line: now }.into() }
    }

    pub(super) fn item(&self, record: &Record) {
        self.bar.inc(1);
        let mut state = self.state.borrow_mut();
        state.tokens += record.new_tokens;
        let speed = state.tokens as f64 / state.started.elapsed().as_secs_f64();
        self.bar.set_message(format!("{speed:.0} tokens/s"));
        if !self.terminal && state.last_line.elapsed() > LINE_EVERY {
            state.last_line = Instant::now();
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
            output::note(&format!("{done}/{total} items, {speed:.0} tokens/s"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
