//! Errors of models, distributions and decoders.

use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// A model could not serve a request to a [`Session`](crate::Session).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The request exceeds the model's context length.
    #[error(
        "the context of {limit} tokens is full: {held} held, {asked} more asked; \
         give a shorter text"
    )]
    ContextFull {
        /// Tokens already in the session.
        held: usize,
        /// Tokens to be appended.
        asked: usize,
        /// The model's context length.
        limit: usize,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is out of range: the vocabulary has ids 0 to {}", vocab.saturating_sub(1))]
    TokenOutOfRange {
        /// The id.
        id: TokenId,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// [`truncate`](crate::Session::truncate) to more tokens than the session holds.
    #[error("cannot truncate to {len} tokens: the session holds {held}")]
    TruncatePastEnd {
        /// The length requested.
        len: usize,
        /// Tokens in the session.
        held: usize,
    },
    /// [`extend`](crate::Session::extend) by no tokens, or with more rows requested than tokens
    /// given.
    #[error("asked for {wanted} rows of logits from {given} new tokens")]
    InvalidRowCount {
        /// Rows of logits requested.
        wanted: usize,
        /// Tokens given.
        given: usize,
    },
    /// A token tree for a session without tree attention.
    #[error("this session has no tree attention: feed it one path at a time")]
    TreesUnsupported,
    /// [`grow_tree`](crate::TreeSession::grow_tree) with a tree that does not extend the session's.
    #[error(
        "a tree of {given} nodes does not extend the session's tree of {held} nodes: \
         keep a path of the session's tree first"
    )]
    NotAnExtension {
        /// Nodes of the new tree.
        given: usize,
        /// Nodes of the session's tree.
        held: usize,
    },
    /// [`keep_path`](crate::TreeSession::keep_path) with nodes that are not a path from the
    /// context.
    #[error(
        "nodes {path:?} are not a path in the tree of {nodes} nodes: \
         begin after the context and give each node after its parent"
    )]
    InvalidPath {
        /// The nodes given.
        path: Vec<usize>,
        /// Nodes of the session's tree.
        nodes: usize,
    },
    /// An error of the library below the backend.
    #[error("backend {backend}: {message}")]
    Backend {
        /// Name of the backend.
        backend: &'static str,
        /// Message of the library.
        message: String,
    },
}

impl ModelError {
    /// Checks a request to [`extend`](crate::Session::extend): every backend calls this before it
    /// computes. `held` is the number of tokens in the session, `wanted` the number of rows
    /// requested.
    ///
    /// # Errors
    /// [`ModelError::ContextFull`], [`ModelError::TokenOutOfRange`] or
    /// [`ModelError::InvalidRowCount`].
    pub fn check_extend(
        held: usize,
        tokens: &[TokenId],
        wanted: usize,
        limit: usize,
        vocab: usize,
    ) -> Result<(), ModelError> {
        let given = tokens.len();
        if given == 0 || wanted > given {
            return Err(ModelError::InvalidRowCount { wanted, given });
        }
        if held + given > limit {
            return Err(ModelError::ContextFull { held, asked: given, limit });
        }
        check_ids(tokens.iter().copied(), vocab)
    }

    /// Checks a request to [`grow_tree`](crate::TreeSession::grow_tree): every backend calls this
    /// before it computes. `present` is the session's tree and `held` its number of tokens.
    ///
    /// # Errors
    /// [`ModelError::NotAnExtension`], [`ModelError::InvalidRowCount`], [`ModelError::ContextFull`]
    /// or [`ModelError::TokenOutOfRange`].
    pub fn check_tree(
        held: usize,
        present: &TokenTree,
        tree: &TokenTree,
        limit: usize,
        vocab: usize,
    ) -> Result<(), ModelError> {
        if !tree.starts_with(present) {
            return Err(ModelError::NotAnExtension { given: tree.len(), held: present.len() });
        }
        if tree.len() == present.len() {
            return Err(ModelError::InvalidRowCount { wanted: 0, given: 0 });
        }
        if held + tree.len() > limit {
            return Err(ModelError::ContextFull { held, asked: tree.len(), limit });
        }
        check_ids(tree.tokens(), vocab)
    }

    /// Checks a request to [`keep_path`](crate::TreeSession::keep_path).
    ///
    /// # Errors
    /// [`ModelError::InvalidPath`] if `path` does not lead from the context into `tree`.
    pub fn check_path(tree: &TokenTree, path: &[usize]) -> Result<(), ModelError> {
        if tree.is_path(path) {
            return Ok(());
        }
        Err(ModelError::InvalidPath { path: path.to_vec(), nodes: tree.len() })
    }

    /// Checks a request to [`truncate`](crate::Session::truncate).
    ///
    /// # Errors
    /// [`ModelError::TruncatePastEnd`] if `len` is more than the `held` tokens.
    pub fn check_truncate(held: usize, len: usize) -> Result<(), ModelError> {
        if len > held { Err(ModelError::TruncatePastEnd { len, held }) } else { Ok(()) }
    }
}

fn check_ids(mut tokens: impl Iterator<Item = TokenId>, vocab: usize) -> Result<(), ModelError> {
    match tokens.find(|&id| id as usize >= vocab) {
        Some(id) => Err(ModelError::TokenOutOfRange { id, vocab }),
        None => Ok(()),
    }
}

/// Numbers that do not form a probability distribution.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DistributionError {
    /// A NaN or infinite entry.
    #[error("entry of token {token} is {value}")]
    NotFinite {
        /// Index of the entry.
        token: TokenId,
        /// Its value.
        value: f64,
    },
    /// All tokens are impossible.
    #[error("no token has a probability above 0")]
    Empty,
    /// A negative probability.
    #[error("probability of token {token} is {value}, below 0")]
    Negative {
        /// Index of the entry.
        token: TokenId,
        /// Its value.
        value: f64,
    },
    /// Probabilities that do not sum to 1.
    #[error("probabilities sum to {sum}, not to 1")]
    Sum {
        /// The sum.
        sum: f64,
    },
}

/// Decoding failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A model failed.
    #[error("model `{model}`")]
    Model {
        /// Name of the model.
        model: String,
        /// Error of the model.
        #[source]
        source: ModelError,
    },
    /// A model's logits do not form a distribution.
    #[error("model `{model}` gave unusable logits after {position} tokens")]
    Distribution {
        /// Name of the model.
        model: String,
        /// Length of the prefix that the logits follow.
        position: usize,
        /// The defect of the logits.
        #[source]
        source: DistributionError,
    },
    /// An empty prompt or context.
    #[error("the prompt has no tokens: give at least one")]
    EmptyPrompt,
    /// The prompt leaves no room in the context for a new token.
    #[error(
        "the prompt has {prompt} tokens but the context holds {limit}, \
         and one must be left for the answer: shorten the prompt"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// The smallest context length among the models.
        limit: usize,
    },
    /// `max_new_tokens` is 0.
    #[error("max_new_tokens is 0: ask for at least one token")]
    NoTokensRequested,
}
