//! From a request to a model that runs: the only place that knows which backends there are.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use kad_core::{LanguageModel, TokenId, Vocab};

use crate::chat::ChatTemplate;
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::files::{Format, ModelFiles};
use crate::naive;
use crate::source::Source;
use crate::tokenizer::Tokenizer;
use crate::weights::StoredType;

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The candle library: pure Rust, the fast one.
    #[default]
    Candle,
    /// Plain `f64` Rust, slow and always there: the oracle of the others.
    Naive,
}

const BACKENDS: [(Backend, &str); 2] = [(Backend::Candle, "candle"), (Backend::Naive, "naive")];
/// Designed for, and not there yet.
const PLANNED: [&str; 3] = ["ort", "tch", "burn"];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            BACKENDS.iter().find(|(backend, _)| backend == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Backend {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        if let Some((backend, _)) = BACKENDS.iter().find(|(_, name)| *name == text) {
            return Ok(*backend);
        }
        if PLANNED.contains(&text) {
            return Err(LoadError::NotAvailable { backend: text.to_owned() });
        }
        Err(LoadError::UnknownName {
            kind: "backend",
            given: text.to_owned(),
            known: BACKENDS.iter().map(|(_, name)| (*name).to_owned()).collect(),
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
    pub model: Box<dyn LanguageModel>,
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Its chat template, if it has one.
    pub chat_template: Option<ChatTemplate>,
    /// Tokens that end its output, in rising order.
    pub eos: Vec<TokenId>,
    /// What it is, for reports.
    pub details: ModelDetails,
}

/// What a loaded model is; prints as a table.
#[derive(Clone, Debug)]
pub struct ModelDetails {
    /// The source as written.
    pub source: String,
    /// The folder or file it was resolved to.
    pub path: PathBuf,
    /// What it is stored as.
    pub format: Format,
    /// Its family.
    pub family: String,
    /// Numbers in its tensors.
    pub parameters: u64,
    /// How many tensors are stored in which type.
    pub stored: Vec<(StoredType, usize)>,
    /// Bytes of its tensors as stored.
    pub weight_bytes: u64,
    /// The type it computes with.
    pub dtype: Dtype,
    /// What runs it.
    pub backend: Backend,
    /// The most tokens a session may hold.
    pub context_len: usize,
    /// Size and fingerprint of its vocabulary.
    pub vocab: Vocab,
}

impl fmt::Display for ModelDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored: Vec<String> =
            self.stored.iter().map(|(stored, count)| format!("{count} {stored}")).collect();
        let megabytes = self.weight_bytes as f64 / 1e6;
        writeln!(f, "source       {}", self.source)?;
        writeln!(f, "path         {}", self.path.display())?;
        writeln!(f, "format       {}, {megabytes:.1} MB of tensors", self.format)?;
        writeln!(f, "family       {}", self.family)?;
        writeln!(f, "parameters   {}", self.parameters)?;
        writeln!(f, "tensors      {}", stored.join(", "))?;
        writeln!(f, "backend      {}, {}", self.backend, self.dtype)?;
        writeln!(f, "context      {} tokens", self.context_len)?;
        writeln!(
            f,
            "vocabulary   {} tokens, fingerprint {}",
            self.vocab.size(),
            self.vocab.fingerprint()
        )
    }
}

/// Finds, fetches, checks and loads a model; `progress` gets a line now and then.
///
/// # Errors
/// [`LoadError`]: the source cannot be had, its files are incomplete or corrupt, kad does not know
/// its architecture, or the backend is missing or refuses.
pub fn load(request: &ModelRequest, progress: &dyn Fn(&str)) -> Result<LoadedModel, LoadError> {
    request.backend.check_compiled()?;
    let path = request.source.resolve(progress)?;
    progress(&format!("loading {} from {}", request.name, path.display()));
    let files = ModelFiles::open(&path)?;
    let dtype = request.backend.dtype(request.dtype, &files)?;
    let vocab = vocab_of(&files);
    let model = request.backend.run(&request.name, &files, vocab, dtype)?;
    let details = ModelDetails {
        source: request.source.to_string(),
        path,
        format: files.format,
        family: files.spec.family.clone(),
        parameters: files.weights.parameters(),
        stored: files.weights.stored_types().into_iter().collect(),
        weight_bytes: files.weights.total_bytes(),
        dtype,
        backend: request.backend,
        context_len: model.context_len(),
        vocab,
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
    fn check_compiled(self) -> Result<(), LoadError> {
        if self == Backend::Candle && !cfg!(feature = "candle") {
            return Err(LoadError::NotCompiled { backend: "candle", feature: "candle" });
        }
        Ok(())
    }

    /// The type that `asked` means for these files.
    fn dtype(self, asked: Dtype, files: &ModelFiles) -> Result<Dtype, LoadError> {
        let stored = files.weights.stored_types();
        let quantised = stored.keys().any(|stored| stored.is_quantized());
        match (self, asked) {
            (Backend::Naive, Dtype::Auto | Dtype::F32) => Ok(Dtype::F32),
            (Backend::Naive, other) => {
                let found = format!("{other} with the naive backend");
                Err(LoadError::unsupported("dtype", found, &["auto", "f32 (computed in f64)"]))
            }
            (Backend::Candle, Dtype::Auto) if quantised => Ok(Dtype::Quantized),
            (Backend::Candle, Dtype::Auto) => Ok(Dtype::F32),
            (Backend::Candle, Dtype::Quantized) if !quantised => {
                let found =
                    format!("quantized, of {} without quantised tensors", files.path.display());
                Err(LoadError::unsupported("dtype", found, &["auto", "f32", "f16", "bf16"]))
            }
            (Backend::Candle, other) => Ok(other),
        }
    }

    fn run(
        self,
        name: &str,
        files: &ModelFiles,
        vocab: Vocab,
        dtype: Dtype,
    ) -> Result<Box<dyn LanguageModel>, LoadError> {
        match self {
            Backend::Naive => naive::load(name, &files.spec, &files.weights, vocab),
            #[cfg(feature = "candle")]
            Backend::Candle => crate::candle::load(name, &files.spec, &files.weights, vocab, dtype),
            #[cfg(not(feature = "candle"))]
            Backend::Candle => {
                let _ = dtype;
                Err(LoadError::NotCompiled { backend: "candle", feature: "candle" })
            }
        }
    }
}
