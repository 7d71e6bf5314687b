//! A session on a tensor library.

use kad_core::{LanguageModel, LogitRows, ModelError, Session, TokenId, TokenTree, TreeSession};

use super::layer::KvCache;
use super::model::TensorModel;
use super::operations::{OpResult, Tensor, model_error};
use super::pass::{PassInputs, TokenContext};
use crate::chunks::chunks;

/// Most tokens per pass, which bounds the memory of a long prompt.
const CHUNK: usize = 128;

/// Initial rows of a KV cache; it grows by doubling.
const ROOM: usize = 64;

/// A session with its KV cache.
pub(super) struct TensorSession<'m, T: Tensor> {
    model: &'m TensorModel<T>,
    tokens: Vec<TokenId>,
    /// Token tree after the tokens: node `n` has row `tokens.len() + n` of the cache.
    tree: TokenTree,
    /// One cache per layer; rows behind the tokens and nodes are unused.
    cache: Vec<KvCache<T>>,
}

impl<'m, T: Tensor> TensorSession<'m, T> {
    pub(super) fn new(model: &'m TensorModel<T>) -> OpResult<Self> {
        let rows = ROOM.min(model.spec.context_len);
        let cache = model.blocks.iter().map(|_| KvCache::new(&model.spec, &model.device, rows));
        let cache = cache.collect::<OpResult<_>>()?;
        Ok(Self { model, tokens: Vec::new(), tree: TokenTree::new(), cache })
    }

    /// Runs one chunk of tokens with these contexts. The first token gets row `first` of the cache.
    /// Appends the last `wanted` rows of logits to `out`.
    fn chunk(
        &mut self,
        tokens: &[TokenId],
        (first, contexts): (usize, &[TokenContext]),
        wanted: usize,
        out: &mut LogitRows,
    ) -> OpResult<()> {
        let (model, spec) = (self.model, &self.model.spec);
        self.reserve(first, first + tokens.len())?;
        let pass = PassInputs::new(spec, &model.device, first, contexts)?;
        let ids: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
        let mut state = model.embedding.select_rows(&ids)?;
        if spec.scales.embedding != 1.0 {
            state = state.scale(spec.scales.embedding)?;
        }
        for (block, cache) in model.blocks.iter().zip(&mut self.cache) {
            state = block.run(spec, model.float, state, &pass, cache)?;
        }
        if wanted > 0 {
            let last = state.narrow(1, tokens.len() - wanted, wanted)?;
            let last = last.rms_norm(&model.final_norm, spec.norm_eps)?;
            let logits = last.linear(&model.head)?.to_f32()?;
            out.grow(wanted).copy_from_slice(&logits);
        }
        Ok(())
    }

    /// Grows the caches to `rows` rows and keeps the first `held`.
    fn reserve(&mut self, held: usize, rows: usize) -> OpResult<()> {
        let (spec, device) = (&self.model.spec, &self.model.device);
        for cache in self.cache.iter_mut().filter(|cache| cache.capacity() < rows) {
            let room = rows.max(2 * cache.capacity()).min(spec.context_len);
            cache.move_to(KvCache::new(spec, device, room)?, held)?;
        }
        Ok(())
    }
}

impl<T: Tensor> Session for TensorSession<'_, T> {
    fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        let (held, limit) = (self.tokens.len(), self.model.context_len());
        ModelError::check_extend(held, tokens, wanted, limit, self.model.vocab.size())?;
        self.tree.clear();
        let rows_before = out.len();
        for (chunk, wanted) in chunks(tokens, CHUNK, wanted) {
            let first = self.tokens.len();
            let contexts: Vec<TokenContext> =
                (first..first + chunk.len()).map(TokenContext::of_text).collect();
            if let Err(message) = self.chunk(chunk, (first, &contexts), wanted, out) {
                out.truncate(rows_before);
                self.tokens.truncate(held);
                return Err(model_error::<T>(message));
            }
            self.tokens.extend_from_slice(chunk);
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        ModelError::check_truncate(self.tokens.len(), len)?;
        self.tree.clear();
        self.tokens.truncate(len);
        Ok(())
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        Some(self)
    }
}

impl<T: Tensor> TreeSession for TensorSession<'_, T> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let (held, present, rows_before) = (self.tokens.len(), self.tree.len(), out.len());
        let (limit, vocab) = (self.model.context_len(), self.model.vocab.size());
        ModelError::check_tree(held, &self.tree, tree, limit, vocab)?;
        let new: Vec<TokenId> = tree.tokens().skip(present).collect();
        for (first, chunk) in (present..).step_by(CHUNK).zip(new.chunks(CHUNK)) {
            let context = |node| {
                let path = tree.path(node).into_iter().map(|node| held + node).collect();
                TokenContext { prefix: held, path }
            };
            let contexts: Vec<TokenContext> = (first..first + chunk.len()).map(context).collect();
            if let Err(message) = self.chunk(chunk, (held + first, &contexts), chunk.len(), out) {
                out.truncate(rows_before);
                return Err(model_error::<T>(message));
            }
        }
        self.tree.clone_from(tree);
        Ok(())
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        ModelError::check_path(&self.tree, path)?;
        let held = self.tokens.len();
        let rows: Vec<usize> = path.iter().map(|node| held + node).collect();
        // A path made of the first nodes in order is in place already.
        if rows.iter().enumerate().any(|(place, &row)| row != held + place) {
            for cache in &mut self.cache {
                cache.keep(held, &rows).map_err(model_error::<T>)?;
            }
        }
        self.tokens.extend(path.iter().map(|&node| self.tree.token(node)));
        self.tree.clear();
        Ok(())
    }
}
