//! Token trees of the most likely continuations.

use kad_core::{ChoiceSource, DecodeError, Distribution, Predictor, TokenId, TokenTree};

use super::path_predictor::PathPredictor;
use super::{DraftTree, TreeDrafter, TreeError, TreeLimits};
use crate::draft::DraftRequest;

/// The most likely continuations by a predictor (EAGLE-2, arXiv 2406.16858). At each
/// depth, the `top_k` new nodes of highest confidence are expanded by their `top_k` most likely
/// tokens. The nodes of highest confidence are then kept. The confidence of a node is the
/// probability of its path, `Π q(x_i | x_1 … x_{i−1})`.
///
/// The tree is a list of candidates: it depends on the context alone. Among equally likely tokens
/// the lower ID comes first, among equally likely paths the one found first.
///
/// [`TreeDrafter`] has an example.
pub struct TopKTree<P> {
    explorer: PathPredictor<P>,
    top_k: usize,
    nodes: usize,
    distribution: Distribution,
    best: Vec<(TokenId, f64)>,
    /// All nodes found.
    found: TokenTree,
    confidences: Vec<f64>,
}

impl<P: Predictor> TopKTree<P> {
    /// A tree with `top_k` ≥ 1 tokens after each of `top_k` nodes per depth, and the best `nodes` ≥
    /// 1 nodes kept. The paper uses 10 and 60.
    ///
    /// # Errors
    /// If either is 0.
    pub fn new(predictor: P, top_k: usize, nodes: usize) -> Result<Self, TreeError> {
        TreeError::check(top_k, nodes)?;
        Ok(Self {
            explorer: PathPredictor::new(predictor),
            top_k,
            nodes,
            distribution: Distribution::default(),
            best: Vec::new(),
            found: TokenTree::new(),
            confidences: Vec::new(),
        })
    }

    /// Adds the most likely tokens after `parent`.
    fn expand(&mut self, parent: Option<usize>) -> Result<(), DecodeError> {
        let path = parent.map_or(vec![], |node| self.found.text(node));
        self.explorer.distribution(&path, &mut self.distribution)?;
        likeliest(&self.distribution, self.top_k, &mut self.best);
        let confidence = parent.map_or(1.0, |node| self.confidences[node]);
        for &(token, prob) in &self.best {
            self.found.push(parent, token);
            // A distribution may exceed 1 by a rounding error; a path must not be more likely than
            // its prefix.
            self.confidences.push(confidence * prob.min(1.0));
        }
        Ok(())
    }

    /// Sorts nodes by falling confidence, the earlier node first among equals, and keeps the first
    /// `count`.
    fn keep_best(&self, nodes: &mut Vec<usize>, count: usize) {
        let order = |&a: &usize, &b: &usize| {
            self.confidences[b].total_cmp(&self.confidences[a]).then(a.cmp(&b))
        };
        nodes.sort_unstable_by(order);
        nodes.truncate(count);
    }
}

impl<P: Predictor> TreeDrafter for TopKTree<P> {
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
        _choices: &mut dyn ChoiceSource,
        out: &mut DraftTree,
    ) -> Result<(), DecodeError> {
        self.found.clear();
        self.confidences.clear();
        self.explorer.start(request.context);
        let mut parents = vec![None];
        for _ in 0..limits.depth {
            self.explorer.announce(&self.found, parents.iter().flatten().copied())?;
            let first = self.found.len();
            parents.drain(..).try_for_each(|parent| self.expand(parent))?;
            let goes_on = |&node: &usize| !request.eos.contains(&self.found.token(node));
            let mut level: Vec<_> = (first..self.found.len()).filter(goes_on).collect();
            if level.is_empty() {
                break;
            }
            self.keep_best(&mut level, self.top_k);
            parents.extend(level.into_iter().map(Some));
        }
        let mut kept: Vec<_> = (0..self.found.len()).collect();
        self.keep_best(&mut kept, limits.nodes.min(self.nodes));
        // The parent of a kept node is kept and listed before it: confidence never grows along a
        // path, and a parent was found before its children, which decides ties.
        for node in kept {
            let (path, token) = (self.found.text(node), self.found.token(node));
            let parent = out.tokens().path_along(&path[..path.len() - 1]).last().copied();
            out.list(parent, token);
        }
        Ok(())
    }
}

/// Tokens compared with the best so far at a time: enough for SIMD code, and few enough that most
/// blocks contain no better token.
const BLOCK: usize = 32;

/// Writes the `count` most likely possible tokens, the most likely first and the lower ID first
/// among equals. One pass over the distribution, and `O(count)` steps for each token that is among
/// the best so far.
fn likeliest(distribution: &Distribution, count: usize, best: &mut Vec<(TokenId, f64)>) {
    best.clear();
    // The probability of the worst token kept, once `count` are kept.
    let mut bar = 0.0;
    for (block, start) in distribution.probs().chunks(BLOCK).zip((0..).step_by(BLOCK)) {
        // Without short circuit the compiler emits SIMD code.
        if !block.iter().fold(false, |some, &prob| some | (prob > bar)) {
            continue;
        }
        for (token, &prob) in (start..).zip(block) {
            if prob > bar {
                best.truncate(count - 1);
                let place = best.partition_point(|&(_, other)| other >= prob);
                best.insert(place, (token, prob));
                if best.len() == count {
                    bar = best[count - 1].1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Compared with a full sort. Few distinct probabilities, so that ties and zeros occur.
        #[test]
        fn the_likeliest_are_the_first_of_a_sort(
            weights in proptest::collection::vec(0..5u32, 1..100), count in 1..9usize,
        ) {
            let Some(distribution) = Distribution::proportional(weights.iter().map(|&w| f64::from(w))) else {
                return Ok(());
            };
            let mut sorted: Vec<_> = (0..).zip(distribution.probs().iter().copied()).collect();
            sorted.sort_by(|a: &(TokenId, f64), b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.retain(|&(_, p)| p > 0.0);
            sorted.truncate(count);
            let mut best = vec![];
            likeliest(&distribution, count, &mut best);
            prop_assert_eq!(best, sorted);
        }
    }
}
