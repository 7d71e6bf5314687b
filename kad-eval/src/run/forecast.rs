//! How long the rest of a run takes, from what its first items took.
//!
//! A long run says so once every decoder has done an item, and not before the first one: the run's
//! own items are the one measurement that costs nothing, whose prompts are the real ones, and that
//! no record can be touched by; a short run does not pay for it at all. Whoever wants to know
//! before anything is decoded asks for `--dry-run`, which times passes.

use super::tally::{DecoderProgress, Tally};
use super::{Caches, plan::Plan};
use crate::machine;
use crate::output::{duration, size};
use crate::task::{Grading, Task};

/// A run that may take longer than this says so.
const LONG: f64 = 60.0;

/// How items are asked: what the items of one task take says something about those of another one
/// that is asked likewise, and nothing about the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Written,
    Options,
    Text,
}

impl Manner {
    fn of(task: &Task) -> Self {
        match task.grading {
            Grading::Speed | Grading::Answer(_) => Manner::Written,
            Grading::Options | Grading::RightMass => Manner::Options,
            Grading::Text => Manner::Text,
        }
    }
}

/// What is left of the tasks that are asked in one manner.
#[derive(Clone, Debug, PartialEq)]
struct Rest {
    /// Items of all decoders.
    items: usize,
    /// Seconds, if the others are like those that are done.
    likely: f64,
    /// Seconds, if every text goes on to its limit.
    longest: f64,
    /// Items that are asked in another manner, which has not begun.
    others: usize,
}

/// Says once for every manner of asking how long the rest takes, if that is long.
pub(super) struct Forecast {
    /// By task.
    manners: Vec<Manner>,
    /// Those of which nothing has been said yet.
    open: Vec<Manner>,
    caches: Caches,
    jobs: usize,
}

impl Forecast {
    pub(super) fn new(plan: &Plan<'_>, caches: Caches, jobs: usize) -> Self {
        let manners: Vec<Manner> = plan.tasks.iter().map(Manner::of).collect();
        let open = vec![Manner::Written, Manner::Options, Manner::Text];
        Self { manners, open, caches, jobs }
    }

    /// What there is to say now, if anything.
    pub(super) fn news(&mut self, tally: &Tally) -> Vec<String> {
        let rests: Vec<(Manner, Rest)> = self
            .open
            .iter()
            .filter_map(|manner| Some((*manner, self.rest(tally, *manner)?)))
            .collect();
        self.open.retain(|manner| rests.iter().all(|(known, _)| known != manner));
        let long = rests.into_iter().filter(|(_, rest)| rest.longest > LONG);
        let available = machine::available_bytes();
        long.flat_map(|(_, rest)| self.say(&rest, available)).collect()
    }

    /// None as long as one of the decoders has not done an item that is asked so.
    fn rest(&self, tally: &Tally, manner: Manner) -> Option<Rest> {
        let mut rest = Rest { items: 0, likely: 0.0, longest: 0.0, others: 0 };
        let of_manner = |task: &usize| self.manners[*task] == manner;
        let decoders = tally.decoders.first().map_or(0, Vec::len);
        for decoder in 0..decoders {
            let column = |task: usize| &tally.decoders[task][decoder];
            let own = (0..tally.decoders.len()).filter(of_manner).map(column);
            let all = own.clone().fold(DecoderProgress::default(), |sum, decoder| sum.and(decoder));
            if all.left() == 0 {
                continue;
            }
            // One that only failed so far is not waited for.
            let (Some(mean), Some(longest)) = (all.mean(), all.longest_mean()) else {
                if all.failed > 0 {
                    continue;
                }
                return None;
            };
            for decoder in own {
                let left = decoder.left() as f64;
                rest.items += decoder.left();
                rest.likely += left * decoder.mean().unwrap_or(mean);
                rest.longest += left * decoder.longest_mean().unwrap_or(longest);
            }
        }
        rest.likely /= self.jobs as f64;
        rest.longest /= self.jobs as f64;
        let begun = |task: &usize| tally.decoders[*task].iter().any(|decoder| decoder.done > 0);
        let others = (0..tally.decoders.len()).filter(|task| !of_manner(task) && !begun(task));
        rest.others =
            others.flat_map(|task| &tally.decoders[task]).map(DecoderProgress::left).sum();
        Some(rest)
    }

    fn say(&self, rest: &Rest, available: Option<u64>) -> Vec<String> {
        let Rest { items, likely, longest, others } = *rest;
        let (likely, longest) = (duration(likely), duration(longest));
        let time = if likely == longest {
            format!("about {likely}")
        } else {
            format!(
                "about {likely} if texts stay as long as the first ones, at most about {longest}"
            )
        };
        let others = match others {
            0 => String::new(),
            some => format!("; {some} more are asked in another way and not counted in"),
        };
        let resident = machine::resident_bytes().unwrap_or(0);
        let more = self.caches.bytes.saturating_mul(self.jobs as u64);
        let mut said = vec![format!(
            "{items} items × decoders left: {time}{others}; memory at most about {}. `--dry-run` tells more \
             beforehand, `--limit N` takes fewer items, `--jobs N` and `--shard I/N` work side by side",
            size(resident + more)
        )];
        if let Some(available) = available.filter(|available| more > *available) {
            said.push(format!(
                "warning: the longest texts need {} more memory for keys and values, and the machine \
                 has {} left: lower `max_new_tokens` or --jobs",
                size(more),
                size(available)
            ));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(items: usize, done: usize, seconds: f64, longest_seconds: f64) -> DecoderProgress {
        DecoderProgress { items, done, seconds, longest_seconds, ..DecoderProgress::default() }
    }

    fn forecast(manners: &[Manner], jobs: usize) -> Forecast {
        let open = vec![Manner::Written, Manner::Options, Manner::Text];
        let caches = Caches { bytes: 5_000_000, tokens: 9 };
        Forecast { manners: manners.to_vec(), open, caches, jobs }
    }

    /// By hand: 9 left of 0.5 s and 8 left of 2 s each, and a second task of 10 items that has not
    /// begun.
    #[test]
    fn the_rest_is_what_is_left_times_what_items_took() {
        let decoders = vec![
            vec![decoder(10, 1, 0.5, 1.0), decoder(10, 2, 4.0, 4.0)],
            vec![decoder(10, 0, 0.0, 0.0); 2],
        ];
        let tally = Tally { decoders };
        let alike = forecast(&[Manner::Written; 2], 1).rest(&tally, Manner::Written).unwrap();
        assert_eq!((alike.items, alike.others), (37, 0));
        assert!((alike.likely - (19.0 * 0.5 + 18.0 * 2.0)).abs() < 1e-12);
        assert!((alike.longest - (19.0 * 1.0 + 18.0 * 2.0)).abs() < 1e-12);
        let other = forecast(&[Manner::Written, Manner::Options], 2);
        let found = other.rest(&tally, Manner::Written).unwrap();
        assert_eq!((found.items, found.others), (17, 20));
        assert!((found.likely - (9.0 * 0.5 + 8.0 * 2.0) / 2.0).abs() < 1e-12);
        assert_eq!(other.rest(&tally, Manner::Options), None, "it has not begun");
    }

    #[test]
    fn it_waits_for_every_decoder_and_speaks_once_if_it_is_long() {
        let mut forecast = forecast(&[Manner::Written], 1);
        let tally = |second| Tally { decoders: vec![vec![decoder(100, 1, 1.0, 8.0), second]] };
        assert!(forecast.news(&tally(decoder(100, 0, 0.0, 0.0))).is_empty());
        let news = forecast.news(&tally(decoder(100, 1, 1.0, 8.0)));
        assert!(news[0].starts_with("198 items × decoders left: about 3 min if"), "{news:?}");
        assert!(news[0].contains("at most about 26 min;") && news.len() == 1, "{news:?}");
        assert!(forecast.news(&tally(decoder(100, 2, 2.0, 9.0))).is_empty(), "once");
    }

    #[test]
    fn a_short_rest_and_a_decoder_that_fails_are_no_news() {
        let short = Tally { decoders: vec![vec![decoder(10, 1, 1.0, 2.0)]] };
        assert!(forecast(&[Manner::Written], 1).news(&short).is_empty());
        let broken = DecoderProgress { items: 100, failed: 1, ..DecoderProgress::default() };
        let tally = Tally { decoders: vec![vec![broken, decoder(100, 1, 1.0, 8.0)]] };
        let rest = forecast(&[Manner::Written], 1).rest(&tally, Manner::Written).unwrap();
        assert_eq!(rest.items, 99, "the others are not kept waiting");
    }

    #[test]
    fn too_little_memory_is_a_warning() {
        let rest = Rest { items: 1, likely: 99.0, longest: 99.0, others: 0 };
        let said = |available| forecast(&[], 2).say(&rest, Some(available));
        assert_eq!(said(10_000_000).len(), 1);
        let warned = said(9_999_999);
        assert!(warned[1].contains("need 10.0 MB more") && warned[1].contains("10.0 MB left"));
    }
}
