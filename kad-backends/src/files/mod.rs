//! Opens a model's files: a folder with safetensors, a GGUF file, or an ONNX graph.

pub mod families;
pub mod gguf;
pub(crate) mod onnx;
pub(crate) mod safetensors;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kad_core::TokenId;
use serde_json::Value as Json;

use self::gguf::Gguf;
use crate::decoder::spec::DecoderSpec;
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::text::tokenizer::SpecialIds;
use crate::text::{self, ChatTemplate, Tokenizer};
use crate::weights::Weights;

/// File format of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A folder in Hugging Face's layout: `config.json`, `tokenizer.json`, safetensors.
    SafeTensors,
    /// One GGUF file with configuration, tokenizer and weights.
    Gguf,
    /// An ONNX graph with the configuration and tokenizer of a folder or a GGUF file.
    Onnx,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::SafeTensors => "safetensors",
            Format::Gguf => "GGUF",
            Format::Onnx => "ONNX",
        })
    }
}

/// A model's opened files: specification, weights, tokenizer and chat template.
///
/// ```
/// use kad_backends::{Format, ModelFiles, Source, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let path = Source::Nano("large-base".to_owned()).resolve(&|_| ())?;
/// let files = ModelFiles::open(&path)?;
/// assert_eq!((files.format, files.spec.layers), (Format::SafeTensors, 5));
/// assert!(files.weights.contains("model.norm.weight"));
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub struct ModelFiles {
    /// Folder or file.
    pub path: PathBuf,
    /// File format.
    pub format: Format,
    /// Architecture.
    pub spec: DecoderSpec,
    /// The tensors of the architecture; empty for an ONNX graph, which contains its weights.
    pub weights: Arc<Weights>,
    /// Path of the ONNX graph, for [`Format::Onnx`].
    pub graph: Option<PathBuf>,
    /// Tokenizer.
    pub tokenizer: Tokenizer,
    /// Chat template; base models have none.
    pub chat_template: Option<ChatTemplate>,
    /// Tokens that end the model's output, in ascending order.
    pub eos: Vec<TokenId>,
}

impl ModelFiles {
    /// Opens a `.gguf` file, or a folder with `config.json`, `tokenizer.json` and safetensors or
    /// with a single `.gguf` file. The weights are memory-mapped. Missing and superfluous tensors
    /// are errors.
    ///
    /// # Errors
    /// [`LoadError`] in most of its variants.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let files = if path.is_dir() {
            match gguf_in(path)? {
                Some(file) => open_gguf(&file),
                None => open_folder(path),
            }
        } else if path.extension().is_some_and(|extension| extension == "gguf") {
            open_gguf(path)
        } else {
            Err(LoadError::NotFound {
                what: "a model".to_owned(),
                path: path.to_owned(),
                advice: match path.extension().is_some_and(|extension| extension == "onnx") {
                    true => "an ONNX graph runs with backend = \"ort\" only".to_owned(),
                    false => "give a folder with config.json, or a .gguf file".to_owned(),
                },
            })
        }?;
        families::check_tensors(&files.spec, &files.weights)?;
        Ok(files)
    }

    /// Opens configuration and tokenizer of an ONNX graph. `path` is the graph, or a path as for
    /// [`open`](Self::open) with a graph in the folder or beside the file. No weights are opened.
    ///
    /// # Errors
    /// [`LoadError`] in most of its variants.
    pub fn open_onnx(path: &Path) -> Result<Self, LoadError> {
        Self::open_graph(path, Dtype::Auto)
    }

    /// [`open_onnx`](Self::open_onnx) for the graph of this dtype.
    pub(crate) fn open_graph(path: &Path, dtype: Dtype) -> Result<Self, LoadError> {
        let onnx::GraphLocation { graph, model } = onnx::find(path, dtype)?;
        let files = match model.is_dir() {
            true => open_onnx_folder(&model)?,
            false => open_gguf(&model)?,
        };
        let none = Arc::new(Weights::from_memory(Vec::new()));
        Ok(Self { format: Format::Onnx, graph: Some(graph), weights: none, ..files })
    }
}

/// The file itself, or the files of the folder.
pub(crate) fn files_at(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.is_file()).collect())
}

/// The only `.gguf` file of a folder without `config.json`.
fn gguf_in(folder: &Path) -> Result<Option<PathBuf>, LoadError> {
    if folder.join(CONFIG).is_file() {
        return Ok(None);
    }
    let entries = std::fs::read_dir(folder).map_err(LoadError::io(folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "gguf")).collect();
    files.sort();
    match files.len() {
        0 | 1 => Ok(files.pop()),
        count => Err(LoadError::NotFound {
            what: CONFIG.to_owned(),
            path: folder.to_owned(),
            advice: format!("the folder has {count} .gguf files: give the path of one"),
        }),
    }
}

fn open_gguf(path: &Path) -> Result<ModelFiles, LoadError> {
    let Gguf { metadata, weights } = Gguf::open(path)?;
    let tokenizer = metadata.tokenizer()?;
    let text = |id: Option<TokenId>| id.and_then(|id| tokenizer.token(id)).unwrap_or_default();
    let key = "tokenizer.ggml.eos_token_id";
    let eos_token = text(metadata.natural(key)?.and_then(|id| id.try_into().ok()));
    let template = metadata.text("tokenizer.chat_template")?;
    let template = template.map(|t| ChatTemplate::new(t, &text(tokenizer.bos()), &eos_token));
    Ok(ModelFiles {
        path: path.to_owned(),
        format: Format::Gguf,
        spec: families::from_gguf(&metadata, &weights)?,
        weights: Arc::new(weights),
        chat_template: template.transpose()?,
        eos: tokenizer.eos(),
        tokenizer,
        graph: None,
    })
}

const CONFIG: &str = "config.json";

fn open_folder(folder: &Path) -> Result<ModelFiles, LoadError> {
    let config = read_config(folder)?;
    let spec = families::from_hf_config(&config)?;
    describe_folder(folder, &config, spec, safetensors::open_folder(folder)?)
}

/// Opens the folder of a graph; its family may be unknown to the interpreters.
fn open_onnx_folder(folder: &Path) -> Result<ModelFiles, LoadError> {
    let config = read_config(folder)?;
    let spec = onnx::spec(&config)?;
    describe_folder(folder, &config, spec, Weights::from_memory(Vec::new()))
}

fn read_config(folder: &Path) -> Result<Json, LoadError> {
    read_json(&folder.join(CONFIG))?.ok_or_else(|| missing(folder, CONFIG))
}

/// Reads tokenizer, end tokens and chat template of a folder.
fn describe_folder(
    folder: &Path,
    config: &Json,
    spec: DecoderSpec,
    weights: Weights,
) -> Result<ModelFiles, LoadError> {
    let tokenizer_path = folder.join("tokenizer.json");
    if !tokenizer_path.is_file() {
        return Err(missing(folder, "tokenizer.json"));
    }
    let mut tokenizer = Tokenizer::from_file(&tokenizer_path)?;
    let settings = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or(Json::Null);
    let generation = read_json(&folder.join("generation_config.json"))?.unwrap_or(Json::Null);
    let (bos_token, eos_token) =
        (token_of(&settings, "bos_token"), token_of(&settings, "eos_token"));
    let mut eos: BTreeSet<TokenId> = ids_of(config, "eos_token_id");
    eos.extend(ids_of(&generation, "eos_token_id"));
    eos.extend(eos_token.as_deref().and_then(|token| tokenizer.id_of(token)));
    let bos = bos_token.as_deref().and_then(|token| tokenizer.id_of(token));
    let bos = bos.or_else(|| ids_of(config, "bos_token_id").pop_first());
    tokenizer.set_special(SpecialIds { bos, eos: eos.clone() });
    let template = template_of(folder, &settings)?.map(|source| {
        let text = |token: Option<String>| token.unwrap_or_default();
        ChatTemplate::new(&source, &text(bos_token), &text(eos_token))
    });
    Ok(ModelFiles {
        path: folder.to_owned(),
        format: Format::SafeTensors,
        spec,
        weights: Arc::new(weights),
        tokenizer,
        chat_template: template.transpose()?,
        eos: eos.into_iter().collect(),
        graph: None,
    })
}

fn missing(folder: &Path, file: &str) -> LoadError {
    LoadError::NotFound {
        what: file.to_owned(),
        path: folder.to_owned(),
        advice: "a model folder needs config.json, tokenizer.json and model.safetensors".to_owned(),
    }
}

/// The parsed file, or `None` if it does not exist.
fn read_json(path: &Path) -> Result<Option<Json>, LoadError> {
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(LoadError::io(path))?;
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| LoadError::corrupt(path, format!("it is not JSON: {error}")))
}

/// A token given as a string or as an object with `content`.
fn token_of(settings: &Json, key: &str) -> Option<String> {
    let value = settings.get(key)?;
    value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
}

/// One id or a list of ids.
fn ids_of(settings: &Json, key: &str) -> BTreeSet<TokenId> {
    let id = |value: &Json| value.as_u64().and_then(|id| TokenId::try_from(id).ok());
    match settings.get(key) {
        Some(Json::Array(values)) => values.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => BTreeSet::new(),
    }
}

/// `chat_template.jinja`, or the template of `tokenizer_config.json`: a string or a list of named
/// ones.
fn template_of(folder: &Path, settings: &Json) -> Result<Option<String>, LoadError> {
    let path = folder.join("chat_template.jinja");
    if path.is_file() {
        return std::fs::read_to_string(&path).map(Some).map_err(LoadError::io(&path));
    }
    Ok(match settings.get("chat_template") {
        Some(Json::String(source)) => Some(source.clone()),
        Some(Json::Array(entries)) => {
            let named = |entry: &Json| {
                let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
                Some((text("name")?, text("template")?))
            };
            text::default_of(entries.iter().filter_map(named).collect::<BTreeMap<_, _>>())
        }
        _ => None,
    })
}
