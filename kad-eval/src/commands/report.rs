//! `kad report`: runs that are there, as tables for people and for programs.

mod show;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::speed;
use crate::cli::ReportArgs;
use crate::compare::{Run, Texts};
use crate::failure::{Failure, WrongRequest};
use crate::record::{Key, Record, key, read};
use crate::{output, report};

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let runs = args.runs.iter().map(|folder| open(folder)).collect::<Result<Vec<_>>>()?;
    if let Some(path) = &args.html {
        speed::check_writable(path, "page", "--html")?;
        write_page(path, &runs)?;
        return Ok(());
    }
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
    let (records, texts) = records(folder)?;
    Ok(Run {
        summary: serde_json::from_str(&json("summary.json")?).with_context(unknown)?,
        plan: serde_json::from_str(&json("plan.json")?).with_context(unknown)?,
        records,
        texts,
        folder: folder.to_owned(),
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
fn write_page(path: &Path, runs: &[Run]) -> Result<()> {
    let page = match runs {
        [run] => report::page(&run.folder, &run.summary, &run.records)?,
        runs => report::comparison(runs)?,
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
