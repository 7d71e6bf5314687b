//! The files of a run that are functions of its records, and the page of a run from its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::examples::{Pick, picks};
use super::repeat::Repeat;
use super::{Example, Expected, Report, html};
use crate::analysis::summary::Summary;
use crate::report::table;
use crate::run::RunFolder;
use crate::run::record::{Record, read};

/// What a page needs beside summary, records, plan and provenance.
const KEPT: &str = "report.json";

/// What no other file of the folder says.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Of the items that are shown.
    prompts: Vec<Prompt>,
    /// What the profiles of planned chains said.
    expected: Expected,
}

/// What an item asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prompt {
    task: String,
    item: String,
    text: String,
}

/// Writes everything that is made of a run's records beside them. `prompt` says what an item of a
/// task asked.
///
/// # Errors
/// If the records cannot be read again (a run does not keep their texts), or the disk is full.
pub(crate) fn write(
    folder: &RunFolder,
    (summary, records): (&Summary, &[Record]),
    prompt: &dyn Fn(&str, &str) -> Option<String>,
    expected: Expected,
) -> Result<()> {
    let of = |pick: Pick| {
        let text = prompt(&pick.task, &pick.item)?;
        Some(Prompt { task: pick.task, item: pick.item, text })
    };
    let prompts = picks(summary, records).into_iter().filter_map(of).collect();
    folder.write_json("summary.json", summary)?;
    folder.write("summary.md", &(table::markdown(summary) + "\n"))?;
    folder.write("summary.csv", &table::csv(&[("", summary)])?)?;
    folder.write_json(KEPT, &Kept { prompts, expected })?;
    folder.write("report.html", &page(folder.path(), summary, records)?)
}

/// The page of the run in `folder`; `records` need no texts.
///
/// # Errors
/// If a file of the folder cannot be read, or a chart cannot be drawn.
pub(crate) fn page(folder: &Path, summary: &Summary, records: &[Record]) -> Result<String> {
    // Runs of versions that kept nothing have no prompts on their pages.
    let kept: Kept = json(folder, KEPT)?.unwrap_or_default();
    let examples = examples(folder, picks(summary, records), &kept)?;
    let repeat = Repeat::of(folder)?;
    html(&Report { summary, examples: &examples, expected: &kept.expected, repeat: &repeat })
}

/// What `folder` holds under this name; none if there is no such file.
///
/// # Errors
/// If it cannot be read or is something else.
pub(super) fn json<T: for<'de> Deserialize<'de>>(folder: &Path, name: &str) -> Result<Option<T>> {
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .with_context(|| format!("{} is not of this version of kad", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Every file of finished items in `folder`, that of the whole run first.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn record_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let name = entry.file_name();
        let is_one = |name: &str| name.starts_with("records.") && name.ends_with(".jsonl");
        if name.to_str().is_some_and(is_one) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The texts of the picks, read again.
fn examples(folder: &Path, picks: Vec<Pick>, kept: &Kept) -> Result<Vec<Example>> {
    let mut examples: Vec<Example> = picks.into_iter().map(Example::without_texts).collect();
    for example in &mut examples {
        let own = |it: &&Prompt| (&it.task, &it.item) == (&example.task, &example.item);
        example.prompt = kept.prompts.iter().find(own).map(|prompt| prompt.text.clone());
    }
    for file in record_files(folder)? {
        let place =
            |r: &Record| examples.iter().position(|it| it.task == r.task && it.item == r.item);
        let found = read(&file, &|record| place(record).is_some(), &|record| record)?;
        for record in found {
            let own = |it: &&mut Example| it.task == record.task && it.item == record.item;
            let Some(example) = examples.iter_mut().find(own) else { continue };
            if example.records.iter().all(|known| known.decoder != record.decoder) {
                example.records.push(record);
            }
        }
    }
    Ok(examples)
}
