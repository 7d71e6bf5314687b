//! Loads the models of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use kad_backends::{LoadError, LoadedModel, ModelRequest};
use kad_core::LanguageModel;

use super::timed::TimedModel;
use super::{LoadCost, Model, Models, digest};
use crate::config::{DecoderKind, EarlyExit, ModelPlan};
use crate::failure::WrongRequest;
use crate::{machine, output};

/// Loads one model, with progress on a terminal. An error has its name, its source and the
/// backend's error.
pub(crate) fn load(name: &str, plan: &ModelPlan) -> Result<Model> {
    let (loaded, loading) = fetch(name, plan)?;
    model(loaded, Some(loading))
}

fn fetch(name: &str, plan: &ModelPlan) -> Result<(LoadedModel, LoadCost)> {
    let bar = if output::shows_progress() {
        ProgressBar::new_spinner().with_message(format!("loading {name}"))
    } else {
        ProgressBar::hidden()
    };
    bar.enable_steady_tick(Duration::from_millis(100));
    let request = ModelRequest {
        name: name.to_owned(),
        source: plan.source.parse()?,
        backend: plan.backend,
        dtype: plan.dtype,
    };
    let (before, began) = (machine::resident_bytes(), Instant::now());
    let loaded = kad_backends::load_with(&request, &plan.options, &|step| {
        bar.set_message(format!("{name}: {step}"));
    });
    bar.finish_and_clear();
    let seconds = began.elapsed().as_secs_f64();
    let grown = before.zip(machine::resident_bytes());
    let resident_bytes = grown.map(|(before, after)| after.saturating_sub(before));
    let loaded =
        loaded.with_context(|| format!("cannot load model `{name}` from {}", plan.source))?;
    Ok((loaded, LoadCost { seconds, resident_bytes }))
}

fn model(loaded: LoadedModel, loading: Option<LoadCost>) -> Result<Model> {
    let LoadedModel { model, tokenizer, chat_template, eos, details } = loaded;
    if details.distribution_depends_on_pass {
        output::warning(&format!(
            "{} rounds activations pass by pass: a chain that verifies with it writes texts \
             of nearly, not exactly, its distribution (as a draft it is fine)",
            details.source
        ));
    }
    let digest = digest::of(&details.files)
        .with_context(|| format!("cannot read {} again", details.path.display()))?;
    let model: Box<dyn LanguageModel> = model;
    let counted = TimedModel::new(model);
    Ok(Model { counted, tokenizer, chat_template, eos, details, digest, loading })
}

/// An optional model that is absent.
#[derive(Debug)]
pub(crate) struct Absent {
    /// Name in the request.
    pub(crate) name: String,
    /// The reason, and the remedy.
    pub(crate) why: anyhow::Error,
}

/// Loads the models that `kinds` use. An optional model that is absent is an error too.
pub(crate) fn load_all<'p>(
    plans: &BTreeMap<String, ModelPlan>,
    kinds: impl Iterator<Item = &'p DecoderKind>,
) -> Result<Models> {
    let (models, absent) = load_present(plans, kinds)?;
    absent.into_iter().next().map_or(Ok(models), |absent| Err(absent.why))
}

/// Loads the models that `kinds` use; returns them and the optional ones that are absent. Early exits
/// share the weights of their model. An optional model that is present and unusable is an error: it
/// is corrupt, or its backend does not support its options.
pub(crate) fn load_present<'p>(
    plans: &BTreeMap<String, ModelPlan>,
    kinds: impl Iterator<Item = &'p DecoderKind>,
) -> Result<(Models, Vec<Absent>)> {
    let used: BTreeSet<&str> = kinds.flat_map(DecoderKind::models).collect();
    let (mut models, mut absent) = (Models::new(), Vec::new());
    for (name, plan) in plans.iter().filter(|(_, plan)| plan.early_exit.is_none()) {
        let exits: Vec<(&str, &EarlyExit)> = exits_of(name, &used, plans);
        let whole_used = used.contains(name.as_str());
        if exits.is_empty() && !whole_used {
            continue;
        }
        let (whole, loading) = match fetch(name, plan) {
            Ok(loaded) => loaded,
            Err(error) if plan.optional && is_absence(&error) => {
                let said = format!("it is made of `{name}`: {error:#}");
                absent.extend(exits.iter().map(|(exit, _)| Absent {
                    name: (*exit).to_owned(),
                    why: WrongRequest(said.clone()).into(),
                }));
                absent.extend(whole_used.then(|| Absent { name: name.clone(), why: error }));
                continue;
            }
            Err(error) => return Err(error),
        };
        for (exit_name, exit) in exits {
            let loaded = whole.early_exit(exit_name, exit.layers).map_err(|error| {
                WrongRequest(format!("cannot make model `{exit_name}` of `{name}`: {error}"))
            })?;
            models.insert(exit_name.to_owned(), model(loaded, None)?);
        }
        if whole_used {
            models.insert(name.clone(), model(whole, Some(loading))?);
        }
    }
    let idle =
        |name: &&String| !used.contains(name.as_str()) && exits_of(name, &used, plans).is_empty();
    for unused in plans.keys().filter(idle) {
        output::note(&format!("note: model `{unused}` is used by no decoder and was not loaded"));
    }
    Ok((models, absent))
}

/// The models among `used` that are early exits of the model `name`.
fn exits_of<'p>(
    name: &str,
    used: &BTreeSet<&'p str>,
    plans: &'p BTreeMap<String, ModelPlan>,
) -> Vec<(&'p str, &'p EarlyExit)> {
    let exit = |used: &&'p str| Some((*used, plans[*used].early_exit.as_ref()?));
    used.iter().filter_map(exit).filter(|(_, exit)| exit.of == name).collect()
}

/// True if a backend, library, graph or model file is missing. A part that is present but unusable
/// is an error, also for an optional model.
fn is_absence(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<LoadError>()).any(|error| match error {
        LoadError::NotCompiled { .. }
        | LoadError::NotFound { .. }
        | LoadError::Network { .. }
        | LoadError::Pip { .. } => true,
        LoadError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    })
}
