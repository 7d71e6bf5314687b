//! From TOML to a checked [`Experiment`].

use std::collections::BTreeMap;
use std::str::FromStr;

use kad_backends::{LoadError, RunOptions};

use super::decoders::decoders;
use super::experiment::{DecoderPlan, EarlyExit, Experiment, ModelPlan, SamplingPlan};
use super::passes::passes;
use super::tasks::tasks;
use crate::toml_table::{ConfigError, Table, Value, parse};

type Result<T> = std::result::Result<T, ConfigError>;

/// Checks the experiment in `text`; `file` is its name in messages.
///
/// # Errors
/// The first mistake, with its line, a caret and the remedy.
pub(crate) fn read(file: &str, text: &str) -> Result<Experiment> {
    parse(file, text, "the experiment", experiment)
}

fn experiment(file: &Table<'_>) -> Result<Experiment> {
    let name = name(&file.required("name")?)?;
    let question = file.get("question", Value::string)?;
    let seed = file.get("seed", Value::count)?.unwrap_or(0);
    let models = models(&file.required_as("models", "add `[models.NAME]` with a `source`")?)?;
    let sampling = sampling(file, "[sampling]", &SamplingPlan::default())?;
    let passes = file.get("passes", passes)?;
    let decoders = decoders(
        &file.required_as("decoders", "add `[[decoders]]` with a `name` and a `kind`")?,
        &models,
        &sampling,
        &[],
    )?;
    let baseline = baseline(file, &decoders)?;
    let tasks = tasks(&file.required_as("tasks", "add `[[tasks]]` with a `kind`")?, &decoders)?;
    file.finish()?;
    Ok(Experiment { name, question, seed, models, sampling, passes, decoders, baseline, tasks })
}

/// The experiment's name, which names a folder.
fn name(value: &Value<'_>) -> Result<String> {
    let name = value.str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        let help = "use letters, digits, `-`, `_` and `.`: it names the results folder";
        return Err(value.error(format!("`{name}` cannot name an experiment")).help(help));
    }
    Ok(name.to_owned())
}

fn models(value: &Value<'_>) -> Result<BTreeMap<String, ModelPlan>> {
    let table = value.table("[models]")?;
    let mut models = BTreeMap::new();
    let mut exits = Vec::new();
    for (name, value) in table.entries() {
        let entry = value.table(format!("[models.{name}]"))?;
        match entry.optional("early_exit_of") {
            Some(of) => exits.push((name, entry, of)),
            None => _ = models.insert(name.to_owned(), model(&entry)?),
        }
    }
    for (name, entry, of) in exits {
        let exit = early_exit(&entry, &of, &models)?;
        models.insert(name.to_owned(), exit);
    }
    if models.is_empty() {
        return Err(value.error("no models").help("add `[models.NAME]` with a `source`"));
    }
    Ok(models)
}

fn model(entry: &Table<'_>) -> Result<ModelPlan> {
    let source = entry.required("source")?;
    let parsed = source.str()?;
    let optional = entry.get("optional", Value::bool)?.unwrap_or(false);
    check_source(parsed, optional).map_err(|error| source.error(error.to_string()))?;
    let plan = ModelPlan {
        source: parsed.to_owned(),
        backend: entry.get("backend", Value::parsed)?.unwrap_or_default(),
        dtype: entry.get("dtype", Value::parsed)?.unwrap_or_default(),
        options: run_options(entry)?,
        optional,
        early_exit: None,
    };
    entry.finish()?;
    Ok(plan)
}

/// Threads and device. Options that a backend does not have are refused when the model is loaded.
fn run_options(entry: &Table<'_>) -> Result<RunOptions> {
    let help = "leave it out for all there are";
    let threads = entry.get("threads", |value| value.at_least_one(help))?;
    let device = entry.get("device", Value::parsed)?.unwrap_or_default();
    Ok(RunOptions { threads, device })
}

/// The first layers of one of the `models` that have a source.
fn early_exit(
    entry: &Table<'_>,
    of: &Value<'_>,
    models: &BTreeMap<String, ModelPlan>,
) -> Result<ModelPlan> {
    let layers = entry.required("layers")?.at_least_one("run at least the first layer")?.get();
    entry.finish()?;
    let whole = of.known("model with a source", models.keys().map(String::as_str))?;
    let plan = &models[whole];
    if plan.early_exit.is_some() {
        let error = of.error(format!("`{whole}` is an early exit itself"));
        return Err(error.help("name the model whose layers they are"));
    }
    let early_exit = Some(EarlyExit { of: whole.to_owned(), layers });
    Ok(ModelPlan { early_exit, ..plan.clone() })
}

/// Refuses a source on this machine that is not there, unless it is optional. Sources that are
/// fetched are looked for when the run starts.
fn check_source(text: &str, optional: bool) -> std::result::Result<(), LoadError> {
    let source = kad_backends::Source::from_str(text)?;
    if matches!(source, kad_backends::Source::Nano(_) | kad_backends::Source::Path(_)) {
        match source.resolve(&|_| ()) {
            Err(LoadError::NotFound { .. }) if optional => (),
            found => _ = found?,
        }
    }
    Ok(())
}

/// The name of a decoder's own `sampling`, for [`sampling`].
pub(super) const OWN_SAMPLING: &str = "the decoder's sampling";

/// The `sampling` of a table, called `what` in messages, on top of `default`.
pub(super) fn sampling(
    table: &Table<'_>,
    what: &str,
    default: &SamplingPlan,
) -> Result<SamplingPlan> {
    let own = table.get("sampling", |own| read_sampling(&own.table(what)?, default))?;
    Ok(own.unwrap_or_else(|| default.clone()))
}

fn read_sampling(table: &Table<'_>, default: &SamplingPlan) -> Result<SamplingPlan> {
    let float = |key| table.get(key, Value::float);
    let plan = SamplingPlan {
        temperature: float("temperature")?.unwrap_or(default.temperature),
        top_k: table.get("top_k", Value::count)?.or(default.top_k),
        top_p: float("top_p")?.or(default.top_p),
        min_p: float("min_p")?.or(default.min_p),
        repetition_penalty: float("repetition_penalty")?.unwrap_or(default.repetition_penalty),
        max_new_tokens: table
            .get("max_new_tokens", Value::count)?
            .unwrap_or(default.max_new_tokens),
        decision_temperature: float("decision_temperature")?
            .unwrap_or(default.decision_temperature),
        stop_at_end: table.get("stop_at_end", Value::bool)?.unwrap_or(default.stop_at_end),
    };
    for checked in [plan.sampling(), plan.decision()] {
        if let Err(error) = checked {
            let message = error.to_string();
            return Err(match table.optional(error.key) {
                Some(value) => value.error(message),
                None => table.error(message),
            });
        }
    }
    if plan.max_new_tokens == 0 {
        let value = table.required("max_new_tokens")?;
        return Err(value.error("max_new_tokens is 0: ask for at least one token"));
    }
    table.finish()?;
    Ok(plan)
}

fn baseline(file: &Table<'_>, decoders: &[DecoderPlan]) -> Result<String> {
    let names = decoders.iter().map(|decoder| decoder.name.as_str());
    let named = file.get("baseline", |value| value.known("decoder", names).map(str::to_owned))?;
    Ok(named.unwrap_or_else(|| decoders[0].name.clone()))
}
