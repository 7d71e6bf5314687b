//! Loads a model's weights into tensors.

use std::sync::Arc;

use kad_core::Vocab;

use super::layer::{Attention, FeedForward, Layer};
use super::model::TensorModel;
use super::operations::{FloatType, OpResult, Tensor};
use crate::decoder::spec::{DecoderSpec, Pairing};
use crate::decoder::{self, EMBEDDING, FINAL_NORM, HEAD, LayerTensor};
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::weights::Weights;

/// Loads a model of `spec` on the tensor library `T` with this dtype and device.
///
/// # Errors
/// The errors of [`decoder::check`]; [`LoadError::Unsupported`] for a quantised dtype and for
/// weights out of the dtype's range; [`LoadError::Backend`].
pub(crate) fn load<T: Tensor>(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    (dtype, device): (Dtype, T::Device),
) -> Result<Box<dyn LayeredModel>, LoadError> {
    decoder::check(spec, weights, vocab.size())?;
    let loader = Loader::<T> { spec, weights, float: FloatType::of(dtype, T::BACKEND)?, device };
    let embedding = loader.table(EMBEDDING)?;
    let head = match spec.tied_head {
        true => embedding.clone(),
        false => loader.table(HEAD)?,
    };
    Ok(Box::new(TensorModel {
        name: name.to_owned(),
        vocab,
        float: loader.float,
        blocks: (0..spec.layers).map(|layer| loader.block(layer)).collect::<Result<_, _>>()?,
        final_norm: loader.norm(FINAL_NORM)?,
        head: done::<T, _>(head.narrow(1, 0, vocab.size()))?,
        embedding,
        spec: spec.clone(),
        device: loader.device,
    }))
}

/// Turns a library's message into a [`LoadError`].
fn done<T: Tensor, V>(outcome: OpResult<V>) -> Result<V, LoadError> {
    outcome.map_err(|message| LoadError::Backend { backend: T::BACKEND, message })
}

/// Loads the tensors of a model.
struct Loader<'a, T: Tensor> {
    spec: &'a DecoderSpec,
    weights: &'a Weights,
    float: FloatType,
    device: T::Device,
}

impl<T: Tensor> Loader<'_, T> {
    fn make(&self, bytes: Vec<u8>, float: FloatType, shape: [usize; 3]) -> Result<T, LoadError> {
        done::<T, _>(T::from_bytes(bytes, float, shape, &self.device))
    }

    fn block(&self, layer: usize) -> Result<Layer<T>, LoadError> {
        use LayerTensor::{
            Down, Gate, Key, KeyBias, Output, Query, QueryBias, Up, Value, ValueBias,
        };
        let spec = self.spec;
        Ok(Layer {
            attention: Attention {
                norm: self.slot_norm(LayerTensor::AttentionNorm, layer)?,
                query_key_value: self.matrix(&[Query, Key, Value], layer)?,
                bias: match spec.qkv_bias {
                    true => Some(self.bias(&[QueryBias, KeyBias, ValueBias], layer)?),
                    false => None,
                },
                query_norm: self.slot_norm(LayerTensor::QueryNorm, layer)?,
                key_norm: self.slot_norm(LayerTensor::KeyNorm, layer)?,
                output: self.matrix(&[Output], layer)?,
                post_norm: self.slot_norm(LayerTensor::AttentionPostNorm, layer)?,
                windowed: spec.window_of(layer).is_some(),
            },
            feed_forward: FeedForward {
                norm: self.slot_norm(LayerTensor::FfnNorm, layer)?,
                gate_up: self.matrix(&[Gate, Up], layer)?,
                down: self.matrix(&[Down], layer)?,
                post_norm: self.slot_norm(LayerTensor::FfnPostNorm, layer)?,
            },
        })
    }

    /// Embedding or head as `f32`: `[1, vocab_rows, hidden]`.
    fn table(&self, name: &str) -> Result<T, LoadError> {
        let bytes = self.weights.tensor(name)?.round_to(FloatType::F32.stored())?;
        let shape = [1, self.spec.vocab_rows, self.spec.hidden];
        self.make(bytes, FloatType::F32, shape)
    }

    /// Stacks matrices that share an input, in the model's type.
    fn matrix(&self, slots: &[LayerTensor], layer: usize) -> Result<T, LoadError> {
        let (mut bytes, mut rows, mut width) = (Vec::new(), 0, 0);
        for &slot in slots {
            let matrix = self.weights.tensor(&slot.name(self.spec, layer))?;
            let shape = slot.shape(self.spec);
            (rows, width) = (rows + shape[0], shape[1]);
            let stored = matrix.round_to(self.float.stored())?;
            let row_bytes = stored.len() / shape[0];
            bytes.extend(self.in_halves(slot, stored, row_bytes));
        }
        self.make(bytes, self.float, [1, rows, width])
    }

    /// Concatenated biases as `f32`.
    fn bias(&self, slots: &[LayerTensor], layer: usize) -> Result<T, LoadError> {
        let mut bytes = Vec::new();
        for &slot in slots {
            let stored = self.weights.tensor(&slot.name(self.spec, layer))?;
            bytes.extend(self.in_halves(slot, stored.round_to(FloatType::F32.stored())?, 4));
        }
        let width = bytes.len() / 4;
        self.make(bytes, FloatType::F32, [1, 1, width])
    }

    fn slot_norm(&self, slot: LayerTensor, layer: usize) -> Result<Option<T>, LoadError> {
        if !slot.is_in(self.spec) {
            return Ok(None);
        }
        let weight = self.norm_bytes(&slot.name(self.spec, layer))?;
        self.row(self.in_halves(slot, weight, 4)).map(Some)
    }

    fn norm(&self, name: &str) -> Result<T, LoadError> {
        self.row(self.norm_bytes(name)?)
    }

    fn norm_bytes(&self, name: &str) -> Result<Vec<u8>, LoadError> {
        let weight = decoder::norm_weight(self.spec, self.weights, name)?;
        Ok(weight.into_iter().flat_map(|weight| (weight as f32).to_le_bytes()).collect())
    }

    /// An `f32` row `[1, 1, width]`.
    fn row(&self, bytes: Vec<u8>) -> Result<T, LoadError> {
        let width = bytes.len() / 4;
        self.make(bytes, FloatType::F32, [1, 1, width])
    }

    /// Reorders rows of queries or keys, `row_bytes` each, for [`Pairing::Halves`]: pair `i` of a
    /// head moves from `(2i, 2i + 1)` to `(i, i + half)`.
    fn in_halves(&self, slot: LayerTensor, bytes: Vec<u8>, row_bytes: usize) -> Vec<u8> {
        if self.spec.rope.pairing == Pairing::Halves || !is_rotated(slot) {
            return bytes;
        }
        let (dim, half) = (self.spec.head_dim, self.spec.head_dim / 2);
        let from = |to: usize| {
            let (head, place) = (to / dim, to % dim);
            head * dim + place % half * 2 + place / half
        };
        let rows = 0..bytes.len() / row_bytes;
        rows.flat_map(|to| &bytes[from(to) * row_bytes..][..row_bytes]).copied().collect()
    }
}

/// True if the tensor's rows are coordinates of queries or keys.
fn is_rotated(slot: LayerTensor) -> bool {
    use LayerTensor::{Key, KeyBias, KeyNorm, Query, QueryBias, QueryNorm};
    matches!(slot, Query | Key | QueryBias | KeyBias | QueryNorm | KeyNorm)
}
