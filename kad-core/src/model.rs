//! What a backend has to offer.

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::tree::TokenTree;
use crate::vocab::{TokenId, Vocab};

/// Weights: immutable, shared by every sequence that is decoded with them.
///
/// Dyn-safe on purpose: which model, and which backend, is known only at run time.
pub trait LanguageModel: Send {
    /// How errors and reports call this model.
    fn name(&self) -> &str;

    /// The tokens it speaks.
    fn vocab(&self) -> &Vocab;

    /// The most tokens a session may hold.
    fn context_len(&self) -> usize;

    /// An empty sequence.
    ///
    /// # Errors
    /// If the backend cannot provide a cache.
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError>;
}

/// One sequence: its tokens and its cache.
///
/// Drafting, verifying and rolling back are made of `extend` and `truncate`; a session that was
/// truncated to `n` tokens behaves as a fresh one extended by those `n` (to the rounding of the
/// backend's kernels).
pub trait Session {
    /// The tokens held.
    fn tokens(&self) -> &[TokenId];

    /// Appends `tokens`, and to `out` one row of logits for each of the last `wanted` of them:
    /// the distribution of what follows that token.
    ///
    /// After an error the session holds what it held before.
    ///
    /// # Errors
    /// [`ModelError::InvalidRowCount`] if `tokens` is empty or shorter than `wanted`,
    /// [`ModelError::ContextFull`], [`ModelError::TokenOutOfRange`], or the backend's own.
    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError>;

    /// Forgets every token from position `len` on.
    ///
    /// # Errors
    /// [`ModelError::TruncatePastEnd`] if fewer than `len` tokens are held.
    fn truncate(&mut self, len: usize) -> Result<(), ModelError>;

    /// The same session as one that computes token trees, if it can.
    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        None
    }
}

/// A session that runs a whole [`TokenTree`] in one pass: tree attention, in which a token sees the
/// tokens held and its own ancestors (Miao et al., *SpecInfer*, arXiv 2305.09781).
///
/// A trait of its own, not methods of [`Session`] that fail: who has one in hand can use it.
///
/// After a pass the session is *in a tree*: [`tokens`](Session::tokens) is the context that the
/// tree follows. One path may be [kept](Self::keep_path); [`extend`](Session::extend) and
/// [`truncate`](Session::truncate) drop the tree first, as keeping no node does.
///
/// ```
/// use kad_core::{LanguageModel, LogitRows, TokenTree, oracle::TableModel};
/// let model = TableModel::random("toy", 5, 3, 11);
/// let (mut session, mut rows) = (model.start()?, LogitRows::new(5));
/// session.extend(&[1, 2], 1, &mut rows)?;
/// let mut tree = TokenTree::new();
/// let a = tree.push(None, 3);
/// let b = tree.push(Some(a), 0);
/// tree.push(Some(a), 4);
/// if let Some(session) = session.trees() {
///     session.extend_tree(&tree, &mut rows)?; // the distributions after 1 2 3, 1 2 3 0 and 1 2 3 4
///     session.keep_path(&[a, b])?;
/// }
/// assert_eq!(rows.len(), 1 + 3);
/// assert_eq!(session.tokens(), [1, 2, 3, 0]);
/// # Ok::<(), kad_core::ModelError>(())
/// ```
pub trait TreeSession: Session {
    /// Runs `tree` in one pass and appends to `out` one row of logits for each of its nodes, in
    /// their order: the distribution of what follows the tokens held and the path to the node. A
    /// tree that the session is in is dropped first.
    ///
    /// # Errors
    /// As [`grow_tree`](Self::grow_tree).
    fn extend_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        self.keep_path(&[])?;
        self.grow_tree(tree, out)
    }

    /// Runs the nodes of `tree` that come after those of the tree the session is in, in one pass,
    /// with one row of logits for each of them. `tree` begins with the nodes of the present one.
    ///
    /// After an error the session holds what it held before.
    ///
    /// # Errors
    /// [`ModelError::InvalidRowCount`] if there is nothing new, [`ModelError::NotAnExtension`] if `tree`
    /// begins otherwise, [`ModelError::ContextFull`] if the tokens held and *all* nodes, each of
    /// which has its place in the cache, are more than the context, and those of
    /// [`extend`](Session::extend).
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError>;

    /// Leaves the tree: appends the tokens of `path`, which begins at the context, and forgets all
    /// other nodes. An empty path drops the tree, and there need be none.
    ///
    /// # Errors
    /// [`ModelError::InvalidPath`] if `path` is none of the tree; the session is still in it then.
    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError>;
}

impl<M: LanguageModel + ?Sized> LanguageModel for Box<M> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn vocab(&self) -> &Vocab {
        (**self).vocab()
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        (**self).start()
    }
}
