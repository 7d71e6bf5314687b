//! `kad run`: from an experiment file to a table and a report.

pub(super) mod provenance;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow};
use kad_core::decode::Stop;
use sha2::{Digest, Sha256};

use super::bench::predicted;
use crate::cli::RunArgs;
use crate::config::{self, ChainPlan, DecoderKind, Experiment, Levels};
use crate::failure::Failure;
use crate::models::{self, Models};
use crate::profile::{Profile, Stretch};
use crate::record::Record;
use crate::report::{self, Expected};
use crate::runner::{self, Finished, How, INTERRUPTED, RunFolder, Shard};
use crate::side_by_side::{self, Measured, Rows, Sheet};
use crate::summary::{Summary, summarise};
use crate::task::{self, Grading, Loading, Task};
use crate::{output, table};

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut experiment = experiment(args).map_err(Failure::Request)?;
    let profiles = models::planned::profiles(&experiment)?;
    check_writable(&args.out.join(&experiment.name))?;
    let tasks = load_tasks(&experiment, args)?;
    on_ctrl_c()?;
    let kinds: Vec<DecoderKind> = experiment.decoders.iter().map(|d| d.kind.clone()).collect();
    let (models, left_out) = models::load_for(&mut experiment, &kinds)?;
    models::check_baseline(&experiment)?;
    let again =
        |_| models::load_all(&experiment.models, experiment.decoders.iter().map(|d| &d.kind));
    let others = (1..args.jobs.get()).map(again).collect::<Result<Vec<_>>>()?;
    check_shared(&experiment, &models)?;
    for plan in &mut experiment.decoders {
        models::planned::list_planned(&mut plan.kind, &models, Some(&experiment.tasks))
            .with_context(|| format!("decoder `{}`", plan.name))?;
    }
    let expected = expected(&experiment, profiles)?;
    let run_id = run_id(&experiment, &models, &tasks)?;
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
    let summary = Summary {
        left_out,
        side_by_side: side_by_side.transpose()?,
        ..summarise(&experiment, &run_id, &finished.records, finished.is_complete())
    };
    tell_remarks(&experiment, &finished.records);
    warn_unanswered(&tasks, &experiment, &finished.records);
    if let Some(shard) = args.shard {
        return conclude_shard(&folder, shard, &finished);
    }
    provenance::settle(&folder)?;
    let summary = Summary { jobs: report::jobs(folder.path())?, ..summary };
    let prompt = |task: &str, item: &str| prompt(&tasks, task, item);
    report::write(&folder, (&summary, &finished.records), &prompt, expected)?;
    if let Some(sheet) = summary.side_by_side.as_ref().map(Sheet::of) {
        folder.write("models.md", &sheet.markdown(&summary.left_out))?;
    }
    conclude(&folder, &summary, &finished)
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

/// How often decoders changed their way on the way.
fn tell_remarks(experiment: &Experiment, records: &[Record]) {
    for plan in &experiment.decoders {
        let own = || records.iter().filter(|record| record.decoder == plan.name);
        let changed = own().filter(|record| !record.remarks.is_empty()).count();
        let says = |record: &&Record, word| record.remarks.iter().any(|r| r.contains(word));
        let plainly = own().filter(|record| says(record, "plain decoding: ")).count();
        if changed > 0 {
            output::note(&format!(
                "`{}` adapted its lengths in {changed} of {} items and gave up speculation for a \
                 while in {plainly}: see `remarks` in records.jsonl",
                plan.name,
                own().count()
            ));
        }
    }
}

/// Prompts that do not fit, and extractors that find nothing at all: more likely the wrong ones than the
/// models hopeless.
fn warn_unanswered(tasks: &[Task], experiment: &Experiment, records: &[Record]) {
    let arms =
        tasks.iter().flat_map(|task| experiment.decoders.iter().map(move |plan| (task, plan)));
    for (task, plan) in arms {
        let decoder = &plan.name;
        let own = || records.iter().filter(|r| r.task == task.name && r.decoder == *decoder);
        let long = own().filter(|record| record.stop == runner::PROMPT_TOO_LONG).count();
        if long > 0 {
            output::note(&format!(
                "warning: {long} of {} prompts of {} do not fit the context of `{decoder}`: those items \
                 have no answer",
                own().count(),
                task.name
            ));
        }
        let texts = own().count() - long;
        let cut = own().filter(|record| record.stop == Stop::MaxTokens.to_string()).count();
        if matches!(task.grading, Grading::Answer(_)) && 2 * cut > texts {
            output::note(&format!(
                "warning: {cut} of {texts} texts of `{decoder}` on {} were cut off at \
                 `max_new_tokens`: where no answer is stated, what is read there is no more than the \
                 last so far",
                task.name
            ));
        }
        if let Grading::Answer(extractor) = &task.grading
            && texts > 0
            && own().all(|record| record.answer.is_none())
        {
            output::note(&format!(
                "warning: `{extractor}` found no answer in any of the {texts} texts of `{decoder}` on \
                 {}: look at some in report.html; if answers are there, the prompt asks for another \
                 form than the extractor reads, and if they are cut off, `max_new_tokens` is too small",
                task.name
            ));
        }
    }
}

/// Before models are loaded: a run that cannot keep its results should not start.
fn check_writable(folder: &Path) -> Result<()> {
    let probe = folder.join(".probe");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, "kad"))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write in the results folder {}", folder.display()))
}

fn load_tasks(experiment: &Experiment, args: &RunArgs) -> Result<Vec<Task>> {
    let load = |plan: &config::TaskPlan| {
        let (data, limit) = (args.data.as_deref(), args.limit);
        task::load(plan, Loading { data, seed: experiment.seed, limit })
            .with_context(|| format!("task {}", plan.name()))
    };
    experiment.tasks.iter().map(load).collect()
}

fn check_shared(experiment: &Experiment, models: &Models) -> Result<()> {
    let check = |plan: &config::DecoderPlan| {
        models::check_shared(&plan.kind, models).with_context(|| format!("decoder `{}`", plan.name))
    };
    experiment.decoders.iter().try_for_each(check)
}

/// A digest of everything that decides the numbers: the plan, the models' files, the items, the
/// libraries. (Not the revision: whoever works on kad itself sees in the provenance which
/// revisions made a run.)
fn run_id(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(experiment)?);
    hasher.update(provenance::VERSIONS);
    for (name, model) in models {
        hasher.update(format!("{name} {} {:?}", model.digest, model.details.library));
    }
    tasks.iter().for_each(|task| hasher.update(task.digest()));
    // A planned chain goes on as its profile's times say.
    for plan in &experiment.decoders {
        if let DecoderKind::Chain(ChainPlan { levels: Levels::Adapting { measured, .. }, .. }) =
            &plan.kind
        {
            hasher.update(serde_json::to_vec(measured)?);
        }
    }
    Ok(crate::hex(&hasher.finalize()[..6]))
}

/// The first Ctrl-C gives up the item in flight, a second one the process.
pub(super) fn on_ctrl_c() -> Result<()> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")
}

/// Prints the table and says how the run ended. Whether it is finished decides the exit code, also
/// if nobody reads the table.
fn conclude(folder: &RunFolder, summary: &Summary, finished: &Finished) -> Result<(), Failure> {
    let report = folder.path().join("report.html");
    let printed =
        output::line(&format!("{}\nreport: {}", table::render(summary), report.display()));
    ended(finished)?;
    summary.left_out.iter().for_each(|line| output::note(&format!("warning: {line}")));
    printed
        .with_context(|| format!("cannot print the table; results are in {}", report.display()))?;
    Ok(())
}

/// A part of a run has no table: what it would compare is not all there.
fn conclude_shard(folder: &RunFolder, shard: Shard, finished: &Finished) -> Result<(), Failure> {
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
fn expected(experiment: &Experiment, profiles: Vec<(String, Profile)>) -> Result<Expected> {
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
        if !different.contains(&profile) {
            different.push(profile);
        }
    }
    Ok(Expected::of(&decoders, &different))
}

/// What the item asks.
fn prompt(tasks: &[Task], task: &str, item: &str) -> Option<String> {
    let task = tasks.iter().find(|loaded| loaded.name == task)?;
    task.items.iter().find(|known| known.id == item).map(task::Item::prompt)
}
