//! An ONNX graph with its configuration, its tokenizer and the files of its weights.

use std::path::{Path, PathBuf};

use super::model::{OPTIONAL, REQUIRED};
use super::repository::Repository;
use crate::error::LoadError;
use crate::files::onnx;

/// Selects the graph among a repository's files. The inner error describes the existing graphs.
type ChooseGraph<'a> = &'a dyn Fn(&[&str]) -> Result<Result<String, String>, LoadError>;

impl Repository<'_> {
    /// Fetches a graph with its configuration, tokenizer and weight files, which the graph names.
    pub(super) fn graph(
        &self,
        choose: ChooseGraph<'_>,
        progress: &dyn Fn(&str),
    ) -> Result<PathBuf, LoadError> {
        let cached = self.cached_folder();
        if let Some(graph) = cached.and_then(|folder| complete_graph(&folder, choose)) {
            return Ok(graph);
        }
        progress(&format!("hf:{}: asking the hub for its files", self.repo));
        let info = self.info()?;
        let api = self.api(&info.sha)?;
        let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let graph = choose(&names)?.map_err(|others| self.no_graph(&others))?;
        let missing = |file: &&str| !names.contains(file);
        if let Some(file) = REQUIRED.iter().chain(&[graph.as_str()]).find(|file| missing(file)) {
            return Err(self.lacks(file, &names));
        }
        let get = |file: &str| self.get(&api, &info.sha, file, progress);
        for file in OPTIONAL.iter().filter(|file| names.contains(file)).chain(&REQUIRED) {
            get(file)?;
        }
        let path = get(&graph)?;
        for file in onnx::read(&path)?.files {
            let file = beside(&graph, &file);
            if missing(&file.as_str()) {
                return Err(self.lacks(&file, &names));
            }
            get(&file)?;
        }
        self.remember(&info.sha)?;
        Ok(path)
    }

    fn no_graph(&self, others: &str) -> LoadError {
        let advice = match others.is_empty() {
            true => {
                "the repository has no .onnx file; run its safetensors on another backend, or \
                     export its folder with scripts/export_onnx.py"
            }
            false => others,
        };
        self.not_found("an ONNX graph", advice.to_owned())
    }

    /// Error for a file that the repository lacks; lists the related files it has.
    fn lacks(&self, file: &str, names: &[&str]) -> LoadError {
        let related = |name: &&&str| name.contains(".onnx") || name.ends_with(".json");
        let related: Vec<&str> = names.iter().filter(related).copied().collect();
        let advice = match related.is_empty() {
            true => "the repository has neither graphs nor a configuration".to_owned(),
            false => format!("the repository has {}", related.join(", ")),
        };
        self.not_found(file, advice)
    }
}

/// The selected graph of a cached folder, if all of its files are cached. A graph that would be
/// selected only because it is the only one does not count: the hub may have others.
fn complete_graph(folder: &Path, choose: ChooseGraph<'_>) -> Option<PathBuf> {
    let files = onnx::graphs_below(folder).ok()?;
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.push("another.onnx");
    let graph = choose(&files).ok()?.ok()?;
    let there = |file: &str| folder.join(file).is_file();
    let path = folder.join(&graph);
    let complete = there(&graph)
        && REQUIRED.iter().all(|file| there(file))
        && onnx::read(&path).ok()?.files.iter().all(|file| there(&beside(&graph, file)));
    complete.then_some(path)
}

/// Path in the repository of a file that `graph` names.
fn beside(graph: &str, file: &str) -> String {
    graph.rsplit_once('/').map_or(file.to_owned(), |(folder, _)| format!("{folder}/{file}"))
}
