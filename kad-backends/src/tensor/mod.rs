//! One interpreter of [`DecoderSpec`] for libraries of tensors.
//!
//! A library implements [`Tensor`], some twenty operations on arrays of three dimensions; loading,
//! sessions, the cache, token trees, early exits, chunks of long prompts and errors are here, once.
//!
//! The residual stream, norms, rotations, attention with its cache, embedding, head and logits are
//! `f32` in every dtype. A dtype says what the matrices of the blocks are kept in, and what type
//! the library multiplies them in: each product takes activations rounded to that type and gives
//! them back rounded to it. Tensors of GGUF's blocks are dequantised, and rounded once, at load.
//!
//! A block's state is `[1, tokens, hidden]`. Attention is computed for all heads at once, those of
//! a key head one below the other: with `g` query heads to a key head,
//!
//! ```text
//! scores  [kv_heads, g · tokens, held] = Q Kᵀ + mask
//! output  [kv_heads, g · tokens, head_dim] = softmax(scores) V
//! ```
//!
//! where the mask is 0 for what a token sees and −∞ elsewhere: a text, a window of its latest
//! tokens, and the paths of a token tree differ in the mask and the positions alone.
//!
//! Rotations turn pairs `(i, i + head_dim / 2)`. The rows of queries and keys that a file keeps in
//! the other order are moved at load; what a query and a key have in common does not depend on the
//! order of their coordinates.

mod block;
#[cfg(test)]
mod host;
mod load;
mod pass;
mod session;
#[cfg(test)]
mod tests;

use kad_core::{LanguageModel, ModelError, Session, Vocab};

use self::block::Block;
pub(crate) use self::load::load;
use crate::decoder::spec::DecoderSpec;
use crate::dtype::Dtype;
use crate::early_exit::{self, LayeredModel};
use crate::error::LoadError;
use crate::weights::StoredType;

/// A number, or the library's words for what went wrong.
pub(crate) type Outcome<T> = Result<T, String>;

/// What the matrices of the blocks are kept and multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    F32,
    F16,
    BF16,
}

impl Float {
    /// What `dtype` means for a library of tensors.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for blocks, which have no products here.
    fn of(dtype: Dtype, backend: &str) -> Result<Float, LoadError> {
        match dtype {
            Dtype::Auto | Dtype::F32 => Ok(Float::F32),
            Dtype::F16 => Ok(Float::F16),
            Dtype::BF16 => Ok(Float::BF16),
            _ => {
                let found = format!("{dtype} with the {backend} backend");
                Err(LoadError::unsupported("dtype", found, &["auto", "f32", "f16", "bf16"]))
            }
        }
    }

    fn stored(self) -> StoredType {
        match self {
            Float::F32 => StoredType::F32,
            Float::F16 => StoredType::F16,
            Float::BF16 => StoredType::BF16,
        }
    }
}

/// An array `[a, b, c]` of a library, row-major, on one device; a clone shares its numbers.
///
/// Operations are of `f32` unless they say otherwise. Their sizes fit: the interpreter sees to it.
pub(crate) trait Tensor: Clone + Send + Sized + 'static {
    /// The backend's name, for errors.
    const BACKEND: &'static str;

    /// Where arrays are.
    type Device: Clone + Send;

    /// What [`LayeredModel::library`] says.
    fn library() -> Option<String> {
        None
    }

    /// From little-endian bytes of the type.
    fn from_bytes(
        bytes: Vec<u8>,
        float: Float,
        shape: [usize; 3],
        device: &Self::Device,
    ) -> Outcome<Self>;
    /// An `f32` array of zeros that nothing else shares.
    fn zeros(shape: [usize; 3], device: &Self::Device) -> Outcome<Self>;
    /// All numbers, of an `f32` array, copied to the host.
    fn to_f32(self) -> Outcome<Vec<f32>>;
    /// The same numbers, rounded to the type; an array of the type already is only shared.
    fn to_float(self, float: Float) -> Outcome<Self>;
    /// `[a, b, c]`.
    fn shape(&self) -> [usize; 3];

    /// The same numbers in another shape.
    fn reshape(self, shape: [usize; 3]) -> Outcome<Self>;
    /// With two dimensions exchanged.
    fn swap(self, one: usize, other: usize) -> Outcome<Self>;
    /// `len` places from `from` on along a dimension; of any type. It may share the numbers.
    fn narrow(&self, dim: usize, from: usize, len: usize) -> Outcome<Self>;
    /// Self, and `right` behind it along the last dimension.
    fn beside(self, right: Self) -> Outcome<Self>;
    /// `[a, rows.len(), c]`: the rows of the second dimension in this order.
    fn rows(&self, rows: &[usize]) -> Outcome<Self>;
    /// Overwrites the rows from `at` on along the second dimension, in place if nothing shares
    /// them.
    fn set_rows(&mut self, at: usize, rows: Self) -> Outcome<()>;

    /// Sum; a dimension of 1 is repeated.
    fn add(self, other: &Self) -> Outcome<Self>;
    /// Product of the elements; a dimension of 1 is repeated.
    fn mul(self, other: &Self) -> Outcome<Self>;
    /// All elements times a number.
    fn scale(self, factor: f64) -> Outcome<Self>;
    /// `self · weightᵀ`, `[1, tokens, in]` and `[1, out, in]` of one type: the fastest way there
    /// is.
    fn times(self, weight: &Self) -> Outcome<Self>;
    /// `self · other`, `[a, b, c]` and `[a, c, d]`.
    fn matmul(self, other: Self) -> Outcome<Self>;
    /// `x / sqrt(mean(x²) + ε) · weight` along the last dimension; weight `[1, 1, c]`.
    fn rms_norm(self, weight: &Self, eps: f64) -> Outcome<Self>;
    /// Along the last dimension.
    fn softmax(self) -> Outcome<Self>;
    /// `x · sigmoid(x)`.
    fn silu(self) -> Outcome<Self>;
    /// Gaussian error linear unit, tanh approximation.
    fn gelu_tanh(self) -> Outcome<Self>;

    /// From numbers of the host.
    fn from_f32(numbers: &[f32], shape: [usize; 3], device: &Self::Device) -> Outcome<Self> {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(bytes, Float::F32, shape, device)
    }
}

fn model_error<T: Tensor>(message: String) -> ModelError {
    ModelError::Backend { backend: T::BACKEND, message }
}

/// A clone shares all weights.
#[derive(Clone)]
struct TensorModel<T: Tensor> {
    name: String,
    vocab: Vocab,
    spec: DecoderSpec,
    float: Float,
    device: T::Device,
    /// `[1, vocab_rows, hidden]`.
    embedding: T,
    blocks: Vec<Block<T>>,
    final_norm: T,
    /// `[1, vocab, hidden]`; of a tied head, rows of the embedding.
    head: T,
}

impl<T: Tensor> LayeredModel for TensorModel<T> {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError> {
        let spec = early_exit::spec(self, layers)?;
        let mut exit = Self { name: name.to_owned(), spec, ..self.clone() };
        exit.blocks.truncate(layers);
        Ok(Box::new(exit))
    }

    fn library(&self) -> Option<String> {
        T::library()
    }
}

impl<T: Tensor> LanguageModel for TensorModel<T> {
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
        Ok(Box::new(session::TensorSession::new(self).map_err(model_error::<T>)?))
    }
}
