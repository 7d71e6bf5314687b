//! Sets of problems: items, the prompt made of one, and how an answer is read and judged.
//!
//! A task is data. Adding one is a file here with a function that loads it, a variant of
//! [`TaskPlan`] and an arm in [`load`].

mod extract;
mod gsm8k;
mod nano;
mod spec_bench;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kad_backends::Message;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::config::TaskPlan;
use crate::failure::WrongRequest;

pub(crate) use spec_bench::PARTS as SPEC_BENCH_PARTS;

/// One problem.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Unique within the task, the same in every run.
    pub(crate) id: String,
    /// What the model is asked, as the user's message.
    pub(crate) prompt: String,
    /// The right answer; empty where the task is not graded.
    pub(crate) gold: String,
}

/// A loaded task.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// System message, if the task has one.
    pub(crate) system: Option<&'static str>,
    pub(crate) items: Vec<Item>,
    /// The answer a text gives, if it gives one.
    pub(crate) extract: fn(&str) -> Option<String>,
}

impl Task {
    /// The conversation that asks `item`.
    pub(crate) fn messages(&self, item: &Item) -> Vec<Message> {
        let system = self.system.map(Message::system);
        system.into_iter().chain([Message::user(&*item.prompt)]).collect()
    }

    /// Digest of all items: a run on changed data is another run.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for item in &self.items {
            for part in [&item.id, &item.prompt, &item.gold] {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        crate::hex(&hasher.finalize()[..8])
    }
}

/// Loads a task's items, at most `limit`; `data` is the folder of benchmark files, if the user
/// named one.
///
/// # Errors
/// If the file is missing or line k of it is malformed.
pub(crate) fn load(plan: &TaskPlan, data: Option<&Path>, limit: Option<u64>) -> Result<Task> {
    let mut task = match plan {
        TaskPlan::Nano { split, .. } => nano::load(split)?,
        TaskPlan::Gsm8k { .. } => gsm8k::load(data)?,
        TaskPlan::SpecBench { part, .. } => spec_bench::load(part.as_deref(), data)?,
    };
    task.name = plan.name();
    if let Some(most) = plan.items() {
        if most > task.items.len() as u64 {
            let held = task.items.len();
            bail!(WrongRequest(format!("{} has {held} items, {most} were asked for", task.name)));
        }
        task.items.truncate(most as usize);
    }
    task.items.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
    Ok(task)
}

/// The path of `file` in the data folder.
fn data_file(data: Option<&Path>, file: &str) -> Result<PathBuf> {
    let Some(folder) = data else {
        bail!(WrongRequest(format!(
            "this task reads {file} from a data folder: name it with `--data DIR` or in the \
             environment variable KAD_DATA"
        )));
    };
    Ok(folder.join(file))
}

/// Reads JSON lines with their line numbers; blank lines are skipped.
fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<(usize, T)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the task file {}", path.display()))?;
    let numbered = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(number, line)| {
            let parsed = serde_json::from_str(line)
                .with_context(|| format!("{} line {number} is malformed", path.display()))?;
            Ok((number, parsed))
        })
        .collect()
}
