//! Trees of drafts: several continuations proposed together and verified in one pass of the target.
//!
//! A [`TreeDrafter`] grows a [`DraftTree`]; a [`TreeStage`] verifies it from the context on: at
//! each node it accepts one of the tokens that follow there, or replaces them all. How siblings are
//! verified depends on how they came about, and the tree says which:
//!
//! - a *list* of candidates that depends on the context alone
//!   ([`verify::verify_listed`](crate::verify::verify_listed)): [`TopKTree`], [`LookupTree`];
//! - *draws*, independent of each other, from a distribution
//!   ([`verify::verify_drawn`](crate::verify::verify_drawn)): [`SampledTree`].
//!
//! What comes out has the target's distribution, whatever the tree is.

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

/// How large a tree may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// The most tokens on a path.
    pub depth: usize,
    /// The most nodes.
    pub nodes: usize,
}

/// A tree of no nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tree of {siblings} siblings and {nodes} nodes was asked for: both must be at least 1, or \
     decode without a drafter"
)]
pub struct TreeError {
    /// The siblings asked for, where they are a parameter; else 1.
    pub siblings: usize,
    /// The nodes asked for.
    pub nodes: usize,
}

impl TreeError {
    fn check(siblings: usize, nodes: usize) -> Result<(), Self> {
        if siblings > 0 && nodes > 0 { Ok(()) } else { Err(Self { siblings, nodes }) }
    }
}

/// Proposes several continuations at once.
pub trait TreeDrafter {
    /// Says that a new text begins after `prompt` tokens.
    fn begin(&mut self, _prompt: usize) {}

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Adds continuations of `ask.context` to `out`, which is empty, within `limits`; `ask.wanted`
    /// and `ask.room` are not looked at. Nothing follows a token of `ask.eos`.
    ///
    /// A list of candidates must depend on the context alone. How many siblings are drawn after a
    /// node must be decided before the first of them is, and each must be independent of the others
    /// and of what follows other nodes.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn grow(
        &mut self,
        ask: DraftRequest<'_>,
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
        ask: DraftRequest<'_>,
        limits: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        (**self).grow(ask, limits, choices, out)
    }
}

/// Tokens proposed to follow a context and each other, and how siblings came about. A reusable
/// buffer: only nodes that siblings are drawn after have a distribution.
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
    /// The first `sets` are of this tree; what is beyond them is memory to be used again.
    drawn: Vec<Drawn>,
    sets: usize,
}

/// Siblings drawn from one distribution.
#[derive(Debug, Default)]
struct Drawn {
    parent: Option<usize>,
    distribution: Distribution,
    /// One node for each draw: a token that was drawn twice is there twice.
    nodes: Vec<usize>,
}

/// What follows a node.
pub(crate) enum Siblings<'a> {
    /// Candidates in their order, if any.
    Listed,
    /// Draws in their order, and their distribution.
    Drawn(&'a [usize], &'a Distribution),
}

impl DraftTree {
    /// The tokens. Siblings that are a list stand in its order.
    pub fn tokens(&self) -> &TokenTree {
        &self.tokens
    }

    /// Forgets all nodes, keeps the memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.sets = 0;
    }

    /// Adds `token` to the candidates that follow `parent` (or the context), as the last of them,
    /// and returns its node; one that is there already stays where it is. After a parent with
    /// [draws](Self::draw) nothing but these is verified.
    ///
    /// # Panics
    /// If `parent` is no node.
    pub fn list(&mut self, parent: Option<usize>, token: TokenId) -> usize {
        self.tokens.push(parent, token)
    }

    /// Adds `count` tokens after `parent` (or the context), each drawn by `choose` from the
    /// distribution that `fill` writes. Draws of the same token share a node, and each of them is
    /// verified. At most once for each parent.
    ///
    /// # Errors
    /// Those of `fill`; nothing is added then.
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
            self.drawn.push(Drawn::default());
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

    /// How the siblings after `parent` came about.
    pub(crate) fn siblings(&self, parent: Option<usize>) -> Siblings<'_> {
        let set = self.drawn[..self.sets].iter().find(|set| set.parent == parent);
        set.map_or(Siblings::Listed, |set| Siblings::Drawn(&set.nodes, &set.distribution))
    }
}
