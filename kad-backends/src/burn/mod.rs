//! The backend `burn`: the shared interpreter of the tensor libraries on burn, in pure Rust.
//!
//! On a CPU it uses burn's `flex` device. The module `tensor` states the number types. It is not
//! batch invariant: a forward pass over several tokens returns other bits than several passes. Its
//! products are computed as `(W xᵀ)ᵀ`, because burn's product (from the crate `gemm`) repacks its
//! right operand in every call, which this way is the small one. On a CPU use `f32`: `f16` has no
//! fast product for more than one token, and `bf16` is widened in every product.
//!
//! The features `cuda` and `metal` compile burn's GPU kernels.

use std::sync::Arc;

use ::burn::tensor::{DType, Device as BurnDevice, Int, Tensor as Array, TensorData, activation};
use kad_core::Vocab;

use crate::backend::Backend;
use crate::decoder::spec::DecoderSpec;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::tensor;
use crate::tensor::operations::{FloatType, OpResult, Tensor};
use crate::weights::Weights;

/// Loads a model of `spec` with matrices in `dtype`: `f32` (also for `auto`), `f16` or `bf16`.
///
/// Logits have `vocab.size()` columns, even if the embedding is padded to more rows.
///
/// ```no_run
/// use kad_backends::{Dtype, ModelFiles, burn};
/// let files = ModelFiles::open("models/my-model".as_ref())?;
/// let vocab = files.tokenizer.vocab();
/// let model = burn::load("my-model", &files.spec, &files.weights, vocab, Dtype::F32)?;
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`], [`LoadError::WrongShape`] or
/// [`LoadError::WrongSize`] if weights and specification contradict each other;
/// [`LoadError::Unsupported`] for another dtype.
pub fn load(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    dtype: Dtype,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    load_on(name, spec, weights, vocab, (dtype, Device::Cpu))
}

/// [`load`] on a device.
///
/// # Errors
/// The errors of [`load`], and [`LoadError::NoDevice`].
pub fn load_on(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    (dtype, device): (Dtype, Device),
) -> Result<Box<dyn LayeredModel>, LoadError> {
    let place = find_device(name, device)?;
    tensor::load::<BurnTensor>(name, spec, weights, vocab, (dtype, place))
}

/// burn's handle of a device.
///
/// # Errors
/// [`LoadError::NoDevice`] if this build lacks the GPU kernels, or burn does not find the device.
pub(crate) fn find_device(model: &str, device: Device) -> Result<BurnDevice, LoadError> {
    let absent = |found: &str, advice: &str| {
        let advice = format!("{advice}, or use device = \"cpu\"");
        Err(LoadError::no_device((Backend::Burn, device), model, found, &advice))
    };
    let (there, number) = match device {
        Device::Cpu => return Ok(BurnDevice::flex()),
        Device::Cuda(number) => (cuda_devices(), number),
        Device::Metal => (metal_devices(), 0),
    };
    match there {
        None if device == Device::Metal => {
            absent("this build has no Metal", "rebuild with --features burn,metal")
        }
        None => absent("this build has no CUDA", "rebuild with --features burn,cuda"),
        Some(mut devices) if number < devices.len() => Ok(devices.swap_remove(number)),
        Some(devices) => {
            let kind = if device == Device::Metal { "Metal" } else { "CUDA" };
            let found = match devices.len() {
                0 => format!("burn sees no {kind} device"),
                count => format!("burn sees {count} {kind} devices, numbered from 0"),
            };
            absent(&found, "run kad on a machine that has the GPU and its driver")
        }
    }
}

/// The devices found by burn; `None` if burn was built without support.
fn cuda_devices() -> Option<Vec<BurnDevice>> {
    #[cfg(feature = "cuda")]
    let devices = Some(seen(::burn::tensor::DeviceType::Cuda));
    #[cfg(not(feature = "cuda"))]
    let devices = None;
    devices
}

/// The devices found by burn; `None` if burn was built without support.
fn metal_devices() -> Option<Vec<BurnDevice>> {
    #[cfg(feature = "metal")]
    let devices = Some(seen(::burn::tensor::DeviceType::Metal));
    #[cfg(not(feature = "metal"))]
    let devices = None;
    devices
}

#[cfg(any(feature = "cuda", feature = "metal"))]
fn seen(kind: ::burn::tensor::DeviceType) -> Vec<BurnDevice> {
    BurnDevice::enumerate(kind).into_iter().collect()
}

/// A burn tensor. burn panics on operands of wrong sizes, which the interpreter excludes. Reading a
/// result can fail.
#[derive(Clone)]
struct BurnTensor(Array<3>);

impl BurnTensor {
    fn of(array: Array<3>) -> OpResult<Self> {
        Ok(Self(array))
    }
}

fn dtype_of(float: FloatType) -> DType {
    match float {
        FloatType::F32 => DType::F32,
        FloatType::F16 => DType::F16,
        FloatType::BF16 => DType::BF16,
    }
}

impl Tensor for BurnTensor {
    const BACKEND: &'static str = "burn";
    type Device = BurnDevice;

    fn from_bytes(
        bytes: Vec<u8>,
        float: FloatType,
        shape: [usize; 3],
        place: &BurnDevice,
    ) -> OpResult<Self> {
        let dtype = dtype_of(float);
        let data = TensorData::from_bytes_vec(bytes, shape, dtype);
        Self::of(Array::from_data(data, (place, dtype)))
    }

    fn zeros(shape: [usize; 3], place: &BurnDevice) -> OpResult<Self> {
        Self::of(Array::zeros(shape, (place, DType::F32)))
    }

    fn to_f32(self) -> OpResult<Vec<f32>> {
        self.0.try_into_vec_as::<f32>().map_err(|error| error.to_string())
    }

    fn to_float(self, float: FloatType) -> OpResult<Self> {
        Self::of(self.0.cast(dtype_of(float)))
    }

    fn shape(&self) -> [usize; 3] {
        self.0.dims()
    }

    fn reshape(self, shape: [usize; 3]) -> OpResult<Self> {
        Self::of(self.0.reshape(shape))
    }

    fn swap_dims(self, one: usize, other: usize) -> OpResult<Self> {
        Self::of(self.0.swap_dims(one, other))
    }

    fn narrow(&self, dim: usize, from: usize, len: usize) -> OpResult<Self> {
        Self::of(self.0.clone().narrow(dim, from, len))
    }

    fn concat(self, right: Self) -> OpResult<Self> {
        Self::of(Array::cat(vec![self.0, right.0], 2))
    }

    fn select_rows(&self, rows: &[usize]) -> OpResult<Self> {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Array::<1, Int>::from_data(&rows[..], (&self.0.device(), DType::I64));
        Self::of(self.0.clone().select(1, rows))
    }

    fn set_rows(&mut self, at: usize, rows: Self) -> OpResult<()> {
        let ([a, _, c], len) = (self.shape(), rows.shape()[1]);
        self.0.inplace(|array| array.slice_assign([0..a, at..at + len, 0..c], rows.0));
        Ok(())
    }

    fn add(self, other: &Self) -> OpResult<Self> {
        Self::of(self.0 + other.0.clone())
    }

    fn mul(self, other: &Self) -> OpResult<Self> {
        Self::of(self.0 * other.0.clone())
    }

    fn scale(self, factor: f64) -> OpResult<Self> {
        Self::of(self.0.mul_scalar(factor))
    }

    fn linear(self, weight: &Self) -> OpResult<Self> {
        let (state, weight) = (self.0, weight.0.clone());
        match state.dims()[1] {
            1 => Self::of(state.matmul(weight.swap_dims(1, 2))),
            _ => Self::of(weight.matmul(state.swap_dims(1, 2)).swap_dims(1, 2)),
        }
    }

    fn matmul(self, other: Self) -> OpResult<Self> {
        Self::of(self.0.matmul(other.0))
    }

    fn rms_norm(self, weight: &Self, eps: f64) -> OpResult<Self> {
        let scale = self.0.clone().square().mean_dim(2).add_scalar(eps).sqrt().recip();
        Self::of(self.0 * scale * weight.0.clone())
    }

    fn softmax(self) -> OpResult<Self> {
        Self::of(activation::softmax(self.0, 2))
    }

    fn silu(self) -> OpResult<Self> {
        Self::of(activation::silu(self.0))
    }

    fn gelu_tanh(self) -> OpResult<Self> {
        Self::of(activation::gelu_approximate(self.0))
    }
}
