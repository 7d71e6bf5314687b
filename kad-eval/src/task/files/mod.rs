//! Files of sets: in the data folder, or on the hub.

mod parquet;
mod tables;

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use kad_backends::LoadError;
use serde::de::DeserializeOwned;

use super::{CATALOGUE, Entry};
use crate::failure::WrongRequest;
use crate::output;

/// What `--data` and KAD_DATA call the hub.
const HUB: &str = "hf:";

/// Where sets are looked for.
enum Place<'a> {
    Folder(&'a Path),
    Hub,
}

impl<'a> Place<'a> {
    fn of(data: Option<&'a Path>) -> Result<Option<Self>> {
        match data {
            Some(data) if data.as_os_str() == HUB => Ok(Some(Place::Hub)),
            Some(data) if data.to_str().is_some_and(|data| data.starts_with(HUB)) => {
                bail!(WrongRequest(format!(
                    "`{}` is no place for data: `{HUB}` alone takes every set from its own \
                     repository on the hub (docs/TASKS.md lists them), anything else is a folder",
                    data.display()
                )))
            }
            data => Ok(data.map(Place::Folder)),
        }
    }
}

/// A record's place, as messages name it: `gsm8k/test.jsonl line 3`.
#[derive(Clone, Debug)]
pub(super) struct At {
    path: Arc<Path>,
    unit: &'static str,
    number: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.path.display(), self.unit, self.number)
    }
}

/// Records with their places, in the order of their files.
pub(super) type Records<T> = Vec<(At, T)>;

/// The records of `file` of the data folder, or of the tables that hold the same: a table beside
/// it, or the hub's.
///
/// # Errors
/// If no place was named or nothing is there: with where to get it. If a record is malformed: with
/// its place.
pub(super) fn records<T: DeserializeOwned>(data: Option<&Path>, file: &str) -> Result<Records<T>> {
    let get = entry(file).map_or("", |entry| entry.get);
    let found = match Place::of(data)? {
        None => bail!(WrongRequest(format!(
            "this task reads {file} from a data folder: name it with `--data DIR` or in the \
             environment variable KAD_DATA; the file comes from {get}; `--data {HUB}` takes it from \
             the hub where that has it"
        ))),
        Some(Place::Folder(folder)) => in_folder(folder, file)?,
        Some(Place::Hub) => Some(on_hub(file)?),
    };
    match (found, data) {
        (Some(paths), _) => read_all(&paths),
        (None, data) => bail!(WrongRequest(format!(
            "there is no task file {}: the data folder (`--data` or KAD_DATA) must hold {file} (or \
             {}), which comes from {get}; docs/TASKS.md says how to get it",
            data.unwrap_or(Path::new("")).join(file).display(),
            tables::named(&splits(file))
        ))),
    }
}

/// The records of a file that need not be there.
///
/// # Errors
/// If it is there and cannot be read.
pub(super) fn optional<T: DeserializeOwned>(
    data: Option<&Path>,
    file: &str,
) -> Result<Option<Records<T>>> {
    let found = match Place::of(data)? {
        None => None,
        Some(Place::Folder(folder)) => in_folder(folder, file)?,
        Some(Place::Hub) => {
            let hub = entry(file).and_then(|entry| entry.hub.as_ref());
            let published = hub.is_some_and(|hub| hub.examples == Some(stem(file)));
            if published { Some(on_hub(file)?) } else { None }
        }
    };
    found.map(|paths| read_all(&paths)).transpose()
}

/// Where the items of a set are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Found {
    /// Nobody said where to look, or the set needs no file.
    Unasked,
    InFolder,
    OnHub,
    Missing,
}

/// Where the items of a set are, without fetching any.
///
/// # Errors
/// If `data` is no place.
pub(crate) fn found(entry: &Entry, data: Option<&Path>) -> Result<Found> {
    let (Some(place), Some(file)) = (Place::of(data)?, entry.file) else {
        return Ok(Found::Unasked);
    };
    let there = match place {
        Place::Folder(folder) if in_folder(folder, file)?.is_some() => Found::InFolder,
        Place::Hub if entry.hub.is_some() => Found::OnHub,
        _ => Found::Missing,
    };
    Ok(there)
}

/// The set that `file` belongs to.
fn entry(file: &str) -> Option<&'static Entry> {
    let set = file.split('/').next().unwrap_or(file);
    CATALOGUE.iter().find(|entry| entry.name == set)
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

/// The splits of the published tables that hold what `file` holds.
fn splits(file: &str) -> Vec<&str> {
    match entry(file) {
        Some(Entry { file: Some(items), hub: Some(hub), .. }) if *items == file => hub.items.into(),
        _ => vec![stem(file)],
    }
}

/// The file itself, else the tables in its folder; none if neither is there.
fn in_folder(data: &Path, file: &str) -> Result<Option<Vec<PathBuf>>> {
    let path = data.join(file);
    if path.exists() {
        return Ok(Some(vec![path]));
    }
    let folder = path.parent().unwrap_or(data);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(folder, error)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let names: Vec<String> = names.collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let splits = splits(file);
    if !splits.iter().any(|split| tables::mentions(&names, split)) {
        return Ok(None);
    }
    let missing = |what| WrongRequest(format!("{}: {what} is missing", folder.display()));
    let files = tables::files(&names, &splits).map_err(missing)?;
    Ok(Some(files.iter().map(|file| folder.join(file)).collect()))
}

/// The tables of the hub's repository, in its cache.
fn on_hub(file: &str) -> Result<Vec<PathBuf>> {
    let Some(Entry { name, get, hub, .. }) = entry(file) else { bail!("no task reads {file}") };
    let Some(hub) = hub else {
        bail!(WrongRequest(format!(
            "{name} is not on the hub in a form that kad knows: it comes from {get}; put it into a \
             folder as {file} and name that with `--data DIR`"
        )));
    };
    let splits = splits(file);
    let wanted = |names: &[&str]| tables::files(names, &splits);
    kad_backends::dataset(hub.repo, hub.folder, &wanted, &output::note).map_err(|error| {
        let offline = matches!(error, LoadError::Network { .. } | LoadError::NotFound { .. });
        let other = format!(
            "cannot get {name} from the hub (a folder with {file} does as well: docs/TASKS.md)"
        );
        if offline { anyhow!(error).context(other) } else { anyhow!(error) }
    })
}

/// The records of files that continue each other.
fn read_all<T: DeserializeOwned>(paths: &[PathBuf]) -> Result<Records<T>> {
    let mut all = Vec::new();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str());
        all.extend(match ending {
            Some("parquet") => parquet::rows(path)?,
            Some("json") => entries(path, &text(path)?)?,
            _ => lines(path, &text(path)?, Maker::Publisher)?,
        });
    }
    Ok(all)
}

/// The text of a task file.
///
/// # Errors
/// If it cannot be read, with what to do.
pub(super) fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> anyhow::Error {
    let help = match error.kind() {
        ErrorKind::IsADirectory => "it is a folder: put the file there instead",
        ErrorKind::PermissionDenied => "make it readable for you (chmod +r)",
        ErrorKind::InvalidData => "it is no text in UTF-8: fetch it again",
        _ => "see whether it can be opened with another program",
    };
    anyhow!(error).context(format!("cannot read the task file {}: {help}", path.display()))
}

/// Who made a file, and so what to do about a mistake in it.
#[derive(Clone, Copy)]
pub(super) enum Maker {
    /// Whoever published the set.
    Publisher,
    /// The user.
    User,
}

impl Maker {
    fn about_empty(self) -> &'static str {
        match self {
            Maker::Publisher => ": fetch it again",
            Maker::User => ": write one JSON object per line",
        }
    }

    fn about_malformed(self, unit: &str) -> String {
        match self {
            Maker::Publisher => format!(
                "every {unit} is one item, with the fields that docs/TASKS.md and the set's own pages \
                 name: mend it, or fetch the file again"
            ),
            Maker::User => format!("every {unit} is one item, a JSON object: mend it"),
        }
    }
}

/// What an editor may have put before the text.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads JSON lines; blank ones are skipped.
///
/// # Errors
/// The first line that is malformed, by number.
pub(super) fn lines<T: DeserializeOwned>(
    path: &Path,
    text: &str,
    maker: Maker,
) -> Result<Records<T>> {
    let path: Arc<Path> = path.into();
    let text = without_mark(text);
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let lines: Records<T> = numbered
        .map(|(number, line)| {
            let at = At { path: path.clone(), unit: "line", number };
            match serde_json::from_str(line) {
                Ok(record) => Ok((at, record)),
                Err(error) => Err(malformed(&at, &error, maker)),
            }
        })
        .collect::<Result<_>>()?;
    not_empty(&path, lines, maker)
}

fn malformed(at: &At, error: &serde_json::Error, maker: Maker) -> anyhow::Error {
    // The parser saw this line alone, so its line number would mislead.
    let (text, place) = (error.to_string(), format!(" at line 1 column {}", error.column()));
    let what = match text.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    };
    anyhow!("{at} is malformed: {what}; {}", maker.about_malformed(at.unit))
}

/// Reads one JSON list.
fn entries<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Records<T>> {
    let path: Arc<Path> = path.into();
    let entries: Vec<T> = serde_json::from_str(without_mark(text))
        .with_context(|| format!("{} is malformed: mend it, or fetch it again", path.display()))?;
    let at = |number| At { path: path.clone(), unit: "entry", number };
    not_empty(&path, (1..).map(at).zip(entries).collect(), Maker::Publisher)
}

fn not_empty<T>(path: &Path, records: Records<T>, maker: Maker) -> Result<Records<T>> {
    if records.is_empty() {
        bail!("{} holds no items{}", path.display(), maker.about_empty());
    }
    Ok(records)
}

/// That no two records have one id.
///
/// # Errors
/// The first two that have, by their places.
pub(super) fn distinct<T>(records: &Records<T>, id: impl Fn(&T) -> String) -> Result<()> {
    let mut places: HashMap<String, &At> = HashMap::new();
    for (at, record) in records {
        if let Some(first) = places.insert(id(record), at) {
            bail!(
                "{first} and {at} have the same id, {}: results could not tell them apart; give one \
                 another id, or remove it",
                id(record)
            );
        }
    }
    Ok(())
}
