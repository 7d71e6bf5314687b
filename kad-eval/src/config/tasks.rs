//! `[[tasks]]`. Every kind of task reads its own keys; here the tasks of an experiment are put
//! together.

use std::collections::HashMap;

use super::experiment::{DecoderKind, DecoderPlan};
use crate::task::TaskPlan;
use crate::toml_table::{ConfigError, Value};

type Result<T> = std::result::Result<T, ConfigError>;

/// The tasks of an experiment. A list of parts or subjects makes several of one entry.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn tasks(value: &Value<'_>, decoders: &[DecoderPlan]) -> Result<Vec<TaskPlan>> {
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
