//! Token trees from earlier text.

use kad_core::{ChoiceSource, DecodeError};

use super::{DraftTree, TreeDrafter, TreeError, TreeLimits};
use crate::draft::DraftRequest;
use crate::lookup::Lookup;

/// The continuations that a [`Lookup`] finds, merged into one tree. An n-gram lookup gives the
/// continuations of the longest and latest matches, a suffix lookup the most likely ones by its
/// counts.
///
/// The tree is a list of candidates: it depends on the context alone and costs no pass.
///
/// ```
/// use kad_core::SampledChoices;
/// use kad_polybasic::{DraftRequest, DraftTree, LookupTree, NgramLookup, TreeDrafter, TreeLimits};
/// let mut drafter = LookupTree::new(NgramLookup::default(), 16)?;
/// let mut tree = DraftTree::default();
/// let context = &[5, 6, 5, 7, 5];
/// let request = DraftRequest { context, wanted: 1, room: 9, level: 2, eos: &[] };
/// let limits = TreeLimits { depth: 1, nodes: 16 };
/// drafter.grow(request, limits, &mut SampledChoices::seeded(0), &mut tree)?;
/// // 5 was followed by 7 and, earlier, by 6.
/// assert!(tree.tokens().tokens().eq([7, 6]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LookupTree<L> {
    lookup: L,
    nodes: usize,
}

impl<L: Lookup> LookupTree<L> {
    /// A tree of at most `nodes` ≥ 1 tokens from `lookup`.
    ///
    /// # Errors
    /// If `nodes` is 0.
    pub fn new(lookup: L, nodes: usize) -> Result<Self, TreeError> {
        TreeError::check(1, nodes)?;
        Ok(Self { lookup, nodes })
    }
}

impl<L: Lookup> TreeDrafter for LookupTree<L> {
    /// Unlimited.
    fn context_len(&self) -> usize {
        usize::MAX
    }

    fn grow(
        &mut self,
        request: DraftRequest<'_>,
        limits: TreeLimits,
        _choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        self.lookup.move_to(request.context);
        let nodes = limits.nodes.min(self.nodes);
        self.lookup.tree(TreeLimits { nodes, ..limits }, request.eos, out);
        Ok(())
    }
}
