//! What a loaded model is, for reports.

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
use crate::run_options::RunOptions;
use crate::stored_type::StoredType;
use crate::weights::Weights;

/// What a loaded model is; prints as a table.
#[derive(Clone, Debug)]
pub struct ModelDetails {
    /// The source as written.
    pub source: String,
    /// The folder or file it was resolved to.
    pub path: PathBuf,
    /// The files that it and its tokenizer were read from, or may have been, sorted.
    pub files: Vec<PathBuf>,
    /// What it is stored as.
    pub format: Format,
    /// Its family.
    pub family: String,
    /// Its blocks.
    pub layers: usize,
    /// Whose first blocks it is, if it is an early exit; everything below counts its own part.
    pub early_exit: Option<EarlyExit>,
    /// Numbers in its tensors; a head that is the embedding counts once. Of an ONNX graph, numbers
    /// in its weights without scales and tables of angles, however they are packed, and once more
    /// those of a head that it rounded in a copy; `None` where it packs them in a way that kad does
    /// not know.
    pub parameters: Option<u64>,
    /// How many tensors are stored in which type.
    pub stored: Vec<(StoredType, usize)>,
    /// Bytes of its tensors as stored; of an ONNX graph, bytes of its files.
    pub weight_bytes: u64,
    /// The type it was asked to compute with.
    pub dtype: Dtype,
    /// How many of its matrices are kept in which type while it runs, which differs from `dtype`
    /// where that asks for blocks and a matrix has none; empty for `naive`, which widens all.
    pub kept: Vec<(StoredType, usize)>,
    /// Bytes of these matrices: what a pass reads.
    pub kept_bytes: u64,
    /// What runs it.
    pub backend: Backend,
    /// How: on which device and threads.
    pub options: RunOptions,
    /// The backend's library, as far as the machine decides about it when the program runs.
    pub library: Option<String>,
    /// Whether the distribution after a token depends on what else is in its pass.
    pub distribution_depends_on_pass: bool,
    /// What to know about how it runs, if anything.
    pub remark: Option<String>,
    /// The most tokens a session may hold.
    pub context_len: usize,
    /// Bytes of keys and values that a session keeps of each token it holds, as far as the
    /// architecture tells: a graph may keep fewer.
    pub cache_bytes: u64,
    /// Size and fingerprint of its vocabulary.
    pub vocab: Vocab,
    /// The type of every tensor in the file.
    pub(crate) types: Arc<BTreeMap<String, StoredType>>,
}

/// The first blocks of another model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyExit {
    /// The name of the model it was taken from.
    pub of: String,
    /// The blocks of that model.
    pub of_layers: usize,
}

/// Tensors of a model, counted.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) parameters: u64,
    pub(crate) stored: BTreeMap<StoredType, usize>,
    pub(crate) bytes: u64,
    pub(crate) kept: BTreeMap<StoredType, usize>,
    pub(crate) kept_bytes: u64,
}

/// The type of every tensor by its name.
pub(crate) fn types(weights: &Weights) -> Arc<BTreeMap<String, StoredType>> {
    Arc::new(weights.tensors().map(|tensor| (tensor.name.to_owned(), tensor.stored)).collect())
}

impl Counts {
    /// Counts the tensors that `spec` needs, stored in `types` and kept as `backend` keeps them.
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
            if let Some(kept) = backend.keeps(&name, stored, &shape, dtype) {
                *counts.kept.entry(kept).or_default() += 1;
                counts.kept_bytes += kept.bytes_for(&shape).unwrap_or(0);
            }
        }
        counts
    }
}

/// A key and a value of `kv_heads · head_dim` numbers in each block: `f64` in `naive`, `f32`
/// elsewhere, whatever type the weights have.
pub(crate) fn cache_bytes(spec: &DecoderSpec, backend: Backend) -> u64 {
    let number = if backend == Backend::Naive { 8 } else { 4 };
    2 * number * spec.layers as u64 * spec.kv_width() as u64
}

impl ModelDetails {
    /// Of the early exit that runs `spec`, taken from the model called `name`.
    pub(crate) fn early_exit(&self, name: &str, spec: &DecoderSpec) -> Self {
        let of = || EarlyExit { of: name.to_owned(), of_layers: self.layers };
        let counts = Counts::of(spec, &self.types, self.backend, self.dtype);
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
    /// Which matrices a dtype of blocks could not round.
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
    /// Bytes of its weights while it runs: of the matrices as they are kept, or, where that is not
    /// known, of the tensors as stored.
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
