//! From TOML to a checked [`Experiment`].

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;

use anyhow::Context;
use kad_backends::{LoadError, ModelOptions};

use super::decoders::decoders;
use super::experiment::{
    DecoderKind, DecoderPlan, EarlyExit, Experiment, ModelPlan, PassesPlan, SamplingPlan,
};
use super::set::{Setting, set};
use crate::failure::{Error, Failure};
use crate::task::TaskPlan;
use crate::toml_table::{Result, Table, Value, parse};

impl Experiment {
    /// Reads and checks the experiment in the file `path`. Task files and profiles in it are relative
    /// to the file's folder, models to the current folder.
    ///
    /// # Errors
    /// Fails if the file cannot be read or is no experiment: the error shows the line.
    ///
    /// ```
    /// use kad_eval::Experiment;
    ///
    /// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/quickstart.toml");
    /// assert_eq!(Experiment::from_file(path)?.name(), "quickstart");
    /// # Ok::<(), kad_eval::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> std::result::Result<Self, Error> {
        Ok(read_file(path.as_ref(), &[]).map_err(Failure::Request)?)
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Experiment {
    type Err = Error;

    /// Checks the experiment in `toml`. Paths in it are relative to the current folder.
    ///
    /// # Errors
    /// Fails if the text is no experiment: the error shows the line.
    fn from_str(toml: &str) -> std::result::Result<Self, Error> {
        Ok(read("experiment.toml", toml).map_err(Failure::request)?)
    }
}

/// Reads and checks the experiment in the file `path`, with `settings` of the command line.
pub(crate) fn read_file(path: &Path, settings: &[Setting]) -> anyhow::Result<Experiment> {
    let mut name = path.display().to_string();
    let mut text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the experiment {name}"))?;
    if !settings.is_empty() {
        text = set(&text, settings)?;
        name += " with --set";
    }
    Ok(read(&name, &text)?)
}

/// Checks the experiment in `text`; `file` is its name in messages.
pub(crate) fn read(file: &str, text: &str) -> Result<Experiment> {
    parse(file, text, "the experiment", experiment)
}

/// Tokens per forward pass, unless a file says otherwise.
const WIDTHS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Context length of a pass in tokens, unless a file says otherwise.
const CONTEXT: NonZeroUsize = NonZeroUsize::new(128).unwrap();

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
    let is_exit = |name: &str| exits.iter().any(|(exit, ..)| *exit == name);
    let exit = |(name, entry, of): &(&str, Table<'_>, Value<'_>)| {
        Ok(((*name).to_owned(), early_exit(entry, of, &models, is_exit)?))
    };
    let made = exits.iter().map(exit).collect::<Result<Vec<_>>>()?;
    models.extend(made);
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
        options: model_options(entry)?,
        optional,
        early_exit: None,
    };
    entry.finish()?;
    Ok(plan)
}

/// Threads and device. Options that a backend does not have are refused when the model is loaded.
fn model_options(entry: &Table<'_>) -> Result<ModelOptions> {
    let help = "leave it out to use all cores";
    let threads = entry.get("threads", |value| value.at_least_one(help))?;
    let device = entry.get("device", Value::parsed)?.unwrap_or_default();
    Ok(ModelOptions { threads, device })
}

/// The first layers of one of the `models` that have a source.
fn early_exit(
    entry: &Table<'_>,
    of: &Value<'_>,
    models: &BTreeMap<String, ModelPlan>,
    is_exit: impl Fn(&str) -> bool,
) -> Result<ModelPlan> {
    let layers = entry.required("layers")?.at_least_one("use at least the first layer")?.get();
    entry.finish()?;
    if is_exit(of.str()?) {
        let error = of.error(format!("`{}` is itself an early exit", of.str()?));
        return Err(error.help("name the model whose layers they are"));
    }
    let whole = of.known("model", models.keys().map(String::as_str))?;
    let early_exit = Some(EarlyExit { of: whole.to_owned(), layers });
    Ok(ModelPlan { early_exit, ..models[whole].clone() })
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

fn passes(value: &Value<'_>) -> Result<PassesPlan> {
    let table = value.table("[passes]")?;
    let count = |key, help| table.get(key, |value| value.at_least_one(help));
    let plan = PassesPlan {
        widths: table.get("widths", widths)?.unwrap_or_else(|| WIDTHS.to_vec()),
        context: count("context", "a pass follows at least one token")?.unwrap_or(CONTEXT),
        rounds: count("rounds", "leave it out to measure for a few seconds")?,
    };
    table.finish()?;
    Ok(plan)
}

fn widths(value: &Value<'_>) -> Result<Vec<usize>> {
    let widths = value.list()?;
    let help = "give tokens per pass, at least 1";
    let widths = widths.iter().map(|width| Ok(width.at_least_one(help)?.get()));
    let widths = widths.collect::<Result<Vec<usize>>>()?;
    if widths.first() == Some(&1) && widths.is_sorted_by(|a, b| a < b) {
        return Ok(widths);
    }
    let help = "the first width must be 1, for comparison, for example [1, 2, 4, 8]";
    Err(value.error("widths must increase from 1").help(help))
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

/// The tasks of an experiment. A list of parts or subjects makes several of one entry.
fn tasks(value: &Value<'_>, decoders: &[DecoderPlan]) -> Result<Vec<TaskPlan>> {
    let mut tasks: Vec<TaskPlan> = Vec::new();
    let entries = value.list()?;
    let tables =
        entries.iter().map(|entry| entry.table("[[tasks]]")).collect::<Result<Vec<_>>>()?;
    let kinds = tables.iter().map(|table| table.required("kind")).collect::<Result<Vec<_>>>()?;
    let mut called: HashMap<String, &Value<'_>> = HashMap::new();
    for (kind, table) in kinds.iter().zip(&tables) {
        for task in TaskPlan::read(table)? {
            if let Some(first) = called.insert(task.name(), kind) {
                let error = kind.repeats(first, format!("two tasks are called {}", task.name()));
                return Err(error.help("give one of them another `name`"));
            }
            if task.grading().scores_distribution() {
                check_temperatures(kind, &task, decoders)?;
            }
            tasks.push(task);
        }
    }
    if tasks.is_empty() {
        return Err(value.error("no tasks").help("add a `[[tasks]]` entry"));
    }
    Ok(tasks)
}

/// Refuses a task that scores options or texts if a decoder has temperature 0: all of its
/// probability is on one token.
fn check_temperatures(kind: &Value<'_>, task: &TaskPlan, decoders: &[DecoderPlan]) -> Result<()> {
    let greedy = |plan: &&DecoderPlan| match &plan.kind {
        DecoderKind::Chain(chain) => chain.target.sampling.temperature == 0.0,
        _ => plan.sampling.temperature == 0.0,
    };
    let Some(plan) = decoders.iter().find(greedy) else { return Ok(()) };
    let (task, decoder) = (task.name(), &plan.name);
    let message = format!(
        "{task} asks for probabilities, and at temperature 0 the distribution of `{decoder}` has \
         only 0 and 1"
    );
    let help = "set a `temperature` above 0 in [sampling] or for that decoder; 1 is usual";
    Err(kind.error(message).help(help))
}
