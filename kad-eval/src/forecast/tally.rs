//! Items, tokens and seconds of every decoder on every task so far: progress lines, remaining times
//! and dry runs are functions of them.

/// Progress of one decoder on one task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DecoderProgress {
    /// Items of this run, or of this shard of it.
    pub(crate) items: usize,
    pub(crate) done: usize,
    /// Items that failed in this session; the next session tries them again.
    pub(crate) failed: usize,
    /// New tokens of the finished items.
    pub(crate) tokens: u64,
    /// Seconds of the finished items.
    pub(crate) seconds: f64,
    /// Seconds if every text had continued to `max_new_tokens` at its own speed.
    pub(crate) longest_seconds: f64,
}

impl DecoderProgress {
    pub(crate) fn sum<'p>(all: impl IntoIterator<Item = &'p Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            items: sum.items + one.items,
            done: sum.done + one.done,
            failed: sum.failed + one.failed,
            tokens: sum.tokens + one.tokens,
            seconds: sum.seconds + one.seconds,
            longest_seconds: sum.longest_seconds + one.longest_seconds,
        })
    }

    pub(crate) fn add(&mut self, more: &Self) {
        *self = Self::sum([&*self, more]);
    }

    /// Items that are neither finished nor failed.
    pub(crate) fn left(&self) -> usize {
        self.items.saturating_sub(self.done + self.failed)
    }

    /// Mean seconds per item; none before the first.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.done > 0).then(|| self.seconds / self.done as f64)
    }

    /// Mean seconds per item of full length; none before the first.
    pub(crate) fn longest_mean(&self) -> Option<f64> {
        (self.done > 0).then(|| self.longest_seconds / self.done as f64)
    }
}

/// Progress of every decoder on every task, in the order of the experiment file: `[tasks][decoders]`.
pub(crate) type Tally = Vec<Vec<DecoderProgress>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_per_finished_item() {
        let failed = DecoderProgress { items: 5, failed: 1, ..DecoderProgress::default() };
        let done = DecoderProgress {
            items: 4,
            done: 4,
            tokens: 8,
            seconds: 2.0,
            longest_seconds: 6.0,
            ..DecoderProgress::default()
        };
        assert_eq!((failed.left(), failed.mean(), failed.longest_mean()), (4, None, None));
        let sum = DecoderProgress::sum([&failed, &done]);
        assert_eq!((sum.items, sum.done, sum.failed, sum.tokens), (9, 4, 1, 8));
        assert_eq!((sum.left(), sum.mean(), sum.longest_mean()), (4, Some(0.5), Some(1.5)));
    }
}
