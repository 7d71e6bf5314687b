//! From a request to a model that runs.

use std::path::PathBuf;
use std::sync::Arc;

use kad_core::{TokenId, Vocab};

use crate::backend::Backend;
use crate::details::{self, Counts, ModelDetails};
use crate::dtype::Dtype;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::files::{self, ModelFiles, onnx};
use crate::run_options::RunOptions;
use crate::source::Source;
use crate::text::{ChatTemplate, Tokenizer};

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
    let mut read = files::beside(&files.path).map_err(LoadError::io(&files.path))?;
    let (path, bytes, parameters) = match &files.graph {
        Some(graph) => {
            let tensors = onnx::read(graph)?;
            let parts = onnx::parts(graph, &tensors.files);
            let len = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
            let bytes = parts.iter().map(len).sum();
            // Other graphs of the model, and weights that only other programs read, are not it.
            read.retain(|path| onnx::describes(path));
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
