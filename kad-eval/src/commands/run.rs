//! `kad run`: from an experiment file to a table and a report.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::cli::RunArgs;
use crate::config::{self, Experiment};
use crate::failure::Failure;
use crate::models::{self, Model, Models};
use crate::record::Record;
use crate::report::{self, Example};
use crate::runner::{self, Finished, INTERRUPTED, RunFolder};
use crate::summary::{Summary, summarise};
use crate::task::{self, Task};
use crate::{output, table};

/// Decoded examples a report shows per task.
const EXAMPLES: usize = 3;

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let experiment = experiment(args).map_err(Failure::Request)?;
    check_writable(&args.out.join(&experiment.name))?;
    let tasks = load_tasks(&experiment, args.data.as_deref())?;
    let models = models::load_all(
        &experiment.models,
        experiment.decoders.iter().map(|d| &d.kind),
    )?;
    check_shared(&experiment, &models)?;
    let run_id = run_id(&experiment, &models, &tasks)?;
    let folder = RunFolder::open(&args.out, &experiment.name, &run_id)?;
    folder.write_json("plan.json", &experiment)?;
    folder.write_json("provenance.json", &provenance(&models))?;
    on_ctrl_c()?;
    let finished = runner::run(&experiment, &models, &tasks, &folder);
    let finished = finished.inspect_err(|_| {
        output::note(&format!(
            "finished items are kept in {}",
            folder.path().display()
        ));
    })?;
    let summary = summarise(&experiment, &run_id, &finished.records, finished.complete);
    publish(&folder, &experiment, &summary, &tasks, &finished)
}

fn experiment(args: &RunArgs) -> Result<Experiment> {
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read the experiment {}", args.file.display()))?;
    let mut experiment = config::read(&args.file.display().to_string(), &text)?;
    if let Some(limit) = args.limit {
        experiment
            .tasks
            .iter_mut()
            .for_each(|task| task.limit(limit));
    }
    Ok(experiment)
}

/// Before models are loaded: a run that cannot keep its results should not start.
fn check_writable(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create the results folder {}", folder.display()))
}

fn load_tasks(experiment: &Experiment, data: Option<&Path>) -> Result<Vec<Task>> {
    let load = |plan: &config::TaskPlan| {
        task::load(plan, data).with_context(|| format!("task {}", plan.name()))
    };
    experiment.tasks.iter().map(load).collect()
}

fn check_shared(experiment: &Experiment, models: &Models) -> Result<()> {
    let check = |plan: &config::DecoderPlan| {
        models::check_shared(&plan.kind, models).with_context(|| format!("decoder `{}`", plan.name))
    };
    experiment.decoders.iter().try_for_each(check)
}

/// A digest of everything that decides the numbers: the plan, the models' files, the items.
fn run_id(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(experiment)?);
    for (name, model) in models {
        hasher.update(format!("{name} {}", model.digest));
    }
    tasks.iter().for_each(|task| hasher.update(task.digest()));
    Ok(crate::hex(&hasher.finalize()[..6]))
}

#[derive(Serialize)]
struct Provenance<'m> {
    version: &'static str,
    revision: &'static str,
    libraries: &'static str,
    target: &'static str,
    cpu: String,
    threads: usize,
    models: BTreeMap<&'m str, ModelProvenance<'m>>,
}

fn provenance(models: &Models) -> Provenance<'_> {
    Provenance {
        version: env!("CARGO_PKG_VERSION"),
        revision: env!("KAD_REVISION"),
        libraries: env!("KAD_LIBRARIES"),
        target: env!("KAD_TARGET"),
        cpu: cpu_name(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        models: models
            .iter()
            .map(|(name, model)| (name.as_str(), model.into()))
            .collect(),
    }
}

/// A model without the place it was read from.
#[derive(Serialize)]
struct ModelProvenance<'m> {
    source: &'m str,
    digest: &'m str,
    family: &'m str,
    parameters: u64,
    backend: String,
    dtype: String,
    context_len: usize,
    vocabulary: usize,
    fingerprint: String,
}

impl<'m> From<&'m Model> for ModelProvenance<'m> {
    fn from(model: &'m Model) -> Self {
        let details = &model.details;
        Self {
            source: &details.source,
            digest: &model.digest,
            family: &details.family,
            parameters: details.parameters,
            backend: details.backend.to_string(),
            dtype: details.dtype.to_string(),
            context_len: details.context_len,
            vocabulary: details.vocab.size(),
            fingerprint: details.vocab.fingerprint().to_string(),
        }
    }
}

fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim())
        .to_owned()
}

/// The first Ctrl-C gives up the item in flight, a second one the process.
fn on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// Writes summary and report, prints the table.
fn publish(
    folder: &RunFolder,
    experiment: &Experiment,
    summary: &Summary,
    tasks: &[Task],
    finished: &Finished,
) -> Result<(), Failure> {
    folder.write_json("summary.json", summary)?;
    folder.write(
        "report.html",
        &report::html(summary, &examples(tasks, &finished.records))?,
    )?;
    output::line(&table::render(summary))?;
    output::line(&format!(
        "report: {}",
        folder.path().join("report.html").display()
    ))?;
    if finished.complete {
        if finished.new_items == 0 {
            output::note("nothing was left to do: this run was already complete");
        }
        return Ok(());
    }
    let done = finished.records.len();
    let total = tasks.iter().map(|t| t.items.len()).sum::<usize>() * experiment.decoders.len();
    Err(Failure::Interrupted(format!(
        "interrupted: {done} of {total} items are done and kept; the same command continues"
    )))
}

/// The first items of each task, as every decoder answered them.
fn examples(tasks: &[Task], records: &[Record]) -> Vec<Example> {
    let of = |task: &Task, item: &task::Item| Example {
        task: task.name.clone(),
        item: item.id.clone(),
        prompt: item.prompt.clone(),
        gold: item.gold.clone(),
        records: records
            .iter()
            .filter(|r| r.task == task.name && r.item == item.id)
            .cloned()
            .collect(),
    };
    tasks
        .iter()
        .flat_map(|task| {
            task.items
                .iter()
                .take(EXAMPLES)
                .map(move |item| of(task, item))
        })
        .filter(|example| !example.records.is_empty())
        .collect()
}
