//! The backend `candle`: a fast CPU interpreter with kad's own kernels, and candle's matrix product
//! for long prompts.
//!
//! Activations are `f32` rows on the host in every dtype, and so are norms and biases. The dtype is
//! the type of the matrices in memory:
//!
//! | dtype | matrices in memory | values |
//! |---|---|---|
//! | `auto` | as stored, memory-mapped (`f32`: candle tensors) | as stored |
//! | `f32` | candle tensors of `f32` | as stored |
//! | `quantized` | GGUF blocks as stored, memory-mapped; an error if there are none | as stored |
//! | `f16`, `bf16` | two bytes per weight | rounded once, unless stored in this type |
//! | `q8_0` | GGML blocks, 34 bytes for 32 weights | rounded once, unless stored in this type |
//! | `q4_0` | GGML blocks, 18 bytes for 32 weights; embedding and head as `q8_0` | as for `q8_0` |
//!
//! For `q8_0` and `q4_0`, a matrix whose rows are not whole blocks stays as stored; if no matrix
//! can be quantised, the dtype is refused. The type in memory does not change the sums. So the
//! first three dtypes return the same bits, and `q8_0` returns those of a GGUF file with the same
//! blocks.
//!
//! For a model larger than the processor's caches, fewer bytes mean less time, because every token
//! reads all weights. SmolLM2-135M from Q4_1, ms per pass over 1 and 8 tokens on two threads:
//! `quantized` 18 and 28, `bf16` 24 and 36, `f32` 27 and 44. A model that fits the caches is faster
//! when widened once: Nano's large model from `f16`, on one thread, takes 0.27 ms as `f32` and 0.35
//! ms as stored. Therefore [`crate::load()`] resolves `auto` to `quantized` for a file with quantised
//! tensors and to `f32` otherwise; for a large `bf16` model, request `bf16`. (Measured on a shared
//! machine of the Sapphire Rapids class; `examples/pass_time.rs` measures another machine.)
//!
//! candle's own quantised product is not used. It also rounds the activations to eight bits, and
//! takes about `k` times as long for `k` tokens.
//!
//! Passes over up to [`NARROW`] tokens are batch invariant in every dtype: a token gets the bits of
//! a pass over this token alone, and a node of a token tree those of a pass along its path. On
//! processors with AVX-512 this holds for every pass. Larger passes use candle's product, whose
//! sums run in another order. Chunks of [`CHUNK`] tokens bound the memory of a long prompt.

mod expand;
mod kernels;
mod layers;
mod matrix;

use std::sync::Arc;

use kad_core::{
    LanguageModel, LogitRows, ModelError, Session, TokenId, TokenTree, TreeSession, Vocab,
};

use self::layers::{AttendedRows, KvCache, RotaryTable};
use self::matrix::Matrix;
pub use self::matrix::NARROW;
use crate::chunks::chunks;
use crate::decoder::spec::{DecoderSpec, Pairing, Rope};
use crate::decoder::{self, EMBEDDING, FINAL_NORM, HEAD, LayerTensor};
use crate::dtype::Dtype;
use crate::early_exit::{self, LayeredModel};
use crate::error::LoadError;
use crate::weights::Weights;

/// Most tokens per pass, which bounds the memory of a long prompt.
pub const CHUNK: usize = 128;

/// Loads a model of `spec`; the module documents the effect of `dtype`.
///
/// Logits have `vocab.size()` columns, even if the embedding is padded to more rows.
///
/// ```
/// use kad_backends::{Dtype, ModelFiles, Source, candle, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let files = ModelFiles::open(&Source::Nano("large-base".to_owned()).resolve(&|_| ())?)?;
/// let vocab = files.tokenizer.vocab();
/// let model = candle::load("base", &files.spec, &files.weights, vocab, Dtype::BF16)?;
/// assert_eq!(model.spec().layers, 5);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`], [`LoadError::WrongShape`] or
/// [`LoadError::WrongSize`] if weights and specification contradict each other;
/// [`LoadError::Unsupported`] for `quantized` without quantised tensors and for dtypes of ONNX
/// graphs; [`LoadError::Backend`] from candle.
pub fn load(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    dtype: Dtype,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    decoder::check(spec, weights, vocab.size())?;
    check_blocks(weights, dtype)?;
    let loader = Loader { spec, weights, dtype };
    let norm = decoder::norm_weight(spec, weights, FINAL_NORM)?;
    let embedding = Matrix::load(weights, EMBEDDING, spec.vocab_rows, dtype)?;
    let head = match spec.tied_head {
        true => embedding.share(vocab.size()),
        false => Matrix::load(weights, HEAD, vocab.size(), dtype)?,
    };
    Ok(Box::new(CandleModel {
        name: name.to_owned(),
        vocab,
        embedding: Arc::new(embedding),
        blocks: (0..spec.layers).map(|layer| loader.block(layer)).collect::<Result<_, _>>()?,
        final_norm: Arc::new(rounded(norm)),
        head: Arc::new(head),
        frequencies: ropes(spec).into_iter().map(|rope| rope.frequencies(spec.head_dim)).collect(),
        spec: spec.clone(),
    }))
}

/// Refuses a quantised dtype if no matrix would be quantised in memory.
fn check_blocks(weights: &Weights, dtype: Dtype) -> Result<(), LoadError> {
    let mut matrices = weights.tensors().filter(|tensor| tensor.shape.len() == 2);
    let found = match dtype {
        Dtype::Int8 | Dtype::Q8 | Dtype::Q4 => {
            let found = format!("{dtype}, which is for ONNX graphs");
            return Err(LoadError::unsupported("dtype", found, &["any other"]));
        }
        Dtype::Quantized => "quantized for a file without quantised tensors".to_owned(),
        Dtype::Q8_0 | Dtype::Q4_0 => {
            format!("{dtype} for a model without a matrix whose rows are whole blocks of 32")
        }
        _ => return Ok(()),
    };
    if matrices.any(|matrix| dtype.kept(matrix.name, matrix.stored, matrix.shape).is_quantized()) {
        return Ok(());
    }
    Err(LoadError::unsupported("dtype", found, &["auto", "f32", "f16", "bf16"]))
}

/// Loads the layers of a model.
struct Loader<'a> {
    spec: &'a DecoderSpec,
    weights: &'a Arc<Weights>,
    dtype: Dtype,
}

impl Loader<'_> {
    fn block(&self, layer: usize) -> Result<Arc<Layer>, LoadError> {
        let biases = [LayerTensor::QueryBias, LayerTensor::KeyBias, LayerTensor::ValueBias];
        let biases = biases.into_iter().filter(|slot| slot.is_in(self.spec));
        let bias = |slot: LayerTensor| self.weights.tensor(&slot.name(self.spec, layer))?.to_f32();
        let bias = biases.map(bias).collect::<Result<Vec<_>, _>>()?.concat();
        let rope = self.spec.rope_of(layer);
        Ok(Arc::new(Layer {
            attention_norm: self.norm(LayerTensor::AttentionNorm, layer)?,
            query_key_value: self
                .stack(&[LayerTensor::Query, LayerTensor::Key, LayerTensor::Value], layer)?,
            bias,
            query_norm: self.norm(LayerTensor::QueryNorm, layer)?,
            key_norm: self.norm(LayerTensor::KeyNorm, layer)?,
            output: self.stack(&[LayerTensor::Output], layer)?,
            attention_post_norm: self.norm(LayerTensor::AttentionPostNorm, layer)?,
            ffn_norm: self.norm(LayerTensor::FfnNorm, layer)?,
            gate_up: self.stack(&[LayerTensor::Gate, LayerTensor::Up], layer)?,
            down: self.stack(&[LayerTensor::Down], layer)?,
            ffn_post_norm: self.norm(LayerTensor::FfnPostNorm, layer)?,
            rope: ropes(self.spec).iter().position(|other| *other == rope).unwrap_or(0),
            pairing: rope.pairing,
            window: self.spec.window_of(layer).unwrap_or(usize::MAX),
        }))
    }

    /// Weight of a norm; `None` if the layers lack it.
    fn norm(&self, slot: LayerTensor, layer: usize) -> Result<Option<Vec<f32>>, LoadError> {
        let read = || decoder::norm_weight(self.spec, self.weights, &slot.name(self.spec, layer));
        Ok(slot.is_in(self.spec).then(read).transpose()?.map(rounded))
    }

    fn stack(&self, slots: &[LayerTensor], layer: usize) -> Result<Matrix, LoadError> {
        let load = |slot: &LayerTensor| {
            let rows = slot.shape(self.spec)[0];
            Matrix::load(self.weights, &slot.name(self.spec, layer), rows, self.dtype)
        };
        Ok(Matrix::stack(slots.iter().map(load).collect::<Result<_, _>>()?))
    }
}

/// The distinct rotary embeddings of a model; layers with a window may have another one.
fn ropes(spec: &DecoderSpec) -> Vec<&Rope> {
    let windowed = spec.window.iter().map(|window| &window.rope);
    [&spec.rope].into_iter().chain(windowed.filter(|rope| **rope != spec.rope)).collect()
}

/// Rounds to `f32`, the type of activations.
fn rounded(weight: Vec<f64>) -> Vec<f32> {
    weight.into_iter().map(|weight| weight as f32).collect()
}

fn load_error(error: candle_core::Error) -> LoadError {
    LoadError::Backend { backend: "candle", message: error.to_string() }
}

fn model_error(error: candle_core::Error) -> ModelError {
    ModelError::Backend { backend: "candle", message: error.to_string() }
}

/// Weights of one layer, with its rotary embedding and window.
struct Layer {
    attention_norm: Option<Vec<f32>>,
    query_key_value: Matrix,
    /// Biases of the three projections; empty if the model has none.
    bias: Vec<f32>,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    output: Matrix,
    attention_post_norm: Option<Vec<f32>>,
    ffn_norm: Option<Vec<f32>>,
    gate_up: Matrix,
    down: Matrix,
    ffn_post_norm: Option<Vec<f32>>,
    /// Index of its rotary embedding in [`ropes`].
    rope: usize,
    pairing: Pairing,
    /// Window length in tokens, including the current token; `usize::MAX` for full attention.
    window: usize,
}

/// The model; clones share all weights.
#[derive(Clone)]
struct CandleModel {
    name: String,
    vocab: Vocab,
    spec: DecoderSpec,
    embedding: Arc<Matrix>,
    blocks: Vec<Arc<Layer>>,
    final_norm: Arc<Vec<f32>>,
    head: Arc<Matrix>,
    /// Frequencies of each of [`ropes`], `[head_dim / 2]`.
    frequencies: Vec<Vec<f64>>,
}

impl LayeredModel for CandleModel {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError> {
        let spec = early_exit::spec(self, layers)?;
        let mut exit = Self { name: name.to_owned(), spec, ..self.clone() };
        exit.blocks.truncate(layers);
        Ok(Box::new(exit))
    }
}

impl LanguageModel for CandleModel {
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
        let cache = self.blocks.iter().map(|_| KvCache::default()).collect();
        let rotary = self.frequencies.iter().map(|_| RotaryTable::default()).collect();
        let (tokens, tree, rows) =
            (Vec::new(), TokenTree::new(), Activations { rotary, ..Activations::default() });
        Ok(Box::new(CandleSession { model: self, tokens, tree, cache, rows }))
    }
}

/// A session with its KV cache, one part per layer.
struct CandleSession<'m> {
    model: &'m CandleModel,
    tokens: Vec<TokenId>,
    /// Token tree after the tokens: node `n` has row `tokens.len() + n` of the cache.
    tree: TokenTree,
    cache: Vec<KvCache>,
    rows: Activations,
}

/// Buffers for the activations of one chunk, `[tokens, …]`; reused, so that a token allocates
/// nothing.
#[derive(Default)]
struct Activations {
    /// One table for each of [`ropes`].
    rotary: Vec<RotaryTable>,
    visible: AttendedRows,
    state: Vec<f32>,
    normed: Vec<f32>,
    query_key_value: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
    /// Output of a sublayer, to be added to the residual stream.
    delta: Vec<f32>,
}

impl Session for CandleSession<'_> {
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
        let held = self.tokens.len();
        ModelError::check_extend(held, tokens, wanted, model.context_len(), model.vocab.size())?;
        self.forget(held);
        let rows_before = out.len();
        for (chunk, wanted) in chunks(tokens, CHUNK, wanted) {
            let first = self.tokens.len();
            self.rows.clear();
            for position in first..first + chunk.len() {
                self.rows.add_position(position, &model.frequencies);
                self.rows.visible.push(position + 1, []);
            }
            if let Err(error) = self.chunk(chunk, wanted, out) {
                out.truncate(rows_before);
                self.forget(held);
                return Err(model_error(error));
            }
            self.tokens.extend_from_slice(chunk);
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

impl TreeSession for CandleSession<'_> {
    fn grow_tree(&mut self, tree: &TokenTree, out: &mut LogitRows) -> Result<(), ModelError> {
        let model = self.model;
        let (held, present, rows_before) = (self.tokens.len(), self.tree.len(), out.len());
        let (limit, vocab) = (model.context_len(), model.vocab.size());
        ModelError::check_tree(held, &self.tree, tree, limit, vocab)?;
        let new: Vec<TokenId> = tree.tokens().skip(present).collect();
        for (first, chunk) in (present..).step_by(CHUNK).zip(new.chunks(CHUNK)) {
            self.rows.clear();
            for node in first..first + chunk.len() {
                let path = tree.path(node);
                self.rows.add_position(held + path.len() - 1, &model.frequencies);
                self.rows.visible.push(held, path.into_iter().map(|node| held + node));
            }
            if let Err(error) = self.chunk(chunk, chunk.len(), out) {
                out.truncate(rows_before);
                self.crop(held + present);
                return Err(model_error(error));
            }
        }
        self.tree.clone_from(tree);
        Ok(())
    }

    fn keep_path(&mut self, path: &[usize]) -> Result<(), ModelError> {
        ModelError::check_path(&self.tree, path)?;
        let (held, width) = (self.tokens.len(), self.model.spec.kv_width());
        let slots: Vec<usize> = path.iter().map(|node| held + node).collect();
        self.cache.iter_mut().for_each(|cache| cache.keep(held, &slots, width));
        self.tokens.extend(path.iter().map(|&node| self.tree.token(node)));
        self.tree.clear();
        Ok(())
    }
}

impl Activations {
    /// Starts a new chunk.
    fn clear(&mut self) {
        self.rotary.iter_mut().for_each(RotaryTable::clear);
        self.visible.clear();
    }

    /// Adds the chunk's next token at `position`; `frequencies` are those of the model.
    fn add_position(&mut self, position: usize, frequencies: &[Vec<f64>]) {
        for (rotary, frequencies) in self.rotary.iter_mut().zip(frequencies) {
            rotary.push(position, frequencies);
        }
    }
}

impl CandleSession<'_> {
    /// Removes the tree and the tokens from position `len` on.
    fn forget(&mut self, len: usize) {
        self.tree.clear();
        self.tokens.truncate(len);
        self.crop(len);
    }

    /// Removes all cache rows from row `len` on.
    fn crop(&mut self, len: usize) {
        let width = self.model.spec.kv_width();
        self.cache.iter_mut().for_each(|cache| cache.truncate(len, width));
    }

    /// Runs at most [`CHUNK`] tokens, whose positions and visible rows are set in `self.rows`.
    /// Appends keys and values to the cache and `wanted` rows of logits to `out`.
    fn chunk(
        &mut self,
        tokens: &[TokenId],
        wanted: usize,
        out: &mut LogitRows,
    ) -> candle_core::Result<()> {
        let (model, rows) = (self.model, &mut self.rows);
        rows.state.clear();
        for &token in tokens {
            model.embedding.row(token as usize, &mut rows.state)?;
        }
        if model.spec.scales.embedding != 1.0 {
            layers::scale(&mut rows.state, model.spec.scales.embedding as f32);
        }
        for (block, cache) in model.blocks.iter().zip(&mut self.cache) {
            block.attend(&model.spec, rows, cache)?;
            block.feed_forward(&model.spec, rows)?;
        }
        if wanted > 0 {
            let last = &rows.state[(tokens.len() - wanted) * model.spec.hidden..];
            rows.normed.clear();
            rows.normed.extend_from_slice(last);
            layers::rms_norm(&mut rows.normed, &model.final_norm, model.spec.norm_eps);
            model.head.apply(&rows.normed, out.grow(wanted))?;
        }
        Ok(())
    }
}

impl Layer {
    /// `h ← h + n₂(O · attention(…))`; appends keys and values to the cache.
    fn attend(
        &self,
        spec: &DecoderSpec,
        rows: &mut Activations,
        cache: &mut KvCache,
    ) -> candle_core::Result<()> {
        layers::normed(&rows.state, &self.attention_norm, spec.norm_eps, &mut rows.normed);
        let (queries, keys) = (spec.query_width(), spec.kv_width());
        let (stride, tokens) = (queries + 2 * keys, rows.state.len() / spec.hidden);
        rows.query_key_value.resize(tokens * stride, 0.0);
        self.query_key_value.apply(&rows.normed, &mut rows.query_key_value)?;
        let rotary = &rows.rotary[self.rope];
        for (token, row) in rows.query_key_value.chunks_exact_mut(stride).enumerate() {
            row.iter_mut().zip(&self.bias).for_each(|(x, bias)| *x += bias);
            let (rotated, values) = row.split_at_mut(queries + keys);
            layers::norm_in_place(&mut rotated[..queries], &self.query_norm, spec.norm_eps);
            layers::norm_in_place(&mut rotated[queries..], &self.key_norm, spec.norm_eps);
            rotary.rotate(rotated, token, spec.head_dim, self.pairing);
            cache.keys.extend_from_slice(&rotated[queries..]);
            cache.values.extend_from_slice(values);
        }
        rows.attended.resize(tokens * queries, 0.0);
        let queries = (&rows.query_key_value[..], stride);
        layers::attention(spec, queries, cache, (&rows.visible, self.window), &mut rows.attended);
        rows.delta.resize(rows.state.len(), 0.0);
        self.output.apply(&rows.attended, &mut rows.delta)?;
        layers::norm_in_place(&mut rows.delta, &self.attention_post_norm, spec.norm_eps);
        kernels::zip(&mut rows.state, &rows.delta, |state, delta| state + delta);
        Ok(())
    }

    /// `h ← h + n₄(Down · (act(Gate x) ∘ Up x))` with `x = n₃(h)`.
    fn feed_forward(&self, spec: &DecoderSpec, rows: &mut Activations) -> candle_core::Result<()> {
        layers::normed(&rows.state, &self.ffn_norm, spec.norm_eps, &mut rows.normed);
        let tokens = rows.state.len() / spec.hidden;
        rows.gate_up.resize(tokens * self.gate_up.rows(), 0.0);
        self.gate_up.apply(&rows.normed, &mut rows.gate_up)?;
        layers::gated(spec.activation, &mut rows.gate_up, spec.ffn, &mut rows.gated);
        rows.delta.resize(rows.state.len(), 0.0);
        self.down.apply(&rows.gated, &mut rows.delta)?;
        layers::norm_in_place(&mut rows.delta, &self.ffn_post_norm, spec.norm_eps);
        kernels::zip(&mut rows.state, &rows.delta, |state, delta| state + delta);
        Ok(())
    }
}
