//! `kad report`: finished runs as tables for people and programs, alone or compared.

mod comparison_text;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::shared;
use crate::analysis::compare::{LoadedRun, TextDigests};
use crate::analysis::summary::Summary;
use crate::cli::ReportArgs;
use crate::failure::{Failure, WrongRequest};
use crate::numbers::counted;
use crate::run::record::Record;
use crate::run::{RunFile, StoredRun};
use crate::{files, output, report};

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let runs: Vec<StoredRun> = args.runs.iter().map(StoredRun::at).collect();
    if let Some(path) = &args.html {
        shared::check_writable(path, "page", "--html")?;
        write_page(path, &runs)?;
        return Ok(());
    }
    let text = match runs.as_slice() {
        runs if args.csv => {
            comparison_text::csv(&each(runs, 1, &|run| Ok((run.path(), shown(run)?)))?)?
        }
        [run] => comparison_text::one(args, &shown(run)?)?,
        runs => comparison_text::several(args, &each(runs, 2, &compared)?)?,
    };
    output::print(&text)?;
    Ok(())
}

/// Opens `runs`. Runs without a summary are left out with a warning, if at least `needed` others
/// remain.
fn each<'f, T>(
    runs: &'f [StoredRun],
    needed: usize,
    open: &dyn Fn(&'f StoredRun) -> Result<T>,
) -> Result<Vec<T>> {
    let begun = runs.iter().map(unfinished).collect::<Result<Vec<_>>>()?;
    let enough = begun.iter().filter(|words| words.is_none()).count() >= needed;
    let mut opened = Vec::new();
    for (run, words) in runs.iter().zip(begun) {
        match words {
            Some(words) if enough => output::warning(&format!("left out: {words}")),
            // Where too few remain, an unfinished run is the error.
            _ => opened.push(open(run)?),
        }
    }
    Ok(opened)
}

fn summary(run: &StoredRun) -> Result<Summary> {
    if let Some(summary) = run.read(RunFile::Summary)? {
        return Ok(summary);
    }
    bail!(WrongRequest(unfinished(run)?.unwrap_or_else(|| no_run(run.path()))))
}

/// The summary of a run shown alone, with a warning if it does not match the records beside it.
fn shown(run: &StoredRun) -> Result<Summary> {
    let summary = summary(run)?;
    let summed = summed(&summary);
    let records = match run.record_lines()? {
        // Several files may hold an item.
        Some(lines) if lines != summed => {
            let mut distinct = 0;
            run.each_record(&|_| true, &mut |_| {
                distinct += 1;
                Ok(())
            })?;
            Some(distinct)
        }
        lines => lines,
    };
    let words = records.and_then(|records| outdated(run, summed, records));
    words.iter().for_each(|words| output::warning(words));
    Ok(summary)
}

fn summed(summary: &Summary) -> u64 {
    summary.results.iter().map(|result| result.items).sum()
}

/// Reads a run with plan and records, which keep digests of their texts.
fn open(stored: &StoredRun) -> Result<LoadedRun> {
    // First, for its message about folders that are no runs.
    let summary = summary(stored)?;
    let (mut records, mut texts) = (Vec::new(), TextDigests::default());
    stored.each_record(&|_| true, &mut |record: Record| {
        texts.add(&record);
        records.push(record.without_text(false));
        Ok(())
    })?;
    let plan = stored.read(RunFile::Plan)?.with_context(|| {
        format!(
            "cannot read {}: comparisons and pages need plan and records; for the summary alone, \
             name one run or pass --csv",
            stored.file(RunFile::Plan).display()
        )
    })?;
    let sessions = stored.provenance()?;
    Ok(LoadedRun { stored: stored.clone(), summary, plan, sessions, records, texts })
}

/// Reads a run for a comparison, which needs a summary that matches the records.
fn compared(run: &StoredRun) -> Result<LoadedRun> {
    let run = open(run)?;
    match outdated_run(&run) {
        Some(words) => bail!(WrongRequest(words)),
        None => Ok(run),
    }
}

/// [`outdated`] for a run in memory.
fn outdated_run(run: &LoadedRun) -> Option<String> {
    outdated(&run.stored, summed(&run.summary), run.records.len() as u64)
}

/// A message if records were added or removed after the summary was written.
fn outdated(run: &StoredRun, summed: u64, records: u64) -> Option<String> {
    (summed != records).then(|| {
        format!(
            "{}: summary.json covers {}, but the run has {}: rerun the command to update the \
             summary",
            run.path().display(),
            counted(summed, "finished item"),
            counted(records, "record")
        )
    })
}

fn write_page(path: &Path, runs: &[StoredRun]) -> Result<()> {
    let page = match runs {
        [run] => {
            let run = open(run)?;
            outdated_run(&run).iter().for_each(|words| output::warning(words));
            report::page(&run.stored, &run.summary, &run.records)?
        }
        runs => report::comparison(&each(runs, 2, &compared)?)?,
    };
    files::write(path, &page).with_context(|| format!("cannot write {}", path.display()))
}

/// A message about a run without a summary; none for finished runs and other folders.
fn unfinished(run: &StoredRun) -> Result<Option<String>> {
    if run.has(RunFile::Summary) || !run.path().is_dir() {
        return Ok(None);
    }
    let shown = run.path().display();
    if run.has_shards()? {
        return Ok(Some(format!("{shown} has unmerged shards: rerun the command without --shard")));
    }
    let lines = run.record_lines()?;
    // The plan is written before the first item.
    let begun = lines.is_some() || run.has(RunFile::Plan);
    Ok(begun.then(|| {
        format!(
            "{shown} is unfinished: {} and no summary yet; the same `kad run` continues",
            counted(lines.unwrap_or(0), "record")
        )
    }))
}

fn no_run(folder: &Path) -> String {
    let shown = folder.display();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return format!("there is no folder {shown}: name one that `kad run` printed");
    };
    let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    match inside.iter().find(|path| StoredRun::at(*path).has(RunFile::Summary)) {
        Some(run) => format!(
            "{shown} is not the folder of a run; it contains runs, for example {}",
            run.display()
        ),
        None => format!("{shown} is not the folder of a run: it has no summary.json"),
    }
}
