//! The operations that the interpreter asks of a library of tensors.

use kad_core::ModelError;

use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::stored_type::StoredType;

/// A number, or the library's words for what went wrong.
pub(crate) type OpResult<T> = Result<T, String>;

/// What the matrices of the blocks are kept and multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatType {
    F32,
    F16,
    BF16,
}

impl FloatType {
    /// What `dtype` means for a library of tensors.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for blocks, which have no products here.
    pub(super) fn of(dtype: Dtype, backend: &str) -> Result<FloatType, LoadError> {
        match dtype {
            Dtype::Auto | Dtype::F32 => Ok(FloatType::F32),
            Dtype::F16 => Ok(FloatType::F16),
            Dtype::BF16 => Ok(FloatType::BF16),
            _ => {
                let found = format!("{dtype} with the {backend} backend");
                Err(LoadError::unsupported("dtype", found, &["auto", "f32", "f16", "bf16"]))
            }
        }
    }

    pub(super) fn stored(self) -> StoredType {
        match self {
            FloatType::F32 => StoredType::F32,
            FloatType::F16 => StoredType::F16,
            FloatType::BF16 => StoredType::BF16,
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
        float: FloatType,
        shape: [usize; 3],
        device: &Self::Device,
    ) -> OpResult<Self>;
    /// An `f32` array of zeros that nothing else shares.
    fn zeros(shape: [usize; 3], device: &Self::Device) -> OpResult<Self>;
    /// All numbers, of an `f32` array, copied to the host.
    fn to_f32(self) -> OpResult<Vec<f32>>;
    /// The same numbers, rounded to the type; an array of the type already is only shared.
    fn to_float(self, float: FloatType) -> OpResult<Self>;
    /// `[a, b, c]`.
    fn shape(&self) -> [usize; 3];

    /// The same numbers in another shape.
    fn reshape(self, shape: [usize; 3]) -> OpResult<Self>;
    /// With two dimensions exchanged.
    fn swap_dims(self, one: usize, other: usize) -> OpResult<Self>;
    /// `len` places from `from` on along a dimension; of any type. It may share the numbers.
    fn narrow(&self, dim: usize, from: usize, len: usize) -> OpResult<Self>;
    /// Self, and `right` behind it along the last dimension.
    fn concat(self, right: Self) -> OpResult<Self>;
    /// `[a, rows.len(), c]`: the rows of the second dimension in this order.
    fn select_rows(&self, rows: &[usize]) -> OpResult<Self>;
    /// Overwrites the rows from `at` on along the second dimension, in place if nothing shares
    /// them.
    fn set_rows(&mut self, at: usize, rows: Self) -> OpResult<()>;

    /// Sum; a dimension of 1 is repeated.
    fn add(self, other: &Self) -> OpResult<Self>;
    /// Product of the elements; a dimension of 1 is repeated.
    fn mul(self, other: &Self) -> OpResult<Self>;
    /// All elements times a number.
    fn scale(self, factor: f64) -> OpResult<Self>;
    /// `self · weightᵀ`, `[1, tokens, in]` and `[1, out, in]` of one type: the fastest way there
    /// is.
    fn linear(self, weight: &Self) -> OpResult<Self>;
    /// `self · other`, `[a, b, c]` and `[a, c, d]`.
    fn matmul(self, other: Self) -> OpResult<Self>;
    /// `x / sqrt(mean(x²) + ε) · weight` along the last dimension; weight `[1, 1, c]`.
    fn rms_norm(self, weight: &Self, eps: f64) -> OpResult<Self>;
    /// Along the last dimension.
    fn softmax(self) -> OpResult<Self>;
    /// `x · sigmoid(x)`.
    fn silu(self) -> OpResult<Self>;
    /// Gaussian error linear unit, tanh approximation.
    fn gelu_tanh(self) -> OpResult<Self>;

    /// From numbers of the host.
    fn from_f32(numbers: &[f32], shape: [usize; 3], device: &Self::Device) -> OpResult<Self> {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(bytes, FloatType::F32, shape, device)
    }
}

pub(super) fn model_error<T: Tensor>(message: String) -> ModelError {
    ModelError::Backend { backend: T::BACKEND, message }
}
