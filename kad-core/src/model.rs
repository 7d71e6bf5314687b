//! The interface of a backend: models and sessions.

use crate::error::ModelError;
use crate::logits::LogitRows;
use crate::tree::TokenTree;
use crate::vocab::{TokenId, Vocab};

/// The weights of a language model: immutable and shared by all sequences that use them.
///
/// Dyn-safe, because model and backend are chosen at run time.
///
/// ```
/// use kad_core::{LanguageModel, LogitRows, oracle::TableModel};
/// let model: Box<dyn LanguageModel> = Box::new(TableModel::random("toy", 5, 3, 11));
/// let mut session = model.start()?;
/// let mut rows = LogitRows::new(model.vocab().size());
/// session.extend(&[1, 2, 3], 1, &mut rows)?; // prefill; logits after the last token only
/// assert_eq!(rows.len(), 1);
/// # Ok::<(), kad_core::ModelError>(())
/// ```
pub trait LanguageModel: Send {
    /// The model's name in errors and reports.
    fn name(&self) -> &str;

    /// The model's vocabulary.
    fn vocab(&self) -> &Vocab;

    /// Context length: the most tokens that a session may hold.
    fn context_len(&self) -> usize;

    /// Starts an empty sequence.
    ///
    /// # Errors
    /// If the backend cannot create a KV cache.
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError>;
}

/// One sequence: its tokens and their KV cache.
///
/// Drafting, verification and rollback use only `extend` and `truncate`. A session truncated to
/// `n` tokens gives the same logits as a fresh session extended by those `n` tokens, up to the
/// rounding of the backend's kernels.
///
/// ```
/// use kad_core::{LanguageModel, LogitRows, oracle::TableModel};
/// let model = TableModel::random("toy", 5, 3, 11);
/// let (mut session, mut rows) = (model.start()?, LogitRows::new(5));
/// session.extend(&[1, 2, 3, 4], 2, &mut rows)?;
/// session.truncate(3)?; // roll token 4 back
/// assert_eq!((session.tokens(), rows.len()), (&[1, 2, 3][..], 2));
/// # Ok::<(), kad_core::ModelError>(())
/// ```
pub trait Session {
    /// The tokens in the session.
    fn tokens(&self) -> &[TokenId];

    /// Appends `tokens` in one forward pass. Appends to `out` one row of logits for each of the
    /// last `wanted` of them: the logits of the token that follows.
    ///
    /// After an error the session holds the same tokens as before.
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

    /// Rolls the sequence back to its first `len` tokens.
    ///
    /// # Errors
    /// [`ModelError::TruncatePastEnd`] if the session holds fewer than `len` tokens.
    fn truncate(&mut self, len: usize) -> Result<(), ModelError>;

    /// This session with tree attention, if the backend supports it. Default: `None`.
    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        None
    }
}

/// A session that runs a whole [`TokenTree`] in one forward pass. With tree attention, a node
/// attends to the tokens in the session and to its own ancestors (Miao et al., *SpecInfer*, arXiv
/// 2305.09781).
///
/// A separate trait instead of methods of [`Session`] that fail: a value of this type supports
/// trees.
///
/// After the pass the session *holds a tree*; [`tokens`](Session::tokens) is still the context
/// before the tree. [`keep_path`](Self::keep_path) appends one path of the tree and drops the rest.
/// [`extend`](Session::extend) and [`truncate`](Session::truncate) drop the whole tree first.
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
///     session.extend_tree(&tree, &mut rows)?; // logits after 1 2 3, 1 2 3 0 and 1 2 3 4
///     session.keep_path(&[a, b])?;
/// }
/// assert_eq!(rows.len(), 1 + 3);
/// assert_eq!(session.tokens(), [1, 2, 3, 0]);
/// # Ok::<(), kad_core::ModelError>(())
/// ```
pub trait TreeSession: Session {
    /// Runs `tree` in one forward pass. Appends to `out` one row of logits per node, in node order:
    /// the logits of the token that follows the node's path. Drops the session's previous tree.
    ///
    /// # Errors
    /// As [`grow_tree`](Self::grow_tree).
    fn extend_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        self.keep_path(&[])?;
        self.grow_tree(tree, out)
    }

    /// Extends the session's tree to `tree`, which begins with the same nodes, and runs the new
    /// nodes in one forward pass. Appends one row of logits per new node.
    ///
    /// After an error the session holds the same tokens and tree as before.
    ///
    /// # Errors
    /// * [`ModelError::InvalidRowCount`] if `tree` has no new nodes.
    /// * [`ModelError::NotAnExtension`] if `tree` begins with other nodes.
    /// * [`ModelError::ContextFull`] if the tokens and *all* nodes together exceed the context
    ///   length (each node takes a slot of the KV cache).
    /// * Those of [`extend`](Session::extend).
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError>;

    /// Appends the tokens of `path`, whose first node follows the context, and drops all other
    /// nodes. An empty path drops the whole tree, and is allowed without a tree.
    ///
    /// # Errors
    /// [`ModelError::InvalidPath`] if `path` is not a path of the tree; the session keeps its tree.
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
