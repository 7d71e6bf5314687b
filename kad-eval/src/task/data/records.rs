//! Rows of files: JSON lines, JSON lists and parquet tables.

use std::collections::HashMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use serde::de::DeserializeOwned;

use super::parquet;

/// A row's place, for messages: `gsm8k/test.jsonl line 3`.
#[derive(Clone, Debug)]
pub(crate) struct At {
    path: Arc<Path>,
    unit: &'static str,
    number: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.path.display(), self.unit, self.number)
    }
}

/// Rows with their places, in the order of their files.
pub(crate) type Records<R> = Vec<(At, R)>;

/// The author of a file, who decides the remedy for a mistake in it.
#[derive(Clone, Copy)]
pub(crate) enum Author {
    Publisher,
    User,
}

impl Author {
    fn about_empty(self) -> &'static str {
        match self {
            Author::Publisher => "fetch it again",
            Author::User => "write one JSON object per line",
        }
    }

    fn about_malformed(self, unit: &str) -> String {
        match self {
            Author::Publisher => format!(
                "every {unit} is one item, with the fields that docs/TASKS.md and the dataset's own \
                 pages name: fix it, or fetch the file again"
            ),
            Author::User => format!("every {unit} is one item, a JSON object: fix it"),
        }
    }
}

/// The rows of published files that continue each other.
pub(super) fn read<R: DeserializeOwned>(paths: &[PathBuf]) -> Result<Records<R>> {
    let mut all = Vec::new();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str());
        all.extend(match ending {
            Some("parquet") => table(path)?,
            Some("json") => entries(path, &text(path)?)?,
            _ => lines(path, &text(path)?, Author::Publisher)?,
        });
    }
    Ok(all)
}

pub(crate) fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, error))
}

pub(super) fn unreadable(path: &Path, error: std::io::Error) -> anyhow::Error {
    let help = match error.kind() {
        ErrorKind::IsADirectory => "it is a folder: put the file there instead",
        ErrorKind::PermissionDenied => "make it readable for you (chmod +r)",
        ErrorKind::InvalidData => "it is not text in UTF-8: fetch it again",
        _ => "try to open it with another program",
    };
    anyhow!(error).context(format!("cannot read the task file {}: {help}", path.display()))
}

/// The text without the byte order mark that an editor may have put before it.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Reads JSON lines; blank ones are skipped.
pub(crate) fn lines<R: DeserializeOwned>(
    path: &Path,
    text: &str,
    author: Author,
) -> Result<Records<R>> {
    let lines = (1..).zip(without_mark(text).lines());
    let read = |line: &str| {
        serde_json::from_str(line).map_err(|error| match python_number(line, &error) {
            Some(fault) => fault,
            None => without_line(&error),
        })
    };
    let filled = lines.filter(|(_, line)| !line.trim().is_empty());
    numbered(path, "line", filled.map(|(number, line)| (number, read(line))), author)
}

fn entries<R: DeserializeOwned>(path: &Path, text: &str) -> Result<Records<R>> {
    let entries: Vec<R> = serde_json::from_str(without_mark(text)).map_err(|error| {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
        let fault = python_number(line, &error).map(|fault| format!("{fault}; "));
        let (path, fault) = (path.display(), fault.unwrap_or_default());
        anyhow!(error).context(format!("{path} is malformed: {fault}fix it, or fetch it again"))
    })?;
    numbered(path, "entry", (1..).zip(entries.into_iter().map(Ok)), Author::Publisher)
}

fn table<R: DeserializeOwned>(path: &Path) -> Result<Records<R>> {
    let rows = parquet::rows(path)?.into_iter();
    let rows = rows.map(|row| serde_json::from_value(row).map_err(|error| error.to_string()));
    numbered(path, "row", (1..).zip(rows), Author::Publisher)
}

/// Rows with their places; an error of a row says what is malformed in it.
fn numbered<R>(
    path: &Path,
    unit: &'static str,
    rows: impl Iterator<Item = (usize, Result<R, String>)>,
    author: Author,
) -> Result<Records<R>> {
    let path: Arc<Path> = path.into();
    let record = |(number, row): (usize, Result<R, String>)| {
        let at = At { path: path.clone(), unit, number };
        let help = || author.about_malformed(unit);
        let row = row.map_err(|fault| anyhow!("{at} is malformed: {fault}; {}", help()))?;
        Ok((at, row))
    };
    let records = rows.map(record).collect::<Result<Records<R>>>()?;
    if records.is_empty() {
        bail!("{} holds no items: {}", path.display(), author.about_empty());
    }
    Ok(records)
}

/// The error of a text that is one line of a file: the parser's own line number would mislead.
fn without_line(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line 1 column {}", error.column()));
    match text.strip_suffix(&place) {
        Some(fault) => format!("{fault} (column {})", error.column()),
        None => text,
    }
}

/// The fault of a line with a number that Python writes and JSON does not have.
fn python_number(line: &str, error: &serde_json::Error) -> Option<String> {
    let is_there =
        |name: &&str| line.match_indices(*name).any(|(at, _)| at.abs_diff(error.column()) <= 2);
    let name = ["NaN", "Infinity"].into_iter().find(is_there).filter(|_| error.is_syntax())?;
    Some(format!("JSON has no {name} (column {}): write null or a number", error.column()))
}

/// Checks that no two ids are the same: records could not tell their items apart.
///
/// # Errors
/// The first two places that have one id.
pub(crate) fn check_distinct<'r>(ids: impl Iterator<Item = (&'r str, &'r At)>) -> Result<()> {
    let mut places: HashMap<&str, &At> = HashMap::new();
    for (id, at) in ids {
        if let Some(first) = places.insert(id, at) {
            bail!("{first} and {at} have the same ID `{id}`: change or remove one");
        }
    }
    Ok(())
}
