//! Files of the data folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::CATALOGUE;
use crate::failure::WrongRequest;

/// Where `file` is expected; None if the user named no data folder.
pub(crate) fn place(data: Option<&Path>, file: &str) -> Option<PathBuf> {
    data.map(|folder| folder.join(file))
}

/// The text of `file` in the data folder, and its path.
///
/// # Errors
/// If no folder was named, or the file is not there: with where to get it.
pub(super) fn read(data: Option<&Path>, file: &str) -> Result<(PathBuf, String)> {
    let set = file.split('/').next().unwrap_or(file);
    let get = CATALOGUE.iter().find(|entry| entry.name == set).map_or("", |entry| entry.get);
    let Some(path) = place(data, file) else {
        bail!(WrongRequest(format!(
            "this task reads {file} from a data folder: name it with `--data DIR` or in the \
             environment variable KAD_DATA; the file comes from {get}"
        )));
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(WrongRequest(format!(
            "there is no task file {}: the data folder (`--data` or KAD_DATA) must hold {file}, \
             which comes from {get}; docs/TASKS.md says how to get it",
            path.display()
        ))),
        Err(error) => {
            Err(error).with_context(|| format!("cannot read the task file {}", path.display()))
        }
    }
}

/// The text of a file of the data folder that need not be there.
///
/// # Errors
/// If it is there and cannot be read.
pub(super) fn read_optional(data: Option<&Path>, file: &str) -> Result<Option<(PathBuf, String)>> {
    match place(data, file) {
        Some(path) if path.exists() => read(data, file).map(Some),
        _ => Ok(None),
    }
}

/// Reads JSON lines with their line numbers; blank lines are skipped.
///
/// # Errors
/// The first line that is malformed, by number.
pub(super) fn lines<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Vec<(usize, T)>> {
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let lines: Vec<(usize, T)> = numbered
        .map(|(number, line)| {
            let parsed = serde_json::from_str(line)
                .with_context(|| format!("{} line {number} is malformed", path.display()))?;
            Ok((number, parsed))
        })
        .collect::<Result<_>>()?;
    if lines.is_empty() {
        bail!("{} holds no items", path.display());
    }
    Ok(lines)
}

/// Reads one JSON value.
///
/// # Errors
/// Where it is malformed, with line and column.
pub(super) fn json<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    serde_json::from_str(text).with_context(|| format!("{} is malformed", path.display()))
}
