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

    #[test]
    fn passes_are_timed_and_nothing_else() {
        const NAP: Duration = Duration::from_millis(20);
        let model = TimedModel::new(TableModel::random("toy", 3, 1, 1));
        let mut session = model.start().unwrap();
        let mut rows = LogitRows::new(3);
        session.extend(&[0, 1], 1, &mut rows).unwrap();
        let one = model.pass_time();
        assert!(one > Duration::ZERO);
        std::thread::sleep(NAP);
        assert_eq!(model.pass_time(), one, "the time between passes does not count");
        session.extend(&[2], 1, &mut rows).unwrap();
        let two = model.pass_time();
        session.truncate(1).unwrap();
        assert!(one < two && two < model.pass_time());
        assert_eq!((model.counts().passes, model.counts().tokens), (2, 3));
        assert!(session.trees().is_none(), "the model has no trees, so its timed session has none");
        let (inner, nanoseconds) = (model.start().unwrap(), &AtomicU64::new(0));
        TimedSession { inner, nanoseconds }.time(|_| std::thread::sleep(NAP));
        assert!(nanoseconds.load(Ordering::Relaxed) >= NAP.as_nanos() as u64);
    }
}
