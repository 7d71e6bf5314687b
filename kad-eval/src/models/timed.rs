//! Counts and times the forward passes of a model. The decoders themselves have no clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kad_core::{
    Counted, Counts, LanguageModel, LogitRows, ModelError, Session, TokenId, TokenTree,
    TreeSession, Vocab,
};

/// A model whose forward passes are counted and timed.
pub(crate) struct TimedModel<M> {
    inner: Counted<M>,
    nanoseconds: AtomicU64,
}

impl<M: LanguageModel> TimedModel<M> {
    /// Counts and times from zero.
    pub(crate) fn new(inner: M) -> Self {
        Self { inner: Counted::new(inner), nanoseconds: 0.into() }
    }

    /// Passes and tokens so far. Subtract two readings for the passes between them.
    pub(crate) fn counts(&self) -> Counts {
        self.inner.counts()
    }

    /// Time in passes so far.
    pub(crate) fn pass_time(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }
}

impl<M: LanguageModel> LanguageModel for TimedModel<M> {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn vocab(&self) -> &Vocab {
        self.inner.vocab()
    }
    fn context_len(&self) -> usize {
        self.inner.context_len()
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(Box::new(TimedSession { inner: self.inner.start()?, nanoseconds: &self.nanoseconds }))
    }
}

struct TimedSession<'m> {
    inner: Box<dyn Session + 'm>,
    nanoseconds: &'m AtomicU64,
}

impl TimedSession<'_> {
    fn time<T>(&mut self, pass: impl FnOnce(&mut dyn Session) -> T) -> T {
        let start = Instant::now();
        let result = pass(&mut *self.inner);
        // Five hundred years fit.
        self.nanoseconds.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

impl Session for TimedSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        self.inner.tokens()
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        self.time(|session| session.extend(tokens, wanted, out))
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        self.time(|session| session.truncate(len))
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        if self.inner.trees().is_some() { Some(self) } else { None }
    }
}

impl TreeSession for TimedSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        self.time(|session| {
            session.trees().ok_or(ModelError::TreesUnsupported)?.grow_tree(tree, out)
        })
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        self.time(|session| session.trees().ok_or(ModelError::TreesUnsupported)?.keep_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::oracle::TableModel;

    const NAP: Duration = Duration::from_millis(20);

    /// A session without token trees whose passes sleep.
    struct Slow;

    impl Session for Slow {
        fn tokens(&self) -> &[TokenId] {
            &[]
        }
        fn extend(&mut self, _: &[TokenId], _: usize, _: &mut LogitRows) -> Result<(), ModelError> {
            std::thread::sleep(NAP);
            Ok(())
        }
        fn truncate(&mut self, _: usize) -> Result<(), ModelError> {
            Ok(())
        }
    }

    #[test]
    fn passes_are_timed_and_nothing_else() {
        let (nanoseconds, mut rows) = (AtomicU64::new(0), LogitRows::new(3));
        let mut session = TimedSession { inner: Box::new(Slow), nanoseconds: &nanoseconds };
        let start = Instant::now();
        session.extend(&[0, 1], 1, &mut rows).unwrap();
        std::thread::sleep(3 * NAP);
        session.extend(&[2], 1, &mut rows).unwrap();
        let (all, passing) = (start.elapsed(), nanoseconds.load(Ordering::Relaxed));
        let passing = Duration::from_nanos(passing);
        assert!(passing >= 2 * NAP && passing + 3 * NAP <= all);
        assert!(session.trees().is_none(), "a session without trees, timed");
        let model = TimedModel::new(TableModel::random("toy", 3, 1, 1));
        let mut session = model.start().unwrap();
        session.extend(&[0, 1], 1, &mut rows).unwrap();
        session.extend(&[2], 1, &mut rows).unwrap();
        assert_eq!((model.counts().passes, model.counts().tokens), (2, 3));
        assert!(model.pass_time() > Duration::ZERO && session.trees().is_some());
    }
}
