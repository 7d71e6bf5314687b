//! What a backend has to offer.

use crate::error::ModelError;
use crate::logits::LogitRows;
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
    /// the law of what follows that token.
    ///
    /// After an error the session holds what it held before.
    ///
    /// # Errors
    /// [`ModelError::RowsWanted`] if `tokens` is empty or shorter than `wanted`,
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
