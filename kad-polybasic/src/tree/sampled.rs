//! Trees of independent draws.

use kad_core::{ChoiceSource, DecodeError, Predictor};

use super::path_predictor::PathPredictor;
use super::{DraftTree, TreeDrafter, TreeError, TreeLimits};
use crate::draft::DraftRequest;

/// Draws `width` tokens after the context from a predictor's distribution, `width` after each of
/// them, and so on, level by level (SpecInfer, arXiv 2305.09781). A token drawn twice is one node,
/// drawn twice.
///
/// With `width` 1 this is a [`PredictorDrafter`](crate::PredictorDrafter).
pub struct SampledTree<P> {
    explorer: PathPredictor<P>,
    width: usize,
    nodes: usize,
}

impl<P: Predictor> SampledTree<P> {
    /// `width` ≥ 1 siblings, and at most `nodes` ≥ 1 nodes: the level where they are spent is the
    /// last, and the last siblings drawn are fewer.
    ///
    /// # Errors
    /// If either is 0.
    pub fn new(predictor: P, width: usize, nodes: usize) -> Result<Self, TreeError> {
        TreeError::check(width, nodes)?;
        Ok(Self { explorer: PathPredictor::new(predictor), width, nodes })
    }
}

impl<P: Predictor> TreeDrafter for SampledTree<P> {
    fn begin(&mut self, prompt: usize) {
        self.explorer.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.explorer.context_len()
    }

    fn grow(
        &mut self,
        ask: DraftRequest<'_>,
        limits: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        let Self { explorer, width, nodes } = self;
        let nodes = limits.nodes.min(*nodes);
        explorer.start(ask.context);
        // The parents of the next level, the context at first; the nodes from `first` on are new.
        let (mut parents, mut first) = (vec![None], 0);
        for _ in 0..limits.depth {
            if parents.is_empty() || out.tokens().len() >= nodes {
                break;
            }
            explorer.announce(out.tokens(), parents.iter().flatten().copied())?;
            for parent in parents.drain(..) {
                // Decided from the nodes there are, before the draws it is about.
                let count = (*width).min(nodes - out.tokens().len());
                if count > 0 {
                    let path = parent.map_or(vec![], |node| out.tokens().text(node));
                    let fill = |distribution: &mut _| explorer.distribution(&path, distribution);
                    out.draw(parent, count, |distribution| choices.token(distribution), fill)?;
                }
            }
            let level = first..out.tokens().len();
            first = level.end;
            let goes_on = |node: &usize| !ask.eos.contains(&out.tokens().token(*node));
            parents.extend(level.filter(goes_on).map(Some));
        }
        Ok(())
    }
}
