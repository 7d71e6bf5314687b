//! Trees of what followed before.

use kad_core::{ChoiceSource, DecodeError};

use super::{DraftTree, TreeDrafter, TreeError, TreeLimits};
use crate::draft::DraftRequest;
use crate::lookup::Lookup;

/// Several continuations that a [`Lookup`] finds, merged into one tree: those of the longest and
/// latest occurrences of an n-gram, or the likeliest by the counts of a suffix automaton.
///
/// A list of candidates: it depends on the context alone, and costs no model's pass.
pub struct LookupTree<L> {
    lookup: L,
    nodes: usize,
}

impl<L: Lookup> LookupTree<L> {
    /// At most `nodes` ≥ 1 tokens of what `lookup` finds.
    ///
    /// # Errors
    /// If `nodes` is 0.
    pub fn new(lookup: L, nodes: usize) -> Result<Self, TreeError> {
        TreeError::check(1, nodes)?;
        Ok(Self { lookup, nodes })
    }
}

impl<L: Lookup> TreeDrafter for LookupTree<L> {
    /// No limit of its own.
    fn context_len(&self) -> usize {
        usize::MAX
    }

    fn grow(
        &mut self,
        ask: DraftRequest<'_>,
        limits: TreeLimits,
        _choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        self.lookup.move_to(ask.context);
        let nodes = limits.nodes.min(self.nodes);
        self.lookup.tree(TreeLimits { nodes, ..limits }, ask.eos, out);
        Ok(())
    }
}
