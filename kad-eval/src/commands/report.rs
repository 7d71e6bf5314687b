//! `kad report`: runs that are there, as tables for people and for programs.

mod show;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::ReportArgs;
use crate::failure::{Failure, WrongRequest};
use crate::output;
use crate::record::{Record, read};
use crate::summary::Summary;

/// A finished or interrupted run, as its folder holds it.
struct Run {
    folder: PathBuf,
    summary: Summary,
    plan: Value,
    /// Without their texts.
    records: Vec<Record>,
}

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let runs = args.runs.iter().map(|folder| open(folder)).collect::<Result<Vec<_>>>()?;
    output::print(&show::text(args, &runs)?)?;
    Ok(())
}

fn open(folder: &Path) -> Result<Run> {
    let summary = folder.join("summary.json");
    if !summary.exists() {
        bail!(WrongRequest(no_run(folder)));
    }
    let json = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let unknown = || format!("{} is not of this version of kad", summary.display());
    Ok(Run {
        summary: serde_json::from_str(&json("summary.json")?).with_context(unknown)?,
        plan: serde_json::from_str(&json("plan.json")?).with_context(unknown)?,
        records: read(&folder.join("records.jsonl"), &|_| true, &|it| it.without_text(false))?,
        folder: folder.to_owned(),
    })
}

/// What is there instead of a run.
fn no_run(folder: &Path) -> String {
    let shown = folder.display();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("there is no folder {shown}: name one that `kad run` printed");
    };
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    let named = |path: &PathBuf, start: &str| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
    };
    if inside.iter().any(|path| named(path, "records.shard-")) {
        return format!(
            "{shown} holds shards that are not put together: run the command that made them once \
             more, without --shard"
        );
    }
    match inside.iter().find(|path| path.join("summary.json").exists()) {
        Some(run) => format!("{shown} is no run but holds some: name one, as {}", run.display()),
        None => format!("{shown} is no run: it has no summary.json"),
    }
}
