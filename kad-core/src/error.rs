//! What can go wrong between a prompt and a token.

use crate::tree::TokenTree;
use crate::vocab::TokenId;

/// A model could not do what a [`Session`](crate::Session) was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// More tokens than the model's context holds.
    #[error(
        "the context of {limit} tokens is full: {held} held, {asked} more asked; \
         give a shorter text"
    )]
    ContextFull {
        /// Tokens already in the session.
        held: usize,
        /// Tokens that were to be appended.
        asked: usize,
        /// The model's context length.
        limit: usize,
    },
    /// A token id that the vocabulary does not have.
    #[error("token id {id} is out of range: the vocabulary has ids 0 to {}", vocab.saturating_sub(1))]
    TokenOutOfRange {
        /// The offending id.
        id: TokenId,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// `truncate` to a length that was never reached.
    #[error("cannot truncate to {len} tokens: the session holds {held}")]
    TruncatePastEnd {
        /// The length asked for.
        len: usize,
        /// The length there is.
        held: usize,
    },
    /// `extend` by nothing, or with more rows wanted than tokens given.
    #[error("asked for {wanted} rows of logits from {given} new tokens")]
    InvalidRowCount {
        /// Rows asked for.
        wanted: usize,
        /// Tokens given.
        given: usize,
    },
    /// A session without tree attention was asked for a tree.
    #[error("this session computes no token trees: feed it one path at a time")]
    TreesUnsupported,
    /// `grow_tree` by a tree that is not the present one with nodes added.
    #[error(
        "a tree of {given} nodes does not begin with the {held} nodes of the tree it is to grow \
         from: keep a path of that one first"
    )]
    NotAnExtension {
        /// Nodes of the tree given.
        given: usize,
        /// Nodes of the tree the session is in.
        held: usize,
    },
    /// `keep_path` of nodes that do not follow each other from the context on.
    #[error(
        "nodes {path:?} are no path from the context into the tree of {nodes} nodes: \
         give each node after its parent, beginning with one that has none"
    )]
    InvalidPath {
        /// The nodes given.
        path: Vec<usize>,
        /// Nodes of the tree the session is in.
        nodes: usize,
    },
    /// The library under the backend failed.
    #[error("backend {backend}: {message}")]
    Backend {
        /// Which backend.
        backend: &'static str,
        /// Its own words.
        message: String,
    },
}

impl ModelError {
    /// The checks every backend owes its callers before it computes anything.
    ///
    /// # Errors
    /// [`ModelError::ContextFull`], [`ModelError::TokenOutOfRange`] or [`ModelError::InvalidRowCount`].
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

    /// The checks every backend owes its callers before it computes the nodes of `tree` that come
    /// after those of `present`, the tree it is in after `held` tokens.
    ///
    /// # Errors
    /// [`ModelError::NotAnExtension`], [`ModelError::InvalidRowCount`], [`ModelError::ContextFull`] or
    /// [`ModelError::TokenOutOfRange`].
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

    /// The check every backend owes its callers before it keeps a path.
    ///
    /// # Errors
    /// [`ModelError::InvalidPath`] if `path` does not lead from the context into `tree`.
    pub fn check_path(tree: &TokenTree, path: &[usize]) -> Result<(), ModelError> {
        if tree.is_path(path) {
            return Ok(());
        }
        Err(ModelError::InvalidPath { path: path.to_vec(), nodes: tree.len() })
    }

    /// The check every backend owes its callers before it forgets anything.
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

/// Numbers that are no distribution.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DistributionError {
    /// A logit or a probability that is not a number, or infinitely large.
    #[error("entry of token {token} is {value}")]
    NotFinite {
        /// Where.
        token: TokenId,
        /// What was found there.
        value: f64,
    },
    /// No token is possible.
    #[error("no token has a probability above 0")]
    Empty,
    /// A negative probability.
    #[error("probability of token {token} is {value}, below 0")]
    Negative {
        /// Where.
        token: TokenId,
        /// What was found there.
        value: f64,
    },
    /// Probabilities that do not sum to one.
    #[error("probabilities sum to {sum}, not to 1")]
    Sum {
        /// Their sum.
        sum: f64,
    },
}

/// Decoding stopped because something failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A model failed.
    #[error("model `{model}`")]
    Model {
        /// The model's name.
        model: String,
        /// What it said.
        #[source]
        source: ModelError,
    },
    /// A model's logits are no distribution.
    #[error("model `{model}` gave unusable logits after {position} tokens")]
    Distribution {
        /// The model's name.
        model: String,
        /// Length of the prefix they follow.
        position: usize,
        /// What is wrong with them.
        #[source]
        source: DistributionError,
    },
    /// Nothing to condition on.
    #[error("the prompt has no tokens: give at least one")]
    EmptyPrompt,
    /// The prompt alone fills the context.
    #[error(
        "the prompt has {prompt} tokens but the context holds {limit}, \
         and one must be left for the answer: shorten the prompt"
    )]
    PromptTooLong {
        /// Tokens in the prompt.
        prompt: usize,
        /// The smallest context among the models.
        limit: usize,
    },
    /// `max_new_tokens = 0`.
    #[error("max_new_tokens is 0: ask for at least one token")]
    NoTokensRequested,
}
