//! A predictor asked along the paths of a tree that grows.

use kad_core::{DecodeError, Distribution, Predictor, TokenId, TokenTree};

/// Asks a predictor after paths, having announced them.
pub(super) struct PathPredictor<P> {
    predictor: P,
    /// The paths announced since the last start.
    asked: TokenTree,
    text: Vec<TokenId>,
    context: usize,
}

impl<P: Predictor> PathPredictor<P> {
    pub(super) fn new(predictor: P) -> Self {
        Self { predictor, asked: TokenTree::new(), text: Vec::new(), context: 0 }
    }

    pub(super) fn begin(&mut self, prompt: usize) {
        self.predictor.begin(prompt);
    }

    pub(super) fn context_len(&self) -> usize {
        self.predictor.context_len()
    }

    /// Begins a tree after `context`.
    pub(super) fn start(&mut self, context: &[TokenId]) {
        self.asked.clear();
        self.text.clear();
        self.text.extend_from_slice(context);
        self.context = context.len();
    }

    /// Announces that the distributions after the context and these nodes of `tree` will be asked
    /// for; their parents have been announced before. A model with tree attention makes one pass.
    pub(super) fn announce(
        &mut self,
        tree: &TokenTree,
        nodes: impl IntoIterator<Item = usize>,
    ) -> Result<(), DecodeError> {
        for node in nodes {
            let path = tree.text(node).into_iter();
            path.fold(None, |parent, token| Some(self.asked.push(parent, token)));
        }
        self.predictor.follow_tree(&self.text[..self.context], &self.asked)
    }

    /// The distribution after the context and the tokens of a path.
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
