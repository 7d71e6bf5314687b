//! Remaining time of a run, from its first items.
//!
//! It is printed once every decoder has finished an item: the run's own items have the real prompts
//! and cost nothing extra. `--dry-run` times passes beforehand instead.

use super::memory::Memory;
use super::tally::{DecoderProgress, Tally};
use crate::output::{duration, size};
use crate::task::{Task, TaskMode};

/// Seconds; the remaining time of shorter runs is not printed.
const LONG: f64 = 60.0;

/// Remaining items of the tasks of one mode.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Remaining {
    /// Items of all decoders.
    items: usize,
    /// Remaining seconds at the mean time of finished items.
    seconds: f64,
    /// Remaining seconds if every text reached its limit.
    longest_seconds: f64,
    /// Items of other modes without a finished one, which are not included.
    others: usize,
}

/// Finds the remaining time once for every mode.
pub(super) struct Forecast {
    /// Mode of each task.
    modes: Vec<TaskMode>,
    /// Modes whose remaining time is not known yet.
    open: Vec<TaskMode>,
    jobs: usize,
}

impl Forecast {
    pub(super) fn new(tasks: &[Task], jobs: usize) -> Self {
        let open = vec![TaskMode::Generate, TaskMode::Options, TaskMode::Text];
        Self { modes: tasks.iter().map(|task| task.grading.mode()).collect(), open, jobs }
    }

    /// Long remaining times that are known now for the first time.
    pub(super) fn news(&mut self, tally: &Tally) -> Vec<Remaining> {
        let mut news = Vec::new();
        for mode in std::mem::take(&mut self.open) {
            match self.remaining(tally, mode) {
                Some(found) => news.push(found),
                None => self.open.push(mode),
            }
        }
        news.retain(|found| found.longest_seconds > LONG);
        news
    }

    /// Remaining time of the items of this mode; `None` until every decoder has finished one of
    /// them.
    fn remaining(&self, tally: &Tally, mode: TaskMode) -> Option<Remaining> {
        let mut found = Remaining::default();
        let (own, others): (Vec<_>, Vec<_>) =
            tally.iter().zip(&self.modes).partition(|(_, of_task)| **of_task == mode);
        let decoders = tally.first().map_or(0, Vec::len);
        for decoder in 0..decoders {
            let own = || own.iter().map(|(task, _)| &task[decoder]);
            let all = DecoderProgress::sum(own());
            let (Some(mean), Some(longest)) = (all.mean(), all.longest_mean()) else {
                // Do not wait for a decoder whose items all failed.
                if all.left() == 0 || all.failed > 0 {
                    continue;
                }
                return None;
            };
            for task in own() {
                let left = task.left() as f64 / self.jobs as f64;
                found.items += task.left();
                found.seconds += left * task.mean().unwrap_or(mean);
                found.longest_seconds += left * task.longest_mean().unwrap_or(longest);
            }
        }
        let unknown = others.iter().filter(|(task, _)| task.iter().all(|it| it.done == 0));
        found.others = unknown.flat_map(|(task, _)| *task).map(DecoderProgress::left).sum();
        Some(found)
    }
}

impl Remaining {
    pub(super) fn line(&self, memory: &Memory) -> String {
        let Self { items, others, .. } = self;
        let (likely, longest) = (duration(self.seconds), duration(self.longest_seconds));
        let but = match likely == longest {
            true => String::new(),
            false => format!(" if texts stay as long as the first ones, at most about {longest}"),
        };
        let others = match others {
            0 => String::new(),
            _ => format!(" (without {others} of other kinds of tasks)"),
        };
        format!(
            "{items} items × decoders left: about {likely}{but}{others}; peak memory at most about {}. \
             `--dry-run` estimates this beforehand; `--limit N` takes fewer items, `--jobs N` and \
             `--shard I/N` decode in parallel",
            size(memory.peak_bytes)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Caches;
    use super::*;

    fn decoder(items: usize, done: usize, seconds: f64, longest_seconds: f64) -> DecoderProgress {
        DecoderProgress { items, done, seconds, longest_seconds, ..DecoderProgress::default() }
    }

    fn forecast(modes: &[TaskMode], jobs: usize) -> Forecast {
        Forecast { modes: modes.to_vec(), ..Forecast::new(&[], jobs) }
    }

    /// By hand: 9 left of 0.5 s and 8 left of 2 s each, and a second task of 10 items that has not
    /// begun.
    #[test]
    fn the_remaining_time_is_items_left_times_their_mean() {
        let tally = vec![
            vec![decoder(10, 1, 0.5, 1.0), decoder(10, 2, 4.0, 4.0)],
            vec![decoder(10, 0, 0.0, 0.0); 2],
        ];
        let alike =
            forecast(&[TaskMode::Generate; 2], 1).remaining(&tally, TaskMode::Generate).unwrap();
        assert_eq!((alike.items, alike.others), (37, 0));
        assert!((alike.seconds - (19.0 * 0.5 + 18.0 * 2.0)).abs() < 1e-12);
        assert!((alike.longest_seconds - (19.0 * 1.0 + 18.0 * 2.0)).abs() < 1e-12);
        let other = forecast(&[TaskMode::Generate, TaskMode::Options], 2);
        let found = other.remaining(&tally, TaskMode::Generate).unwrap();
        assert_eq!((found.items, found.others), (17, 20));
        assert!((found.seconds - (9.0 * 0.5 + 8.0 * 2.0) / 2.0).abs() < 1e-12);
        assert_eq!(other.remaining(&tally, TaskMode::Options), None, "it has not begun");
    }

    #[test]
    fn it_waits_for_every_decoder_and_speaks_once_if_it_is_long() {
        let mut forecast = forecast(&[TaskMode::Generate], 1);
        let tally = |second| vec![vec![decoder(100, 1, 1.0, 8.0), second]];
        assert!(forecast.news(&tally(decoder(100, 0, 0.0, 0.0))).is_empty());
        let news = forecast.news(&tally(decoder(100, 1, 1.0, 8.0)));
        let line = news[0].line(&Memory::now(0, Caches::default(), 1));
        assert!(line.starts_with("198 items × decoders left: about 3 min if"), "{line}");
        assert!(line.contains("at most about 26 min;") && news.len() == 1, "{line}");
        assert!(forecast.news(&tally(decoder(100, 2, 2.0, 9.0))).is_empty(), "once");
    }

    #[test]
    fn a_short_rest_and_a_decoder_that_fails_are_no_news() {
        let short = vec![vec![decoder(10, 1, 1.0, 2.0)]];
        assert!(forecast(&[TaskMode::Generate], 1).news(&short).is_empty());
        let broken = DecoderProgress { items: 100, failed: 1, ..DecoderProgress::default() };
        let tally = vec![vec![broken, decoder(100, 1, 1.0, 8.0)]];
        let found =
            forecast(&[TaskMode::Generate], 1).remaining(&tally, TaskMode::Generate).unwrap();
        assert_eq!(found.items, 99, "the others are not kept waiting");
    }
}
