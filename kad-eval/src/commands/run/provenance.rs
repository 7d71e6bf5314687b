//! What made the numbers of a run: program, machine, models.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kad_backends::RunOptions;
use serde::Serialize;
use serde_json::Value;

use crate::machine;
use crate::models::{Model, Models};
use crate::runner::RunFolder;

/// Program and libraries: a run is not continued by others.
pub(super) const VERSIONS: &str = concat!(env!("CARGO_PKG_VERSION"), "; ", env!("KAD_LIBRARIES"));

const FILE: &str = "provenance.json";

#[derive(Serialize)]
struct Session<'m> {
    version: &'static str,
    revision: &'static str,
    libraries: &'static str,
    target: &'static str,
    cpu: String,
    threads: usize,
    models: BTreeMap<&'m str, ModelProvenance<'m>>,
}

/// A model without the place it was read from.
#[derive(Serialize)]
struct ModelProvenance<'m> {
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
pub(super) fn append(folder: &RunFolder, models: &Models) -> Result<()> {
    let path = folder.path().join(FILE);
    let mut sessions: Vec<Value> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is no list of sessions", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let session = serde_json::to_value(Session {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("KAD_REVISION"),
        libraries: env!("KAD_LIBRARIES"),
        target: env!("KAD_TARGET"),
        cpu: machine::cpu_name(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        models: models.iter().map(|(name, model)| (name.as_str(), model.into())).collect(),
    })?;
    if sessions.last() != Some(&session) {
        sessions.push(session);
        folder.write_json(FILE, &sessions)?;
    }
    Ok(())
}
