//! The operations that a tensor library provides to the interpreter.

use kad_core::ModelError;

use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::stored_type::StoredType;

/// A value, or the library's error message.
pub(crate) type OpResult<T> = Result<T, String>;

/// Number type of the layers' matrices and their products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatType {
    F32,
    F16,
    BF16,
}

impl FloatType {
    /// Number type of `dtype`.
    ///
    /// # Errors
    /// [`LoadError::Unsupported`] for quantised types.
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

/// An array `[a, b, c]` on a device, row-major; clones share its numbers.
///
/// Operations take `f32` arrays unless stated otherwise. The interpreter guarantees matching sizes.
pub(crate) trait Tensor: Clone + Send + Sized + 'static {
    /// Name of the backend, for errors.
    const BACKEND: &'static str;

    /// The library's device type.
    type Device: Clone + Send;

    /// Result of `LayeredModel::library`.
    fn library() -> Option<String> {
        None
    }

    /// An array from little-endian bytes of the type.
    fn from_bytes(
        bytes: Vec<u8>,
        float: FloatType,
        shape: [usize; 3],
        device: &Self::Device,
    ) -> OpResult<Self>;
    /// An unshared `f32` array of zeros.
    fn zeros(shape: [usize; 3], device: &Self::Device) -> OpResult<Self>;
    /// All numbers of an `f32` array, copied to the host.
    fn to_f32(self) -> OpResult<Vec<f32>>;
    /// The numbers rounded to the type; shared if the array has the type already.
    fn to_float(self, float: FloatType) -> OpResult<Self>;
    /// `[a, b, c]`.
    fn shape(&self) -> [usize; 3];

    /// The same numbers in another shape.
    fn reshape(self, shape: [usize; 3]) -> OpResult<Self>;
    /// Exchanges two dimensions.
    fn swap_dims(self, one: usize, other: usize) -> OpResult<Self>;
    /// The slice `from..from + len` of a dimension; any type. It may share the numbers.
    fn narrow(&self, dim: usize, from: usize, len: usize) -> OpResult<Self>;
    /// Concatenates `self` and `right` along the last dimension.
    fn concat(self, right: Self) -> OpResult<Self>;
    /// `[a, rows.len(), c]`: selects rows of the second dimension in this order.
    fn select_rows(&self, rows: &[usize]) -> OpResult<Self>;
    /// Overwrites rows of the second dimension from `at` on, in place if the array is unshared.
    fn set_rows(&mut self, at: usize, rows: Self) -> OpResult<()>;

    /// Elementwise sum; `other` is broadcast along dimensions of size 1.
    fn add(self, other: &Self) -> OpResult<Self>;
    /// Elementwise product; `other` is broadcast along dimensions of size 1.
    fn mul(self, other: &Self) -> OpResult<Self>;
    /// Product with a number.
    fn scale(self, factor: f64) -> OpResult<Self>;
    /// `self · weightᵀ` by the library's fastest product: `[1, tokens, in]` and `[1, out, in]`,
    /// both of the same type.
    fn linear(self, weight: &Self) -> OpResult<Self>;
    /// Batched product `self · other`: `[a, b, c]` and `[a, c, d]`.
    fn matmul(self, other: Self) -> OpResult<Self>;
    /// `x / sqrt(mean(x²) + ε) · weight` along the last dimension; weight `[1, 1, c]`.
    fn rms_norm(self, weight: &Self, eps: f64) -> OpResult<Self>;
    /// Softmax along the last dimension.
    fn softmax(self) -> OpResult<Self>;
    /// `x · sigmoid(x)`.
    fn silu(self) -> OpResult<Self>;
    /// Gaussian error linear unit, tanh approximation.
    fn gelu_tanh(self) -> OpResult<Self>;

    /// An array from numbers on the host.
    fn from_f32(numbers: &[f32], shape: [usize; 3], device: &Self::Device) -> OpResult<Self> {
        let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::from_bytes(bytes, FloatType::F32, shape, device)
    }
}

pub(super) fn model_error<T: Tensor>(message: String) -> ModelError {
    ModelError::Backend { backend: T::BACKEND, message }
}
