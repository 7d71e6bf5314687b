//! The reference interpreter: plain loops in `f64`.
//!
//! It is part of every build, runs every [`DecoderSpec`], and is slow. It is batch invariant: the
//! logits of a token have the same bits in every forward pass, because its sums always run in the
//! same order.

mod ops;

use std::sync::Arc;

use kad_core::{
    LanguageModel, LogitRows, ModelError, Session, TokenId, TokenTree, TreeSession, Vocab,
};

use crate::decoder::spec::{DecoderSpec, Pairing};
use crate::decoder::{self, EMBEDDING, FINAL_NORM, LayerTensor};
use crate::early_exit::{self, LayeredModel};
use crate::error::LoadError;
use crate::weights::Weights;

/// Loads a model of `spec` with all weights widened to `f64` (8 bytes per weight).
///
/// Logits have `vocab.size()` columns, even if the embedding is padded to more rows.
///
/// ```
/// use kad_backends::{ModelFiles, Source, naive, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let files = ModelFiles::open(&Source::Nano("large-base".to_owned()).resolve(&|_| ())?)?;
/// let vocab = files.tokenizer.vocab();
/// let model = naive::load("base", &files.spec, &files.weights, vocab)?;
/// assert_eq!(model.context_len(), files.spec.context_len);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`], [`LoadError::WrongShape`] or
/// [`LoadError::WrongSize`] if weights and specification contradict each other.
pub fn load(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    decoder::check(spec, weights, vocab.size())?;
    let embedding = Arc::new(read(weights, EMBEDDING)?);
    let head = match spec.tied_head {
        true => embedding.clone(),
        false => Arc::new(read(weights, decoder::HEAD)?),
    };
    let layer = |index| Layer::read(spec, weights, index).map(Arc::new);
    Ok(Box::new(NaiveModel {
        name: name.to_owned(),
        vocab,
        layers: (0..spec.layers).map(layer).collect::<Result<_, LoadError>>()?,
        final_norm: Arc::new(decoder::norm_weight(spec, weights, FINAL_NORM)?),
        head,
        embedding,
        spec: spec.clone(),
    }))
}

fn read(weights: &Weights, name: &str) -> Result<Vec<f64>, LoadError> {
    Ok(weights.tensor(name)?.to_f32()?.into_iter().map(f64::from).collect())
}

/// Weights of one layer, named as in [`decoder`], with its rotary embedding and window.
struct Layer {
    attention_norm: Option<Vec<f64>>,
    query: Projection,
    key: Projection,
    value: Projection,
    output: Vec<f64>,
    attention_post_norm: Option<Vec<f64>>,
    ffn_norm: Option<Vec<f64>>,
    gate: Vec<f64>,
    up: Vec<f64>,
    down: Vec<f64>,
    ffn_post_norm: Option<Vec<f64>>,
    /// Radians per position, `[head_dim / 2]`.
    frequencies: Vec<f64>,
    pairing: Pairing,
    /// Window length in tokens; `usize::MAX` for full attention.
    window: usize,
}

/// Projection to queries, keys or values: `n(matrix · x + bias)`.
struct Projection {
    matrix: Vec<f64>,
    bias: Option<Vec<f64>>,
    norm: Option<Vec<f64>>,
}

impl Layer {
    fn read(spec: &DecoderSpec, weights: &Weights, index: usize) -> Result<Self, LoadError> {
        let matrix = |slot: LayerTensor| read(weights, &slot.name(spec, index));
        let bias = |slot: LayerTensor| slot.is_in(spec).then(|| matrix(slot)).transpose();
        let norm = |slot: LayerTensor| {
            let norm = || decoder::norm_weight(spec, weights, &slot.name(spec, index));
            slot.is_in(spec).then(norm).transpose()
        };
        let (query_bias, query_norm) =
            (bias(LayerTensor::QueryBias)?, norm(LayerTensor::QueryNorm)?);
        let (key_bias, key_norm) = (bias(LayerTensor::KeyBias)?, norm(LayerTensor::KeyNorm)?);
        let rope = spec.rope_of(index);
        Ok(Self {
            attention_norm: norm(LayerTensor::AttentionNorm)?,
            query: Projection {
                matrix: matrix(LayerTensor::Query)?,
                bias: query_bias,
                norm: query_norm,
            },
            key: Projection { matrix: matrix(LayerTensor::Key)?, bias: key_bias, norm: key_norm },
            value: Projection {
                matrix: matrix(LayerTensor::Value)?,
                bias: bias(LayerTensor::ValueBias)?,
                norm: None,
            },
            output: matrix(LayerTensor::Output)?,
            attention_post_norm: norm(LayerTensor::AttentionPostNorm)?,
            ffn_norm: norm(LayerTensor::FfnNorm)?,
            gate: matrix(LayerTensor::Gate)?,
            up: matrix(LayerTensor::Up)?,
            down: matrix(LayerTensor::Down)?,
            ffn_post_norm: norm(LayerTensor::FfnPostNorm)?,
            frequencies: rope.frequencies(spec.head_dim),
            pairing: rope.pairing,
            window: spec.window_of(index).unwrap_or(usize::MAX),
        })
    }
}

/// The model; clones share all weights.
#[derive(Clone)]
struct NaiveModel {
    name: String,
    vocab: Vocab,
    spec: DecoderSpec,
    embedding: Arc<Vec<f64>>,
    layers: Vec<Arc<Layer>>,
    final_norm: Arc<Vec<f64>>,
    /// The embedding, for a tied head.
    head: Arc<Vec<f64>>,
}

impl LayeredModel for NaiveModel {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError> {
        let spec = early_exit::spec(self, layers)?;
        let mut exit = Self { name: name.to_owned(), spec, ..self.clone() };
        exit.layers.truncate(layers);
        Ok(Box::new(exit))
    }
}

impl LanguageModel for NaiveModel {
    fn name(&self) -> &str {
        &self.name
    }
    fn vocab(&self) -> &Vocab {
        &self.vocab
    }
    fn context_len(&self) -> usize {
        self.spec.context_len
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        let cache = self.layers.iter().map(|_| KvCache::default()).collect();
        let (tokens, tree) = (Vec::new(), TokenTree::new());
        Ok(Box::new(NaiveSession { model: self, tokens, tree, cache }))
    }
}

/// KV cache of one layer: rotated keys and values, `[tokens, kv_heads · head_dim]` each.
#[derive(Default)]
struct KvCache {
    keys: Vec<f64>,
    values: Vec<f64>,
}

struct NaiveSession<'m> {
    model: &'m NaiveModel,
    tokens: Vec<TokenId>,
    /// Token tree after the tokens: node `n` has row `tokens.len() + n` of the cache.
    tree: TokenTree,
    cache: Vec<KvCache>,
}

impl Session for NaiveSession<'_> {
    fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    fn extend(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> Result<(), ModelError> {
        let model = self.model;
        let (held, limit) = (self.tokens.len(), model.spec.context_len);
        ModelError::check_extend(held, tokens, wanted, limit, model.vocab.size())?;
        self.forget(held);
        for (index, &token) in tokens.iter().enumerate() {
            let seen: Vec<usize> = (0..=self.tokens.len()).collect();
            let state = model.token(token, &seen, &mut self.cache);
            self.tokens.push(token);
            if index + wanted >= tokens.len() {
                out.push_row(&model.logits(&state));
            }
        }
        Ok(())
    }

    fn truncate(&mut self, len: usize) -> Result<(), ModelError> {
        ModelError::check_truncate(self.tokens.len(), len)?;
        self.forget(len);
        Ok(())
    }

    fn trees(&mut self) -> Option<&mut dyn TreeSession> {
        Some(self)
    }
}

impl TreeSession for NaiveSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let (model, held) = (self.model, self.tokens.len());
        let (limit, vocab) = (model.spec.context_len, model.vocab.size());
        ModelError::check_tree(held, &self.tree, tree, limit, vocab)?;
        for node in self.tree.len()..tree.len() {
            let path = tree.path(node).into_iter().map(|node| held + node);
            let seen: Vec<usize> = (0..held).chain(path).collect();
            out.push_row(&model.logits(&model.token(tree.token(node), &seen, &mut self.cache)));
        }
        self.tree.clone_from(tree);
        Ok(())
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        ModelError::check_path(&self.tree, path)?;
        let (held, width) = (self.tokens.len(), self.model.spec.kv_width());
        let kept = || (0..held).chain(path.iter().map(|node| held + node));
        let gather = |rows: &mut Vec<f64>| {
            *rows = kept().flat_map(|row| &rows[row * width..(row + 1) * width]).copied().collect();
        };
        for cache in &mut self.cache {
            gather(&mut cache.keys);
            gather(&mut cache.values);
        }
        self.tokens.extend(path.iter().map(|&node| self.tree.token(node)));
        self.tree.clear();
        Ok(())
    }
}

impl NaiveSession<'_> {
    /// Removes the tree and the tokens from position `len` on.
    fn forget(&mut self, len: usize) {
        self.tree.clear();
        self.tokens.truncate(len);
        let width = self.model.spec.kv_width();
        for cache in &mut self.cache {
            cache.keys.truncate(len * width);
            cache.values.truncate(len * width);
        }
    }
}

impl NaiveModel {
    /// Runs one token through all layers and appends to the cache; returns the residual stream,
    /// `[hidden]`.
    ///
    /// `seen` lists the cache rows of the token's text; the last one is the token's own row. The
    /// number of rows before it is the token's position.
    fn token(&self, token: TokenId, seen: &[usize], cache: &mut [KvCache]) -> Vec<f64> {
        let (hidden, eps) = (self.spec.hidden, self.spec.norm_eps);
        let at = token as usize * hidden;
        let scaled = self.embedding[at..at + hidden].iter().map(|x| x * self.spec.scales.embedding);
        let mut state: Vec<f64> = scaled.collect();
        for (layer, cache) in self.layers.iter().zip(cache) {
            let input = ops::normed(state.clone(), &layer.attention_norm, eps);
            let attended = self.attend(layer, &input, seen, cache);
            let added = ops::times(&layer.output, &attended);
            ops::add(&mut state, &ops::normed(added, &layer.attention_post_norm, eps));

            let input = ops::normed(state.clone(), &layer.ffn_norm, eps);
            let mut gated = ops::times(&layer.gate, &input);
            let up = ops::times(&layer.up, &input);
            for (gate, up) in gated.iter_mut().zip(up) {
                *gate = ops::activate(self.spec.activation, *gate) * up;
            }
            let added = ops::times(&layer.down, &gated);
            ops::add(&mut state, &ops::normed(added, &layer.ffn_post_norm, eps));
        }
        state
    }

    /// Attention of all heads of one layer, `[heads · head_dim]`, before the output projection.
    fn attend(
        &self,
        layer: &Layer,
        input: &[f64],
        seen: &[usize],
        cache: &mut KvCache,
    ) -> Vec<f64> {
        let (spec, position) = (&self.spec, seen.len() - 1);
        let turn =
            |head: &mut [f64]| ops::rotate(head, position, &layer.frequencies, layer.pairing);
        let mut queries = layer.query.apply(input, spec.norm_eps);
        let mut keys = layer.key.apply(input, spec.norm_eps);
        queries.chunks_exact_mut(spec.head_dim).for_each(turn);
        keys.chunks_exact_mut(spec.head_dim).for_each(turn);
        cache.keys.extend(keys);
        cache.values.extend(layer.value.apply(input, spec.norm_eps));

        let seen = &seen[seen.len().saturating_sub(layer.window)..];
        let (shared_by, scale) = (spec.heads / spec.kv_heads, spec.attention_scale());
        let heads = queries.chunks_exact(spec.head_dim).enumerate();
        let one = |(head, query): (usize, &[f64])| {
            let offset = head / shared_by * spec.head_dim;
            let part = offset..offset + spec.head_dim;
            let keys = ops::parts(&cache.keys, spec.kv_width(), seen, part.clone());
            let values = ops::parts(&cache.values, spec.kv_width(), seen, part);
            ops::attention(query, scale, &keys, &values)
        };
        heads.flat_map(one).collect()
    }

    /// Logits after a token, `[vocab]`.
    fn logits(&self, state: &[f64]) -> Vec<f32> {
        let state = ops::rms_norm(state, &self.final_norm, self.spec.norm_eps);
        let used = &self.head[..self.vocab.size() * self.spec.hidden];
        ops::times(used, &state).into_iter().map(|logit| logit as f32).collect()
    }
}

impl Projection {
    fn apply(&self, input: &[f64], eps: f64) -> Vec<f64> {
        let mut row = ops::times(&self.matrix, input);
        if let Some(bias) = &self.bias {
            ops::add(&mut row, bias);
        }
        // The norm's width is that of one head or of the whole projection.
        let width = self.norm.as_ref().map_or(row.len(), Vec::len);
        let parts = row.chunks_exact(width);
        parts.flat_map(|part| ops::normed(part.to_vec(), &self.norm, eps)).collect()
    }
}
