//! Description of a loaded model for reports.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kad_core::Vocab;

use crate::backend::Backend;
use crate::decoder;
use crate::decoder::spec::DecoderSpec;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::files::Format;
use crate::model_options::ModelOptions;
use crate::stored_type::StoredType;
use crate::weights::Weights;

/// Description of a loaded model; [`Display`](fmt::Display) prints it as a table.
#[derive(Clone, Debug)]
pub struct ModelDetails {
    /// The source as given.
    pub source: String,
    /// Folder or file of the resolved source.
    pub path: PathBuf,
    /// Files of model and tokenizer, sorted. May include unread configuration files.
    pub files: Vec<PathBuf>,
    /// File format.
    pub format: Format,
    /// Model family.
    pub family: String,
    /// Number of layers.
    pub layers: usize,
    /// The whole model, if this is an early exit. The counts below cover the early exit only.
    pub early_exit: Option<EarlyExit>,
    /// Number of weights; a tied head counts once. For an ONNX graph: without quantisation scales
    /// and rotary tables; a head quantised in a copy counts again; `None` for an unknown packing.
    pub parameters: Option<u64>,
    /// Number of tensors per stored type.
    pub stored: Vec<(StoredType, usize)>,
    /// Bytes of the stored tensors; for an ONNX graph, bytes of its files.
    pub weight_bytes: u64,
    /// The dtype of the request, with `auto` resolved.
    pub dtype: Dtype,
    /// Number of matrices per type in memory. A matrix that cannot be quantised to `dtype` stays as
    /// stored. Empty for `naive` and `ort`.
    pub kept: Vec<(StoredType, usize)>,
    /// Bytes of these matrices, read by every forward pass.
    pub kept_bytes: u64,
    /// Backend.
    pub backend: Backend,
    /// Threads and device.
    pub options: ModelOptions,
    /// Version or threads of the backend's library, if they are settled at run time.
    pub library: Option<String>,
    /// True if the distribution after a token depends on the other tokens of its forward pass.
    pub distribution_depends_on_pass: bool,
    /// A note about the model's cache, speed or rounding.
    pub remark: Option<String>,
    /// Context length: the largest number of tokens in a session.
    pub context_len: usize,
    /// KV cache bytes per token of a session, by the architecture; an ONNX graph may need fewer.
    pub cache_bytes: u64,
    /// Size and fingerprint of the vocabulary.
    pub vocab: Vocab,
    /// Stored type of every tensor in the file.
    pub(crate) types: Arc<BTreeMap<String, StoredType>>,
}

/// The model that an early exit was taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyExit {
    /// Name of the whole model.
    pub of: String,
    /// Number of layers of the whole model.
    pub of_layers: usize,
}

/// Numbers and bytes of a model's tensors.
#[derive(Default)]
pub(crate) struct TensorCounts {
    pub(crate) parameters: u64,
    pub(crate) stored: BTreeMap<StoredType, usize>,
    pub(crate) bytes: u64,
    pub(crate) kept: BTreeMap<StoredType, usize>,
    pub(crate) kept_bytes: u64,
}

/// Stored type of every tensor, by name.
pub(crate) fn types(weights: &Weights) -> Arc<BTreeMap<String, StoredType>> {
    Arc::new(weights.tensors().map(|tensor| (tensor.name.to_owned(), tensor.stored)).collect())
}

impl TensorCounts {
    /// Counts the tensors of `spec`, stored as `types` and held in memory by `backend`.
    pub(crate) fn of(
        spec: &DecoderSpec,
        types: &BTreeMap<String, StoredType>,
        backend: Backend,
        dtype: Dtype,
    ) -> Self {
        let mut counts = Self::default();
        for (name, shape) in decoder::tensors(spec) {
            let Some(&stored) = types.get(&name) else { continue };
            counts.parameters += shape.iter().map(|&n| n as u64).product::<u64>();
            *counts.stored.entry(stored).or_default() += 1;
            counts.bytes += stored.bytes_for(&shape).unwrap_or(0);
            if let Some(kept) = backend.kept_type(&name, stored, &shape, dtype) {
                *counts.kept.entry(kept).or_default() += 1;
                counts.kept_bytes += kept.bytes_for(&shape).unwrap_or(0);
            }
        }
        counts
    }
}

/// KV cache bytes per token: `2 · layers · kv_heads · head_dim` numbers, `f64` for `naive` and
/// `f32` for the other backends.
pub(crate) fn cache_bytes(spec: &DecoderSpec, backend: Backend) -> u64 {
    let number = if backend == Backend::Naive { 8 } else { 4 };
    2 * number * spec.layers as u64 * spec.kv_width() as u64
}

impl ModelDetails {
    /// Details of the early exit with `spec`, taken from the model `name`.
    pub(crate) fn early_exit(&self, name: &str, spec: &DecoderSpec) -> Self {
        let of = || EarlyExit { of: name.to_owned(), of_layers: self.layers };
        let counts = TensorCounts::of(spec, &self.types, self.backend, self.dtype);
        Self {
            layers: spec.layers,
            early_exit: Some(self.early_exit.clone().unwrap_or_else(of)),
            parameters: Some(counts.parameters),
            stored: counts.stored.into_iter().collect(),
            weight_bytes: counts.bytes,
            kept: counts.kept.into_iter().collect(),
            kept_bytes: counts.kept_bytes,
            cache_bytes: cache_bytes(spec, self.backend),
            ..self.clone()
        }
    }
}

impl ModelDetails {
    /// A note about matrices that could not be quantised.
    fn left_as_stored(&self) -> String {
        let plain = self.kept.iter().filter(|(kept, _)| !kept.is_quantized());
        let plain: Vec<String> = plain.map(|(kept, _)| kept.to_string()).collect();
        if plain.is_empty() || !matches!(self.dtype, Dtype::Q8_0 | Dtype::Q4_0) {
            return String::new();
        }
        format!(" ({}: rows are not whole blocks)", plain.join(", "))
    }
}

impl fmt::Display for EarlyExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "of {} of {}, weights shared", self.of_layers, self.of)
    }
}

impl ModelDetails {
    /// Weight bytes in memory: `kept_bytes`, or `weight_bytes` if the former is unknown.
    pub fn weight_bytes_in_use(&self) -> u64 {
        if self.kept_bytes > 0 { self.kept_bytes } else { self.weight_bytes }
    }
}

impl fmt::Display for ModelDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "source       {}", self.source)?;
        writeln!(f, "path         {}", self.path.display())?;
        writeln!(f, "format       {}, {} of tensors", self.format, megabytes(self.weight_bytes))?;
        writeln!(f, "family       {}", self.family)?;
        match &self.early_exit {
            None => writeln!(f, "layers       {}", self.layers)?,
            Some(exit) => writeln!(f, "layers       first {} {exit}", self.layers)?,
        }
        if let Some(parameters) = self.parameters {
            writeln!(f, "parameters   {parameters}")?;
        }
        if self.format != Format::Onnx {
            writeln!(f, "tensors      {}", list(&self.stored))?;
        }
        let place = match self.options.device {
            Device::Cpu => String::new(),
            device => format!(", on {device}"),
        };
        writeln!(f, "backend      {}, {}{place}", self.backend, self.dtype)?;
        for line in self.library.iter().chain(&self.remark) {
            writeln!(f, "             {line}")?;
        }
        if !self.kept.is_empty() {
            let (kept, size) = (list(&self.kept), megabytes(self.kept_bytes));
            writeln!(f, "matrices     {kept}, {size}{}", self.left_as_stored())?;
        }
        writeln!(f, "context      {} tokens", self.context_len)?;
        writeln!(
            f,
            "vocabulary   {} tokens, fingerprint {}",
            self.vocab.size(),
            self.vocab.fingerprint()
        )
    }
}

fn list(types: &[(StoredType, usize)]) -> String {
    let listed: Vec<String> =
        types.iter().map(|(stored, count)| format!("{count} {stored}")).collect();
    listed.join(", ")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
