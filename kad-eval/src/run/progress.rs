//! How far a run is: on a terminal a bar with a line for each decoder, elsewhere a line now and
//! then.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::forecast::Forecast;
use super::plan::Plan;
use super::tally::{DecoderProgress, Tally};
use super::{Caches, caches};
use crate::models::Models;
use crate::output::{self, duration};
use crate::run::record::Record;

const LINE_EVERY: Duration = Duration::from_secs(15);

/// More lines than this push away what else is on the screen.
const MOST_LINES: usize = 12;

/// Columns of the longest name that is shown whole.
const NAME: usize = 40;

pub(super) struct Progress<'p> {
    plan: &'p Plan<'p>,
    tally: Tally,
    forecast: Forecast,
    bar: ProgressBar,
    terminal: bool,
    jobs: usize,
    tokens: u64,
    started: Instant,
    last_line: Instant,
}

impl<'p> Progress<'p> {
    /// `records` are done already; `jobs` items are decoded at a time with copies of `models`.
    pub(super) fn new(
        plan: &'p Plan<'p>,
        records: &[Record],
        (models, jobs): (&Models, usize),
    ) -> Self {
        let tally = plan.tally(records.iter());
        let (total, already) = (tally.items(), tally.finished());
        let terminal = output::shows_progress();
        let bar = if terminal { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        bar.set_length(total as u64);
        bar.set_position(already as u64);
        bar.reset_eta();
        let template = "{elapsed_precise} {wide_bar} {pos}/{len} items × decoders, {prefix}, {eta} left\n{msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if already > 0 {
            output::note(&format!("continuing: {already} of {total} items × decoders are done"));
        }
        let left = already < total;
        let caches =
            if left { caches(plan.experiment, models, plan.tasks) } else { Caches::default() };
        let forecast = Forecast::new(plan, caches, jobs);
        let now = Instant::now();
        let (started, last_line) = (now, now);
        let mut new =
            Self { plan, tally, forecast, bar, terminal, jobs, tokens: 0, started, last_line };
        new.tell_forecast();
        new
    }

    pub(super) fn item(&mut self, record: &Record) {
        self.tally.done(self.plan, record);
        self.bar.inc(1);
        self.tokens += record.new_tokens;
        self.tell_forecast();
        let Some((task, _)) = self.plan.decoder(record) else { return };
        let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64();
        let decoders = &self.tally.decoders[task];
        if self.terminal {
            self.bar.set_prefix(format!("{speed:.0} tokens/s"));
            let names = self.plan.experiment.decoders.iter().map(|plan| plan.name.as_str());
            let decoders: Vec<(&str, DecoderProgress)> =
                names.zip(decoders.iter().copied()).collect();
            let screen = output::screen();
            self.bar.set_message(lines(&record.task, &decoders, self.jobs, screen).join("\n"));
        } else if self.last_line.elapsed() > LINE_EVERY {
            self.last_line = Instant::now();
            output::note(&format!(
                "{}, {speed:.0} tokens/s",
                line(&self.tally, &record.task, decoders)
            ));
        }
    }

    /// An item that could not be done; the run goes on.
    pub(super) fn failed(&mut self, decoder: Option<(usize, usize)>, message: &str) {
        if let Some((task, decoder)) = decoder {
            self.tally.decoders[task][decoder].failed += 1;
        }
        self.bar.inc(1);
        self.bar.suspend(|| output::error(&format!("failed: {message}")));
        self.tell_forecast();
    }

    fn tell_forecast(&mut self) {
        for line in self.forecast.news(&self.tally) {
            self.bar.suspend(|| match line.strip_prefix("warning: ") {
                Some(warning) => output::warning(warning),
                None => output::note(&line),
            });
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How far all is, and the task at hand.
fn line(tally: &Tally, task: &str, decoders: &[DecoderProgress]) -> String {
    let of_task = |count: fn(&DecoderProgress) -> usize| decoders.iter().map(count).sum::<usize>();
    let (done, items) = (of_task(|decoder| decoder.done), of_task(|decoder| decoder.items));
    format!("{}/{} items × decoders, {task}: {done}/{items}", tally.finished(), tally.items())
}

/// The task at hand, and below it what each of its decoders has done and still needs, in as many
/// lines as the screen, of so many columns and rows, has room for beside the bar.
fn lines(
    task: &str,
    decoders: &[(&str, DecoderProgress)],
    jobs: usize,
    (columns, rows): (usize, usize),
) -> Vec<String> {
    // The bar, the task, and the line that the cursor is in.
    let room = rows.saturating_sub(3).clamp(1, MOST_LINES);
    let shown = if decoders.len() > room { room - 1 } else { decoders.len() };
    let longest = decoders[..shown].iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width = longest.min(NAME);
    let count =
        decoders.iter().map(|(_, decoder)| decoder.items.to_string().len()).max().unwrap_or(1);
    let decoder = |(name, decoder): &(&str, DecoderProgress)| {
        let name = cut(name, width);
        let (done, items) = (decoder.done, decoder.items);
        let took = match decoder.mean() {
            Some(mean) => {
                let speed = if decoder.seconds > 0.0 {
                    decoder.tokens as f64 / decoder.seconds
                } else {
                    0.0
                };
                let needs = match decoder.left() {
                    0 => "done".to_owned(),
                    left => format!("{} left", duration(mean * left as f64 / jobs as f64)),
                };
                format!("  {speed:>5.0} tokens/s  {needs}")
            }
            None => String::new(),
        };
        let failed =
            if decoder.failed > 0 { format!("  {} failed", decoder.failed) } else { String::new() };
        format!("  {name:<width$}  {done:>count$}/{items}{took}{failed}")
    };
    let mut lines = vec![task.to_owned()];
    lines.extend(decoders[..shown].iter().map(decoder));
    if shown < decoders.len() {
        lines.push(format!("  … and {} more", decoders.len() - shown));
    }
    // A line that wraps would leave a part of itself behind.
    lines.iter().map(|line| cut(line, columns.saturating_sub(1))).collect()
}

/// At most `width` characters, the last of which says if there are more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(items: usize, done: usize, tokens: u64, seconds: f64) -> DecoderProgress {
        DecoderProgress { items, done, tokens, seconds, ..DecoderProgress::default() }
    }

    #[test]
    fn every_decoder_has_its_line() {
        let decoders = [
            ("base", decoder(100, 20, 400, 10.0)),
            (
                "KAD dual, threshold 0.2",
                DecoderProgress { failed: 2, ..decoder(100, 98, 4000, 49.0) },
            ),
            ("late", decoder(100, 0, 0, 0.0)),
        ];
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
    fn what_does_not_fit_on_the_screen_is_counted() {
        let decoders = vec![("some decoder", decoder(9, 1, 5, 1.0)); 30];
        let found = lines("task", &decoders, 1, (80, 60));
        assert_eq!((found.len(), found[12].as_str()), (13, "  … and 19 more"));
        let found = lines("task", &decoders, 1, (20, 6));
        assert_eq!((found.len(), found[3].as_str()), (4, "  … and 28 more"));
        assert!(found.iter().all(|line| line.chars().count() < 20), "{found:?}");
        assert_eq!(lines("task", &decoders, 1, (80, 1)).len(), 2, "never nothing");
    }

    #[test]
    fn without_a_terminal_the_task_is_named() {
        let decoders = vec![vec![decoder(5, 5, 1, 1.0)], vec![decoder(7, 2, 1, 1.0)]];
        let tally = Tally { decoders };
        assert_eq!(line(&tally, "mmlu", &tally.decoders[1]), "7/12 items × decoders, mmlu: 2/7");
    }
}
