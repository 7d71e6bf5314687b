//! Token trees: several continuations drafted together and verified in one pass of the target.
//!
//! A [`TreeDrafter`] grows a [`DraftTree`] and a [`TreeStage`] verifies it from the context on. At
//! each node the stage accepts one of the tokens that follow, or replaces them all. The
//! verification of siblings depends on their origin, which the tree records:
//!
//! - a *list* of candidates that depends on the context alone, verified by
//!   [`verify_listed`](crate::verify::verify_listed): [`TopKTree`], [`LookupTree`];
//! - *draws* from one distribution, independent of each other, verified by
//!   [`verify_drawn`](crate::verify::verify_drawn): [`SampledTree`].
//!
//! The output has the target's distribution, whatever the tree is.

mod lookup;
mod path_predictor;
mod sampled;
mod stage;
mod top_k;

pub use lookup::LookupTree;
pub use sampled::SampledTree;
pub use stage::{TreeStage, TreeVerifier};
pub use top_k::TopKTree;

use kad_core::{ChoiceSource, DecodeError, Distribution, TokenId, TokenTree};

use crate::draft::DraftRequest;

/// The limits on the size of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// The most tokens on a path from the context.
    pub depth: usize,
    /// The most nodes, the context not counted.
    pub nodes: usize,
}

/// The error for a tree without siblings or without nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tree of {siblings} siblings and {nodes} nodes was asked for: both must be at least 1, or \
     decode without a drafter"
)]
pub struct TreeError {
    /// The number of siblings requested; 1 for drafters without this parameter.
    pub siblings: usize,
    /// The number of nodes requested.
    pub nodes: usize,
}

impl TreeError {
    fn check(siblings: usize, nodes: usize) -> Result<(), Self> {
        if siblings > 0 && nodes > 0 { Ok(()) } else { Err(Self { siblings, nodes }) }
    }
}

/// Proposes several continuations at once, as a token tree.
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_polybasic::{DraftRequest, DraftTree, TopKTree, TreeDrafter, TreeLimits};
/// let model = TableModel::random("small", 9, 2, 1);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let mut drafter = TopKTree::new(predictor, 2, 100)?;
/// let mut tree = DraftTree::default();
/// let request = DraftRequest { context: &[1, 2], wanted: 1, room: 9, level: 2, eos: &[] };
/// let limits = TreeLimits { depth: 2, nodes: 100 };
/// drafter.grow(request, limits, &mut SampledChoices::seeded(0), &mut tree)?;
/// // Two tokens after the context, two after each of them.
/// assert_eq!(tree.tokens().len(), 2 + 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait TreeDrafter {
    /// Starts a new text whose prompt has `prompt` tokens. Default: does nothing.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context, in tokens.
    fn context_len(&self) -> usize;

    /// Adds continuations of `request.context` to `out`, which is empty, within `limits`. Ignores
    /// `request.wanted` and `request.room`. Nothing follows a token of `request.eos`.
    ///
    /// Conditions for an exact result: a list of candidates depends on the context alone. The
    /// number of draws after a node is fixed before the first of them. Each draw is independent of
    /// the others and of the tokens after other nodes.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn grow(
        &mut self,
        request: DraftRequest<'_>,
        limits: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError>;
}

impl<G: TreeDrafter + ?Sized> TreeDrafter for Box<G> {
    fn begin(&mut self, prompt: usize) {
        (**self).begin(prompt);
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn grow(
        &mut self,
        request: DraftRequest<'_>,
        limits: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        (**self).grow(request, limits, choices, out)
    }
}

/// A tree of proposed tokens after a context, with the origin of all siblings. A reusable buffer.
/// Only nodes followed by draws have a distribution.
///
/// ```
/// use kad_polybasic::DraftTree;
/// let mut tree = DraftTree::default();
/// let first = tree.list(None, 7);
/// tree.list(None, 4);
/// tree.list(Some(first), 7);
/// assert_eq!(tree.tokens().len(), 3);
/// ```
#[derive(Debug, Default)]
pub struct DraftTree {
    tokens: TokenTree,
    /// Sets of draws. The first `sets` belong to this tree; the others are memory for later trees.
    drawn: Vec<DrawnSiblings>,
    sets: usize,
}

/// Siblings drawn from one distribution.
#[derive(Debug, Default)]
struct DrawnSiblings {
    parent: Option<usize>,
    distribution: Distribution,
    /// One node per draw. A token drawn twice is listed twice.
    nodes: Vec<usize>,
}

/// The tokens after a node.
pub(crate) enum Siblings<'a> {
    /// Candidates in their order; possibly none.
    Listed,
    /// The draws in their order, and the distribution they come from.
    Drawn(&'a [usize], &'a Distribution),
}

impl DraftTree {
    /// The tokens. Listed siblings stand in the order of their list.
    pub fn tokens(&self) -> &TokenTree {
        &self.tokens
    }

    /// Removes all nodes and keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.sets = 0;
    }

    /// Adds `token` as the last candidate after `parent`, or after the context if `parent` is
    /// `None`, and returns its node. A token that is already a candidate keeps its place.
    /// If the parent also has [draws](Self::draw), only these are verified.
    ///
    /// # Panics
    /// If `parent` is no node.
    pub fn list(&mut self, parent: Option<usize>, token: TokenId) -> usize {
        self.tokens.push(parent, token)
    }

    /// Adds `count` tokens after `parent` (or the context), each drawn by `choose` from the
    /// distribution that `fill` writes. Draws of the same token share a node, and each draw is
    /// verified. May be called once per parent.
    ///
    /// # Errors
    /// The error of `fill`; nothing is added then.
    ///
    /// # Panics
    /// If `parent` is no node.
    pub fn draw<E>(
        &mut self,
        parent: Option<usize>,
        count: usize,
        mut choose: impl FnMut(&Distribution) -> TokenId,
        fill: impl FnOnce(&mut Distribution) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.drawn.len() == self.sets {
            self.drawn.push(DrawnSiblings::default());
        }
        let set = &mut self.drawn[self.sets];
        fill(&mut set.distribution)?;
        set.parent = parent;
        set.nodes.clear();
        for _ in 0..count {
            set.nodes.push(self.tokens.push(parent, choose(&set.distribution)));
        }
        self.sets += 1;
        Ok(())
    }

    /// The origin of the siblings after `parent`.
    pub(crate) fn siblings(&self, parent: Option<usize>) -> Siblings<'_> {
        let set = self.drawn[..self.sets].iter().find(|set| set.parent == parent);
        set.map_or(Siblings::Listed, |set| Siblings::Drawn(&set.nodes, &set.distribution))
    }
}
