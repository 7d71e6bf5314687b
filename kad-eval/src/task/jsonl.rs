//! Items of the user: JSON lines, a prompt template, an extractor.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::data::{self, Author};
use super::plan::UserFile;
use super::{
    Extractor, Grading, Item, LoadOptions, LoadedItems, Opening, Shots, SolvedItem, TaskKind,
    TaskSet, kind,
};
use crate::failure::WrongRequest;
use crate::toml_table::{ConfigError, Table, Value};

pub(super) static KIND: TaskKind = TaskKind {
    name: "jsonl",
    measures: "items of your own",
    metric: "accuracy, or speed",
    items: 0,
    file: None,
    examples: None,
    hub: None,
    licence: "of your file",
    source: "a file of yours, one JSON object a line",
    keys: "file = PATH; prompt, answer, id = TEMPLATE; system = TEXT; extractor = NAME",
    sets,
};

#[derive(Serialize)]
struct JsonlKeys {
    file: UserFile,
    /// A template over the fields of a line, as are `answer` and `id`.
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extractor: Option<Extractor>,
}

fn sets(table: &Table<'_>) -> Result<Vec<TaskSet>, ConfigError> {
    let keys = JsonlKeys {
        file: UserFile::read(&table.required("file")?)?,
        prompt: template(&table.required("prompt")?)?,
        answer: table.get("answer", template)?,
        id: table.get("id", template)?,
        system: table.get("system", Value::string)?,
        extractor: table.get("extractor", extractor)?,
    };
    let lacks = match (&keys.answer, &keys.extractor) {
        (Some(_), None) => Some(("`answer`", "an `extractor`, which reads the answer in a reply")),
        (None, Some(_)) => Some(("`extractor`", "an `answer`, a template of the right one")),
        _ => None,
    };
    if let Some((has, lacks)) = lacks {
        let error = table.error(format!("a task with {has} needs {lacks}"));
        return Err(error.help("give both, or neither for a task that measures speed"));
    }
    let grading = keys.extractor.clone().map_or(Grading::Speed, Grading::Answer);
    let part = Some(keys.file.stem());
    Ok(vec![TaskSet { part, shots: Shots::None, ..TaskSet::new(keys, grading, load) }])
}

/// A template that compiles.
fn template(value: &Value<'_>) -> Result<String, ConfigError> {
    let text = value.str()?;
    match Environment::new().template_from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let help = "fields of a line stand in double braces: {{ question }}";
            Err(value.error(format!("not a template: {error}")).help(help))
        }
    }
}

/// The name of an extractor, or `{ regex = "…" }`.
fn extractor(value: &Value<'_>) -> Result<Extractor, ConfigError> {
    if value.is_table() {
        let table = value.table("extractor")?;
        let pattern = table.required("regex")?;
        table.finish()?;
        return Extractor::pattern(pattern.str()?).map_err(|error| {
            pattern.error(error.to_string()).help("its first group is the answer")
        });
    }
    let names = Extractor::NAMED.into_iter().map(|(name, _)| name);
    Extractor::named(value.str()?).ok_or_else(|| value.unknown("extractor", names))
}

/// The items of the file. The user mends every mistake in it.
fn load(keys: &JsonlKeys, _: LoadOptions<'_>) -> Result<LoadedItems> {
    let items = read(keys).map_err(|error| WrongRequest(format!("{error:#}")))?;
    Ok(LoadedItems { items, examples: None })
}

/// Renders the templates over every line. A field that a line lacks is an error, not an empty text.
fn read(keys: &JsonlKeys) -> Result<Vec<SolvedItem>> {
    let path = &keys.file.path;
    let text = keys.file.text("task file")?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let opening = Arc::new(Opening { system: keys.system.clone(), shots: Vec::new() });
    kind::solved(data::lines(path, &text, Author::User)?, |index, line: Map<String, Json>| {
        let fields = minijinja::Value::from(Serde(&line));
        let render = |name: &str, template: &str| {
            let made = environment.render_str(template, &fields);
            made.map_err(|error| failed((name, template), &line, &error))
        };
        let id = match &keys.id {
            Some(template) => render("id", template)?,
            None => format!("line-{:05}", index + 1),
        };
        let turns = vec![render("prompt", &keys.prompt)?];
        if turns[0].trim().is_empty() {
            bail!("the prompt is empty");
        }
        let gold = match (&keys.answer, &keys.extractor) {
            (Some(template), Some(extractor)) => {
                let answer = render("answer", template)?;
                let gold = extractor.gold(&answer);
                gold.with_context(|| format!("`{extractor}` finds no answer in {answer:?}"))?
            }
            _ => String::new(),
        };
        Ok(Item { id, turns, gold, opening: opening.clone(), ..Item::default() }.into())
    })
}

/// The error of a template, with the fields that the line has.
fn failed(
    (name, template): (&str, &str),
    line: &Map<String, Json>,
    error: &minijinja::Error,
) -> anyhow::Error {
    let fields: Vec<&str> = line.keys().map(String::as_str).collect();
    let fault = match missing(template, line)
        .filter(|_| error.kind() == minijinja::ErrorKind::UndefinedError)
    {
        Some(field) => format!("the line has no field `{field}`"),
        None => error.to_string(),
    };
    anyhow!("the `{name}` template failed: {fault}; the line has: {}", fields.join(", "))
}

/// The first field in alphabetical order that the template reads and the line lacks.
fn missing(template: &str, line: &Map<String, Json>) -> Option<String> {
    let environment = Environment::new();
    let template = environment.template_from_str(template).ok()?;
    template.undeclared_variables(false).into_iter().filter(|name| !line.contains_key(name)).min()
}
