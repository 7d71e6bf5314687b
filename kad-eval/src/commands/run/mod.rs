//! `kad run`: from an experiment file to a table and a report.

mod command_line;
mod dry_run;
mod prepare;
mod warnings;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::analysis::model_comparison::PassMeasurements;
use crate::analysis::summary::{Summary, summarise};
use crate::cli::RunArgs;
use crate::config::Experiment;
use crate::failure::Failure;
use crate::models::{self, Models};
use crate::output;
use crate::report::table::{self, ModelTable};
use crate::report::{self, Expected};
use crate::run::{Finished, ProvenanceEntry, RunFile, RunFolder, RunSession, Shard};
use crate::speed::chain_ranking::ReplayRange;
use crate::speed::model_comparison;
use crate::speed::planned_levels::predicted;
use crate::speed::profile::Profile;
use crate::task::{self, Task};
use prepare::Prepared;

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let prepared = Prepared::new(args)?;
    if args.dry_run { dry_run::run(args, &prepared) } else { decode(args, prepared) }
}

fn decode(args: &RunArgs, prepared: Prepared) -> Result<(), Failure> {
    let Prepared { experiment, profiles, tasks, models, left_out, run_id, .. } = prepared;
    let expected = expected(&experiment, &profiles)?;
    let folder = RunFolder::open(&args.out, &experiment.name, &run_id, args.shard)?;
    folder.write_json(RunFile::Plan, &experiment)?;
    // Shards decode; what is compared on one machine is measured by the run that joins them.
    let measured = match args.shard {
        None => measure(&experiment, &models, &tasks, &folder)?,
        Some(_) => None,
    };
    let session = RunSession::begin(&experiment, &tasks, &folder)?;
    if session.left() > 0 {
        // Before anything is decoded: what made a record is known also of a session that is killed.
        let command = command_line::command(std::env::args().skip(1));
        folder.add_provenance(ProvenanceEntry::here(command, &models, &tasks, args.jobs.get()))?;
    }
    let jobs = args.jobs.get().min(session.left());
    let others = (1..jobs).map(|_| again(&experiment)).collect::<Result<Vec<_>>>()?;
    let finished = session.run((&models, others), args.fail_fast).inspect_err(|_| {
        output::note(&format!("finished items are kept in {}", folder.path().display()));
    })?;
    let model_comparison = measured.map(|measured| {
        model_comparison::comparison(&experiment, &models, &tasks, &finished.records, measured)
    });
    let said = warnings::warnings(&experiment, (&models, &left_out), &tasks, &finished.records);
    if let Some(shard) = args.shard {
        return conclude_shard(args, &folder, shard, &finished, &said);
    }
    let summary = Summary {
        left_out,
        model_comparison: model_comparison.transpose()?,
        warnings: said.iter().cloned().chain(warnings::failed(&finished)).collect(),
        ..summarise(&experiment, &run_id, &finished.records, finished.is_complete())
    };
    let summary = Summary { jobs: ProvenanceEntry::jobs(&folder.join_provenance()?), ..summary };
    let prompt = |task: &str, item: &str| prompt(&tasks, task, item);
    report::write(&folder, (&summary, &finished.records), &prompt, expected)?;
    if let Some(sheet) = summary.model_comparison.as_ref().map(ModelTable::of) {
        folder.write(RunFile::ModelComparison, &sheet.markdown(&summary.left_out))?;
    }
    conclude(args, &folder, &summary, &finished, &said)
}

/// The models of the decoders once more, for another thread. What there is to say of them was said.
fn again(experiment: &Experiment) -> Result<Models> {
    let kinds = experiment.decoders.iter().map(|plan| &plan.kind);
    output::without_notes(|| models::load_all(&experiment.models, kinds))
}

/// What the experiment wants to know of its models before they decode.
fn measure(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    folder: &RunFolder,
) -> Result<Option<PassMeasurements>, Failure> {
    let Some(plan) = &experiment.passes else { return Ok(None) };
    let measured = model_comparison::measure(experiment, plan, models, tasks, folder)?;
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
    /// Items × decoders, of the run or of the shard; so are the other numbers.
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

/// Prints the table or the summary, then what is to be warned of, and says how the run ended.
/// Whether it is finished decides the exit code, also if nobody reads the table.
fn conclude(
    args: &RunArgs,
    folder: &RunFolder,
    summary: &Summary,
    finished: &Finished,
    warnings: &[String],
) -> Result<(), Failure> {
    let report = folder.stored().file(RunFile::ReportPage);
    let text = match args.json {
        true => {
            let closing = Closing { summary: Some(summary), ..Closing::of(folder, finished) };
            serde_json::to_string_pretty(&closing).context("cannot write the summary as JSON")?
        }
        false => format!("{}\nreport: {}", table::render(summary), report.display()),
    };
    let printed = output::line(&text);
    warn(warnings);
    ended(finished, "this run")?;
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
    ended(finished, "this shard")?;
    output::note(&format!(
        "shard {shard}: {} items × decoders are done, in {}; when all shards are, the same command \
         without --shard puts them together (first copy records.shard-*.jsonl and \
         provenance.shard-*.json of other machines into that folder)",
        finished.total,
        folder.path().display()
    ));
    Ok(folder.drop_empty_records()?)
}

/// All that the run has to say as a warning, in one place: below the table, where it is seen.
fn warn(warnings: &[String]) {
    warnings.iter().for_each(|line| output::warning(line));
}

/// Whether everything is done; `what` is the run, or the part of it that was asked for.
fn ended(finished: &Finished, what: &str) -> Result<(), Failure> {
    let (done, total, failed) = (finished.records.len(), finished.total, finished.failures.len());
    let first = finished.failures.first().map(|error| format!("The first failure: {error:#}"));
    let kept = format!("{done} of {total} items × decoders are done and kept");
    match first {
        None if finished.interrupted => {
            Err(Failure::Interrupted(format!("interrupted: {kept}; the same command continues")))
        }
        Some(first) if finished.interrupted => Err(Failure::Interrupted(format!(
            "interrupted: {kept}, and {failed} failed; the same command continues and tries these \
             again. {first}"
        ))),
        Some(first) => Err(Failure::Work(anyhow!(
            "{failed} of {total} items × decoders failed, and {done} are done and kept; the same \
             command tries the others again. {first}"
        ))),
        None => {
            if finished.new_items == 0 {
                output::note(&format!("nothing was left to do: {what} was already complete"));
            }
            Ok(())
        }
    }
}

/// What the profiles say of the run's decoders: each planned one's own profile, and of the others
/// the first that knows them.
fn expected(experiment: &Experiment, profiles: &[(String, Profile)]) -> Result<Expected> {
    let mut decoders = BTreeMap::new();
    for plan in &experiment.decoders {
        let (own, others): (Vec<_>, Vec<_>) =
            profiles.iter().partition(|(name, _)| *name == plan.name);
        let tokens = usize::try_from(plan.sampling.max_new_tokens).ok();
        let stretch = ReplayRange { tokens, ..ReplayRange::WHOLE };
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
