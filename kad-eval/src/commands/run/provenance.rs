//! What made the numbers of a run: program, machine, models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kad_backends::RunOptions;
use serde::Serialize;
use serde_json::Value;

use crate::machine;
use crate::models::{Model, Models};
use crate::runner::RunFolder;

/// Program and libraries: a run is not continued by others.
pub(super) const VERSIONS: &str = concat!(env!("CARGO_PKG_VERSION"), "; ", env!("KAD_LIBRARIES"));

const NAME: &str = "provenance";

#[derive(Serialize)]
struct Session<'m> {
    version: &'static str,
    revision: &'static str,
    libraries: &'static str,
    target: &'static str,
    cpu: String,
    threads: usize,
    /// Items that were decoded at a time: their times are of so many.
    jobs: usize,
    models: BTreeMap<&'m str, ModelProvenance<'m>>,
}

/// A model without the place it was read from.
#[derive(Serialize)]
pub(in crate::commands) struct ModelProvenance<'m> {
    source: &'m str,
    digest: &'m str,
    family: &'m str,
    parameters: Option<u64>,
    backend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<&'m str>,
    dtype: String,
    #[serde(flatten)]
    options: RunOptions,
    context_len: usize,
    vocabulary: usize,
    fingerprint: String,
}

impl<'m> From<&'m Model> for ModelProvenance<'m> {
    fn from(model: &'m Model) -> Self {
        let details = &model.details;
        Self {
            source: &details.source,
            digest: &model.digest,
            family: &details.family,
            parameters: details.parameters,
            backend: details.backend.to_string(),
            library: details.library.as_deref(),
            dtype: details.dtype.to_string(),
            options: details.options,
            context_len: details.context_len,
            vocabulary: details.vocab.size(),
            fingerprint: details.vocab.fingerprint().to_string(),
        }
    }
}

/// Adds this session to the list of those that made the run, unless it is the last one again.
///
/// # Errors
/// If the file cannot be read or written.
pub(super) fn append(folder: &RunFolder, models: &Models, jobs: usize) -> Result<()> {
    let file = folder.own(NAME, "json");
    let mut sessions = sessions(&folder.path().join(&file))?;
    let session = serde_json::to_value(Session {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("KAD_REVISION"),
        libraries: env!("KAD_LIBRARIES"),
        target: env!("KAD_TARGET"),
        cpu: machine::cpu_name(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        jobs,
        models: models.iter().map(|(name, model)| (name.as_str(), model.into())).collect(),
    })?;
    if sessions.last() != Some(&session) {
        sessions.push(session);
        folder.write_json(&file, &sessions)?;
    }
    Ok(())
}

/// Adds the sessions of shards, whose records are in one file now.
///
/// # Errors
/// If a file cannot be read or written.
pub(super) fn settle(folder: &RunFolder) -> Result<()> {
    let of_shards = folder.of_shards(NAME, "json")?;
    if of_shards.is_empty() {
        return Ok(());
    }
    let file = folder.own(NAME, "json");
    let mut all = sessions(&folder.path().join(&file))?;
    for path in &of_shards {
        let new = sessions(path)?.into_iter().filter(|session| !all.contains(session));
        all.extend(new.collect::<Vec<_>>());
    }
    folder.write_json(&file, &all)?;
    let remove = |path: &PathBuf| {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
    };
    of_shards.iter().try_for_each(remove)
}

/// None if there is no such file yet.
fn sessions(path: &Path) -> Result<Vec<Value>> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is no list of sessions", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
