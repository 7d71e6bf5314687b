//! Token trees of independent draws.

use kad_core::{ChoiceSource, DecodeError, Predictor};

use super::path_predictor::PathPredictor;
use super::{DraftTree, TreeDrafter, TreeError, TreeLimits};
use crate::draft::DraftRequest;

/// Draws `width` tokens after the context from a predictor's distribution, `width` tokens after
/// each of them, and so on, depth by depth (SpecInfer, arXiv 2305.09781). A token drawn twice is
/// one node with two draws. With `width` 1 this is a [`PredictorDrafter`](crate::PredictorDrafter).
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_polybasic::{DraftRequest, DraftTree, SampledTree, TreeDrafter, TreeLimits};
/// let model = TableModel::random("small", 9, 2, 1);
/// let predictor = ModelPredictor::new(&model, Sampling::at_temperature(1.0)?)?;
/// let mut drafter = SampledTree::new(predictor, 2, 5)?;
/// let mut tree = DraftTree::default();
/// let request = DraftRequest { context: &[1, 2], wanted: 1, room: 9, level: 2, eos: &[] };
/// let limits = TreeLimits { depth: 3, nodes: 100 };
/// drafter.grow(request, limits, &mut SampledChoices::seeded(0), &mut tree)?;
/// assert!(tree.tokens().len() <= 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SampledTree<P> {
    explorer: PathPredictor<P>,
    width: usize,
    nodes: usize,
}

impl<P: Predictor> SampledTree<P> {
    /// A tree with `width` ≥ 1 siblings and at most `nodes` ≥ 1 nodes. The depth at which the nodes
    /// run out is the last, and its last siblings are fewer.
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
        request: DraftRequest<'_>,
        limits: TreeLimits,
        choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        let Self { explorer, width, nodes } = self;
        let nodes = limits.nodes.min(*nodes);
        explorer.start(request.context);
        // The parents of the next depth, the context at first. Nodes from `first` on are new.
        let (mut parents, mut first) = (vec![None], 0);
        for _ in 0..limits.depth {
            if parents.is_empty() || out.tokens().len() >= nodes {
                break;
            }
            explorer.announce(out.tokens(), parents.iter().flatten().copied())?;
            for parent in parents.drain(..) {
                // The number of draws is fixed before they are drawn.
                let count = (*width).min(nodes - out.tokens().len());
                if count > 0 {
                    let path = parent.map_or(vec![], |node| out.tokens().text(node));
                    let fill = |distribution: &mut _| explorer.distribution(&path, distribution);
                    out.draw(parent, count, |distribution| choices.token(distribution), fill)?;
                }
            }
            let level = first..out.tokens().len();
            first = level.end;
            let goes_on = |node: &usize| !request.eos.contains(&out.tokens().token(*node));
            parents.extend(level.filter(goes_on).map(Some));
        }
        Ok(())
    }
}
