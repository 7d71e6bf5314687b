//! Files of published tasks: in a data folder, or on the hub.

mod parquet;
mod records;
mod splits;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use kad_backends::LoadError;
use serde::de::DeserializeOwned;

use super::TaskKind;
use crate::failure::WrongRequest;
use crate::output;

use records::unreadable;
pub(super) use records::{Author, Records, check_distinct, lines, text};

/// The hub's name in `--data` and KAD_DATA.
const HUB: &str = "hf:";

/// The tables of a task in a dataset of the hub. Files are found by the names of their splits: some
/// names have digests in them, and a split may be cut into more files one day.
#[derive(Debug)]
pub(crate) struct HubFiles {
    /// The repository, and the folder in it.
    pub(super) path: &'static str,
    /// The splits of the items, in this order, and of worked examples.
    pub(super) splits: &'static [&'static str],
}

/// `openai/gsm8k/main: test, train`.
impl fmt::Display for HubFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.splits.join(", "))
    }
}

enum DataPlace<'a> {
    Folder(&'a Path),
    Hub,
}

impl<'a> DataPlace<'a> {
    fn of(data: Option<&'a Path>) -> Result<Option<Self>> {
        match data {
            Some(data) if data.as_os_str() == HUB => Ok(Some(DataPlace::Hub)),
            Some(data) if data.to_str().is_some_and(|data| data.starts_with(HUB)) => {
                bail!(WrongRequest(format!(
                    "`{}` is not a place for data: `{HUB}` alone takes every task from its own \
                     repository on the hub (docs/TASKS.md lists them), anything else is a folder",
                    data.display()
                )))
            }
            data => Ok(data.map(DataPlace::Folder)),
        }
    }
}

/// A file of a task, and the splits of the published tables that hold the same rows.
struct DataFile<'k> {
    kind: &'k TaskKind,
    /// Path in the data folder: `gsm8k/test.jsonl`.
    path: String,
    splits: Vec<&'k str>,
    hub: Option<&'k HubFiles>,
}

impl<'k> DataFile<'k> {
    fn items(kind: &'k TaskKind) -> Result<Self> {
        let Some(file) = kind.file else { bail!("{} has no published file", kind.name) };
        let examples = kind.examples.map(stem);
        let of_items = |split: &&str| Some(*split) != examples;
        let splits = match &kind.hub {
            Some(hub) => hub.splits.iter().copied().filter(of_items).collect(),
            None => vec![stem(file)],
        };
        let path = format!("{}/{file}", kind.name);
        Ok(Self { kind, path, splits, hub: kind.hub.as_ref() })
    }

    fn examples(kind: &'k TaskKind) -> Option<Self> {
        let file = kind.examples?;
        let hub = kind.hub.as_ref().filter(|hub| hub.splits.contains(&stem(file)));
        Some(Self { kind, path: format!("{}/{file}", kind.name), splits: vec![stem(file)], hub })
    }

    /// The tables with its rows. `None` if a folder has neither the file nor tables.
    fn find(&self, place: DataPlace<'_>) -> Result<Option<Vec<PathBuf>>> {
        match place {
            DataPlace::Folder(folder) => self.in_folder(folder),
            DataPlace::Hub => self.on_hub().map(Some),
        }
    }

    /// The file itself, else the tables in its folder. `None` if neither is there.
    fn in_folder(&self, data: &Path) -> Result<Option<Vec<PathBuf>>> {
        let path = data.join(&self.path);
        if path.exists() {
            return Ok(Some(vec![path]));
        }
        let folder = path.parent().unwrap_or(data);
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(folder, error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let names: Vec<String> = names.collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if !self.splits.iter().any(|split| splits::mentions(&names, split)) {
            return Ok(None);
        }
        let missing = |what| WrongRequest(format!("{}: {what} is missing", folder.display()));
        let files = splits::files(&names, &self.splits).map_err(missing)?;
        Ok(Some(files.iter().map(|file| folder.join(file)).collect()))
    }

    /// The tables of the hub's repository, in its cache.
    fn on_hub(&self) -> Result<Vec<PathBuf>> {
        let TaskKind { name, source, .. } = self.kind;
        let Some(hub) = self.hub else {
            bail!(WrongRequest(format!(
                "{name} is not on the hub in a form that kad reads: it comes from {source}; put it \
                 into a folder as {} and name that with `--data DIR`",
                self.path
            )));
        };
        let wanted = |names: &[&str]| splits::files(names, &self.splits);
        let end = hub.path.match_indices('/').nth(1).map_or(hub.path.len(), |(at, _)| at);
        let (repo, folder) = hub.path.split_at(end);
        let folder = folder.trim_start_matches('/');
        kad_backends::dataset(repo, folder, &wanted, &output::note).map_err(|error| {
            let offline = matches!(error, LoadError::Network { .. } | LoadError::NotFound { .. });
            let other = format!(
                "cannot get {name} from the hub (or use a folder with {}: docs/TASKS.md)",
                self.path
            );
            if offline { anyhow!(error).context(other) } else { anyhow!(error) }
        })
    }
}

fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

/// The rows of a task's file, or of the tables with the same rows: beside it, or on the hub.
///
/// # Errors
/// Fails if no place was named or nothing is there (with the file's origin) or a row is malformed
/// (with its place).
pub(super) fn items<R: DeserializeOwned>(
    kind: &TaskKind,
    data: Option<&Path>,
) -> Result<Records<R>> {
    let file = DataFile::items(kind)?;
    let (path, source) = (&file.path, kind.source);
    let Some(place) = DataPlace::of(data)? else {
        bail!(WrongRequest(format!(
            "this task reads {path} from a data folder: name the folder with `--data DIR` or the \
             environment variable KAD_DATA; the file comes from {source}; or pass `--data {HUB}` \
             to read it from the hub"
        )))
    };
    match file.find(place)? {
        Some(paths) => records::read(&paths),
        None => bail!(WrongRequest(format!(
            "there is no task file {}: the data folder (`--data` or KAD_DATA) must hold {path} (or \
             {}), which comes from {source}; docs/TASKS.md says how to get it",
            data.unwrap_or(Path::new("")).join(path).display(),
            splits::named(&file.splits)
        ))),
    }
}

/// The rows of a task's file of worked examples, if there is one.
pub(super) fn examples<R: DeserializeOwned>(
    kind: &TaskKind,
    data: Option<&Path>,
) -> Result<Option<Records<R>>> {
    match (DataFile::examples(kind), DataPlace::of(data)?) {
        (Some(file), Some(DataPlace::Hub)) if file.hub.is_none() => Ok(None),
        (Some(file), Some(place)) => {
            file.find(place)?.map(|paths| records::read(&paths)).transpose()
        }
        _ => Ok(None),
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Found {
    /// No place for data was named, or the task needs none.
    NotAsked,
    InFolder,
    OnHub,
    Missing,
}

impl TaskKind {
    /// The place where its items are, without fetching any.
    pub(crate) fn found(&self, data: Option<&Path>) -> Result<Found> {
        let (Some(place), Ok(file)) = (DataPlace::of(data)?, DataFile::items(self)) else {
            return Ok(Found::NotAsked);
        };
        Ok(match place {
            DataPlace::Folder(folder) if file.in_folder(folder)?.is_some() => Found::InFolder,
            DataPlace::Hub if file.hub.is_some() => Found::OnHub,
            _ => Found::Missing,
        })
    }
}
