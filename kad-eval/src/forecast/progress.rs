//! Progress of a run: on a terminal a bar with a line for each decoder, elsewhere a line every 15
//! seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::memory::{Caches, Memory};
use super::remaining::Forecast;
use super::tally::{DecoderProgress, Tally};
use crate::config::Experiment;
use crate::models::Models;
use crate::numbers::clip;
use crate::output::{self, duration};
use crate::task::Task;

const LINE_EVERY: Duration = Duration::from_secs(15);

/// Decoders shown at most: more would push everything else off the screen.
const MOST_LINES: usize = 12;

/// Columns of a decoder's name at most.
const NAME: usize = 40;

const BAR: &str =
    "{elapsed_precise} {wide_bar} {pos}/{len} items × decoders, {prefix}, {eta} left\n{msg}";

/// Shows the progress of a run and, once, its remaining time.
pub(crate) struct Progress<'p> {
    experiment: &'p Experiment,
    tasks: &'p [Task],
    tally: Tally,
    forecast: Forecast,
    caches: Caches,
    bar: ProgressBar,
    jobs: usize,
    /// New tokens of this session.
    tokens: u64,
    started: Instant,
    last_line: Instant,
}

impl<'p> Progress<'p> {
    /// `tally` counts the items that are finished already; `jobs` items are decoded in parallel, with
    /// copies of `models`.
    pub(crate) fn new(
        experiment: &'p Experiment,
        tasks: &'p [Task],
        tally: Tally,
        (models, jobs): (&Models, usize),
    ) -> Self {
        let DecoderProgress { items, done, .. } = DecoderProgress::sum(tally.iter().flatten());
        let shown = output::shows_progress();
        let bar = if shown { ProgressBar::new(items as u64) } else { ProgressBar::hidden() };
        bar.set_position(done as u64);
        bar.reset_eta();
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        if done > 0 {
            output::note(&format!("continuing: {done} of {items} items × decoders are done"));
        }
        let left = done < items;
        let caches =
            if left { Caches::largest(experiment, models, tasks) } else { Caches::default() };
        let (forecast, tokens) = (Forecast::new(tasks, jobs), 0);
        let [started, last_line] = [Instant::now(); 2];
        let mut new = Self {
            experiment,
            tasks,
            tally,
            forecast,
            caches,
            bar,
            jobs,
            tokens,
            started,
            last_line,
        };
        new.say_remaining();
        new
    }

    /// Counts a finished item of a task by a decoder; `spent` are its tokens and seconds.
    pub(crate) fn done(&mut self, (task, decoder): (usize, usize), spent: DecoderProgress) {
        self.tally[task][decoder].add(&spent);
        self.bar.inc(1);
        self.tokens += spent.tokens;
        self.say_remaining();
        let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64();
        let (name, decoders) = (&self.tasks[task].name, &self.tally[task]);
        if !self.bar.is_hidden() {
            self.bar.set_prefix(format!("{speed:.0} tokens/s"));
            let names = self.experiment.decoders.iter().map(|plan| plan.name.as_str());
            let decoders: Vec<_> = names.zip(decoders.iter().copied()).collect();
            self.bar.set_message(lines(name, &decoders, self.jobs, output::screen()).join("\n"));
        } else if self.last_line.elapsed() > LINE_EVERY {
            self.last_line = Instant::now();
            output::note(&format!("{}, {speed:.0} tokens/s", line(&self.tally, name, decoders)));
        }
    }

    /// Counts and reports a failed item; `place` is its task and decoder, if known. The run continues.
    pub(crate) fn failed(&mut self, place: Option<(usize, usize)>, message: &str) {
        if let Some((task, decoder)) = place {
            self.tally[task][decoder].failed += 1;
        }
        self.bar.inc(1);
        self.bar.suspend(|| output::failure(&format!("failed: {message}")));
        self.say_remaining();
    }

    fn say_remaining(&mut self) {
        for remaining in self.forecast.news(&self.tally) {
            // The models of all jobs are loaded.
            let memory = Memory::now(0, self.caches, self.jobs);
            self.bar.suspend(|| {
                output::note(&remaining.line(&memory));
                memory.warning().iter().for_each(|line| output::warning(line));
            });
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Progress of the run and of the current task.
fn line(tally: &Tally, task: &str, decoders: &[DecoderProgress]) -> String {
    let all = DecoderProgress::sum(tally.iter().flatten());
    let own = DecoderProgress::sum(decoders);
    format!("{}/{} items × decoders, {task}: {}/{}", all.done, all.items, own.done, own.items)
}

/// The current task, and below it finished items, speed and remaining time of each of its decoders,
/// as many as a screen of so many columns and rows has room for.
fn lines(
    task: &str,
    decoders: &[(&str, DecoderProgress)],
    jobs: usize,
    (columns, rows): (usize, usize),
) -> Vec<String> {
    // Without the bar, the task, and the line of the cursor.
    let room = rows.saturating_sub(3).clamp(1, MOST_LINES);
    let shown = if decoders.len() > room { room - 1 } else { decoders.len() };
    let longest = decoders[..shown].iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width = longest.min(NAME);
    let digits = decoders.iter().map(|(_, it)| it.items.to_string().len()).max().unwrap_or(1);
    let decoder = |(name, it): &(&str, DecoderProgress)| {
        let (name, DecoderProgress { done, items, failed, tokens, seconds, .. }) =
            (clip(name, width), *it);
        let mut line = format!("  {name:<width$}  {done:>digits$}/{items}");
        if let Some(mean) = it.mean() {
            let speed = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
            let left = match it.left() {
                0 => "done".to_owned(),
                left => format!("{} left", duration(mean * left as f64 / jobs as f64)),
            };
            line += &format!("  {speed:>5.0} tokens/s  {left}");
        }
        if failed > 0 {
            line += &format!("  {failed} failed");
        }
        line
    };
    let mut lines = vec![task.to_owned()];
    lines.extend(decoders[..shown].iter().map(decoder));
    if shown < decoders.len() {
        lines.push(format!("  … and {} more", decoders.len() - shown));
    }
    // A line that wraps would leave a part of itself on the screen.
    lines.iter().map(|line| clip(line, columns.saturating_sub(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(items: usize, done: usize, tokens: u64, seconds: f64) -> DecoderProgress {
        DecoderProgress { items, done, tokens, seconds, ..DecoderProgress::default() }
    }

    #[test]
    fn every_decoder_has_its_line() {
        let fast = DecoderProgress { failed: 2, ..decoder(100, 98, 4000, 49.0) };
        let (base, late) = (decoder(100, 20, 400, 10.0), decoder(100, 0, 0, 0.0));
        let decoders = [("base", base), ("KAD dual, threshold 0.2", fast), ("late", late)];
        let found = lines("gsm8k", &decoders, 1, (80, 40));
        let wanted = [
            "gsm8k",
            "  base                      20/100     40 tokens/s  40 s left",
            "  KAD dual, threshold 0.2   98/100     82 tokens/s  done  2 failed",
            "  late                       0/100",
        ];
        assert_eq!(found, wanted);
        assert!(lines("gsm8k", &decoders, 2, (80, 40))[1].ends_with("20 s left"), "two at a time");
    }

    #[test]
    fn decoders_that_do_not_fit_on_the_screen_are_counted() {
        let decoders = vec![("some decoder", decoder(9, 1, 5, 1.0)); 30];
        let found = lines("task", &decoders, 1, (80, 60));
        assert_eq!((found.len(), found[12].as_str()), (13, "  … and 19 more"));
        let found = lines("task", &decoders, 1, (20, 6));
        assert_eq!((found.len(), found[3].as_str()), (4, "  … and 28 more"));
        assert!(found.iter().all(|line| line.chars().count() < 20), "{found:?}");
        assert_eq!(lines("task", &decoders, 1, (80, 1)).len(), 2, "never nothing");
    }

    #[test]
    fn a_plain_line_names_the_task() {
        let tally = vec![vec![decoder(5, 5, 1, 1.0)], vec![decoder(7, 2, 1, 1.0)]];
        assert_eq!(line(&tally, "mmlu", &tally[1]), "7/12 items × decoders, mmlu: 2/7");
    }
}
