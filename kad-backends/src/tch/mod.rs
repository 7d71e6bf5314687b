//! The backend `tch`: the shared interpreter of the tensor libraries on libtorch, the library of
//! PyTorch.
//!
//! The module `tensor` states the number types. `bf16` is fast on processors with AVX512-BF16. The
//! backend is not batch invariant: a forward pass over several tokens returns other bits than
//! several passes.
//!
//! The build needs libtorch 2.13.0 in `LIBTORCH` and a C++ compiler. `scripts/setup-libtorch.sh`
//! installs libtorch and prints the settings. With another version the build stops:
//! `this tch version expects PyTorch 2.13.0`. The program is linked with libtorch and searches for
//! it in the folder of the build; set `LD_LIBRARY_PATH` to libtorch's `lib` folder if it has moved.
//! Without libtorch the program does not start. The loader names the missing file
//! (`libtorch_cpu.so: cannot open shared object file`) or, with another version, the missing
//! function (`symbol lookup error: … undefined symbol: …`).
//!
//! For a GPU, use a libtorch for CUDA or for macOS instead of the script's. No cargo feature is
//! needed.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use ::tch::{Cuda, Device as TchDevice, Kind, TchError, Tensor as Array};
use kad_core::Vocab;

use crate::backend::Backend;
use crate::decoder::spec::DecoderSpec;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::model_options::ModelOptions;
use crate::tensor;
use crate::tensor::operations::{FloatType, OpResult, Tensor};
use crate::weights::Weights;

/// Loads a model of `spec` with matrices in `dtype`: `f32` (also for `auto`), `f16` or `bf16`.
///
/// Logits have `vocab.size()` columns, even if the embedding is padded to more rows.
///
/// ```no_run
/// use kad_backends::{Dtype, ModelFiles, tch};
/// let files = ModelFiles::open("models/my-model".as_ref())?;
/// let vocab = files.tokenizer.vocab();
/// let model = tch::load("my-model", &files.spec, &files.weights, vocab, Dtype::F32)?;
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`], [`LoadError::WrongShape`] or
/// [`LoadError::WrongSize`] if weights and specification contradict each other;
/// [`LoadError::Unsupported`] for another dtype; [`LoadError::Backend`] from libtorch.
pub fn load(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    dtype: Dtype,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    load_with(name, spec, weights, vocab, (dtype, &ModelOptions::default()))
}

/// [`load`] with a device and a number of threads.
///
/// # Errors
/// The errors of [`load`]; [`LoadError::NoDevice`]; [`LoadError::Unsupported`] if an earlier model
/// set another number of threads, because libtorch has one for the whole process.
pub fn load_with(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    (dtype, options): (Dtype, &ModelOptions),
) -> Result<Box<dyn LayeredModel>, LoadError> {
    let place = find_device(name, options.device)?;
    set_threads(name, options.threads)?;
    tensor::load::<TchTensor>(name, spec, weights, vocab, (dtype, place))
}

/// libtorch's handle of a device.
///
/// # Errors
/// [`LoadError::NoDevice`] if libtorch does not find it.
pub(crate) fn find_device(model: &str, device: Device) -> Result<TchDevice, LoadError> {
    match device {
        Device::Cpu => Ok(TchDevice::Cpu),
        Device::Cuda(number) => {
            let count = if Cuda::is_available() { Cuda::device_count() } else { 0 };
            if (number as i64) < count {
                return Ok(TchDevice::Cuda(number));
            }
            Err(LoadError::no_device((Backend::Tch, device), model, cuda_devices(count), NO_CUDA))
        }
        Device::Metal if ::tch::utils::has_mps() => Ok(TchDevice::Mps),
        Device::Metal => {
            let found = "libtorch sees no Metal device (MPS)";
            Err(LoadError::no_device((Backend::Tch, device), model, found, NO_METAL))
        }
    }
}

const NO_CUDA: &str = "build kad with LIBTORCH set to a libtorch for CUDA, on a machine with an \
                       NVIDIA GPU and its driver, or use device = \"cpu\"";
const NO_METAL: &str = "run kad on a Mac with Apple silicon, or use device = \"cpu\"";

fn cuda_devices(count: i64) -> String {
    match count {
        ..1 => "libtorch sees no CUDA device".to_owned(),
        1 => "libtorch sees one CUDA device, `cuda`".to_owned(),
        _ => format!("libtorch sees {count} CUDA devices, `cuda` to `cuda:{}`", count - 1),
    }
}

/// The number of threads in use, and the model that set it.
static THREADS: Mutex<Option<(NonZeroUsize, String)>> = Mutex::new(None);

/// Sets the number of threads. libtorch has one number for the whole process, so all models must
/// request the same.
fn set_threads(model: &str, asked: Option<NonZeroUsize>) -> Result<(), LoadError> {
    let Some(asked) = asked else { return Ok(()) };
    // After a panic the stored number is still the one that was set.
    let mut settled = THREADS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match &*settled {
        Some((threads, _)) if *threads == asked => return Ok(()),
        Some((threads, first)) => {
            let found = format!(
                "`threads = {asked}` for `{model}`, but `threads = {threads}` for `{first}`: \
                 libtorch has one number for the whole process"
            );
            let known = ["the same `threads` for every model of the tch backend"];
            return Err(LoadError::unsupported("run option", found, &known));
        }
        None => ::tch::set_num_threads(i32::try_from(asked.get()).unwrap_or(i32::MAX)),
    }
    *settled = Some((asked, model.to_owned()));
    Ok(())
}

struct TchTensor(Array);

/// Clones share the numbers; libtorch counts references atomically.
impl Clone for TchTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

fn wrap(result: Result<Array, TchError>) -> OpResult<TchTensor> {
    result.map(TchTensor).map_err(first_line)
}

/// First line of libtorch's message, without its stack trace.
fn first_line(error: TchError) -> String {
    let message = error.to_string();
    message.lines().next().unwrap_or_default().to_owned()
}

fn kind_of(float: FloatType) -> Kind {
    match float {
        FloatType::F32 => Kind::Float,
        FloatType::F16 => Kind::Half,
        FloatType::BF16 => Kind::BFloat16,
    }
}

fn sizes(shape: [usize; 3]) -> [i64; 3] {
    shape.map(|size| size as i64)
}

impl Tensor for TchTensor {
    const BACKEND: &'static str = "tch";
    type Device = TchDevice;

    /// Number of threads, from `threads` or `OMP_NUM_THREADS`. The version is fixed at build time.
    fn library() -> Option<String> {
        Some(format!("libtorch with {} threads", ::tch::get_num_threads()))
    }

    fn from_bytes(
        bytes: Vec<u8>,
        float: FloatType,
        shape: [usize; 3],
        place: &TchDevice,
    ) -> OpResult<Self> {
        let array = Array::f_from_data_size(&bytes, &sizes(shape), kind_of(float));
        // On the CPU this shares the numbers.
        wrap(array.map_err(first_line)?.f_to_device(*place))
    }

    fn zeros(shape: [usize; 3], place: &TchDevice) -> OpResult<Self> {
        wrap(Array::f_zeros(sizes(shape), (Kind::Float, *place)))
    }

    fn to_f32(self) -> OpResult<Vec<f32>> {
        let mut numbers = vec![0.0; self.0.numel()];
        let array = self.0.f_to_device(TchDevice::Cpu).map_err(first_line)?;
        let array = array.f_contiguous().map_err(first_line)?;
        array.f_copy_data(&mut numbers, array.numel()).map_err(first_line)?;
        Ok(numbers)
    }

    fn to_float(self, float: FloatType) -> OpResult<Self> {
        wrap(self.0.f_to_kind(kind_of(float)))
    }

    fn shape(&self) -> [usize; 3] {
        // All arrays have three dimensions.
        let mut sizes = self.0.size().into_iter().map(|size| size as usize);
        std::array::from_fn(|_| sizes.next().unwrap_or(1))
    }

    fn reshape(self, shape: [usize; 3]) -> OpResult<Self> {
        wrap(self.0.f_reshape(sizes(shape)))
    }

    fn swap_dims(self, one: usize, other: usize) -> OpResult<Self> {
        wrap(self.0.f_transpose(one as i64, other as i64))
    }

    fn narrow(&self, dim: usize, from: usize, len: usize) -> OpResult<Self> {
        wrap(self.0.f_narrow(dim as i64, from as i64, len as i64))
    }

    fn concat(self, right: Self) -> OpResult<Self> {
        wrap(Array::f_cat(&[self.0, right.0], 2))
    }

    fn select_rows(&self, rows: &[usize]) -> OpResult<Self> {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = Array::f_from_slice(&rows).map_err(first_line)?;
        let rows = rows.f_to_device(self.0.device()).map_err(first_line)?;
        wrap(self.0.f_index_select(1, &rows))
    }

    fn set_rows(&mut self, at: usize, rows: Self) -> OpResult<()> {
        let mut place = self.narrow(1, at, rows.shape()[1])?;
        place.0.f_copy_(&rows.0).map_err(first_line)
    }

    fn add(self, other: &Self) -> OpResult<Self> {
        wrap(self.0.f_add(&other.0))
    }

    fn mul(self, other: &Self) -> OpResult<Self> {
        wrap(self.0.f_mul(&other.0))
    }

    fn scale(self, factor: f64) -> OpResult<Self> {
        wrap(self.0.f_mul_scalar(factor))
    }

    fn linear(self, weight: &Self) -> OpResult<Self> {
        // libtorch's fastest product needs a matrix instead of a batch of one.
        let weight = weight.0.f_squeeze_dim(0).map_err(first_line)?;
        wrap(self.0.f_linear::<Array>(&weight, None))
    }

    fn matmul(self, other: Self) -> OpResult<Self> {
        wrap(self.0.f_matmul(&other.0))
    }

    fn rms_norm(self, weight: &Self, eps: f64) -> OpResult<Self> {
        let weight = weight.0.f_reshape([-1]).map_err(first_line)?;
        let width = weight.size();
        wrap(self.0.f_rms_norm(width, Some(weight), eps))
    }

    fn softmax(self) -> OpResult<Self> {
        wrap(self.0.f_softmax(2, Kind::Float))
    }

    fn silu(self) -> OpResult<Self> {
        wrap(self.0.f_silu())
    }

    fn gelu_tanh(self) -> OpResult<Self> {
        wrap(self.0.f_gelu("tanh"))
    }
}
