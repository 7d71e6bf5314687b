//! Which ONNX graph belongs to a model, and which model to a graph.
//!
//! A graph has no tokenizer and no configuration. They are in the folder of the graph, in the one
//! above (exports put graphs into `onnx/`), or in a `.gguf` file beside it whose name the graph's
//! begins with (`m.gguf`, `m_int8.onnx`).

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use crate::decoder::families;
use crate::decoder::spec::{Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales};
use crate::error::LoadError;

const CONFIG: &str = "config.json";
const EXTENSION: &str = "onnx";
const EXPORT: &str = "scripts/export_onnx.py";

/// A graph, and where its tokenizer and configuration are: a folder or a `.gguf` file.
#[derive(Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) graph: PathBuf,
    pub(crate) model: PathBuf,
}

/// The graph that `path` is or has, with the model it belongs to.
///
/// # Errors
/// [`LoadError::NotFound`] if there is no graph, none that is preferred among several, or no model
/// that it belongs to; [`LoadError::Io`].
pub(crate) fn find(path: &Path) -> Result<Place, LoadError> {
    if has_extension(path, EXTENSION) {
        return Ok(Place { graph: path.to_owned(), model: model_of(path)? });
    }
    let missing = |advice: String| LoadError::NotFound {
        what: "an ONNX graph".to_owned(),
        path: path.to_owned(),
        advice,
    };
    let export = || format!("export one with {EXPORT} {}", path.display());
    if !path.is_dir() {
        let graph = path.with_extension(EXTENSION);
        let known = has_extension(path, "gguf") && graph.is_file();
        return match known {
            true => Ok(Place { graph, model: path.to_owned() }),
            false => Err(missing(format!("it should be beside the file; {}", export()))),
        };
    }
    let mut graphs = Vec::new();
    for folder in [path.to_owned(), path.join("onnx")] {
        let preferred = folder.join("model.onnx");
        if preferred.is_file() {
            return Ok(Place { model: model_of(&preferred)?, graph: preferred });
        }
        if folder.is_dir() {
            graphs.extend(files_of(&folder, EXTENSION)?);
        }
    }
    match &graphs[..] {
        [] => Err(missing(export())),
        [graph] => Ok(Place { model: model_of(graph)?, graph: graph.clone() }),
        several => Err(missing(format!(
            "no model.onnx, but {} other graphs: give the path of one, such as {}",
            several.len(),
            several[0].display()
        ))),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// Files with that extension, by name.
fn files_of(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, LoadError> {
    let entries = std::fs::read_dir(folder).map_err(LoadError::io(folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = paths.filter(|path| has_extension(path, extension)).collect();
    files.sort();
    Ok(files)
}

fn model_of(graph: &Path) -> Result<PathBuf, LoadError> {
    let folder = match graph.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named = |file: &PathBuf| {
        let pair = stem(file).zip(stem(graph));
        pair.is_some_and(|(model, graph)| graph.starts_with(&model))
    };
    // Of m.gguf and m-large.gguf, the longer name is the one meant by m-large.onnx.
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

/// What a graph consists of, and its bytes: the file itself, or the folder that it shares with the
/// file of its weights (`model.onnx_data`, `model.onnx.data`).
pub(crate) fn files(graph: &Path) -> (PathBuf, u64) {
    let len = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    let data = ["onnx_data", "onnx.data"].map(|extension| graph.with_extension(extension));
    match (data.iter().find(|path| path.is_file()), graph.parent()) {
        (Some(data), Some(folder)) => (folder.to_owned(), len(graph) + len(data)),
        _ => (graph.to_owned(), len(graph)),
    }
}

/// What `config.json` says, of a family that kad knows; otherwise as much as any configuration
/// says, because the graph needs no more: sizes it leaves out are 0.
///
/// # Errors
/// [`LoadError::Config`] without `vocab_size` or a context length.
pub(crate) fn spec(config: &Json) -> Result<DecoderSpec, LoadError> {
    if let Ok(spec) = families::from_hf_config(config) {
        return Ok(spec);
    }
    // The names that other families have for them.
    let size = |keys: &[&str]| {
        let found = keys.iter().find_map(|key| config.get(*key)?.as_u64());
        found.and_then(|size| usize::try_from(size).ok()).unwrap_or(0)
    };
    let needed = |keys: &[&str]| match size(keys) {
        0 => Err(LoadError::Config {
            origin: CONFIG.to_owned(),
            key: keys[0].to_owned(),
            what: "is missing or no size".to_owned(),
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
