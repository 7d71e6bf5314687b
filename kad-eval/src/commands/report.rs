//! `kad report`: runs that are there, as tables for people and for programs.

mod show;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::speed;
use crate::cli::ReportArgs;
use crate::compare::{Run, Texts};
use crate::failure::{Failure, WrongRequest};
use crate::record::{Key, Record, key, read};
use crate::summary::Summary;
use crate::{output, report};

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    if let Some(path) = &args.html {
        speed::check_writable(path, "page", "--html")?;
        write_page(path, &args.runs)?;
        return Ok(());
    }
    let text = match args.runs.as_slice() {
        folders if args.csv => show::csv(&each(folders, &summary)?)?,
        [folder] => show::one(args, &summary(folder)?)?,
        folders => show::several(args, &each(folders, &compared)?)?,
    };
    output::print(&text)?;
    Ok(())
}

fn each<T>(folders: &[PathBuf], open: &dyn Fn(&Path) -> Result<T>) -> Result<Vec<T>> {
    folders.iter().map(|folder| open(folder)).collect()
}

/// The numbers of the run in `folder`, which need nothing else of it.
fn summary(folder: &Path) -> Result<Summary> {
    if !folder.join("summary.json").exists() {
        bail!(WrongRequest(no_run(folder)));
    }
    let mut summary: Summary = json(folder, "summary.json")?;
    if summary.jobs.is_empty() {
        summary.jobs = report::jobs(folder)?;
    }
    Ok(summary)
}

fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not of this version of kad", path.display()))
}

/// With its plan and records.
fn open(folder: &Path) -> Result<Run> {
    // First: it says what is there instead of a run.
    let summary = summary(folder)?;
    let (records, texts) = records(folder)?;
    Ok(Run {
        summary,
        plan: json(folder, "plan.json").context(
            "plan and records are needed to compare runs and for pages; the summary alone is shown \
             by naming one run, or with --csv",
        )?,
        sessions: report::sessions(folder)?,
        records,
        texts,
        folder: folder.to_owned(),
    })
}

/// To be compared: its summary is of its records.
fn compared(folder: &Path) -> Result<Run> {
    let run = open(folder)?;
    match older(&run) {
        Some(words) => bail!(WrongRequest(words)),
        None => Ok(run),
    }
}

/// What to do where records were added after the summary was written, or are gone.
fn older(run: &Run) -> Option<String> {
    let summed: u64 = run.summary.arms.iter().map(|arm| arm.items).sum();
    let held = run.records.len() as u64;
    (summed != held).then(|| {
        format!(
            "{}: its summary.json is of {summed} finished items, its records are {held}; run the \
             command that made it once more: it continues, and sums up anew",
            run.folder.display()
        )
    })
}

/// Without their texts, of which a digest is kept. What several files hold counts once.
fn records(folder: &Path) -> Result<(Vec<Record>, Texts)> {
    let (mut records, texts, mut seen) =
        (Vec::new(), RefCell::new(Texts::default()), HashSet::<Key>::new());
    for file in report::record_files(folder)? {
        let light = |record: Record| {
            texts.borrow_mut().add(&record);
            record.without_text(false)
        };
        let found = read(&file, &|_| true, &light)?;
        records.extend(found.into_iter().filter(|record| seen.insert(key(record))));
    }
    Ok((records, texts.into_inner()))
}

/// One run's page anew, or the page that compares several.
fn write_page(path: &Path, folders: &[PathBuf]) -> Result<()> {
    let page = match folders {
        [folder] => {
            let run = open(folder)?;
            older(&run).iter().for_each(|words| output::note(&format!("warning: {words}")));
            report::page(&run.folder, &run.summary, &run.records)?
        }
        folders => report::comparison(&each(folders, &compared)?)?,
    };
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
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
