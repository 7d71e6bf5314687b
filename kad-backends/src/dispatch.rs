//! Calls the code of a [`Backend`].

use kad_core::Vocab;

use crate::backend::Backend;
use crate::decoder::{EMBEDDING, HEAD};
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model_options::ModelOptions;
use crate::naive;
use crate::stored_type::StoredType;

impl Backend {
    fn not_compiled(self) -> LoadError {
        LoadError::NotCompiled { backend: self.name(), feature: self.name() }
    }

    pub(crate) fn check_compiled(self) -> Result<(), LoadError> {
        match Self::compiled().any(|backend| backend == self) {
            true => Ok(()),
            false => Err(self.not_compiled()),
        }
    }

    /// Refuses unsupported options before a download starts.
    pub(crate) fn check_options(
        self,
        model: &str,
        options: &ModelOptions,
    ) -> Result<(), LoadError> {
        match (self, options.threads) {
            (Backend::Ort | Backend::Tch, _) | (_, None) => {}
            (_, Some(threads)) => {
                let found = format!("`threads` for `{model}` with the {self} backend");
                let known = [
                    "the ort and tch backends",
                    &format!("RAYON_NUM_THREADS={threads} before kad starts, for all models"),
                ];
                return Err(LoadError::unsupported("run option", found, &known));
            }
        }
        match self {
            _ if options.device.is_cpu() => Ok(()),
            #[cfg(feature = "burn")]
            Backend::Burn => crate::burn::find_device(model, options.device).map(drop),
            #[cfg(feature = "tch")]
            Backend::Tch => crate::tch::find_device(model, options.device).map(drop),
            #[cfg(feature = "ort")]
            Backend::Ort => crate::ort::cuda_provider(model, options.device).map(drop),
            _ => Err(LoadError::no_device(
                (self, options.device),
                model,
                "it runs on the CPU only",
                "use the tch or ort backend for a GPU, or device = \"cpu\"",
            )),
        }
    }

    /// Resolves `auto` and refuses a dtype that the backend does not support for these files.
    pub(crate) fn resolve_dtype(
        self,
        asked: Dtype,
        files: &ModelFiles,
    ) -> Result<Dtype, LoadError> {
        let stored = files.weights.stored_types();
        let quantised = stored.keys().any(|stored| stored.is_quantized());
        let refused = |found, known: &[&str]| Err(LoadError::unsupported("dtype", found, known));
        match (self, asked) {
            // The dtype has already selected the graph.
            (Backend::Ort, asked) => Ok(asked),
            (_, Dtype::Int8 | Dtype::Q8 | Dtype::Q4) => refused(
                format!("{asked}, which is for ONNX graphs, with the {self} backend"),
                &["auto", "f32", "q8_0 and q4_0 with the candle backend", "the ort backend"],
            ),
            (Backend::Candle, Dtype::Auto) if quantised => Ok(Dtype::Quantized),
            (Backend::Candle, Dtype::Quantized) if !quantised => refused(
                format!("quantized for {}, a file without quantised tensors", files.path.display()),
                &["auto", "f32", "f16", "bf16", "q8_0", "q4_0"],
            ),
            (Backend::Candle, Dtype::Quantized | Dtype::Q8_0 | Dtype::Q4_0) => Ok(asked),
            (Backend::Naive, asked) if !matches!(asked, Dtype::Auto | Dtype::F32) => refused(
                format!("{asked} with the naive backend"),
                &["auto", "f32 (computed in f64)"],
            ),
            // No quantised products: GGUF files are dequantised at load.
            (_, Dtype::Quantized | Dtype::Q8_0 | Dtype::Q4_0) => refused(
                format!("{asked} with the {self} backend"),
                &["auto", "f32", "f16", "bf16", "any of them with the candle backend"],
            ),
            (_, Dtype::Auto) => Ok(Dtype::F32),
            (_, asked) => Ok(asked),
        }
    }

    /// Type of a matrix in memory under `dtype`; `None` for vectors, and for `ort` and `naive`.
    pub(crate) fn kept_type(
        self,
        name: &str,
        stored: StoredType,
        shape: &[usize],
        dtype: Dtype,
    ) -> Option<StoredType> {
        let table = name == EMBEDDING || name == HEAD;
        match self {
            _ if shape.len() != 2 => None,
            Backend::Candle => Some(dtype.kept(name, stored, shape)),
            // `burn` and `tch` keep embedding and head in `f32`, so that logits are not rounded.
            Backend::Burn | Backend::Tch if table => Some(StoredType::F32),
            Backend::Burn | Backend::Tch => Some(dtype.kept(name, stored, shape)),
            Backend::Ort | Backend::Naive => None,
        }
    }

    #[allow(
        unused_variables,
        reason = "a build without tensor libraries needs no dtype or options"
    )]
    pub(crate) fn load_model(
        self,
        name: &str,
        files: &ModelFiles,
        vocab: Vocab,
        dtype: Dtype,
        options: &ModelOptions,
    ) -> Result<Box<dyn LayeredModel>, LoadError> {
        let (spec, weights) = (&files.spec, &files.weights);
        match self {
            #[cfg(feature = "candle")]
            Backend::Candle => crate::candle::load(name, spec, weights, vocab, dtype),
            #[cfg(feature = "burn")]
            Backend::Burn => {
                crate::burn::load_on(name, spec, weights, vocab, (dtype, options.device))
            }
            #[cfg(feature = "tch")]
            Backend::Tch => crate::tch::load_with(name, spec, weights, vocab, (dtype, options)),
            #[cfg(feature = "ort")]
            Backend::Ort => crate::ort::load(name, files, vocab, options),
            Backend::Naive => naive::load(name, spec, weights, vocab),
            #[allow(unreachable_patterns, reason = "a build with every backend")]
            absent => Err(absent.not_compiled()),
        }
    }
}
