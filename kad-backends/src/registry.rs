//! From a request to a model that runs: the only place that knows which backends there are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use kad_core::{TokenId, Vocab};

use crate::chat::ChatTemplate;
use crate::decoder::{EMBEDDING, HEAD};
use crate::details::{self, Counts, ModelDetails};
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::naive;
use crate::options::RunOptions;
use crate::source::Source;
use crate::tokenizer::Tokenizer;
use crate::weights::StoredType;

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The candle library: pure Rust, the fast one.
    #[default]
    Candle,
    /// The burn library on its `flex` device: pure Rust.
    Burn,
    /// libtorch, the library under PyTorch.
    Tch,
    /// ONNX Runtime, which runs exported ONNX graphs.
    Ort,
    /// Plain `f64` Rust, slow and always there: the oracle of the others.
    Naive,
}

/// Every backend, its name, and whether this build has it. The feature that adds one has its name.
const BACKENDS: &[(Backend, &str, bool)] = &[
    (Backend::Candle, "candle", cfg!(feature = "candle")),
    (Backend::Burn, "burn", cfg!(feature = "burn")),
    (Backend::Tch, "tch", cfg!(feature = "tch")),
    (Backend::Ort, "ort", cfg!(feature = "ort")),
    (Backend::Naive, "naive", true),
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        let found = BACKENDS.iter().find(|(_, name, _)| *name == text);
        found.map(|(backend, ..)| *backend).ok_or_else(|| LoadError::UnknownName {
            kind: "backend",
            given: text.to_owned(),
            known: BACKENDS.iter().map(|(_, name, _)| (*name).to_owned()).collect(),
        })
    }
}

/// What to load, and how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// How errors and reports call the model.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
    /// What runs it.
    pub backend: Backend,
    /// In which numbers.
    pub dtype: Dtype,
}

/// A model with what belongs to it.
pub struct LoadedModel {
    /// The model itself.
    pub model: Box<dyn LayeredModel>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template, if it has one.
    pub chat_template: Option<ChatTemplate>,
    /// Tokens that end its output, in rising order.
    pub eos: Vec<TokenId>,
    /// What it is, for reports.
    pub details: ModelDetails,
}

impl LoadedModel {
    /// The first `layers` blocks of this model with its final norm and head, over the same weights:
    /// nothing is loaded or copied, and tokenizer, chat template and end tokens are shared.
    ///
    /// ```
    /// use kad_backends::{Backend, Dtype, ModelRequest, Source, load, nano_models};
    /// # if nano_models().is_empty() { return Ok(()); }
    /// let request = ModelRequest {
    ///     name: "base".to_owned(),
    ///     source: Source::Nano("large-base".to_owned()),
    ///     backend: Backend::Naive,
    ///     dtype: Dtype::Auto,
    /// };
    /// let base = load(&request, &|_| ())?;
    /// let draft = base.early_exit("draft", 2)?;
    /// assert_eq!(draft.model.name(), "draft");
    /// assert!(draft.details.to_string().contains("first 2 of 5 of base"));
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Config`] unless `layers` is at least 1 and less than the model has.
    pub fn early_exit(&self, name: &str, layers: usize) -> Result<LoadedModel, LoadError> {
        let model = self.model.early_exit(name, layers)?;
        let details = self.details.early_exit(self.model.name(), model.spec());
        Ok(LoadedModel {
            model,
            tokenizer: self.tokenizer.clone(),
            chat_template: self.chat_template.clone(),
            eos: self.eos.clone(),
            details,
        })
    }
}

/// Finds, fetches, checks and loads a model; `progress` gets a line now and then.
///
/// # Errors
/// [`LoadError`]: the source cannot be had, its files are incomplete or corrupt, kad does not know
/// its architecture, or the backend is missing or refuses.
pub fn load(request: &ModelRequest, progress: &dyn Fn(&str)) -> Result<LoadedModel, LoadError> {
    load_with(request, &RunOptions::default(), progress)
}

/// [`load`] with a choice of how the backend runs the model.
///
/// # Errors
/// As [`load`]; [`LoadError::Unsupported`] for a number of threads that the backend cannot set,
/// [`LoadError::NoDevice`] for a device that it, this build or this machine does not have.
pub fn load_with(
    request: &ModelRequest,
    options: &RunOptions,
    progress: &dyn Fn(&str),
) -> Result<LoadedModel, LoadError> {
    request.backend.check_compiled()?;
    request.backend.check_options(&request.name, options)?;
    let (path, graph) = match request.backend {
        Backend::Ort => request.source.resolve_graph(request.dtype, progress)?,
        _ => (request.source.resolve(progress)?, request.dtype),
    };
    progress(&format!("loading {} from {}", request.name, path.display()));
    let files = match request.backend {
        Backend::Ort => ModelFiles::open_graph(&path, graph)?,
        _ => ModelFiles::open(&path)?,
    };
    let dtype = request.backend.dtype(request.dtype, &files)?;
    let vocab = vocab_of(&files);
    let model = request.backend.run(&request.name, &files, vocab, dtype, options)?;
    let types = details::types(&files.weights);
    let counts = Counts::of(&files.spec, &types, request.backend, dtype);
    let mut read = crate::files::beside(&files.path).map_err(LoadError::io(&files.path))?;
    let (path, bytes, parameters) = match &files.graph {
        Some(graph) => {
            let tensors = crate::onnx::read(graph)?;
            let parts = crate::onnx::parts(graph, &tensors.files);
            let len = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
            let bytes = parts.iter().map(len).sum();
            // Other graphs of the model, and weights that only other programs read, are not it.
            read.retain(|path| crate::onnx::describes(path));
            read.extend(parts);
            (graph.clone(), bytes, tensors.parameters)
        }
        None => (path, counts.bytes, Some(counts.parameters)),
    };
    read.sort();
    let details = ModelDetails {
        source: request.source.to_string(),
        path,
        files: read,
        format: files.format,
        family: files.spec.family.clone(),
        layers: model.spec().layers,
        early_exit: None,
        parameters,
        stored: counts.stored.into_iter().collect(),
        weight_bytes: bytes,
        dtype,
        kept: counts.kept.into_iter().collect(),
        kept_bytes: counts.kept_bytes,
        backend: request.backend,
        options: *options,
        library: model.library(),
        distribution_depends_on_pass: model.distribution_depends_on_pass(),
        remark: model.remark(),
        context_len: model.context_len(),
        cache_bytes: details::cache_bytes(model.spec(), request.backend),
        vocab,
        types,
    };
    let ModelFiles { tokenizer, chat_template, eos, .. } = files;
    Ok(LoadedModel { model, tokenizer: Arc::new(tokenizer), chat_template, eos, details })
}

/// The tokenizer's vocabulary, cut to the rows the model has.
fn vocab_of(files: &ModelFiles) -> Vocab {
    let vocab = files.tokenizer.vocab();
    Vocab::new(vocab.size().min(files.spec.vocab_rows), vocab.fingerprint())
}

impl Backend {
    /// The backends of this build, in the order in which reports list them.
    ///
    /// ```
    /// use kad_backends::Backend;
    /// assert!(Backend::compiled().any(|backend| backend == Backend::Naive));
    /// ```
    pub fn compiled() -> impl Iterator<Item = Backend> {
        BACKENDS.iter().filter(|(.., compiled)| *compiled).map(|(backend, ..)| *backend)
    }

    /// Every backend, in this build or not.
    pub fn all() -> impl Iterator<Item = Backend> {
        BACKENDS.iter().map(|(backend, ..)| *backend)
    }

    /// Its name in files, on the command line and among the cargo features.
    pub fn name(self) -> &'static str {
        BACKENDS.iter().find(|(backend, ..)| *backend == self).map_or("", |(_, name, _)| name)
    }

    fn not_compiled(self) -> LoadError {
        LoadError::NotCompiled { backend: self.name(), feature: self.name() }
    }

    fn check_compiled(self) -> Result<(), LoadError> {
        match Self::compiled().any(|backend| backend == self) {
            true => Ok(()),
            false => Err(self.not_compiled()),
        }
    }

    /// Refuses what the backend cannot do, before anything is fetched for it.
    fn check_options(self, model: &str, options: &RunOptions) -> Result<(), LoadError> {
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
            Backend::Burn => crate::burn::place(model, options.device).map(drop),
            #[cfg(feature = "tch")]
            Backend::Tch => crate::tch::place(model, options.device).map(drop),
            #[cfg(feature = "ort")]
            Backend::Ort => crate::ort::cuda(model, options.device).map(drop),
            _ => Err(options.device.absent(
                model,
                self,
                "its kernels are kad's own, for the CPU",
                "use the tch or ort backend for a GPU, or device = \"cpu\"",
            )),
        }
    }

    /// The type that `asked` means for these files.
    fn dtype(self, asked: Dtype, files: &ModelFiles) -> Result<Dtype, LoadError> {
        let stored = files.weights.stored_types();
        let quantised = stored.keys().any(|stored| stored.is_quantized());
        let refused = |found, known: &[&str]| Err(LoadError::unsupported("dtype", found, known));
        match (self, asked) {
            // It has chosen the graph.
            (Backend::Ort, asked) => Ok(asked),
            (_, Dtype::Int8 | Dtype::Q8 | Dtype::Q4) => refused(
                format!("{asked}, which is for ONNX graphs, with the {self} backend"),
                &["auto", "f32", "q8_0 and q4_0 with the candle backend", "the ort backend"],
            ),
            (Backend::Candle, Dtype::Auto) if quantised => Ok(Dtype::Quantized),
            (Backend::Candle, Dtype::Quantized) if !quantised => refused(
                format!("quantized, of {} without quantised tensors", files.path.display()),
                &["auto", "f32", "f16", "bf16", "q8_0", "q4_0"],
            ),
            (Backend::Candle, Dtype::Quantized | Dtype::Q8_0 | Dtype::Q4_0) => Ok(asked),
            (Backend::Naive, asked) if !matches!(asked, Dtype::Auto | Dtype::F32) => refused(
                format!("{asked} with the naive backend"),
                &["auto", "f32 (computed in f64)"],
            ),
            // No products over blocks: a GGUF file is dequantised as it is loaded.
            (_, Dtype::Quantized | Dtype::Q8_0 | Dtype::Q4_0) => refused(
                format!("{asked} with the {self} backend"),
                &["auto", "f32", "f16", "bf16", "any of them with the candle backend"],
            ),
            (_, Dtype::Auto) => Ok(Dtype::F32),
            (_, asked) => Ok(asked),
        }
    }

    /// The type that it keeps a tensor in under `dtype`; `None` for what is no matrix, and for
    /// backends that do not say.
    pub(crate) fn keeps(
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
            // The tensor libraries' embedding and head are `f32`: logits are not rounded.
            Backend::Burn | Backend::Tch if table => Some(StoredType::F32),
            Backend::Burn | Backend::Tch => Some(dtype.kept(name, stored, shape)),
            Backend::Ort | Backend::Naive => None,
        }
    }

    #[allow(
        unused_variables,
        reason = "a build without tensor libraries needs no dtype or options"
    )]
    fn run(
        self,
        name: &str,
        files: &ModelFiles,
        vocab: Vocab,
        dtype: Dtype,
        options: &RunOptions,
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
