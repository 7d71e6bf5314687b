//! `kad run`: from an experiment file to a table and a report.

mod dry;
mod estimate;
mod pace;
mod prepare;
pub(super) mod provenance;
mod warnings;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use super::bench::predicted;
use crate::cli::RunArgs;
use crate::config::Experiment;
use crate::failure::Failure;
use crate::models::{self, Models};
use crate::profile::{Profile, Stretch};
use crate::report::{self, Expected};
use crate::runner::{self, Finished, How, RunFolder, Shard};
use crate::side_by_side::{self, Measured, Rows, Sheet};
use crate::summary::{Summary, summarise};
use crate::task::{self, Task};
use crate::{output, table};
use prepare::Prepared;
pub(super) use prepare::on_ctrl_c;

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let prepared = Prepared::new(args)?;
    if args.dry_run { dry::run(args, &prepared) } else { decode(args, prepared) }
}

fn decode(args: &RunArgs, prepared: Prepared) -> Result<(), Failure> {
    let Prepared { experiment, profiles, tasks, models, left_out, run_id, .. } = prepared;
    let again =
        |_| models::load_all(&experiment.models, experiment.decoders.iter().map(|d| &d.kind));
    let others = (1..args.jobs.get()).map(again).collect::<Result<Vec<_>>>()?;
    let expected = expected(&experiment, &profiles)?;
    let folder = RunFolder::open(&args.out, &experiment.name, &run_id, args.shard)?;
    folder.write_json("plan.json", &experiment)?;
    // Shards decode; what is compared on one machine is measured by the run that joins them.
    let measured = match args.shard {
        None => measure(&experiment, &models, &tasks, &folder)?,
        Some(_) => None,
    };
    let how = How { shard: args.shard, fail_fast: args.fail_fast };
    let finished =
        runner::run(&experiment, (&models, others), &tasks, &folder, &how).inspect_err(|_| {
            output::note(&format!("finished items are kept in {}", folder.path().display()));
        })?;
    if finished.new_items > 0 {
        provenance::append(&folder, &models, &tasks, args.jobs.get())?;
    }
    let side_by_side = measured
        .map(|measured| Rows::of(&experiment, &models, &tasks, &finished.records, measured));
    let said = warnings::warnings(&experiment, (&models, &left_out), &tasks, &finished.records);
    if let Some(shard) = args.shard {
        return conclude_shard(args, &folder, shard, &finished, &said);
    }
    let summary = Summary {
        left_out,
        side_by_side: side_by_side.transpose()?,
        warnings: said.iter().cloned().chain(warnings::failed(&finished)).collect(),
        ..summarise(&experiment, &run_id, &finished.records, finished.is_complete())
    };
    provenance::settle(&folder)?;
    let prompt = |task: &str, item: &str| prompt(&tasks, task, item);
    report::write(&folder, (&summary, &finished.records), &prompt, expected)?;
    if let Some(sheet) = summary.side_by_side.as_ref().map(Sheet::of) {
        folder.write("models.md", &sheet.markdown(&summary.left_out))?;
    }
    conclude(args, &folder, &summary, &finished, &said)
}

/// What the experiment wants to know of its models before they decode.
fn measure(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    folder: &RunFolder,
) -> Result<Option<Measured>, Failure> {
    let Some(plan) = &experiment.passes else { return Ok(None) };
    let measured = side_by_side::measure(experiment, plan, models, tasks, folder)?;
    let interrupted = || {
        Failure::Interrupted(
            "interrupted while passes were measured: nothing is decoded yet; the same command starts \
             that again"
                .to_owned(),
        )
    };
    measured.map(Some).ok_or_else(interrupted)
}

/// The closing summary for programs.
#[derive(Serialize)]
struct Closing<'s> {
    folder: &'s Path,
    /// Items of all decoders, of the run or of the shard.
    items: usize,
    done: usize,
    /// Done in this session.
    new_items: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    /// Of a shard, whose numbers are not all there; of a run they are in its summary.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'s [String],
    /// None of a shard.
    #[serde(flatten)]
    summary: Option<&'s Summary>,
}

impl<'s> Closing<'s> {
    fn of(folder: &'s RunFolder, finished: &Finished) -> Self {
        Self {
            folder: folder.path(),
            items: finished.total,
            done: finished.records.len(),
            new_items: finished.new_items,
            failed: finished.failures.len(),
            shard: None,
            warnings: &[],
            summary: None,
        }
    }
}

/// Prints the table or the summary, then what is to be warned of, and says how the run ended. Whether it
/// is finished decides the exit code, also if nobody reads the table.
fn conclude(
    args: &RunArgs,
    folder: &RunFolder,
    summary: &Summary,
    finished: &Finished,
    warnings: &[String],
) -> Result<(), Failure> {
    let report = folder.path().join("report.html");
    let text = match args.json {
        true => {
            let closing = Closing { summary: Some(summary), ..Closing::of(folder, finished) };
            serde_json::to_string_pretty(&closing).context("cannot write the summary as JSON")?
        }
        false => format!("{}\nreport: {}", table::render(summary), report.display()),
    };
    let printed = output::line(&text);
    warn(warnings);
    ended(finished)?;
    printed
        .with_context(|| format!("cannot print the table; results are in {}", report.display()))?;
    Ok(())
}

/// A part of a run has no table: what it would compare is not all there.
fn conclude_shard(
    args: &RunArgs,
    folder: &RunFolder,
    shard: Shard,
    finished: &Finished,
    warnings: &[String],
) -> Result<(), Failure> {
    if args.json {
        let shard = Some(shard.to_string());
        let closing = Closing { shard, warnings, ..Closing::of(folder, finished) };
        output::line(&serde_json::to_string_pretty(&closing).context("cannot write JSON")?)?;
    }
    warn(warnings);
    ended(finished)?;
    output::note(&format!(
        "shard {shard}: {} items are done, in {}; when all shards are, the same command without \
         --shard puts them together (first copy records.shard-*.jsonl and provenance.shard-*.json \
         of other machines into that folder)",
        finished.total,
        folder.records().display()
    ));
    Ok(())
}

/// All that the run has to say as a warning, in one place: below the table, where it is seen.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|line| output::note(&format!("warning: {line}")));
}

/// Whether everything is done.
fn ended(finished: &Finished) -> Result<(), Failure> {
    let (done, total) = (finished.records.len(), finished.total);
    if let Some(first) = finished.failures.first() {
        let failed = finished.failures.len();
        return Err(Failure::Work(anyhow!(
            "{failed} items failed and {done} of {total} are done and kept; the same command tries \
             the others again. The first failure: {first:#}"
        )));
    }
    if !finished.is_complete() {
        return Err(Failure::Interrupted(format!(
            "interrupted: {done} of {total} items are done and kept; the same command continues"
        )));
    }
    if finished.new_items == 0 {
        output::note("nothing was left to do: this run was already complete");
    }
    Ok(())
}

/// What the profiles say of the run's decoders: each planned one's own profile, and of the others the
/// first that knows them.
fn expected(experiment: &Experiment, profiles: &[(String, Profile)]) -> Result<Expected> {
    let mut decoders = BTreeMap::new();
    for plan in &experiment.decoders {
        let (own, others): (Vec<_>, Vec<_>) =
            profiles.iter().partition(|(name, _)| *name == plan.name);
        let tokens = usize::try_from(plan.sampling.max_new_tokens).ok();
        let stretch = Stretch { tokens, ..Stretch::WHOLE };
        for (_, profile) in own.into_iter().chain(others) {
            if let Some(ranked) = predicted(profile, &plan.kind, &plan.sampling, stretch)? {
                decoders.insert(plan.name.clone(), ranked);
                break;
            }
        }
    }
    let mut different: Vec<Profile> = Vec::new();
    for (_, profile) in profiles {
        if !different.contains(profile) {
            different.push(profile.clone());
        }
    }
    Ok(Expected::of(&decoders, &different))
}

/// What the item asks.
fn prompt(tasks: &[Task], task: &str, item: &str) -> Option<String> {
    let task = tasks.iter().find(|loaded| loaded.name == task)?;
    task.items.iter().find(|known| known.id == item).map(task::Item::prompt)
}
