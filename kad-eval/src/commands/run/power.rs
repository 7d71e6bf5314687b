//! What differences a run can show, before anything is decoded.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::stats::{CONFIDENCE, detectable};
use crate::config::Experiment;
use crate::task::{Grading, Task};

/// Shares of items that only one of two decoders answers rightly. How large it is nobody knows
/// before the run: decoders that are nearly the same, and such that are not.
const DISCORDANT: [f64; 2] = [0.1, 0.3];

/// More names of tasks are counted.
const MOST_NAMES: usize = 3;

/// Of tasks with so many items each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Power {
    tasks: Vec<String>,
    items: usize,
    /// Decoders that are compared with the baseline, on each task.
    comparisons: usize,
    /// α of one of them, so that all together have that of the intervals (Bonferroni).
    level: f64,
    differences: Vec<Difference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Difference {
    /// The share of the items that only one of the two answers rightly.
    discordant: f64,
    /// The smallest difference of accuracies that is found with a chance of 80 %; None if none is.
    detectable: Option<f64>,
}

impl Power {
    /// Of the whole run, also where it is done in shards. Tasks in which an item can be partly
    /// right, or that are not graded, are left out.
    pub(super) fn of(experiment: &Experiment, tasks: &[Task]) -> Vec<Self> {
        let comparisons = experiment.decoders.len().saturating_sub(1);
        let mut by_items: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let is_graded =
            |task: &&Task| matches!(task.grading, Grading::Answer(_) | Grading::Options);
        for task in tasks.iter().filter(is_graded).filter(|_| comparisons > 0) {
            by_items.entry(task.items.len()).or_default().push(task.name.clone());
        }
        let power = |(items, tasks)| Self::with(tasks, items, comparisons);
        by_items.into_iter().map(power).collect()
    }

    fn with(tasks: Vec<String>, items: usize, comparisons: usize) -> Self {
        let level = (1.0 - CONFIDENCE) / comparisons as f64;
        let difference = |discordant| Difference {
            discordant,
            detectable: detectable(items as u64, discordant, level),
        };
        let differences = DISCORDANT.map(difference).to_vec();
        Self { tasks, items, comparisons, level, differences }
    }

    /// A sentence.
    pub(super) fn line(&self) -> String {
        let Self { tasks, items, comparisons, .. } = self;
        let more = match tasks.len().saturating_sub(MOST_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = tasks[..tasks.len().min(MOST_NAMES)].join(", ");
        let seen = |it: &Difference| {
            let points = it.detectable.map_or("no difference".to_owned(), |difference| {
                format!("a difference of {:.1} points", 100.0 * difference)
            });
            format!(
                "{points} if only one of the two is right on {:.0} % of them",
                100.0 * it.discordant
            )
        };
        let seen: Vec<String> = self.differences.iter().map(seen).collect();
        let alpha = 1.0 - CONFIDENCE;
        let (level, with) = match comparisons {
            1 => (format!("α = {alpha:.2}"), "one decoder is".to_owned()),
            _ => (format!("α = {alpha:.2}/{comparisons}"), format!("{comparisons} decoders are")),
        };
        format!(
            "{items} items of {names}{more} show, with 80 % power at {level} because {with} compared with \
             the baseline: {}",
            seen.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the formula with the normal quantiles of a table: √n·δ = z·√ψ + z₀.₈·√(ψ − δ²),
    /// where z is that of 1 − 0.05/(2·3).
    #[test]
    fn every_comparison_has_its_share_of_alpha() {
        let power = Power::with(vec!["t".to_owned()], 1000, 3);
        for it in &power.differences {
            let found = it.detectable.unwrap();
            let rest = (it.discordant - found * found).sqrt();
            let wanted = 2.393980 * it.discordant.sqrt() + 0.841621 * rest;
            assert!((found * 1000f64.sqrt() - wanted).abs() < 1e-5, "{it:?}");
        }
        let line = power.line();
        for word in
            ["1000 items of t show", "α = 0.05/3", "3.2 points if", "on 10 %", "5.6 points if"]
        {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }

    #[test]
    fn few_items_show_nothing_and_many_tasks_are_counted() {
        let names = (0..57).map(|i| format!("mmlu/{i}")).collect();
        let line = Power::with(names, 6, 1).line();
        for word in
            ["mmlu/0, mmlu/1, mmlu/2 and 54 more", "no difference if", "α = 0.05 because one"]
        {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }
}
