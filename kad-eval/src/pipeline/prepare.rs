//! Everything before the first token, which a run and a dry run share.

use std::num::NonZeroU64;

use anyhow::{Context, Result, bail};

use super::RunRequest;
use crate::config::{DecoderKind, DecoderPlan, Experiment};
use crate::failure::{Failure, WrongRequest};
use crate::files;
use crate::interrupt;
use crate::machine;
use crate::models::{self, Models};
use crate::numbers::counted;
use crate::run::run_id;
use crate::speed::planned_levels;
use crate::speed::profile::Profile;
use crate::task::{self, LoadOptions, Task, TaskPlan};

/// An experiment with its data and models.
pub(crate) struct Prepared {
    /// Without absent optional models and their decoders; with planned levels listed.
    pub(crate) experiment: Experiment,
    /// Profile of each planned decoder, by decoder name.
    pub(crate) profiles: Vec<(String, Profile)>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) models: Models,
    /// A warning for each optional model that is absent.
    pub(crate) left_out: Vec<String>,
    pub(crate) run_id: String,
    /// Memory of the process before models were loaded; none where the system does not report it.
    pub(crate) bytes_before: Option<u64>,
}

impl Prepared {
    /// Reads data and loads models; cheap checks come first. Before decoding, creates and removes a
    /// temporary file to check that the results folder is writable.
    pub(crate) fn new(request: &RunRequest<'_>) -> Result<Self, Failure> {
        let (mut experiment, options) = (request.experiment.clone(), request.options);
        let profiles = planned_levels::profiles(&experiment)?;
        if !request.dry_run {
            let folder = options.out.join(&experiment.name);
            files::check_writable(&folder).with_context(|| {
                format!("cannot write to the results folder {}", folder.display())
            })?;
        }
        let tasks = load_tasks(&experiment, request)?;
        if !request.large_sweeps && !request.dry_run {
            check_size(&experiment, &tasks)?;
        }
        if request.listens {
            interrupt::listen()?;
        }
        let kinds: Vec<DecoderKind> = experiment.decoders.iter().map(|d| d.kind.clone()).collect();
        let bytes_before = machine::resident_bytes();
        let (models, left_out) = models::load_for(&mut experiment, &kinds)?;
        models::check_baseline(&experiment)?;
        for plan in &mut experiment.decoders {
            prepare_decoder(plan, &models, &experiment.tasks)
                .with_context(|| format!("decoder `{}`", plan.name))?;
        }
        let run_id = run_id(&experiment, &models, &tasks)?;
        Ok(Self { experiment, profiles, tasks, models, left_out, run_id, bytes_before })
    }
}

fn load_tasks(experiment: &Experiment, request: &RunRequest<'_>) -> Result<Vec<Task>> {
    let options = request.options;
    let (data, limit) = (options.data.as_deref(), options.limit.map(NonZeroU64::get));
    let load = |plan: &TaskPlan| {
        task::load(plan, LoadOptions { data, seed: experiment.seed, limit })
            .with_context(|| format!("task {}", plan.name()))
    };
    experiment.tasks.iter().map(load).collect()
}

/// Most decoders of a request that does not ask for large sweeps.
const MOST_DECODERS: usize = 1000;

/// Refuses a request for more than 1,000 decoders.
fn check_size(experiment: &Experiment, tasks: &[Task]) -> Result<()> {
    let decoders = experiment.decoders.len();
    if decoders <= MOST_DECODERS {
        return Ok(());
    }
    let items: usize = tasks.iter().map(|task| task.items.len()).sum();
    bail!(WrongRequest(format!(
        "the sweeps of {} make {decoders} decoders, which with {} each is {} results: sweep fewer \
         values, or pass --yes (--dry-run estimates the time)",
        experiment.name,
        counted(items, "item"),
        decoders.saturating_mul(items)
    )))
}

/// Checks that a decoder's models go together, and lists its levels where a profile plans them.
fn prepare_decoder(plan: &mut DecoderPlan, models: &Models, tasks: &[TaskPlan]) -> Result<()> {
    models::check_shared(&plan.kind, models)?;
    planned_levels::list_planned(&mut plan.kind, models, Some(tasks))
}
