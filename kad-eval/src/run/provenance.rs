//! `provenance.json`: the sessions that made a run, each with its program, machine, models and
//! tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::folder::RunFolder;
use super::stored::{PROVENANCE, read_json};
use crate::machine::Machine;
use crate::models::{Model, Models};
use crate::task::Task;

/// Features that change numbers or speeds, and whether this program was built with them.
const FEATURES: [(&str, bool); 8] = [
    ("accelerate", cfg!(feature = "accelerate")),
    ("burn", cfg!(feature = "burn")),
    ("candle", cfg!(feature = "candle")),
    ("cuda", cfg!(feature = "cuda")),
    ("metal", cfg!(feature = "metal")),
    ("mkl", cfg!(feature = "mkl")),
    ("ort", cfg!(feature = "ort")),
    ("tch", cfg!(feature = "tch")),
];

/// A session of a run: an entry of `provenance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProvenanceEntry {
    /// The command for a shell, without paths of this machine; empty where a Rust program called
    /// the library.
    pub(crate) command: String,
    pub(crate) version: String,
    pub(crate) revision: String,
    /// Features that it was built with, separated by commas.
    pub(crate) features: String,
    /// Names and versions of the libraries that compute.
    pub(crate) libraries: String,
    /// Architecture and instruction sets that it was built for.
    pub(crate) target: String,
    pub(crate) cpu: String,
    /// Threads that share a forward pass, where a model does not set its own number.
    pub(crate) threads: usize,
    /// Items decoded at a time: their times were measured beside each other.
    pub(crate) jobs: usize,
    /// Models by their names in the experiment.
    pub(crate) models: BTreeMap<String, ModelProvenance>,
    pub(crate) tasks: BTreeMap<String, TaskProvenance>,
}

/// The items of a task, from whatever file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskProvenance {
    pub(crate) items: usize,
    pub(crate) digest: String,
}

/// A model, without the path it was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ModelProvenance {
    pub(crate) source: String,
    pub(crate) digest: String,
    pub(crate) family: String,
    pub(crate) parameters: Option<u64>,
    /// Bytes of its matrices in memory, or of its files where that is not known.
    pub(crate) bytes: u64,
    pub(crate) backend: String,
    /// The library that computes, where the backend does not fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<String>,
    pub(crate) dtype: String,
    /// Threads that share its forward passes, where the experiment sets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// The device, unless it is the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    pub(crate) context_len: usize,
    pub(crate) vocabulary: usize,
    pub(crate) fingerprint: String,
}

impl From<&Model> for ModelProvenance {
    fn from(model: &Model) -> Self {
        let details = &model.details;
        let (threads, device) = (details.options.threads, details.options.device);
        Self {
            source: details.source.clone(),
            digest: model.digest.clone(),
            family: details.family.clone(),
            parameters: details.parameters,
            bytes: details.weight_bytes_in_use(),
            backend: details.backend.to_string(),
            library: details.library.clone(),
            dtype: details.dtype.to_string(),
            threads,
            device: (!device.is_cpu()).then(|| device.to_string()),
            context_len: details.context_len,
            vocabulary: details.vocab.size(),
            fingerprint: details.vocab.fingerprint().to_string(),
        }
    }
}

impl ProvenanceEntry {
    /// This program on this machine, with `jobs` items at a time.
    pub(crate) fn here(command: String, models: &Models, tasks: &[Task], jobs: usize) -> Self {
        let Machine { cpu, threads, target } = Machine::here();
        let features = FEATURES.iter().filter(|(_, enabled)| *enabled).map(|(name, _)| *name);
        let of_task =
            |task: &Task| TaskProvenance { items: task.items.len(), digest: task.digest() };
        Self {
            command,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: env!("KAD_REVISION").to_owned(),
            features: features.collect::<Vec<_>>().join(", "),
            libraries: env!("KAD_LIBRARIES").to_owned(),
            target,
            cpu,
            threads,
            jobs,
            models: models.iter().map(|(name, model)| (name.clone(), model.into())).collect(),
            tasks: tasks.iter().map(|task| (task.name.clone(), of_task(task))).collect(),
        }
    }

    /// The numbers of items at a time in `entries`, each once.
    pub(crate) fn jobs(entries: &[Self]) -> Vec<u64> {
        let jobs: BTreeSet<u64> = entries.iter().map(|entry| entry.jobs as u64).collect();
        jobs.into_iter().collect()
    }
}

impl RunFolder {
    /// Adds a session, unless it equals the last one.
    pub(crate) fn add_provenance(&self, entry: ProvenanceEntry) -> Result<()> {
        let file = self.own(PROVENANCE);
        let mut entries: Vec<ProvenanceEntry> =
            read_json(&self.path().join(&file))?.unwrap_or_default();
        if entries.last() != Some(&entry) {
            entries.push(entry);
            self.write_json(&file, &entries)?;
        }
        Ok(())
    }

    /// Moves the sessions of shards to those of the run, whose records are in one file now.
    pub(crate) fn join_provenance(&self) -> Result<Vec<ProvenanceEntry>> {
        let mut all = self.stored().provenance()?;
        let of_shards = self.of_shards(PROVENANCE)?;
        if of_shards.is_empty() {
            return Ok(all);
        }
        for path in &of_shards {
            let entries: Vec<ProvenanceEntry> = read_json(path)?.unwrap_or_default();
            let new = entries.into_iter().filter(|entry| !all.contains(entry));
            all.extend(new.collect::<Vec<_>>());
        }
        self.write_json(self.own(PROVENANCE), &all)?;
        let remove = |path: &PathBuf| {
            fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))
        };
        of_shards.iter().try_for_each(remove)?;
        Ok(all)
    }
}

/// An entry with one model and one task.
#[cfg(test)]
pub(crate) fn sample() -> ProvenanceEntry {
    let model = ModelProvenance {
        source: "nano:small-base".to_owned(),
        digest: "1".to_owned(),
        family: "llama".to_owned(),
        parameters: Some(9),
        bytes: 36,
        backend: "candle".to_owned(),
        dtype: "f32".to_owned(),
        context_len: 256,
        vocabulary: 300,
        fingerprint: "2".to_owned(),
        ..ModelProvenance::default()
    };
    let task = TaskProvenance { items: 6, digest: "3".to_owned() };
    ProvenanceEntry {
        command: "kad run x.toml".to_owned(),
        version: "1".to_owned(),
        revision: "r".to_owned(),
        features: "candle".to_owned(),
        libraries: "candle-core 1".to_owned(),
        target: "x86_64".to_owned(),
        cpu: "x".to_owned(),
        threads: 2,
        jobs: 1,
        models: BTreeMap::from([("m".to_owned(), model)]),
        tasks: BTreeMap::from([("nano".to_owned(), task)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let json = serde_json::to_string(&sample()).unwrap();
        assert!(!json.contains("library\"") && !json.contains("device"), "{json}");
        assert_eq!(serde_json::from_str::<ProvenanceEntry>(&json).unwrap(), sample());
        assert!(serde_json::from_str::<ProvenanceEntry>(r#"{"command": "kad"}"#).is_err());
    }

    #[test]
    fn numbers_of_jobs_are_named_once() {
        let entries = [2, 1, 2].map(|jobs| ProvenanceEntry { jobs, ..sample() });
        assert_eq!(ProvenanceEntry::jobs(&entries), [1, 2]);
    }
}
