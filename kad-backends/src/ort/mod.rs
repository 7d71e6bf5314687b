//! ONNX Runtime: runs a decoder that somebody exported as an ONNX graph.
//!
//! Every other backend interprets a [`DecoderSpec`]; here the graph *is* the architecture, so kad
//! takes whatever family was exported and reads what to feed it from the names of its inputs
//! (`graph.rs`). Three kinds are run:
//!
//! | kind | inputs beside the token ids | cache | roll-back | trees |
//! |---|---|---|---|---|
//! | past | `past_key_values.N.{key,value}` `[1, kv_heads, past, head_dim]` | values of the library, fed back as they are | copies the shorter part, once, when the text goes on | no: the mask has one row for all |
//! | whole | none | none: each pass runs the whole text | free | no |
//! | flat | `past_key.N`, `past_value.N` `[past, kv_heads, head_dim]`, `mask` `[T, past + T]` | buffers of ours, which only new rows are added to | free | yes |
//!
//! The first is how the ecosystem exports decoders, the last how `scripts/export_onnx.py` does if
//! asked; the second is slow, and the details of the model say so. Weights are kept as the
//! graph has them: a dtype chooses among a model's graphs (`files/onnx/`).
//!
//! A pass over `k` tokens does not give the bits of `k` passes over one: the library chooses its
//! kernels by shape.

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
use crate::run_options::RunOptions;
use errors::{NAME, broken, failed};
use graph::{GraphKind, Signature};

/// Of passes over one and over two tokens, the share of the logits' range that makes them different
/// distributions and not different roundings. Measured on the graphs of the tests: up to 3e-7 where
/// kernels differ, 3e-4 with a cache in f16, from 1.1e-2 where activations are rounded to integers
/// by pass.
const ROUNDED: f32 = 3e-3;

/// Most tokens of one pass: longer prompts are cut into pieces, so that the logits of exported
/// graphs, which have a row for every token, stay in bounds.
pub(crate) const CHUNK: usize = 256;

/// Loads the graph of `files` and runs it over two tokens, one after the other.
///
/// Of the configuration beside it, the size of the vocabulary and the context length are used.
/// `vocab` is the tokenizer's.
///
/// # Errors
/// [`LoadError::NotFound`], [`LoadError::Unsupported`] or [`LoadError::Backend`] if ONNX Runtime is
/// missing, too old or broken, [`LoadError::NoDevice`] if it does not run on the device asked for;
/// [`LoadError::Corrupt`] for a file it does not read; [`LoadError::Unsupported`] for a graph whose
/// inputs or outputs are not those of a decoder, with their names; [`LoadError::Config`] if it has
/// another vocabulary than `spec`.
pub fn load(
    name: &str,
    files: &ModelFiles,
    vocab: Vocab,
    options: &RunOptions,
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
    // What the graph declares holds, also of families whose configuration kad does not read.
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

fn open(model: &str, path: &Path, options: &RunOptions) -> Result<Graph, LoadError> {
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
        // Its threads would go on spinning between passes, and take the cores of other backends.
        .with_config_entry("session.force_spinning_stop", "1")
        .map_err(plain)?;
    if let Some(cuda) = cuda {
        let refused = |error: ort::Error<_>| no_cuda(model, options.device, &error.to_string());
        let cuda = [cuda.build().error_on_failure()];
        builder = builder.with_execution_providers(cuda).map_err(refused)?;
    }
    builder.commit_from_file(path).map_err(|error| match options.device {
        Device::Cpu => unloadable(path, error.code(), &error.to_string()),
        // It may be the graph, the GPU or its driver: the library's words tell.
        device => no_cuda(model, device, &format!("{} does not load: {error}", path.display())),
    })
}

/// Whose fault it is that a graph does not load: the file's, or that of what it needs (an operator,
/// the files of its weights, memory).
fn unloadable(path: &Path, code: ErrorCode, words: &str) -> LoadError {
    let unreadable = [ErrorCode::InvalidProtobuf, ErrorCode::InvalidGraph, ErrorCode::NoModel];
    let has_graph = crate::files::onnx::read(path).is_ok_and(|tensors| tensors.has_graph);
    if unreadable.contains(&code) || !has_graph {
        return LoadError::corrupt(path, words);
    }
    let message = format!("{} does not load: {words}", path.display());
    LoadError::Backend { backend: NAME, message }
}

/// What runs a graph on this device, if it is not the CPU.
///
/// # Errors
/// [`LoadError::NoDevice`] if the library was built without it, and what keeps the library from
/// being loaded.
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

/// A graph with what belongs to it.
struct OrtModel {
    name: String,
    vocab: Vocab,
    spec: DecoderSpec,
    signature: Signature,
    /// The library's `run` wants to be alone; passes of one model never overlap.
    graph: RefCell<Graph>,
}

impl OrtModel {
    /// Runs two tokens, compares the width of their logits with the configuration, and sees whether
    /// one pass over both gives about what two passes give.
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
                "has {width} columns, but the configuration and tokenizer beside it have {expected} \
                 tokens: they belong to different models"
            ),
        })
    }

    /// The largest difference between the logits of two tokens in one pass and in two, over the
    /// range of those logits.
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

    /// Checks what every session checks before it computes.
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
            GraphKind::Past => "the cache goes in and out with each pass; no trees",
            GraphKind::Flat => "the cache stays; trees",
            GraphKind::Whole => "no cache: every pass runs the whole text, which is slow; no trees",
        };
        let rounding = match self.signature.rounds_passes {
            true => {
                "; activations are rounded pass by pass, so a token's distribution depends on its pass"
            }
            false => "",
        };
        Some(format!("{kind}{rounding}"))
    }
}
