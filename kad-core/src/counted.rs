//! What decoding costs, counted where it is spent.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session, TreeSession};
use crate::tree::TokenTree;
use crate::vocab::{TokenId, Vocab};

/// A model that counts what is asked of it; no engine keeps counters of its own.
pub struct Counted<M> {
    inner: M,
    passes: AtomicU64,
    tokens: AtomicU64,
    rows: AtomicU64,
}

/// What a [`Counted`] model has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Successful calls of [`Session::extend`], [`TreeSession::extend_tree`] and
    /// [`TreeSession::grow_tree`].
    pub passes: u64,
    /// Tokens and nodes they ran.
    pub tokens: u64,
    /// Rows of logits they returned.
    pub rows: u64,
}

impl std::ops::Sub for Counts {
    type Output = Counts;
    fn sub(self, earlier: Counts) -> Counts {
        Counts {
            passes: self.passes - earlier.passes,
            tokens: self.tokens - earlier.tokens,
            rows: self.rows - earlier.rows,
        }
    }
}

impl<M: LanguageModel> Counted<M> {
    /// Counts from zero.
    pub fn new(inner: M) -> Self {
        Self { inner, passes: 0.into(), tokens: 0.into(), rows: 0.into() }
    }

    /// The counts so far; subtract two readings for what happened between.
    pub fn counts(&self) -> Counts {
        Counts {
            passes: self.passes.load(Ordering::Relaxed),
            tokens: self.tokens.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
        }
    }
}

impl<M: LanguageModel> LanguageModel for Counted<M> {
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
        let counters = [&self.passes, &self.tokens, &self.rows];
        Ok(Box::new(CountedSession { inner: self.inner.start()?, counters }))
    }
}

struct CountedSession<'m> {
    inner: Box<dyn Session + 'm>,
    counters: [&'m AtomicU64; 3],
}

impl Session for CountedSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        self.inner.tokens()
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        self.inner.extend(tokens, wanted, out)?;
        self.count(tokens.len(), wanted);
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        self.inner.truncate(len)
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        if self.inner.trees().is_some() { Some(self) } else { None }
    }
}

impl TreeSession for CountedSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let before = out.len();
        self.inner.trees().ok_or(ModelError::TreesUnsupported)?.grow_tree(tree, out)?;
        let nodes = out.len() - before;
        self.count(nodes, nodes);
        Ok(())
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        self.inner.trees().ok_or(ModelError::TreesUnsupported)?.keep_path(path)
    }
}

impl CountedSession<'_> {
    /// One pass.
    fn count(&self, tokens: usize, rows: usize) {
        let amounts = [1, tokens as u64, rows as u64];
        for (counter, amount) in self.counters.iter().zip(amounts) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }
}
