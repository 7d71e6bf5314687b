//! What `kad profile`, `kad plan` and `kad bench` have in common.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{self, Experiment};
use crate::failure::WrongRequest;
use crate::speed::profile::Prompts;
use crate::task::{self, LoadOptions, TaskPlan};

/// The experiment in `file`.
pub(super) fn experiment(file: &Path) -> Result<Experiment> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the experiment {}", file.display()))?;
    Ok(config::read(&file.display().to_string(), &text)?)
}

/// `count` prompts behind the first `skip`, taking the tasks in turn; fewer if there are no more.
pub(super) fn prompts(
    experiment: &Experiment,
    data: Option<&Path>,
    skip: usize,
    count: usize,
) -> Result<Prompts> {
    let most = skip.saturating_add(count);
    let load = |plan: &TaskPlan| {
        let from = LoadOptions { data, seed: experiment.seed, limit: Some(most as u64) };
        task::load(plan, from).with_context(|| format!("task {}", plan.name()))
    };
    let tasks = experiment.tasks.iter().map(load).collect::<Result<Vec<_>>>()?;
    let mut items = Vec::new();
    for index in 0..most {
        for task in &tasks {
            let Some(item) = task.items.get(index).filter(|_| items.len() < most) else {
                continue;
            };
            items.push((
                experiment.seed.wrapping_add(items.len() as u64),
                task.conversation(item, &[]),
            ));
        }
    }
    Ok(Prompts { items: items.split_off(skip.min(items.len())) })
}

/// Of the draws of a comparison: none is a draw that the profile was made from.
const OTHER_DRAWS: u64 = 0x9e37_79b9_7f4a_7c15;

/// Up to `count` prompts that the first `profiled` are not among, with other draws, and in words
/// which they are: a prediction is tested on what it was not made from. If there are no others, the
/// first ones.
pub(super) fn unseen(
    experiment: &Experiment,
    data: Option<&Path>,
    profiled: usize,
    count: usize,
) -> Result<(Prompts, String)> {
    let mut found = prompts(experiment, data, profiled, count)?;
    let words = if profiled == 0 {
        "the first prompts of the tasks".to_owned()
    } else if found.items.is_empty() {
        found = prompts(experiment, data, 0, count)?;
        "prompts of the profile, other draws: the tasks have no others".to_owned()
    } else {
        format!("prompts after the {profiled} of the profile, other draws")
    };
    for (seed, _) in &mut found.items {
        *seed = seed.wrapping_add(OTHER_DRAWS);
    }
    Ok((found, words))
}

/// Before minutes of measuring: whether the file `path`, given by the option `flag`, can be
/// written.
pub(super) fn check_writable(path: &Path, what: &str, flag: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_none_or(Path::is_dir) && !path.is_dir() {
        return Ok(());
    }
    let why = if path.is_dir() { "it is a folder" } else { "there is no such folder" };
    bail!(WrongRequest(format!(
        "cannot write the {what} {}: {why}; give `{flag}` a file in a folder that is there",
        path.display()
    )))
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

    /// The quickstart's prompts behind those of a profile, until there are none.
    #[test]
    fn a_comparison_sees_other_prompts_and_draws() {
        let toml = "[models.m]\nsource = \"nano:draft\"\n[[decoders]]\nname = \"plain\"\n\
                    kind = \"single\"\nmodel = \"m\"\n[[tasks]]\nkind = \"nano\"\nitems = 5\n";
        let file = config::read("e.toml", &format!("name = \"e\"\n{toml}")).unwrap();
        let all = prompts(&file, None, 0, 9).unwrap().items;
        assert_eq!(all.len(), 5);
        let (found, words) = unseen(&file, None, 3, 4).unwrap();
        assert_eq!(found.items.len(), 2);
        for ((seed, asked), (old, known)) in found.items.iter().zip(&all[3..]) {
            assert_eq!(format!("{asked:?}"), format!("{known:?}"));
            assert!(seed != old && all.iter().all(|(other, _)| seed != other));
        }
        assert!(words.contains("after the 3"), "{words}");
        let (found, words) = unseen(&file, None, 5, 4).unwrap();
        assert_eq!(found.items.len(), 4);
        assert!(words.contains("no others"), "{words}");
    }

    #[test]
    fn a_chain_in_words() {
        let members = ["large", "middle", "small"].map(str::to_owned);
        assert_eq!(in_words(&members, &[6, 3]), "large ← 6 middle ← 3 small");
        assert_eq!(in_words(&members[..1], &[]), "large");
    }
}
