//! What made the numbers of a run: program, machine, models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kad_backends::RunOptions;
use serde::Serialize;
use serde_json::Value;

use crate::machine;
use crate::models::{Model, Models};
use crate::run::RunFolder;
use crate::task::Task;

/// Program and libraries: a run is not continued by others.
pub(super) const VERSIONS: &str = concat!(env!("CARGO_PKG_VERSION"), "; ", env!("KAD_LIBRARIES"));

const NAME: &str = "provenance";

/// What this program was built with, of what can change numbers or speeds.
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

#[derive(Serialize)]
struct Session<'m> {
    /// Without places of this machine alone.
    command: String,
    version: &'static str,
    revision: &'static str,
    features: String,
    libraries: &'static str,
    target: &'static str,
    cpu: String,
    threads: usize,
    /// Items that were decoded at a time: their times are of so many.
    jobs: usize,
    models: BTreeMap<&'m str, ModelProvenance<'m>>,
    tasks: BTreeMap<&'m str, TaskProvenance>,
}

/// The items of a task, whatever file they are from.
#[derive(Serialize)]
struct TaskProvenance {
    items: usize,
    digest: String,
}

/// A model without the place it was read from.
#[derive(Serialize)]
pub(in crate::commands) struct ModelProvenance<'m> {
    source: &'m str,
    digest: &'m str,
    family: &'m str,
    parameters: Option<u64>,
    /// Of its matrices while it runs; of its files where that is not known.
    bytes: u64,
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
            bytes: details.weight_bytes_in_use(),
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

/// The command with these arguments, for a shell. Where data are read and results are kept is left
/// out, and which shard it was: no number depends on it; so is the folder of a file that is named
/// from the root, also behind `=`.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let mut words = vec!["kad".to_owned()];
    let mut follows = false;
    for argument in arguments {
        let (option, value) =
            argument.split_once('=').map_or((&*argument, false), |it| (it.0, true));
        let is_left_out = ["--out", "--data", "--shard"].contains(&option);
        if argument == "--quiet" || argument == "-q" {
            continue;
        }
        if std::mem::replace(&mut follows, is_left_out && !value) || is_left_out {
            continue;
        }
        // A path stands alone, or behind `--option=` or `key=`.
        let (key, path) = argument.rsplit_once('=').map_or(("", &*argument), |it| it);
        let equals = if key.is_empty() { "" } else { "=" };
        let word = match Path::new(path).file_name().and_then(|name| name.to_str()) {
            Some(name) if Path::new(path).is_absolute() => format!("{key}{equals}{name}"),
            _ => argument,
        };
        let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
        words.push(match word.chars().all(is_plain) && !word.is_empty() {
            true => word,
            false => format!("'{}'", word.replace('\'', "'\\''")),
        });
    }
    words.join(" ")
}

/// Adds this session to the list of those that made the run, unless it is the last one again.
///
/// # Errors
/// If the file cannot be read or written.
pub(super) fn append(
    folder: &RunFolder,
    models: &Models,
    tasks: &[Task],
    jobs: usize,
) -> Result<()> {
    let file = folder.own(NAME, "json");
    let mut sessions = sessions(&folder.path().join(&file))?;
    let features = FEATURES.iter().filter(|(_, enabled)| *enabled).map(|(name, _)| *name);
    let of_task = |task: &Task| TaskProvenance { items: task.items.len(), digest: task.digest() };
    let session = serde_json::to_value(Session {
        command: command(std::env::args().skip(1)),
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("KAD_REVISION"),
        features: features.collect::<Vec<_>>().join(", "),
        libraries: env!("KAD_LIBRARIES"),
        target: env!("KAD_TARGET"),
        cpu: machine::cpu_name(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        jobs,
        models: models.iter().map(|(name, model)| (name.as_str(), model.into())).collect(),
        tasks: tasks.iter().map(|task| (task.name.as_str(), of_task(task))).collect(),
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

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn commands_can_be_pasted_and_name_no_folder_of_this_machine() {
        let of = |words: &[&str]| command(words.iter().map(|word| (*word).to_owned()));
        let asked = [
            "run",
            "/home/me/a b.toml",
            "--out",
            "/tmp/x",
            "--data=/d",
            "--limit",
            "3",
            "--shard",
            "1/2",
        ];
        assert_eq!(of(&asked), "kad run 'a b.toml' --limit 3");
        assert_eq!(
            of(&["run", "x/y.toml", "--set", "a=[1, 2]"]),
            "kad run x/y.toml --set 'a=[1, 2]'"
        );
        assert_eq!(of(&["run", "it's"]), "kad run 'it'\\''s'");
    }
}
