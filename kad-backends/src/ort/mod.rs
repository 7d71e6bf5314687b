//! The backend `ort`: runs decoders exported as ONNX graphs on ONNX Runtime.
//!
//! The other backends interpret a [`DecoderSpec`]. Here the graph defines the architecture, so any
//! model family works. The names of the inputs tell kad their meaning (`graph.rs`). There are three
//! kinds of graphs:
//!
//! | kind | inputs besides token ids | KV cache | rollback | token trees |
//! |---|---|---|---|---|
//! | past | `past_key_values.N.{key,value}` `[1, kv_heads, past, head_dim]` | tensors of the library, fed back unchanged | copies the kept part once, in the next pass | no: the mask has one row for all tokens |
//! | whole | none | none: each pass runs the whole text | free | no |
//! | flat | `past_key.N`, `past_value.N` `[past, kv_heads, head_dim]`, `mask` `[T, past + T]` | kad's buffers; the graph returns new rows only | free | yes |
//!
//! Common exporters write the kind *past*, and `scripts/export_onnx.py --layout flat` writes
//! *flat*. The kind *whole* is slow, as the model's details say. Weights stay as in the graph; the
//! dtype selects one of the model's graphs (`files/onnx/`).
//!
//! The backend is not batch invariant: a forward pass over `k` tokens returns other bits than `k`
//! passes, because ONNX Runtime selects its kernels by shape.

mod errors;
mod flat;
mod graph;
mod library;
mod past;

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::path::Path;

use kad_core::{LanguageModel, LogitRows, ModelError, Session, TokenId, Vocab};
use ort::ErrorCode;
use ort::ep::{self, ExecutionProvider};
use ort::session::Session as Graph;

use crate::backend::Backend;
use crate::decoder::spec::DecoderSpec;
use crate::device::Device;
use crate::early_exit::LayeredModel;
use crate::error::LoadError;
use crate::files::ModelFiles;
use crate::model_options::ModelOptions;
use errors::{NAME, failed};
use graph::{GraphKind, Signature};

/// Smallest difference between passes over one and two tokens, relative to the range of the logits,
/// that counts as different distributions instead of rounding. Measured on the test graphs: up to
/// 3e-7 for different kernels, 3e-4 with a cache in f16, and from 1.1e-2 on for activations
/// quantised per pass.
const ROUNDED: f32 = 3e-3;

/// Most tokens per pass. Exported graphs return logits for every token of a pass, so this bounds
/// their memory.
pub(crate) const CHUNK: usize = 256;

/// Loads the graph of `files` and tests it with two tokens.
///
/// The configuration provides the vocabulary size and the context length. `vocab` is the
/// tokenizer's vocabulary.
///
/// ```no_run
/// use kad_backends::{ModelFiles, ModelOptions, ort};
/// let files = ModelFiles::open_onnx("model".as_ref())?;
/// let model = ort::load("model", &files, files.tokenizer.vocab(), &ModelOptions::default())?;
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::NotFound`], [`LoadError::Unsupported`] or [`LoadError::Backend`] if ONNX Runtime is
/// missing, too old or broken; [`LoadError::NoDevice`] if it does not support the device;
/// [`LoadError::Corrupt`] for an unreadable file; [`LoadError::Unsupported`] with the names of
/// inputs or outputs that are not those of a decoder; [`LoadError::Config`] if the graph
/// contradicts the configuration.
pub fn load(
    name: &str,
    files: &ModelFiles,
    vocab: Vocab,
    options: &ModelOptions,
) -> Result<Box<dyn LayeredModel>, LoadError> {
    let path = files.graph.as_deref().ok_or_else(|| LoadError::NotFound {
        what: "an ONNX graph".to_owned(),
        path: files.path.clone(),
        advice: "open the files with `ModelFiles::open_onnx`".to_owned(),
    })?;
    let tokens = files.tokenizer.vocab().size();
    if tokens > files.spec.vocab_rows {
        return Err(LoadError::Config {
            origin: files.path.display().to_string(),
            key: "vocab_size".to_owned(),
            what: format!("is {}, but the tokenizer has {tokens} tokens", files.spec.vocab_rows),
        });
    }
    let graph = open(name, path, options)?;
    let signature = Signature::read(&graph)?;
    // The graph's declarations override the configuration, whose family kad may not know.
    let mut spec = files.spec.clone();
    let layers = signature.layers().unwrap_or(spec.layers);
    if spec.layers > 0 && layers != spec.layers {
        return Err(LoadError::Config {
            origin: files.path.display().to_string(),
            key: "num_hidden_layers".to_owned(),
            what: format!(
                "is {}, but {} has {layers} layers: they belong to different models",
                spec.layers,
                path.display()
            ),
        });
    }
    spec.layers = layers;
    (spec.kv_heads, spec.head_dim) =
        signature.cache_shape().unwrap_or((spec.kv_heads, spec.head_dim));
    if signature.kind == GraphKind::Flat && spec.kv_width() == 0 {
        let found = "dimensions of `past_key.N` that vary";
        return Err(LoadError::unsupported("ONNX graph", found, &["the script's own"]));
    }
    let name = name.to_owned();
    let mut model = OrtModel { name, vocab, spec, signature, graph: RefCell::new(graph) };
    model.probe(path)?;
    Ok(Box::new(model))
}

fn open(model: &str, path: &Path, options: &ModelOptions) -> Result<Graph, LoadError> {
    let cuda = cuda_provider(model, options.device)?;
    let environment = library::environment()?;
    let available = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = options.threads.map_or(available, NonZeroUsize::get);
    let plain = |error: ort::Error<ort::session::builder::SessionBuilder>| LoadError::Backend {
        backend: NAME,
        message: error.to_string(),
    };
    let mut builder = Graph::builder(&environment)
        .map_err(failed)?
        .with_intra_threads(threads)
        .map_err(plain)?
        // Otherwise its threads spin between passes and take the cores of other backends.
        .with_config_entry("session.force_spinning_stop", "1")
        .map_err(plain)?;
    if let Some(cuda) = cuda {
        let refused = |error: ort::Error<_>| no_cuda(model, options.device, &error.to_string());
        let cuda = [cuda.build().error_on_failure()];
        builder = builder.with_execution_providers(cuda).map_err(refused)?;
    }
    builder.commit_from_file(path).map_err(|error| match options.device {
        Device::Cpu => unloadable(path, error.code(), &error.to_string()),
        // The cause may be the graph, the GPU or its driver; the library's message tells.
        device => no_cuda(model, device, &format!("{} does not load: {error}", path.display())),
    })
}

/// The error for a graph that does not load: a corrupt file, or a missing operator, weight file or
/// memory.
fn unloadable(path: &Path, code: ErrorCode, words: &str) -> LoadError {
    let unreadable = [ErrorCode::InvalidProtobuf, ErrorCode::InvalidGraph, ErrorCode::NoModel];
    let has_graph = crate::files::onnx::read(path).is_ok_and(|tensors| tensors.has_graph);
    if unreadable.contains(&code) || !has_graph {
        return LoadError::corrupt(path, words);
    }
    let message = format!("{} does not load: {words}", path.display());
    LoadError::Backend { backend: NAME, message }
}

/// ONNX Runtime's CUDA provider for a GPU; `None` for the CPU.
///
/// # Errors
/// [`LoadError::NoDevice`] if the library has no support for the device; the errors of loading the
/// library.
pub(crate) fn cuda_provider(model: &str, device: Device) -> Result<Option<ep::CUDA>, LoadError> {
    match device {
        Device::Cpu => Ok(None),
        Device::Metal => {
            let found = "kad runs ONNX graphs on the CPU and on CUDA only";
            let advice = "use the tch or burn backend, or device = \"cpu\"";
            Err(LoadError::no_device((Backend::Ort, device), model, found, advice))
        }
        Device::Cuda(number) => {
            library::environment()?;
            if !ep::CUDA::is_available().map_err(failed)? {
                return Err(no_cuda(model, device, "this build of ONNX Runtime has no CUDA"));
            }
            let number = i32::try_from(number).unwrap_or(i32::MAX);
            Ok(Some(ep::CUDA::default().with_device_id(number)))
        }
    }
}

fn no_cuda(model: &str, device: Device, found: &str) -> LoadError {
    let advice = "set ORT_DYLIB_PATH to one of its GPU builds (onnxruntime-gpu), on a machine with \
                  an NVIDIA GPU, CUDA and cuDNN, or use device = \"cpu\"";
    LoadError::no_device((Backend::Ort, device), model, found, advice)
}

/// A model: a loaded graph with its specification.
struct OrtModel {
    name: String,
    vocab: Vocab,
    spec: DecoderSpec,
    signature: Signature,
    /// The library's `run` needs exclusive access; passes of one model never overlap.
    graph: RefCell<Graph>,
}

impl OrtModel {
    /// Runs two tokens. Checks the number of logits against the configuration, and compares one
    /// pass over both tokens with two passes.
    fn probe(&mut self, path: &Path) -> Result<(), LoadError> {
        let unusable = |error: ModelError| LoadError::Backend {
            backend: NAME,
            message: format!("{} does not run: {error}", path.display()),
        };
        let width = match self.signature.kind {
            GraphKind::Flat => flat::width(self),
            GraphKind::Past | GraphKind::Whole => past::width(self),
        };
        let (width, expected) = (width.map_err(unusable)?, self.spec.vocab_rows);
        if width == expected {
            self.signature.rounds_passes |= self.passes_apart().map_err(unusable)? > ROUNDED;
            return Ok(());
        }
        Err(LoadError::Config {
            origin: path.display().to_string(),
            key: self.signature.logits.clone(),
            what: format!(
                "has {width} columns, but configuration and tokenizer have {expected} \
                 tokens: they belong to different models"
            ),
        })
    }

    /// Largest difference between the logits of two tokens in one pass and in two passes, relative
    /// to the range of the logits.
    fn passes_apart(&self) -> Result<f32, ModelError> {
        let last = self.vocab.size().saturating_sub(1) as TokenId;
        let (tokens, mut together, mut apart) =
            ([0, last], LogitRows::new(self.vocab.size()), LogitRows::new(self.vocab.size()));
        if self.context_len() < tokens.len() {
            return Ok(0.0);
        }
        self.start()?.extend(&tokens, tokens.len(), &mut together)?;
        let mut session = self.start()?;
        for token in tokens {
            session.extend(&[token], 1, &mut apart)?;
        }
        let share = |(a, b): (&[f32], &[f32])| {
            let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let high = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let low = a.iter().copied().fold(f32::INFINITY, f32::min);
            if high > low { worst / (high - low) } else { 0.0 }
        };
        Ok(together.iter().zip(apart.iter()).map(share).fold(0.0, f32::max))
    }

    /// Checks a session's request before the pass.
    fn check(&self, held: usize, tokens: &[TokenId], wanted: usize) -> Result<(), ModelError> {
        ModelError::check_extend(held, tokens, wanted, self.context_len(), self.vocab.size())
    }
}

impl LanguageModel for OrtModel {
    fn name(&self) -> &str {
        &self.name
    }
    fn vocab(&self) -> &Vocab {
        &self.vocab
    }
    fn context_len(&self) -> usize {
        self.spec.context_len
    }
    fn start(&self) -> Result<Box<dyn Session + '_>, ModelError> {
        Ok(match self.signature.kind {
            GraphKind::Flat => Box::new(flat::FlatSession::new(self)),
            GraphKind::Past | GraphKind::Whole => Box::new(past::PastSession::new(self)?),
        })
    }
}

impl LayeredModel for OrtModel {
    fn spec(&self) -> &DecoderSpec {
        &self.spec
    }

    fn early_exit(&self, _: &str, _: usize) -> Result<Box<dyn LayeredModel>, LoadError> {
        let found = format!("of `{}`: an ONNX graph runs as a whole", self.name);
        let known = ["every other backend, of safetensors or GGUF"];
        Err(LoadError::unsupported("early exit", found, &known))
    }

    fn distribution_depends_on_pass(&self) -> bool {
        self.signature.rounds_passes
    }

    fn library(&self) -> Option<String> {
        Some(format!("ONNX Runtime, {}", ort::info()))
    }

    fn remark(&self) -> Option<String> {
        let kind = match self.signature.kind {
            GraphKind::Past => "the KV cache is copied in and out of each pass; no token trees",
            GraphKind::Flat => "the KV cache stays in place; token trees",
            GraphKind::Whole => {
                "no KV cache: every pass runs the whole text, which is slow; no token trees"
            }
        };
        let rounding = match self.signature.rounds_passes {
            true => {
                "; activations are quantised per pass, so a token's distribution depends on its pass"
            }
            false => "",
        };
        Some(format!("{kind}{rounding}"))
    }
}
