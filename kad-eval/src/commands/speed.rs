//! What `kad profile`, `kad plan` and `kad bench` have in common.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{self, Experiment};
use crate::failure::WrongRequest;
use crate::profile::Prompts;
use crate::task;

/// The experiment in `file`.
pub(super) fn experiment(file: &Path) -> Result<Experiment> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the experiment {}", file.display()))?;
    Ok(config::read(&file.display().to_string(), &text)?)
}

/// The first `count` prompts, taking the tasks in turn.
pub(super) fn prompts(
    experiment: &Experiment,
    data: Option<&Path>,
    count: usize,
) -> Result<Prompts> {
    let load = |plan: &config::TaskPlan| {
        task::load(plan, data, Some(count as u64)).with_context(|| format!("task {}", plan.name()))
    };
    let tasks = experiment.tasks.iter().map(load).collect::<Result<Vec<_>>>()?;
    let mut items = Vec::new();
    for index in 0..count {
        for task in &tasks {
            let Some(item) = task.items.get(index).filter(|_| items.len() < count) else {
                continue;
            };
            items.push((experiment.seed.wrapping_add(items.len() as u64), task.messages(item)));
        }
    }
    if items.is_empty() {
        bail!(WrongRequest(
            "no prompts: the tasks of the experiment have no items; add a `[[tasks]]` entry that \
             has some"
                .to_owned()
        ));
    }
    Ok(Prompts { items })
}

/// Three significant digits or so.
pub(super) fn milliseconds(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        middle if middle >= 1.0 => 2,
        small if small >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// A factor with two decimals.
pub(super) fn factor(value: f64) -> String {
    format!("{value:.2}×")
}

/// `value [low, high]`, each as `number` writes it.
pub(super) fn with_interval(value: f64, low: f64, high: f64, number: fn(f64) -> String) -> String {
    format!("{} [{}, {}]", number(value), number(low), number(high))
}

/// A chain in words: `large ← 6 middle ← 3 small`.
pub(super) fn in_words(members: &[String], lengths: &[usize]) -> String {
    let (first, drafters) = members.split_first().map_or(("", &[][..]), |(f, d)| (f.as_str(), d));
    let levels = drafters.iter().zip(lengths).map(|(name, length)| format!(" ← {length} {name}"));
    std::iter::once(first.to_owned()).chain(levels).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let found = [123.4, 12.34, 1.234, 0.1234, 0.01234].map(milliseconds);
        assert_eq!(found, ["123", "12.3", "1.23", "0.123", "0.0123"]);
    }

    #[test]
    fn a_chain_in_words() {
        let members = ["large", "middle", "small"].map(str::to_owned);
        assert_eq!(in_words(&members, &[6, 3]), "large ← 6 middle ← 3 small");
        assert_eq!(in_words(&members[..1], &[]), "large");
    }
}
