//! Loading the models of a request.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use kad_backends::{LoadedModel, ModelRequest};

use super::timed::Timed;
use super::{Model, Models, digest};
use crate::config::{DecoderKind, EarlyExit, ModelPlan};
use crate::failure::WrongRequest;
use crate::output;

/// Loads one model, showing on a terminal what is going on.
///
/// # Errors
/// With the model's name and source, and the backend's own words.
pub(crate) fn load(name: &str, plan: &ModelPlan) -> Result<Model> {
    model(fetch(name, plan)?)
}

fn fetch(name: &str, plan: &ModelPlan) -> Result<LoadedModel> {
    let bar = if std::io::stderr().is_terminal() {
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
    let loaded = kad_backends::load_with(&request, &plan.options, &|step| {
        bar.set_message(format!("{name}: {step}"));
    });
    bar.finish_and_clear();
    loaded.with_context(|| format!("cannot load model `{name}` from {}", plan.source))
}

fn model(loaded: LoadedModel) -> Result<Model> {
    let LoadedModel { model, tokenizer, chat_template, eos, details } = loaded;
    let digest = digest::of(&details.path)
        .with_context(|| format!("cannot read {} again", details.path.display()))?;
    Ok(Model { counted: Timed::new(model), tokenizer, chat_template, eos, details, digest })
}

/// Loads the models that `kinds` use; models that are the first layers of another share its weights.
///
/// # Errors
/// The first model that does not load.
pub(crate) fn load_all<'p>(
    plans: &BTreeMap<String, ModelPlan>,
    kinds: impl Iterator<Item = &'p DecoderKind>,
) -> Result<Models> {
    let used: BTreeSet<&str> = kinds.flat_map(DecoderKind::models).collect();
    let exit = |name: &str| plans[name].early_exit.as_ref();
    let mut models = Models::new();
    for (name, plan) in plans.iter().filter(|(_, plan)| plan.early_exit.is_none()) {
        let exits: Vec<(&str, &EarlyExit)> =
            used.iter().filter_map(|used| Some((*used, exit(used)?))).collect();
        let own = exits.into_iter().filter(|(_, exit)| exit.of == *name).collect::<Vec<_>>();
        if own.is_empty() && !used.contains(name.as_str()) {
            continue;
        }
        let whole = fetch(name, plan)?;
        for (exit_name, exit) in own {
            let loaded = whole.early_exit(exit_name, exit.layers).map_err(|error| {
                WrongRequest(format!("cannot make model `{exit_name}` of `{name}`: {error}"))
            })?;
            models.insert(exit_name.to_owned(), model(loaded)?);
        }
        if used.contains(name.as_str()) {
            models.insert(name.clone(), model(whole)?);
        }
    }
    let lent = |name: &str| used.iter().any(|used| exit(used).is_some_and(|exit| exit.of == name));
    for unused in plans.keys().filter(|name| !models.contains_key(*name) && !lent(name)) {
        output::note(&format!("note: model `{unused}` is used by no decoder and was not loaded"));
    }
    Ok(models)
}
