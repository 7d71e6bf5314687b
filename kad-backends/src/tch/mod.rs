//! The interpreter on libtorch, the library under PyTorch.
//!
//! Computed by the interpreter that the libraries of tensors share, whose module says what is
//! kept in which type. `bf16` is the fast one where the processor multiplies it (AVX512-BF16). A
//! pass over many tokens does not give the bits of passes over one.
//!
//! Building wants libtorch 2.13.0 in `LIBTORCH` and a C++ compiler: `scripts/setup-libtorch.sh`
//! fetches it and prints what to set. The build notes where the library was, and the program looks
//! for it there, so `LD_LIBRARY_PATH` is needed only once it has moved. The program is linked with
//! it, so without the library it does not start; the loader then names the file it lacks
//! (`libtorch_cpu.so: cannot open shared object file`), or of another version the function (`symbol
//! lookup error: … undefined symbol: …`): set `LD_LIBRARY_PATH` to the `lib` folder of libtorch
//! 2.13.0. A build with another version stops with `this tch version expects PyTorch 2.13.0`.
//!
//! GPUs come with the library: a libtorch for CUDA, or the one for macOS, in place of the script's.
//! No feature of kad is needed.

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
use crate::run_options::RunOptions;
use crate::tensor;
use crate::tensor::operations::{FloatType, OpResult, Tensor};
use crate::weights::Weights;

/// Makes a model of `spec`, its matrices in `dtype`: `f32` (also for `auto`), `f16` or `bf16`.
///
/// Rows of logits are `vocab.size()` wide, also where the embedding is padded to more.
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`], [`LoadError::WrongShape`] or
/// [`LoadError::WrongSize`] if weights and specification do not belong together,
/// [`LoadError::Unsupported`] for another dtype, and libtorch's own.
pub fn load(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    dtype: Dtype,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    load_with(name, spec, weights, vocab, (dtype, &RunOptions::default()))
}

/// [`load`] with a choice of device and threads.
///
/// # Errors
/// As [`load`]; [`LoadError::NoDevice`]; [`LoadError::Unsupported`] for another number of threads
/// than an earlier model asked for, because libtorch has one for all.
pub fn load_with(
    name: &str,
    spec: &DecoderSpec,
    weights: &Arc<Weights>,
    vocab: Vocab,
    (dtype, options): (Dtype, &RunOptions),
) -> Result<Box<dyn LayeredModel>, LoadError> {
    let place = find_device(name, options.device)?;
    set_threads(name, options.threads)?;
    tensor::load::<TchTensor>(name, spec, weights, vocab, (dtype, place))
}

/// libtorch's word for a device.
///
/// # Errors
/// [`LoadError::NoDevice`] if libtorch does not see it.
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

/// The number of threads that was asked for first, and the model it was asked for.
static THREADS: Mutex<Option<(NonZeroUsize, String)>> = Mutex::new(None);

/// libtorch has one number of threads for the whole process, so who asks next must ask for the
/// same.
fn set_threads(model: &str, asked: Option<NonZeroUsize>) -> Result<(), LoadError> {
    let Some(asked) = asked else { return Ok(()) };
    // What a thread that panicked in here left is still what was set.
    let mut settled = THREADS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match &*settled {
        Some((threads, _)) if *threads == asked => return Ok(()),
        Some((threads, first)) => {
            let found = format!(
                "`threads = {asked}` for `{model}` beside `threads = {threads}` for `{first}`: \
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

/// Shares the numbers: libtorch counts references, atomically.
impl Clone for TchTensor {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

fn wrap(result: Result<Array, TchError>) -> OpResult<TchTensor> {
    result.map(TchTensor).map_err(first_line)
}

/// libtorch's message without the trace of its own functions.
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

    /// Its version is settled when kad is built, the number of its threads by `threads` or by
    /// `OMP_NUM_THREADS`.
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
        // On the CPU it only shares the numbers.
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
        // Made of three dimensions and never of others.
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
        // One matrix, not a stack of one: libtorch takes its fastest product then.
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
