//! Loads a requested model: source, files, backend.

use std::path::PathBuf;
use std::sync::Arc;

use kad_core::{TokenId, Vocab};

use crate::backend::Backend;
use crate::details::{self, ModelDetails, TensorCounts};
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::files::{self, ModelFiles, onnx};
use crate::model_options::ModelOptions;
use crate::source::Source;
use crate::text::{ChatTemplate, Tokenizer};

/// A model to load: name, source, backend and dtype.
///
/// ```
/// use kad_backends::{Backend, Dtype, ModelRequest};
/// let request = ModelRequest {
///     name: "smollm2".to_owned(),
///     source: "hf:HuggingFaceTB/SmolLM2-135M-Instruct".parse()?,
///     backend: Backend::Candle,
///     dtype: Dtype::Q8_0,
/// };
/// assert_eq!(request.source.to_string(), "hf:HuggingFaceTB/SmolLM2-135M-Instruct");
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// Name of the model in errors and reports.
    pub name: String,
    /// Location of the model's files.
    pub source: Source,
    /// Backend that runs the model.
    pub backend: Backend,
    /// Number type of the weights in memory; for `ort`, the choice among the model's graphs.
    pub dtype: Dtype,
}

/// A model with its tokenizer, chat template and description.
pub struct LoadedModel {
    /// The model.
    pub model: Box<dyn LayeredModel>,
    /// The tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The chat template; base models have none.
    pub chat_template: Option<ChatTemplate>,
    /// Tokens that end the model's output, in ascending order.
    pub eos: Vec<TokenId>,
    /// Description of the model for reports.
    pub details: ModelDetails,
}

impl LoadedModel {
    /// The early exit of this model after `layers` layers: its first layers, final norm and head.
    ///
    /// Weights, tokenizer, chat template and end tokens are shared; nothing is loaded or copied.
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
    /// [`LoadError::Config`] unless `layers` is at least 1 and less than the model's number of
    /// layers.
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

/// Fetches, checks and loads a model on the CPU; `progress` receives lines of text about each step.
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
/// let loaded = load(&request, &|_| ())?;
/// assert_eq!(loaded.model.name(), "base");
/// assert_eq!(loaded.details.family, "llama");
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError`]: the source cannot be fetched, its files are incomplete or corrupt, the
/// architecture is unknown, or the backend is not compiled in or refuses the request.
pub fn load(request: &ModelRequest, progress: &dyn Fn(&str)) -> Result<LoadedModel, LoadError> {
    load_with(request, &ModelOptions::default(), progress)
}

/// [`load`] with a number of threads and a device.
///
/// ```
/// use kad_backends::{Backend, Device, Dtype, LoadError, ModelRequest, ModelOptions, Source, load_with};
/// let request = ModelRequest {
///     name: "base".to_owned(),
///     source: Source::Nano("large-base".to_owned()),
///     backend: Backend::Naive,
///     dtype: Dtype::Auto,
/// };
/// let options = ModelOptions { device: Device::Cuda(0), ..ModelOptions::default() };
/// let refused = load_with(&request, &options, &|_| ()).err();
/// assert!(matches!(refused, Some(LoadError::NoDevice { .. })));
/// ```
///
/// # Errors
/// The errors of [`load`]; [`LoadError::Unsupported`] if the backend cannot set the number of
/// threads, [`LoadError::NoDevice`] if the backend, the build or the machine does not have the
/// device.
pub fn load_with(
    request: &ModelRequest,
    options: &ModelOptions,
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
    let dtype = request.backend.resolve_dtype(request.dtype, &files)?;
    let vocab = vocab_of(&files);
    let model = request.backend.load_model(&request.name, &files, vocab, dtype, options)?;
    let types = details::types(&files.weights);
    let counts = TensorCounts::of(&files.spec, &types, request.backend, dtype);
    let mut read = files::files_at(&files.path).map_err(LoadError::io(&files.path))?;
    let (path, bytes, parameters) = match &files.graph {
        Some(graph) => {
            let tensors = onnx::read(graph)?;
            let parts = onnx::files_of_graph(graph, &tensors.files);
            let len = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
            let bytes = parts.iter().map(len).sum();
            // Other graphs of the model and weights for other programs are not read.
            read.retain(|path| onnx::describes_model(path));
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

/// The tokenizer's vocabulary, cut to the number of embedding rows.
fn vocab_of(files: &ModelFiles) -> Vocab {
    let vocab = files.tokenizer.vocab();
    Vocab::new(vocab.size().min(files.spec.vocab_rows), vocab.fingerprint())
}
