//! Comparison of models: forward-pass times, agreement of logits, agreement of greedy texts.
//!
//! | part | file |
//! |---|---|
//! | pass times before decoding, and their file | here |
//! | agreement of logits | `agreement.rs` |
//! | texts that equal the baseline's, and the logit gap where they differ | `texts.rs` |
//! | the numbers, a row for each model | `analysis/model_comparison.rs` |
//! | the table, as text, Markdown and for the page | `report/table/model_table.rs` |

mod agreement;
mod texts;

use anyhow::{Context, Result, bail};
use kad_core::{LanguageModel, ModelPredictor, Predictor, TokenId};
use kad_polybasic::theory::PassTime;

use crate::analysis::model_comparison::{MeasuredModel, ModelComparison, PassMeasurements};
use crate::config::{DecoderKind, Experiment, PassesPlan};
use crate::failure::WrongRequest;
use crate::machine::Machine;
use crate::models::{self, Model, Models};
use crate::run::record::Record;
use crate::run::{RunFile, RunFolder};
use crate::speed::profile::{PassGrid, in_turn, time_passes};
use crate::task::{Conversation, Task};

/// Number of prompts for passes and logits.
const PROMPTS: usize = 8;

/// Measures everything that `passes.json` of `folder` lacks; `None` if the user interrupted. A file
/// that cannot be continued is an error.
pub(crate) fn measure(
    experiment: &Experiment,
    plan: &PassesPlan,
    models: &Models,
    tasks: &[Task],
    folder: &RunFolder,
) -> Result<Option<PassMeasurements>> {
    check_room(plan, models)?;
    let asked = in_turn(tasks, PROMPTS).collect::<Vec<_>>();
    let mut measured = match existing(plan, models, folder)? {
        // Times of another machine are measured anew.
        Some(found) if found.machine == Machine::here() => found,
        _ => {
            let Some(fresh) = passes(experiment, plan, models, &asked)? else { return Ok(None) };
            folder.write_json(RunFile::Passes, &fresh)?;
            fresh
        }
    };
    if measured.agreement.is_none() {
        let Some(found) = agreement::compare(experiment, models, &asked)? else { return Ok(None) };
        measured.agreement = Some(found);
        folder.write_json(RunFile::Passes, &measured)?;
    }
    Ok(Some(measured))
}

/// The measurements of an earlier session.
fn existing(
    plan: &PassesPlan,
    models: &Models,
    folder: &RunFolder,
) -> Result<Option<PassMeasurements>> {
    let stored = folder.stored();
    let path = stored.file(RunFile::Passes);
    let found = stored
        .read::<PassMeasurements>(RunFile::Passes)
        .context("the measured passes cannot be read; delete their file to measure again")?;
    let Some(found) = found else { return Ok(None) };
    let same = found.widths == plan.widths
        && found.context == plan.context.get()
        && found.models.keys().eq(models.keys());
    if !same {
        bail!(
            "{} does not belong to this plan or was edited; delete it to measure again",
            path.display()
        );
    }
    Ok(Some(found))
}

/// Refuses a plan with passes that do not fit every model: a table with gaps compares little.
fn check_room(plan: &PassesPlan, models: &Models) -> Result<()> {
    let (context, widest) = (plan.context.get(), plan.widest());
    let small = |(_, model): &(&String, &Model)| model.counted.context_len() <= context + widest;
    let Some((name, model)) = models.iter().find(small) else { return Ok(()) };
    bail!(WrongRequest(format!(
        "[passes] asks for passes over {widest} tokens after {context}, but the context of model \
         `{name}` holds {} tokens: lower `context` or `widths`",
        model.counted.context_len()
    )))
}

/// The prompts of these conversations for one model.
fn prompts(name: &str, models: &Models, asked: &[Conversation]) -> Result<Vec<Vec<TokenId>>> {
    let kind = DecoderKind::Single { model: name.to_owned() };
    asked.iter().map(|it| models::prompt_tokens(&kind, models, it)).collect()
}

/// Pass times of all models, which take turns at each width.
fn passes(
    experiment: &Experiment,
    plan: &PassesPlan,
    models: &Models,
    asked: &[Conversation],
) -> Result<Option<PassMeasurements>> {
    let all: Vec<(&String, &Model)> = models.iter().collect();
    let sampling = experiment.sampling.sampling()?;
    let make = |at: usize| -> Result<Box<dyn Predictor + '_>> {
        Ok(Box::new(ModelPredictor::new(&all[at].1.counted, sampling)?))
    };
    let texts = all.iter().map(|(name, _)| Ok(prompts(name, models, asked)?.concat()));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    if texts.iter().any(Vec::is_empty) {
        bail!(WrongRequest("[passes] has no prompts: add a task with prompts".to_owned()));
    }
    let grid = PassGrid { widths: plan.widths.clone(), contexts: vec![plan.context.get()] };
    let found = time_passes(&grid, make, &texts, plan.rounds.map(Into::into))?;
    let Some((times, rounds)) = found else { return Ok(None) };
    let measured = all.iter().zip(&times).map(|((name, model), found)| {
        ((*name).clone(), measured_model(model, found.passes.cells().concat()))
    });
    Ok(Some(PassMeasurements {
        machine: Machine::here(),
        context: plan.context.get(),
        widths: plan.widths.clone(),
        rounds,
        models: measured.collect(),
        agreement: None,
    }))
}

fn measured_model(model: &Model, passes: Vec<PassTime>) -> MeasuredModel {
    let details = &model.details;
    MeasuredModel {
        source: details.source.clone(),
        backend: details.backend.to_string(),
        dtype: details.dtype.to_string(),
        load_seconds: model.loading.map(|loading| loading.seconds),
        resident_bytes: model.loading.and_then(|loading| loading.resident_bytes),
        weight_bytes: details.weight_bytes_in_use(),
        passes,
    }
}

/// The comparison of the models and decoders of a finished run.
pub(crate) fn comparison(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    records: &[Record],
    measured: PassMeasurements,
) -> Result<ModelComparison> {
    let texts = texts::compare(experiment, models, tasks, records)?;
    Ok(ModelComparison::of(experiment, measured, texts, records))
}
