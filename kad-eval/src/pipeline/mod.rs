//! Runs an experiment: loads data and models, measures, decodes, summarises and writes the report.

mod options;
mod prepare;
mod warnings;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

pub use options::RunOptions;
pub(crate) use prepare::Prepared;
pub(crate) use warnings::too_long;

use crate::analysis::model_comparison::PassMeasurements;
use crate::analysis::summary::{Summary, summarise};
use crate::config::Experiment;
use crate::failure::Failure;
use crate::models::{self, Models};
use crate::output;
use crate::report::table::ModelTable;
use crate::report::{self, Expected};
use crate::run::record::Record;
use crate::run::{Finished, ProvenanceEntry, RunFile, RunFolder, RunSession, Shard};
use crate::speed::chain_ranking::ReplayRange;
use crate::speed::model_measurements;
use crate::speed::planned_levels::predicted;
use crate::speed::profile::Profile;
use crate::task::{Item, Task};

/// A request to run an experiment.
pub(crate) struct RunRequest<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) options: &'a RunOptions,
    pub(crate) shard: Option<Shard>,
    /// Allows more than 1,000 decoders.
    pub(crate) large_sweeps: bool,
    /// Nothing is decoded or written.
    pub(crate) dry_run: bool,
    /// With true, Ctrl-C gives up the current item instead of ending the process.
    pub(crate) listens: bool,
    /// The command line for the provenance; empty without one.
    pub(crate) command: String,
}

impl<'a> RunRequest<'a> {
    pub(crate) fn new(experiment: &'a Experiment, options: &'a RunOptions) -> Self {
        Self {
            experiment,
            options,
            shard: None,
            large_sweeps: true,
            dry_run: false,
            listens: false,
            command: String::new(),
        }
    }
}

/// A run that came to its end or was interrupted; its files are written.
pub(crate) struct RunOutcome {
    pub(crate) folder: RunFolder,
    pub(crate) finished: Finished,
    /// Warnings about the results, without failed items.
    pub(crate) warnings: Vec<String>,
    /// `None` for a shard.
    pub(crate) summary: Option<Summary>,
}

/// Carries out `request`, or continues it where an earlier session stopped.
///
/// # Errors
/// A request that cannot be carried out; a folder that cannot be written; items that fail, if
/// `fail_fast` is set or none has succeeded; an interruption before the first item.
pub(crate) fn run(request: &RunRequest<'_>) -> Result<RunOutcome, Failure> {
    let Prepared { experiment, profiles, tasks, models, left_out, run_id, .. } =
        Prepared::new(request)?;
    let RunRequest { options, shard, .. } = *request;
    let expected = expected(&experiment, &profiles)?;
    let folder = RunFolder::open(&options.out, &experiment.name, &run_id, shard)?;
    folder.write_json(RunFile::Plan, &experiment)?;
    // Shards only decode. The run that joins them measures on its own machine.
    let measured = match shard {
        None => measure(&experiment, &models, &tasks, &folder)?,
        Some(_) => None,
    };
    let session = RunSession::begin(&experiment, &tasks, &folder)?;
    if session.left() > 0 {
        // Before anything is decoded, so that the records of a killed session have a provenance.
        let (command, jobs) = (request.command.clone(), options.jobs.get());
        folder.add_provenance(ProvenanceEntry::here(command, &models, &tasks, jobs))?;
    }
    let jobs = options.jobs.get().min(session.left());
    let others = (1..jobs).map(|_| load_again(&experiment)).collect::<Result<Vec<_>>>()?;
    let finished = session.run((&models, others), options.fail_fast).inspect_err(|_| {
        output::note(&format!("finished items are kept in {}", folder.path().display()));
    })?;
    let records = &finished.records;
    let warnings = warnings::warnings(&experiment, (&models, &left_out), &tasks, records);
    if shard.is_some() {
        return Ok(RunOutcome { folder, finished, warnings, summary: None });
    }
    let comparison = measured
        .map(|it| model_measurements::comparison(&experiment, &models, &tasks, records, it))
        .transpose()?;
    let summary = Summary {
        left_out,
        model_comparison: comparison,
        warnings: warnings.iter().cloned().chain(warnings::failed(&finished)).collect(),
        jobs: ProvenanceEntry::jobs(&folder.join_provenance()?),
        ..summarise(&experiment, &run_id, records, finished.is_complete())
    };
    write_results(&folder, (&summary, records), &tasks, expected)?;
    Ok(RunOutcome { folder, finished, warnings, summary: Some(summary) })
}

/// Runs all items of `experiment` for a Rust program, or continues the run.
pub(crate) fn run_all(experiment: &Experiment, options: &RunOptions) -> Result<Summary, Failure> {
    let outcome = run(&RunRequest::new(experiment, options))?;
    let summary = outcome.summary.context("a run without shards has a summary")?;
    Ok(summary)
}

fn write_results(
    folder: &RunFolder,
    (summary, records): (&Summary, &[Record]),
    tasks: &[Task],
    expected: Expected,
) -> Result<()> {
    let prompt = |task: &str, item: &str| {
        let task = tasks.iter().find(|loaded| loaded.name == task)?;
        task.items.iter().find(|known| known.id == item).map(Item::prompt)
    };
    report::write(folder, (summary, records), &prompt, expected)?;
    match summary.model_comparison.as_ref().map(ModelTable::of) {
        Some(table) => folder.write(RunFile::ModelComparison, &table.markdown(&summary.left_out)),
        None => Ok(()),
    }
}

/// The models of the decoders once more, for another thread, without repeated notes.
fn load_again(experiment: &Experiment) -> Result<Models> {
    let kinds = experiment.decoders.iter().map(|plan| &plan.kind);
    output::without_notes(|| models::load_all(&experiment.models, kinds))
}

/// Measures forward passes before decoding, if the experiment asks for it.
fn measure(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    folder: &RunFolder,
) -> Result<Option<PassMeasurements>, Failure> {
    let Some(plan) = &experiment.passes else { return Ok(None) };
    let measured = model_measurements::measure(experiment, plan, models, tasks, folder)?;
    let interrupted = || {
        Failure::Interrupted(
            "interrupted while passes were measured: nothing is decoded yet; the same command \
             measures them again"
                .to_owned(),
        )
    };
    measured.map(Some).ok_or_else(interrupted)
}

/// Predictions of the profiles for the run's decoders: of each planned decoder by its own profile,
/// of another one by the first profile that knows it.
pub(crate) fn expected(
    experiment: &Experiment,
    profiles: &[(String, Profile)],
) -> Result<Expected> {
    let mut decoders = BTreeMap::new();
    for plan in &experiment.decoders {
        let (own, others): (Vec<_>, Vec<_>) =
            profiles.iter().partition(|(name, _)| *name == plan.name);
        let tokens = usize::try_from(plan.sampling.max_new_tokens).ok();
        let range = ReplayRange { tokens, ..ReplayRange::WHOLE };
        for (_, profile) in own.into_iter().chain(others) {
            if let Some(ranked) = predicted(profile, &plan.kind, &plan.sampling, range)? {
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
