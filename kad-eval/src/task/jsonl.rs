//! A user's own items: JSON lines, a prompt template, an extractor.

use std::io::ErrorKind;

use anyhow::{Context, Result, anyhow, bail};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::files::{Maker, Records};
use super::{Frame, Grading, Item, Opening, Problem, Set, files};
use crate::config::JsonlPlan;
use crate::failure::WrongRequest;

/// The set of the user's file. All that is wrong with it is the user's to mend.
pub(super) fn load(plan: &JsonlPlan) -> Result<Set> {
    read(plan).map_err(|error| WrongRequest(format!("{error:#}")).into())
}

/// Renders the templates over every line. A field that a line lacks is an error, not an empty word.
fn read(plan: &JsonlPlan) -> Result<Set> {
    let path = &plan.file.path;
    let text = std::fs::read_to_string(path).map_err(|error| {
        let help = match error.kind() {
            ErrorKind::InvalidData => "save it as UTF-8",
            _ => "a relative path is taken from the folder of the experiment file",
        };
        anyhow!("cannot read the task file {}: {error}; {help}", path.display())
    })?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let opening = Opening { system: plan.system.clone(), shots: Vec::new() };
    let opening = std::sync::Arc::new(opening);
    let (mut problems, mut ids) = (Vec::new(), Vec::new());
    let lines: Records<Map<String, Json>> = files::lines(path, &text, Maker::User)?;
    for (index, (at, line)) in lines.into_iter().enumerate() {
        let fields = Value::from(Serde(&line));
        let render = |what: &str, template: &str| {
            let made = environment.render_str(template, &fields);
            made.map_err(|error| lacking((what, template), &line, &error))
                .with_context(|| at.to_string())
        };
        let id = match &plan.id {
            Some(template) => render("id", template)?,
            None => format!("line-{:05}", index + 1),
        };
        let turns = vec![render("prompt", &plan.prompt)?];
        if turns[0].trim().is_empty() {
            bail!("{at}: the prompt is empty");
        }
        let gold = match (&plan.answer, &plan.extractor) {
            (Some(template), Some(extractor)) => {
                let answer = render("answer", template)?;
                extractor
                    .gold(&answer)
                    .with_context(|| format!("{at}: `{extractor}` finds no answer in {answer:?}"))?
            }
            _ => String::new(),
        };
        // Which letters can be chosen is not known: all of them.
        ids.push((at, id.clone()));
        let item = Item { id, turns, gold, opening: opening.clone(), ..Item::default() };
        problems.push(Problem { item, reply: String::new() });
    }
    files::distinct(&ids, String::clone)?;
    let grading = plan.extractor.clone().map_or(Grading::Speed, Grading::Answer);
    Ok(Set { problems, examples: None, grading, frame: Frame::QUESTION })
}

/// What a template misses, and what there is.
fn lacking(
    (what, template): (&str, &str),
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
    anyhow!("the `{what}` template failed: {fault}; the line has: {}", fields.join(", "))
}

/// The first field, by name, that the template reads and the line has not.
fn missing(template: &str, line: &Map<String, Json>) -> Option<String> {
    let environment = Environment::new();
    let template = environment.template_from_str(template).ok()?;
    template.undeclared_variables(false).into_iter().filter(|name| !line.contains_key(name)).min()
}
