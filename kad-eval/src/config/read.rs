//! From TOML to a checked [`Experiment`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;

use kad_backends::{LoadError, RunOptions};
use toml::de::DeTable;

use super::ConfigError;
use super::decoders::decoders;
use super::experiment::{DecoderPlan, EarlyExit, Experiment, ModelPlan, SamplingPlan};
use super::passes::passes;
use super::table::{Source, Table, Value, nearest};
use super::tasks::tasks;

type Result<T> = std::result::Result<T, ConfigError>;

/// Checks the experiment in `text`; `file` is its name in messages.
///
/// # Errors
/// The first mistake, with its line, a caret and what to write instead.
pub(crate) fn read(file: &str, text: &str) -> Result<Experiment> {
    let source = Source { file: file.to_owned(), text: text.to_owned() };
    let parsed = DeTable::parse(&source.text).map_err(|error| no_toml(&source, &error))?;
    experiment(&Table::new(&source, "the experiment", parsed.get_ref(), 0..source.text.len()))
}

fn experiment(file: &Table<'_>) -> Result<Experiment> {
    let name = name(&file.required("name")?)?;
    let question = file.optional("question").map(|v| v.str()).transpose()?.map(str::to_owned);
    let seed = file.optional("seed").map_or(Ok(0), |v| v.count())?;
    let models = models(&file.required_as("models", "add `[models.NAME]` with a `source`")?)?;
    let sampling = match file.optional("sampling") {
        Some(value) => read_sampling(&value.table("[sampling]")?, &SamplingPlan::default())?,
        None => SamplingPlan::default(),
    };
    let passes = file.optional("passes").map(|value| passes(&value)).transpose()?;
    let decoders = decoders(
        &file.required_as("decoders", "add `[[decoders]]` with a `name` and a `kind`")?,
        &models,
        &sampling,
    )?;
    let baseline = baseline(file.optional("baseline"), &decoders)?;
    let tasks = tasks(&file.required_as("tasks", "add `[[tasks]]` with a `kind`")?, &decoders)?;
    file.finish()?;
    Ok(Experiment { name, question, seed, models, sampling, passes, decoders, baseline, tasks })
}

/// The error for text that is no TOML. A table or a key that stands twice is shown with its first
/// place: that is how two models, whose names are keys, come to have one name.
fn no_toml(source: &Source, error: &toml::de::Error) -> ConfigError {
    let span = error.span().unwrap_or(0..0);
    let first = (error.message() == "duplicate key").then(|| first_place(&source.text, span.start));
    let Some(first) = first.flatten() else {
        return source.error(span, error.message(), None);
    };
    let name = &source.text[span.clone()];
    let message = match source.text[first.clone()].starts_with("[models.") {
        true => format!("two models are called `{name}`"),
        false => format!("`{name}` stands twice"),
    };
    source.twice([first, span], &message, "give each its own name, or leave one out")
}

/// Where the key or the table of the line that `at` is in stands before: of keys, in the same
/// table.
fn first_place(text: &str, at: usize) -> Option<Range<usize>> {
    let label = |line: &str| {
        let line = line.trim();
        let end = if line.starts_with('[') { line.find(']') } else { line.find('=') };
        end.map(|end| line[..end].trim().to_owned())
    };
    let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let own = label(text[from..].lines().next()?)?;
    let mut start = from;
    for line in text[..from].split_inclusive('\n').rev() {
        start -= line.len();
        if label(line).as_ref() == Some(&own) {
            let indent = line.len() - line.trim_start().len();
            return Some(start + indent..start + line.trim_end().len());
        }
        if line.trim().starts_with('[') && !own.starts_with('[') {
            return None;
        }
    }
    None
}

/// The name becomes a folder.
fn name(value: &Value<'_>) -> Result<String> {
    let name = value.str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        let help = "use letters, digits, `-`, `_` and `.`: it names the results folder";
        return Err(value.error(&format!("`{name}` cannot name an experiment"), Some(help.into())));
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
        return Err(value.error("no models", Some("add `[models.NAME]` with a `source`".into())));
    }
    Ok(models)
}

fn model(entry: &Table<'_>) -> Result<ModelPlan> {
    let source = entry.required("source")?;
    let parsed = source.str()?;
    let optional = entry.optional("optional").map_or(Ok(false), |value| value.bool())?;
    check_source(parsed, optional).map_err(|error| source.error(&error.to_string(), None))?;
    let plan = ModelPlan {
        source: parsed.to_owned(),
        backend: parse_or_default(entry.optional("backend"))?,
        dtype: parse_or_default(entry.optional("dtype"))?,
        options: run_options(entry)?,
        optional,
        early_exit: None,
    };
    entry.finish()?;
    Ok(plan)
}

/// How the backend runs it; what a backend does not have is refused when the model is loaded.
fn run_options(entry: &Table<'_>) -> Result<RunOptions> {
    let threads = entry.optional("threads");
    let threads = threads.map(|value| value.at_least_one("leave it out for all there are"));
    let device = parse_or_default(entry.optional("device"))?;
    Ok(RunOptions { threads: threads.transpose()?, device })
}

/// The first layers of one of the `models` that have a source.
fn early_exit(
    entry: &Table<'_>,
    of: &Value<'_>,
    models: &BTreeMap<String, ModelPlan>,
) -> Result<ModelPlan> {
    let layers = entry.required("layers")?;
    let layers = layers.at_least_one("run at least the first layer")?.get();
    entry.finish()?;
    let whole = known(of, "model with a source", models.keys().map(String::as_str))?;
    let whole_plan = &models[whole];
    if whole_plan.early_exit.is_some() {
        let help = "name the model whose layers they are";
        return Err(of.error(&format!("`{whole}` is an early exit itself"), Some(help.into())));
    }
    let early_exit = Some(EarlyExit { of: whole.to_owned(), layers });
    Ok(ModelPlan { early_exit, ..whole_plan.clone() })
}

/// What lies on this machine must be there, unless it is optional; what is fetched is looked for
/// when the run starts.
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

fn parse_or_default<T: FromStr + Default>(value: Option<Value<'_>>) -> Result<T>
where
    T::Err: ToString,
{
    let Some(value) = value else {
        return Ok(T::default());
    };
    value.str()?.parse().map_err(|error: T::Err| value.error(&error.to_string(), None))
}

/// The `sampling` of a decoder, on top of `default`.
pub(super) fn own_sampling(table: &Table<'_>, default: &SamplingPlan) -> Result<SamplingPlan> {
    match table.optional("sampling") {
        Some(own) => read_sampling(&own.table("the decoder's sampling")?, default),
        None => Ok(default.clone()),
    }
}

/// Settings in `table`, on top of `default`.
pub(super) fn read_sampling(table: &Table<'_>, default: &SamplingPlan) -> Result<SamplingPlan> {
    let float = |key| table.optional(key).map(|v| v.float()).transpose();
    let plan = SamplingPlan {
        temperature: float("temperature")?.unwrap_or(default.temperature),
        top_k: table.optional("top_k").map(|v| v.count()).transpose()?.or(default.top_k),
        top_p: float("top_p")?.or(default.top_p),
        min_p: float("min_p")?.or(default.min_p),
        repetition_penalty: float("repetition_penalty")?.unwrap_or(default.repetition_penalty),
        max_new_tokens: table
            .optional("max_new_tokens")
            .map_or(Ok(default.max_new_tokens), |v| v.count())?,
        decision_temperature: float("decision_temperature")?
            .unwrap_or(default.decision_temperature),
        stop_at_end: table.optional("stop_at_end").map_or(Ok(default.stop_at_end), |v| v.bool())?,
    };
    for checked in [plan.sampling(), plan.decision()] {
        if let Err(error) = checked {
            let at = table.optional(error.key);
            let message = error.to_string();
            return Err(at.map_or_else(|| table.error(&message, None), |v| v.error(&message, None)));
        }
    }
    if plan.max_new_tokens == 0 {
        let value = table.required("max_new_tokens")?;
        return Err(value.error("max_new_tokens is 0: ask for at least one token", None));
    }
    table.finish()?;
    Ok(plan)
}

/// The value if it is one of `names`, else an error that names the nearest.
pub(super) fn known<'a, 'n>(
    value: &Value<'a>,
    what: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<&'a str> {
    let found = value.str()?;
    if names.clone().any(|name| name == found) {
        return Ok(found);
    }
    Err(unknown(value, what, found, names))
}

/// The error for a name that is none of `names`, with the nearest that is.
pub(super) fn unknown<'n>(
    value: &Value<'_>,
    what: &str,
    found: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> ConfigError {
    let help = match nearest(found, names.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known: {}", names.collect::<Vec<_>>().join(", ")),
    };
    value.error(&format!("unknown {what} `{found}`"), Some(help))
}

/// A name that tables and messages can show.
pub(super) fn visible<'a>(value: &Value<'a>, what: &str) -> Result<&'a str> {
    let name = value.str()?;
    if name.trim().is_empty() || name.contains(char::is_control) {
        return Err(value.error(&format!("{what} is one line of visible text"), None));
    }
    Ok(name)
}

fn baseline(value: Option<Value<'_>>, decoders: &[DecoderPlan]) -> Result<String> {
    match value {
        Some(value) => {
            known(&value, "decoder", decoders.iter().map(|d| d.name.as_str())).map(str::to_owned)
        }
        None => Ok(decoders[0].name.clone()),
    }
}
