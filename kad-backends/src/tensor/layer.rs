//! One layer: attention and feed-forward network.

use super::operations::{FloatType, OpResult, Tensor};
use super::pass::PassInputs;
use crate::decoder::spec::{Activation, DecoderSpec, QueryKeyNorm};

/// Weights of one layer; clones share them.
#[derive(Clone)]
pub(super) struct Layer<T> {
    pub(super) attention: Attention<T>,
    pub(super) feed_forward: FeedForward<T>,
}

/// Weights of attention; `None` for norms that the model lacks.
#[derive(Clone)]
pub(super) struct Attention<T> {
    pub(super) norm: Option<T>,
    /// Three stacked matrices.
    pub(super) query_key_value: T,
    pub(super) bias: Option<T>,
    pub(super) query_norm: Option<T>,
    pub(super) key_norm: Option<T>,
    pub(super) output: T,
    pub(super) post_norm: Option<T>,
    /// True for sliding-window attention.
    pub(super) windowed: bool,
}

/// Weights of the feed-forward network.
#[derive(Clone)]
pub(super) struct FeedForward<T> {
    pub(super) norm: Option<T>,
    /// Two stacked matrices.
    pub(super) gate_up: T,
    pub(super) down: T,
    pub(super) post_norm: Option<T>,
}

/// KV cache of one layer: rotated keys and values, `[kv_heads, rows, head_dim]` each. The session
/// knows the number of used rows.
pub(super) struct KvCache<T> {
    keys: T,
    values: T,
}

impl<T: Tensor> KvCache<T> {
    /// A cache with room for `rows` tokens.
    pub(super) fn new(spec: &DecoderSpec, device: &T::Device, rows: usize) -> OpResult<Self> {
        let shape = [spec.kv_heads, rows, spec.head_dim];
        Ok(Self { keys: T::zeros(shape, device)?, values: T::zeros(shape, device)? })
    }

    /// Number of rows.
    pub(super) fn capacity(&self) -> usize {
        self.keys.shape()[1]
    }

    /// Copies its first `held` rows into `larger` and becomes it.
    pub(super) fn move_to(&mut self, mut larger: Self, held: usize) -> OpResult<()> {
        if held > 0 {
            larger.keys.set_rows(0, self.keys.narrow(1, 0, held)?)?;
            larger.values.set_rows(0, self.values.narrow(1, 0, held)?)?;
        }
        *self = larger;
        Ok(())
    }

    /// Moves `rows`, in their order, to the positions from `held` on.
    pub(super) fn keep(&mut self, held: usize, rows: &[usize]) -> OpResult<()> {
        let (keys, values) = (self.keys.select_rows(rows)?, self.values.select_rows(rows)?);
        self.keys.set_rows(held, keys)?;
        self.values.set_rows(held, values)
    }

    fn set(&mut self, at: usize, keys: T, values: T) -> OpResult<()> {
        self.keys.set_rows(at, keys)?;
        self.values.set_rows(at, values)
    }
}

/// `state · weightᵀ`, multiplied in the type of the weight.
fn product<T: Tensor>(state: T, weight: &T, float: FloatType) -> OpResult<T> {
    state.to_float(float)?.linear(weight)?.to_float(FloatType::F32)
}

fn norm<T: Tensor>(state: T, weight: &Option<T>, eps: f64) -> OpResult<T> {
    match weight {
        Some(weight) => state.rms_norm(weight, eps),
        None => Ok(state),
    }
}

impl<T: Tensor> Layer<T> {
    /// The residual stream `[1, tokens, hidden]` after this layer; writes keys and values to the
    /// cache.
    pub(super) fn run(
        &self,
        spec: &DecoderSpec,
        float: FloatType,
        state: T,
        pass: &PassInputs<T>,
        cache: &mut KvCache<T>,
    ) -> OpResult<T> {
        let added = self.attention.run(spec, float, state.clone(), pass, cache)?;
        let state = state.add(&added)?;
        let added = self.feed_forward.run(spec, float, state.clone())?;
        state.add(&added)
    }
}

impl<T: Tensor> FeedForward<T> {
    fn run(&self, spec: &DecoderSpec, float: FloatType, state: T) -> OpResult<T> {
        let state = norm(state, &self.norm, spec.norm_eps)?;
        let gate_up = product(state, &self.gate_up, float)?;
        let (gate, up) = (gate_up.narrow(2, 0, spec.ffn)?, gate_up.narrow(2, spec.ffn, spec.ffn)?);
        let gate = match spec.activation {
            Activation::Silu => gate.silu()?,
            Activation::GeluTanh => gate.gelu_tanh()?,
        };
        let added = product(gate.mul(&up)?, &self.down, float)?;
        norm(added, &self.post_norm, spec.norm_eps)
    }
}

impl<T: Tensor> Attention<T> {
    fn run(
        &self,
        spec: &DecoderSpec,
        float: FloatType,
        state: T,
        pass: &PassInputs<T>,
        cache: &mut KvCache<T>,
    ) -> OpResult<T> {
        let tokens = state.shape()[1];
        let state = norm(state, &self.norm, spec.norm_eps)?;
        let mut all = product(state, &self.query_key_value, float)?;
        if let Some(bias) = &self.bias {
            all = all.add(bias)?;
        }
        let (wide, narrow) = (spec.query_width(), spec.kv_width());
        let queries = self.rotated(spec, all.narrow(2, 0, wide)?, &self.query_norm, pass)?;
        let keys = self.rotated(spec, all.narrow(2, wide, narrow)?, &self.key_norm, pass)?;
        let values = all.narrow(2, wide + narrow, narrow)?;
        let values = values.reshape([tokens, spec.kv_heads, spec.head_dim])?.swap_dims(0, 1)?;
        cache.set(pass.first, keys.swap_dims(0, 1)?, values)?;
        let attended = self.attend(spec, queries, pass, cache)?;
        let added = product(attended, &self.output, float)?;
        norm(added, &self.post_norm, spec.norm_eps)
    }

    /// Norm and rotary embedding of queries or keys: `[1, tokens, heads · head_dim]` to
    /// `[tokens, heads, head_dim]`.
    fn rotated(
        &self,
        spec: &DecoderSpec,
        rows: T,
        weight: &Option<T>,
        pass: &PassInputs<T>,
    ) -> OpResult<T> {
        let [_, tokens, width] = rows.shape();
        let shape = [tokens, width / spec.head_dim, spec.head_dim];
        let heads = match spec.norms.query_key {
            QueryKeyNorm::Whole => norm(rows, weight, spec.norm_eps)?.reshape(shape)?,
            _ => norm(rows.reshape(shape)?, weight, spec.norm_eps)?,
        };
        let half = spec.head_dim / 2;
        let other = heads.narrow(2, half, half)?.concat(heads.narrow(2, 0, half)?)?;
        let view = pass.view(self.windowed);
        heads.mul(&view.cos)?.add(&other.mul(&view.sin)?)
    }

    /// Attention of all heads, `[1, tokens, heads · head_dim]`, before the output projection.
    fn attend(
        &self,
        spec: &DecoderSpec,
        queries: T,
        pass: &PassInputs<T>,
        cache: &KvCache<T>,
    ) -> OpResult<T> {
        let (tokens, dim) = (queries.shape()[0], spec.head_dim);
        let (group, rows) = (spec.heads / spec.kv_heads, pass.first + tokens);
        let queries = queries.scale(spec.attention_scale())?.swap_dims(0, 1)?;
        let queries = queries.reshape([spec.kv_heads, group * tokens, dim])?;
        let keys = cache.keys.narrow(1, 0, rows)?.swap_dims(1, 2)?;
        let mut scores = queries.matmul(keys)?;
        if let Some(mask) = &pass.view(self.windowed).mask {
            scores = scores.add(mask)?;
        }
        let attended = scores.softmax()?.matmul(cache.values.narrow(1, 0, rows)?)?;
        let attended = attended.reshape([spec.heads, tokens, dim])?.swap_dims(0, 1)?;
        attended.reshape([1, tokens, spec.query_width()])
    }
}
