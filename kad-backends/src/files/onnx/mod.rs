//! Finds the ONNX graph of a model, and the model of an ONNX graph.
//!
//! A graph has no tokenizer and no configuration. They are in the folder of the graph, in the
//! folder above (exporters use a subfolder `onnx/`), or in a `.gguf` file beside it whose name
//! begins the graph's name (`m.gguf`, `m_int8.onnx`).
//!
//! If a model has several graphs, the dtype selects one by the names that exporters use:
//!
//! | dtype | graph |
//! |---|---|
//! | `auto`, `f32` | `model.onnx` |
//! | `f16` | `model_fp16.onnx` |
//! | `int8` | `model_int8.onnx`, `model_quantized.onnx` |
//! | `q8` | `model_q8.onnx` |
//! | `q4` | `model_q4.onnx` |
//!
//! The graph is in the model's folder or its subfolder `onnx/`. For `m.gguf` it is beside that
//! file, with `m` in place of `model`.

mod protobuf;
mod tensors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

pub(crate) use self::tensors::read;
use crate::decoder::spec::{Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::files::families;

const CONFIG: &str = "config.json";
const EXTENSION: &str = "onnx";
/// Subfolders with graphs, the preferred first.
const FOLDERS: [&str; 2] = ["", "onnx"];
const EXPORT: &str = "scripts/export_onnx.py";

/// A graph, and the folder or `.gguf` file with its tokenizer and configuration.
#[derive(Debug, PartialEq)]
pub(crate) struct GraphLocation {
    pub(crate) graph: PathBuf,
    pub(crate) model: PathBuf,
}

/// Endings of a graph's name before `.onnx`, the preferred first.
///
/// # Errors
/// [`LoadError::Unsupported`] for a dtype without graphs.
fn endings(dtype: Dtype) -> Result<&'static [&'static str], LoadError> {
    match dtype {
        Dtype::Auto | Dtype::F32 => Ok(&[""]),
        Dtype::F16 => Ok(&["_fp16"]),
        Dtype::Int8 => Ok(&["_int8", "_quantized"]),
        Dtype::Q8 => Ok(&["_q8"]),
        Dtype::Q4 => Ok(&["_q4"]),
        Dtype::BF16 | Dtype::Quantized | Dtype::Q8_0 | Dtype::Q4_0 => {
            let found =
                format!("{dtype} with the ort backend, which uses the weights of the graph");
            let known = ["auto", "f32", "f16", "int8", "q8", "q4"];
            Err(LoadError::unsupported("dtype", found, &known))
        }
    }
}

/// Relative paths of a graph of this dtype in a model's folder, the preferred first.
///
/// # Errors
/// [`LoadError::Unsupported`] for a dtype without graphs.
pub(crate) fn candidate_paths(dtype: Dtype) -> Result<Vec<String>, LoadError> {
    let endings = endings(dtype)?;
    let both = FOLDERS.iter().flat_map(|folder| endings.iter().map(move |end| (folder, end)));
    Ok(both.map(|(folder, end)| in_below(folder, &format!("model{end}.{EXTENSION}"))).collect())
}

/// Selects the graph of this dtype among a model's files; for `auto` also the only graph of any
/// name.
///
/// # Errors
/// [`LoadError::Unsupported`] for a dtype without graphs. The inner error describes the existing
/// graphs if none has the dtype; it is empty if there are no graphs.
pub(crate) fn choose(files: &[&str], dtype: Dtype) -> Result<Result<String, String>, LoadError> {
    let candidates = candidate_paths(dtype)?;
    let there = candidates.iter().find(|place| files.contains(&place.as_str()));
    let in_place = |file: &str| {
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        has_extension(Path::new(file), EXTENSION) && FOLDERS.contains(&folder)
    };
    let graphs: Vec<&str> = files.iter().copied().filter(|file| in_place(file)).collect();
    Ok(match (there, &graphs[..], dtype) {
        (Some(place), ..) => Ok(place.clone()),
        (None, [only], Dtype::Auto) => Ok((*only).to_owned()),
        (None, [], _) => Err(String::new()),
        (None, graphs, _) => Err(format!(
            "no {}, but {}: choose one with dtype (f32, f16, int8, q8, q4) or by its path",
            candidates.join(" or "),
            graphs.join(", ")
        )),
    })
}

/// The graph at or below `path`, with its model.
///
/// # Errors
/// [`LoadError::NotFound`] if there is no graph of this dtype, an ambiguous choice, or no model.
/// [`LoadError::Unsupported`] for a dtype without graphs, and for a dtype together with the path of
/// a graph. [`LoadError::Io`].
pub(crate) fn find(path: &Path, dtype: Dtype) -> Result<GraphLocation, LoadError> {
    if has_extension(path, EXTENSION) {
        check_named(path, dtype)?;
        return Ok(GraphLocation { graph: path.to_owned(), model: model_of(path)? });
    }
    if path.is_dir() {
        return in_folder(path, dtype);
    }
    let stem = path.with_extension("");
    let named = |ending: &&str| PathBuf::from(format!("{}{ending}.{EXTENSION}", stem.display()));
    let graph = endings(dtype)?.iter().map(named).find(|graph| graph.is_file());
    match graph.filter(|_| has_extension(path, "gguf")) {
        Some(graph) => Ok(GraphLocation { graph, model: path.to_owned() }),
        None => {
            Err(missing(path, format!("it should be beside the file; {}", export(path, dtype))))
        }
    }
}

/// Refuses a file that is no graph, and a dtype together with the path of a graph.
///
/// # Errors
/// [`LoadError::Unsupported`].
pub(crate) fn check_named(path: &Path, dtype: Dtype) -> Result<(), LoadError> {
    if !has_extension(path, EXTENSION) {
        let found = format!("{} with the ort backend", path.display());
        return Err(LoadError::unsupported("file", found, &[".onnx graphs, by their path"]));
    }
    if dtype == Dtype::Auto {
        return Ok(());
    }
    let found = format!("{dtype} for {}, which is one graph", path.display());
    Err(LoadError::unsupported("dtype", found, &["auto", "a folder of graphs"]))
}

fn missing(path: &Path, advice: String) -> LoadError {
    LoadError::NotFound { what: "an ONNX graph".to_owned(), path: path.to_owned(), advice }
}

/// Advice for exporting a graph of this dtype.
fn export(path: &Path, dtype: Dtype) -> String {
    match dtype {
        Dtype::Int8 | Dtype::Q8 | Dtype::Q4 => {
            format!("export one with {EXPORT} {} --type {dtype}", path.display())
        }
        _ => format!("export one with {EXPORT} {}", path.display()),
    }
}

/// Relative paths of the graphs in a model's folder.
pub(crate) fn graphs_below(path: &Path) -> Result<Vec<String>, LoadError> {
    let mut names = Vec::new();
    for below in FOLDERS {
        let folder = path.join(below);
        let files = if folder.is_dir() { files_of(&folder, EXTENSION)? } else { Vec::new() };
        let file_names = files.iter().filter_map(|file| file.file_name()?.to_str());
        names.extend(file_names.map(|name| in_below(below, name)));
    }
    Ok(names)
}

/// Relative path of a file in one of [`FOLDERS`].
fn in_below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn in_folder(path: &Path, dtype: Dtype) -> Result<GraphLocation, LoadError> {
    let names = graphs_below(path)?;
    match choose(&names.iter().map(String::as_str).collect::<Vec<_>>(), dtype)? {
        Ok(graph) => {
            let graph = path.join(graph);
            Ok(GraphLocation { model: model_of(&graph)?, graph })
        }
        Err(others) if others.is_empty() => Err(missing(path, export(path, dtype))),
        Err(others) => Err(missing(path, others)),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Files with this extension, sorted by name.
fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let entries = std::fs::read_dir(folder).map_err(LoadError::io(folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| has_extension(path, extension)).collect();
    files.sort();
    Ok(files)
}

fn model_of(graph: &Path) -> Result<PathBuf, LoadError> {
    let folder = folder_of(graph);
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named = |file: &PathBuf| {
        let pair = stem(file).zip(stem(graph));
        pair.is_some_and(|(model, graph)| match graph.strip_prefix(&model) {
            Some(rest) => rest.is_empty() || rest.starts_with(['_', '-', '.']),
            None => false,
        })
    };
    // With m.gguf and m-large.gguf, the longer name belongs to m-large.onnx.
    let beside = files_of(&folder, "gguf")?.into_iter().filter(named);
    if let Some(file) = beside.max_by_key(|file| file.as_os_str().len()) {
        return Ok(file);
    }
    let above = folder.join("..");
    let found = [&folder, &above].into_iter().find(|folder| folder.join(CONFIG).is_file());
    found.cloned().ok_or_else(|| LoadError::NotFound {
        what: "the model of an ONNX graph".to_owned(),
        path: graph.to_owned(),
        advice: format!(
            "put {CONFIG} and tokenizer.json into its folder or the one above, or a .gguf file of \
             the same name beside it"
        ),
    })
}

/// All files of a graph: the graph and its weight files.
pub(crate) fn files_of_graph(graph: &Path, weights: &BTreeSet<String>) -> Vec<PathBuf> {
    let folder = folder_of(graph);
    weights.iter().map(|file| folder.join(file)).chain([graph.to_owned()]).collect()
}

/// True for a configuration, tokenizer, chat template or `.gguf` file beside a graph.
pub(crate) fn describes_model(path: &Path) -> bool {
    ["json", "jinja", "gguf"].iter().any(|extension| has_extension(path, extension))
}

/// Folder of a file; `.` for a bare file name.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Specification of the model of a graph. For a family unknown to kad, only the sizes that common
/// configurations name; missing sizes are 0.
///
/// # Errors
/// [`LoadError::Config`] without `vocab_size` or a context length.
pub(crate) fn spec(config: &Json) -> Result<DecoderSpec, LoadError> {
    if let Ok(spec) = families::from_hf_config(config) {
        return Ok(spec);
    }
    // Alternative names in other families.
    let size = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| config.get(*key)?.as_u64());
        found.and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
    };
    let needed = |keys: &[&str]| match size(keys) {
        0 => Err(LoadError::Config {
            origin: CONFIG.to_owned(),
            key: keys[0].to_owned(),
            what: "is missing or not a size".to_owned(),
        }),
        size => Ok(size),
    };
    let (hidden, heads) =
        (size(&["hidden_size", "n_embd"]), size(&["num_attention_heads", "n_head"]));
    let or = |size: usize, other: usize| if size == 0 { other } else { size };
    Ok(DecoderSpec {
        family: config["model_type"].as_str().unwrap_or("unknown").to_owned(),
        vocab_rows: needed(&["vocab_size"])?,
        hidden,
        layers: size(&["num_hidden_layers", "n_layer"]),
        heads,
        kv_heads: or(size(&["num_key_value_heads"]), heads),
        head_dim: or(size(&["head_dim"]), hidden.checked_div(heads).unwrap_or(0)),
        ffn: size(&["intermediate_size", "n_inner"]),
        context_len: needed(&["max_position_embeddings", "n_positions", "n_ctx"])?,
        norm_eps: 0.0,
        norms: Norms::default(),
        window: None,
        scales: Scales::default(),
        rope: Rope { theta: 0.0, pairing: Pairing::Halves, scaling: RopeScaling::None },
        qkv_bias: false,
        tied_head: false,
        activation: Activation::Silu,
    })
}
