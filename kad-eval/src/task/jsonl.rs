//! A user's own items: JSON lines, a prompt template, an extractor.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::{Frame, Grading, Item, Opening, Problem, Set, files};
use crate::config::JsonlPlan;
use crate::failure::WrongRequest;

/// Renders the templates over every line. A field that a line lacks is an error, not an empty word.
pub(super) fn load(plan: &JsonlPlan) -> Result<Set> {
    let path = &plan.file.path;
    let text = std::fs::read_to_string(path).map_err(|error| {
        let help = "a relative path is taken from the folder of the experiment file";
        WrongRequest(format!("cannot read the task file {}: {error}; {help}", path.display()))
    })?;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let opening = Opening { system: plan.system.clone(), shots: Vec::new() };
    let opening = std::sync::Arc::new(opening);
    let (mut problems, mut ids) = (Vec::new(), HashSet::new());
    for (index, (at, line)) in
        files::lines::<Map<String, Json>>(path, &text)?.into_iter().enumerate()
    {
        let fields = Value::from(Serde(&line));
        let render = |what: &str, template: &str| {
            let made = environment.render_str(template, &fields);
            made.map_err(|error| lacking(what, &line, &error)).with_context(|| at.to_string())
        };
        let id = match &plan.id {
            Some(template) => render("id", template)?,
            None => format!("line-{:05}", index + 1),
        };
        if !ids.insert(id.clone()) {
            bail!("{at}: the id {id} stands twice");
        }
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
        let item = Item { id, turns, gold, opening: opening.clone(), ..Item::default() };
        problems.push(Problem { item, reply: String::new() });
    }
    let grading = plan.extractor.clone().map_or(Grading::Speed, Grading::Answer);
    Ok(Set { problems, examples: None, grading, frame: Frame::QUESTION })
}

/// What a template misses, and what there is.
fn lacking(what: &str, line: &Map<String, Json>, error: &minijinja::Error) -> anyhow::Error {
    let fields: Vec<&str> = line.keys().map(String::as_str).collect();
    anyhow::anyhow!("the `{what}` template failed: {error}; the line has: {}", fields.join(", "))
}
