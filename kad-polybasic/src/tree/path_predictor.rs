//! A predictor that is asked along the paths of a growing tree.

use kad_core::{DecodeError, Distribution, Predictor, TokenId, TokenTree};

/// A predictor of the tokens after the paths of a tree.
pub(super) struct PathPredictor<P> {
    predictor: P,
    /// The paths announced in the current tree.
    announced: TokenTree,
    text: Vec<TokenId>,
    context: usize,
}

impl<P: Predictor> PathPredictor<P> {
    pub(super) fn new(predictor: P) -> Self {
        Self { predictor, announced: TokenTree::new(), text: Vec::new(), context: 0 }
    }

    pub(super) fn begin(&mut self, prompt: usize) {
        self.predictor.begin(prompt);
    }

    pub(super) fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    /// Starts a tree after `context`.
    pub(super) fn start(&mut self, context: &[TokenId]) {
        self.announced.clear();
        self.text.clear();
        self.text.extend_from_slice(context);
        self.context = context.len();
    }

    /// Prepares the distributions after the context and after these nodes of `tree`, whose parents
    /// are announced already. A model with tree attention makes one pass.
    pub(super) fn announce(
        &mut self,
        tree: &TokenTree,
        nodes: impl IntoIterator<Item = usize>,
    ) -> Result<(), DecodeError> {
        for node in nodes {
            let path = tree.text(node).into_iter();
            path.fold(None, |parent, token| Some(self.announced.push(parent, token)));
        }
        self.predictor.follow_tree(&self.text[..self.context], &self.announced)
    }

    /// Writes the distribution after the context and the tokens of `path`.
    pub(super) fn distribution(
        &mut self,
        path: &[TokenId],
        out: &mut Distribution,
    ) -> Result<(), DecodeError> {
        self.text.truncate(self.context);
        self.text.extend_from_slice(path);
        self.predictor.distribution(&self.text, self.text.len(), out)
    }
}
