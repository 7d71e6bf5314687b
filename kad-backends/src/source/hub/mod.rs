//! Models and datasets of the Hugging Face hub, through the hub's own cache.

mod dataset;
mod download;
mod errors;
mod graph;
mod model;
mod repository;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use hf_hub::RepoType;

pub use self::dataset::dataset;
use self::repository::{Hub, MAIN};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::files::onnx;

/// The named file, or the folder with a whole model.
///
/// A complete copy in the cache is used without asking the hub, also when the branch has moved on.
/// What is missing comes from the commit the cache has for the branch, so that runs stay as they
/// were until the cached copy is deleted, or another program updates it.
pub(crate) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    let hub = Hub::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => hub.file(file, progress),
        None => hub.model(progress),
    }
}

/// [`fetch`] of an ONNX graph with the configuration, the tokenizer and the weights that it keeps
/// in files of their own: the named one, or that of this dtype. No safetensors are fetched.
pub(crate) fn fetch_graph(
    repo: &str,
    revision: Option<&str>,
    (file, dtype): (Option<&str>, Dtype),
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    onnx::places(dtype)?;
    let hub = Hub::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => {
            onnx::check_named(Path::new(file), dtype)?;
            hub.graph(&|_| Ok(Ok(file.to_owned())), progress)
        }
        None => hub.graph(&|files| onnx::choose(files, dtype), progress),
    }
}
