//! Models and datasets of the Hugging Face hub, stored in the hub's own cache.

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
use self::repository::{MAIN, Repository};
use crate::dtype::Dtype;
use crate::error::LoadError;
use crate::files::onnx;

/// The given file, or the folder of the whole model.
///
/// A complete copy in the cache is used without a request, even if the branch has moved. Missing
/// files come from the cached commit of the branch. So runs stay reproducible until the cached copy
/// is deleted or another program updates it.
pub(crate) fn fetch(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    let hub = Repository::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => hub.file(file, progress),
        None => hub.model(progress),
    }
}

/// Fetches an ONNX graph with configuration, tokenizer and weight files: the given graph, or the
/// graph of this dtype. Fetches no safetensors.
pub(crate) fn fetch_graph(
    repo: &str,
    revision: Option<&str>,
    (file, dtype): (Option<&str>, Dtype),
    progress: &dyn Fn(&str),
) -> Result<PathBuf, LoadError> {
    onnx::candidate_paths(dtype)?;
    let hub = Repository::new(repo, RepoType::Model, revision.unwrap_or(MAIN))?;
    match file {
        Some(file) => {
            onnx::check_named(Path::new(file), dtype)?;
            hub.graph(&|_| Ok(Ok(file.to_owned())), progress)
        }
        None => hub.graph(&|files| onnx::choose(files, dtype), progress),
    }
}
