//! What every decoder has done on every task, and what it took: progress, forecasts and dry runs
//! are functions of it.

use super::PROMPT_TOO_LONG;
use super::plan::Plan;
use crate::run::record::Record;

/// One decoder on one task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DecoderProgress {
    /// Items of this run, or of this shard of it.
    pub(crate) items: usize,
    /// How many of them are done.
    pub(crate) done: usize,
    /// How many of them failed in this session: the next one tries again.
    pub(crate) failed: usize,
    /// New tokens of the items that are done.
    pub(crate) tokens: u64,
    /// What they took.
    pub(crate) seconds: f64,
    /// What they had taken if every text had gone on to `max_new_tokens` at the same speed.
    pub(crate) longest_seconds: f64,
}

impl DecoderProgress {
    /// The two together.
    pub(super) fn and(&self, other: &Self) -> Self {
        Self {
            items: self.items + other.items,
            done: self.done + other.done,
            failed: self.failed + other.failed,
            tokens: self.tokens + other.tokens,
            seconds: self.seconds + other.seconds,
            longest_seconds: self.longest_seconds + other.longest_seconds,
        }
    }

    /// Items that are neither done nor failed.
    pub(crate) fn left(&self) -> usize {
        self.items.saturating_sub(self.done + self.failed)
    }

    /// Seconds per item; none before the first.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.done > 0).then(|| self.seconds / self.done as f64)
    }

    /// Seconds per item if every text were as long as it may be; none before the first item.
    pub(crate) fn longest_mean(&self) -> Option<f64> {
        (self.done > 0).then(|| self.longest_seconds / self.done as f64)
    }
}

/// Every decoder on every task, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally {
    /// By task, then by decoder.
    pub(crate) decoders: Vec<Vec<DecoderProgress>>,
}

impl Tally {
    /// Nothing is done.
    pub(super) fn new(plan: &Plan<'_>) -> Self {
        let none = vec![DecoderProgress::default(); plan.experiment.decoders.len()];
        let mut decoders = vec![none; plan.tasks.len()];
        plan.jobs.iter().for_each(|job| decoders[job.task][job.decoder].items += 1);
        Self { decoders }
    }

    /// One more item is done.
    pub(super) fn done(&mut self, plan: &Plan<'_>, record: &Record) {
        let Some((task, decoder)) = plan.decoder(record) else { return };
        let progress = &mut self.decoders[task][decoder];
        progress.done += 1;
        progress.tokens += record.new_tokens;
        progress.seconds += record.seconds;
        let most = plan.experiment.decoders[decoder].sampling.max_new_tokens;
        let most = most.saturating_mul(plan.turns(record) as u64);
        progress.longest_seconds += record.seconds * stretch(record, most);
    }

    /// Items of all decoders on all tasks.
    pub(crate) fn items(&self) -> usize {
        self.decoders.iter().flatten().map(|decoder| decoder.items).sum()
    }

    /// How many of them are done.
    pub(crate) fn finished(&self) -> usize {
        self.decoders.iter().flatten().map(|decoder| decoder.done).sum()
    }

    /// How many of them are neither done nor failed.
    pub(crate) fn left(&self) -> usize {
        self.decoders.iter().flatten().map(DecoderProgress::left).sum()
    }
}

/// How much longer the text of `record` could have been: where nothing is written it is as long as
/// it is.
fn stretch(record: &Record, most: u64) -> f64 {
    let written = record.scored.is_none() && record.stop != PROMPT_TOO_LONG;
    match written {
        true => most.max(record.new_tokens) as f64 / record.new_tokens.max(1) as f64,
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::sample;

    #[test]
    fn a_text_is_stretched_to_its_limit_and_a_score_is_not() {
        let record = Record { new_tokens: 4, ..sample("a", "0", true) };
        assert_eq!((stretch(&record, 40), stretch(&record, 3)), (10.0, 1.0));
        let scored =
            Record { scored: Some(crate::run::record::Scored::default()), ..record.clone() };
        assert_eq!(stretch(&scored, 40), 1.0);
        let refused = Record { stop: PROMPT_TOO_LONG.to_owned(), new_tokens: 0, ..record };
        assert_eq!(stretch(&refused, 40), 1.0);
    }

    #[test]
    fn means_are_per_item_that_is_done() {
        let decoder = DecoderProgress {
            items: 9,
            done: 4,
            failed: 1,
            tokens: 8,
            seconds: 2.0,
            longest_seconds: 6.0,
        };
        assert_eq!(
            (decoder.left(), decoder.mean(), decoder.longest_mean()),
            (4, Some(0.5), Some(1.5))
        );
        assert_eq!(
            (DecoderProgress::default().mean(), DecoderProgress::default().left()),
            (None, 0)
        );
    }
}
