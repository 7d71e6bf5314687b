//! `kad report`: runs that are there, as tables for people and for programs.

mod show;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use super::speed;
use crate::analysis::compare::{Run, Texts};
use crate::analysis::summary::Summary;
use crate::cli::ReportArgs;
use crate::failure::{Failure, WrongRequest};
use crate::run::record::{Key, Record, each as each_record, key, lines, read};
use crate::{output, report};

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    if let Some(path) = &args.html {
        speed::check_writable(path, "page", "--html")?;
        write_page(path, &args.runs)?;
        return Ok(());
    }
    let text = match args.runs.as_slice() {
        folders if args.csv => {
            show::csv(&each(folders, 1, &|folder| Ok((folder, shown(folder)?)))?)?
        }
        [folder] => show::one(args, &shown(folder)?)?,
        folders => show::several(args, &each(folders, 2, &compared)?)?,
    };
    output::print(&text)?;
    Ok(())
}

/// The runs in `folders`. Those that have no summary yet are left out with a warning, if at least
/// `needed` folders remain.
fn each<'f, T>(
    folders: &'f [PathBuf],
    needed: usize,
    open: &dyn Fn(&'f Path) -> Result<T>,
) -> Result<Vec<T>> {
    let begun = folders.iter().map(|folder| unfinished(folder)).collect::<Result<Vec<_>>>()?;
    let enough = begun.iter().filter(|words| words.is_none()).count() >= needed;
    let mut runs = Vec::new();
    for (folder, words) in folders.iter().zip(begun) {
        match words {
            Some(words) if enough => output::warning(&format!("left out: {words}")),
            // Where too few remain, what is unfinished is the error.
            _ => runs.push(open(folder)?),
        }
    }
    Ok(runs)
}

/// The numbers of the run in `folder`, which need nothing else of it.
fn summary(folder: &Path) -> Result<Summary> {
    if !folder.join("summary.json").exists() {
        bail!(WrongRequest(unfinished(folder)?.unwrap_or_else(|| no_run(folder))));
    }
    let mut summary: Summary = json(folder, "summary.json")?;
    if summary.jobs.is_empty() {
        summary.jobs = report::jobs(folder)?;
    }
    Ok(summary)
}

/// To be shown by itself: a summary that is not of the records beside it is shown with a warning.
fn shown(folder: &Path) -> Result<Summary> {
    let summary = summary(folder)?;
    let summed = summed(&summary);
    let held = match count(folder)? {
        // Lines of several files may be of one item.
        Some(lines) if lines != summed => Some(distinct(folder)?),
        lines => lines,
    };
    let words = held.and_then(|held| older(folder, summed, held));
    words.iter().for_each(|words| output::warning(words));
    Ok(summary)
}

/// The finished items that a summary is of.
fn summed(summary: &Summary) -> u64 {
    summary.results.iter().map(|result| result.items).sum()
}

/// Lines of records in `folder`; none where only the summary was kept.
fn count(folder: &Path) -> Result<Option<u64>> {
    let counts = report::record_files(folder)?.into_iter().map(|file| lines(&file));
    Ok(counts.collect::<Result<Vec<u64>>>()?.into_iter().reduce(|a, b| a + b))
}

/// What several files hold counts once.
fn distinct(folder: &Path) -> Result<u64> {
    let mut seen = HashSet::<Key>::new();
    for file in report::record_files(folder)? {
        each_record(&file, &mut |record| {
            seen.insert(key(&record));
            Ok(())
        })?;
    }
    Ok(seen.len() as u64)
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
    match stale(&run) {
        Some(words) => bail!(WrongRequest(words)),
        None => Ok(run),
    }
}

/// As [`older`], of a run whose records are read.
fn stale(run: &Run) -> Option<String> {
    older(&run.folder, summed(&run.summary), run.records.len() as u64)
}

/// What to do where records were added after the summary was written, or are gone.
fn older(folder: &Path, summed: u64, held: u64) -> Option<String> {
    (summed != held).then(|| {
        format!(
            "{}: its summary.json is of {summed} finished items, its records are {held}; run the \
             command that made it once more: it continues, and sums up anew",
            folder.display()
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
            stale(&run).iter().for_each(|words| output::warning(words));
            report::page(&run.folder, &run.summary, &run.records)?
        }
        folders => report::comparison(&each(folders, 2, &compared)?)?,
    };
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

/// What to do about a run that has no summary yet; none of what has one, or is no run.
fn unfinished(folder: &Path) -> Result<Option<String>> {
    if folder.join("summary.json").exists() || !folder.is_dir() {
        return Ok(None);
    }
    let shown = folder.display();
    let files = report::record_files(folder)?;
    let is_shard = |path: &PathBuf| named(path, "records.shard-");
    if files.iter().any(is_shard) {
        return Ok(Some(format!(
            "{shown} holds shards that are not put together: run the command that made them once \
             more, without --shard"
        )));
    }
    // The plan is there before the first item is finished.
    let begun = !files.is_empty() || folder.join("plan.json").exists();
    let records = count(folder)?.unwrap_or(0);
    let s = if records == 1 { "" } else { "s" };
    Ok(begun.then(|| {
        format!(
            "{shown} is unfinished: {records} record{s} and no summary yet; the same `kad run` \
             continues"
        )
    }))
}

fn named(path: &Path, start: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(start))
}

/// What is there instead of a run.
fn no_run(folder: &Path) -> String {
    let shown = folder.display();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("there is no folder {shown}: name one that `kad run` printed");
    };
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    match inside.iter().find(|path| path.join("summary.json").exists()) {
        Some(run) => format!("{shown} is no run but holds some: name one, as {}", run.display()),
        None => format!("{shown} is no run: it has no summary.json"),
    }
}
