//! Everything before the first token: what a run and a dry run have in common.

use std::num::NonZeroU64;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cli::RunArgs;
use crate::config::{self, DecoderKind, Experiment};
use crate::failure::{Failure, WrongRequest};
use crate::files;
use crate::interrupt;
use crate::machine;
use crate::models::{self, Models};
use crate::run::run_id;
use crate::speed::planned_levels;
use crate::speed::profile::Profile;
use crate::task::{self, LoadOptions, Task, TaskPlan};

/// A plan with its data and its models.
pub(super) struct Prepared {
    pub(super) experiment: Experiment,
    /// By the name of the decoder that is planned by it.
    pub(super) profiles: Vec<(String, Profile)>,
    pub(super) tasks: Vec<Task>,
    pub(super) models: Models,
    /// Optional models that are not there: a sentence each.
    pub(super) left_out: Vec<String>,
    pub(super) run_id: String,
    /// Of the process before models were loaded; none where that cannot be told.
    pub(super) bytes_before: Option<u64>,
}

impl Prepared {
    /// Reads the plan and the data and loads the models, in the order of what is cheap to find
    /// wrong. Nothing is written but, unless it is a dry run, a file that is removed again: a run
    /// that cannot keep its results should not start.
    pub(super) fn new(args: &RunArgs) -> Result<Self, Failure> {
        let mut experiment = experiment(args).map_err(Failure::Request)?;
        let profiles = planned_levels::profiles(&experiment)?;
        if !args.dry_run {
            check_writable(&args.out.join(&experiment.name))?;
        }
        let tasks = load_tasks(&experiment, args)?;
        check_size(&experiment, &tasks, args)?;
        interrupt::listen()?;
        let kinds: Vec<DecoderKind> = experiment.decoders.iter().map(|d| d.kind.clone()).collect();
        let bytes_before = machine::resident_bytes();
        let (models, left_out) = models::load_for(&mut experiment, &kinds)?;
        models::check_baseline(&experiment)?;
        check_shared(&experiment, &models)?;
        for plan in &mut experiment.decoders {
            planned_levels::list_planned(&mut plan.kind, &models, Some(&experiment.tasks))
                .with_context(|| format!("decoder `{}`", plan.name))?;
        }
        let run_id = run_id(&experiment, &models, &tasks)?;
        Ok(Self { experiment, profiles, tasks, models, left_out, run_id, bytes_before })
    }
}

fn experiment(args: &RunArgs) -> Result<Experiment> {
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("cannot read the experiment {}", args.file.display()))?;
    let (mut name, mut text) = (args.file.display().to_string(), text);
    if !args.set.is_empty() {
        text = config::set(&text, &args.set)?;
        name += " with --set";
    }
    Ok(config::read(&name, &text)?)
}

/// Before models are loaded.
fn check_writable(folder: &Path) -> Result<()> {
    files::check_writable(folder)
        .with_context(|| format!("cannot write in the results folder {}", folder.display()))
}

fn load_tasks(experiment: &Experiment, args: &RunArgs) -> Result<Vec<Task>> {
    let (data, limit) = (args.data.place(), args.limit.map(NonZeroU64::get));
    let load = |plan: &TaskPlan| {
        let data = data.as_deref();
        task::load(plan, LoadOptions { data, seed: experiment.seed, limit })
            .with_context(|| format!("task {}", plan.name()))
    };
    experiment.tasks.iter().map(load).collect()
}

/// More decoders than anybody means.
const MANY: usize = 1000;

/// Refuses a sweep that got out of hand.
fn check_size(experiment: &Experiment, tasks: &[Task], args: &RunArgs) -> Result<()> {
    let decoders = experiment.decoders.len();
    if decoders <= MANY || args.yes || args.dry_run {
        return Ok(());
    }
    let items: usize = tasks.iter().map(|task| task.items.len()).sum();
    bail!(WrongRequest(format!(
        "the sweeps of {} make {decoders} decoders, and with {items} items each that is {} results: \
         sweep fewer values, or say --yes if it is meant (--dry-run tells how long it takes)",
        args.file.display(),
        decoders.saturating_mul(items)
    )))
}

fn check_shared(experiment: &Experiment, models: &Models) -> Result<()> {
    let check = |plan: &config::DecoderPlan| {
        models::check_shared(&plan.kind, models).with_context(|| format!("decoder `{}`", plan.name))
    };
    experiment.decoders.iter().try_for_each(check)
}
