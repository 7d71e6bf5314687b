//! Counters for forward passes, tokens and rows of logits.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::model::{LanguageModel, Session, TreeSession};
use crate::tree::TokenTree;
use crate::vocab::{TokenId, Vocab};

/// A [`LanguageModel`] that counts the work of its sessions; decoders hold no counters.
///
/// ```
/// use kad_core::{Counted, LanguageModel, LogitRows, oracle::TableModel};
/// let model = Counted::new(TableModel::random("toy", 5, 3, 11));
/// let before = model.counts();
/// model.start()?.extend(&[1, 2, 3], 1, &mut LogitRows::new(5))?;
/// let spent = model.counts() - before;
/// assert_eq!((spent.passes, spent.tokens, spent.rows), (1, 3, 1));
/// # Ok::<(), kad_core::ModelError>(())
/// ```
pub struct Counted<M> {
    inner: M,
    passes: AtomicU64,
    tokens: AtomicU64,
    rows: AtomicU64,
}

/// Work of a [`Counted`] model. The difference of two readings is the work between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Forward passes: successful calls of [`Session::extend`], [`TreeSession::extend_tree`] and
    /// [`TreeSession::grow_tree`].
    pub passes: u64,
    /// Tokens and tree nodes in those passes.
    pub tokens: u64,
    /// Rows of logits returned.
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
    /// Wraps `inner`, with all counters at 0.
    pub fn new(inner: M) -> Self {
        Self { inner, passes: 0.into(), tokens: 0.into(), rows: 0.into() }
    }

    /// The counts so far.
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
    /// Counts one forward pass.
    fn count(&self, tokens: usize, rows: usize) {
        let amounts = [1, tokens as u64, rows as u64];
        for (counter, amount) in self.counters.iter().zip(amounts) {
            counter.fetch_add(amount, Ordering::Relaxed);
        }
    }
}
