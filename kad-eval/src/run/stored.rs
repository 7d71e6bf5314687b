//! Read access to the folder of a run.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::Shard;
use super::provenance::ProvenanceEntry;
use super::record::{Record, RecordKey, each, key, lines};

/// The records of a run. A shard has a file of its own, [`Shard::file`].
pub(super) const RECORDS: &str = "records.jsonl";

/// The sessions of a run. A shard has a file of its own, [`Shard::file`].
pub(super) const PROVENANCE: &str = "provenance.json";

/// A file of a run's folder. Records have files of their own, see [`StoredRun::each_record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunFile {
    /// The experiment as JSON, with defaults and sweeps written out.
    Plan,
    Provenance,
    /// Forward passes and logits measured before decoding.
    Passes,
    /// The results as JSON, Markdown and CSV.
    Summary,
    SummaryMarkdown,
    SummaryCsv,
    /// Prompts and predictions that the page shows and no other file holds.
    ReportData,
    ReportPage,
    ModelComparison,
}

impl AsRef<Path> for RunFile {
    fn as_ref(&self) -> &Path {
        Path::new(match self {
            RunFile::Plan => "plan.json",
            RunFile::Provenance => PROVENANCE,
            RunFile::Passes => "passes.json",
            RunFile::Summary => "summary.json",
            RunFile::SummaryMarkdown => "summary.md",
            RunFile::SummaryCsv => "summary.csv",
            RunFile::ReportData => "report.json",
            RunFile::ReportPage => "report.html",
            RunFile::ModelComparison => "models.md",
        })
    }
}

/// A run as its folder holds it, to be read only. Nothing is locked: the files are written
/// atomically, and records line by line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRun {
    path: PathBuf,
}

impl StoredRun {
    /// The run in the folder `path`, which need not exist.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, file: RunFile) -> PathBuf {
        self.path.join(file)
    }

    pub(crate) fn has(&self, file: RunFile) -> bool {
        self.file(file).exists()
    }

    /// The contents of `file`; none if there is no such file.
    pub(crate) fn read<T: DeserializeOwned>(&self, file: RunFile) -> Result<Option<T>> {
        read_json(&self.file(file))
    }

    /// The sessions that made the run, in order; empty where they were not kept.
    pub(crate) fn provenance(&self) -> Result<Vec<ProvenanceEntry>> {
        Ok(self.read(RunFile::Provenance)?.unwrap_or_default())
    }

    /// True if there are unmerged records of shards.
    pub(crate) fn has_shards(&self) -> Result<bool> {
        let files = self.record_files()?;
        Ok(files.iter().any(|(name, _)| name != RECORDS))
    }

    /// Number of lines in all files of records, which may hold an item twice; none if there is no
    /// such file.
    pub(crate) fn record_lines(&self) -> Result<Option<u64>> {
        let counts = self.record_files()?.into_iter().map(|(_, path)| lines(&path));
        Ok(counts.collect::<Result<Vec<u64>>>()?.into_iter().reduce(|a, b| a + b))
    }

    /// Gives every `wanted` record to `see`, also records of shards; a record that several files
    /// hold only once.
    pub(crate) fn each_record(
        &self,
        wanted: &dyn Fn(&Record) -> bool,
        see: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let mut seen = HashSet::<RecordKey>::new();
        for (_, file) in self.record_files()? {
            each(&file, &mut |record| match wanted(&record) && seen.insert(key(&record)) {
                true => see(record),
                false => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Names and paths of the files of records, the file of the whole run first.
    fn record_files(&self) -> Result<Vec<(String, PathBuf)>> {
        let is_of_records =
            |(name, _): &(String, _)| name == RECORDS || Shard::of_file(name, RECORDS).is_some();
        Ok(files_in(&self.path)?.into_iter().filter(is_of_records).collect())
    }
}

/// Names and paths of the files in `folder`, in the order of their names.
pub(super) fn files_in(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if let Ok(name) = entry.file_name().into_string() {
            files.push((name, entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// The contents of a JSON file; none if there is no such file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} was not written by this version of kad", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}
