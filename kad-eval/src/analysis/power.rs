//! Minimum detectable differences of an experiment, known before anything is decoded.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stats::{CONFIDENCE, detectable};
use crate::config::Experiment;
use crate::numbers::counted;
use crate::task::{Grading, Task};

/// Assumed shares of items that exactly one of two decoders answers correctly: similar decoders,
/// and different ones.
const DISCORDANT: [f64; 2] = [0.1, 0.3];

/// Tasks named at most; further ones are counted.
const MOST_NAMES: usize = 3;

/// Minimum detectable differences on tasks of so many items each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Power {
    tasks: Vec<String>,
    items: usize,
    /// Decoders compared with the baseline on each task.
    comparisons: usize,
    /// Significance level α of each comparison: α of the intervals divided by the number of
    /// comparisons (Bonferroni).
    level: f64,
    differences: Vec<Detectable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Detectable {
    /// Assumed share of items that exactly one of the two decoders answers correctly.
    discordant: f64,
    /// Minimum detectable difference of accuracies at 80 % power; `None` if there is none.
    detectable: Option<f64>,
}

impl Power {
    /// The power of the whole run, also for a shard. Tasks without right and wrong answers are left
    /// out.
    pub(crate) fn of(experiment: &Experiment, tasks: &[Task]) -> Vec<Self> {
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
        let difference = |discordant| Detectable {
            discordant,
            detectable: detectable(items as u64, discordant, level),
        };
        let differences = DISCORDANT.map(difference).to_vec();
        Self { tasks, items, comparisons, level, differences }
    }

    /// One sentence.
    pub(crate) fn line(&self) -> String {
        let Self { tasks, items, comparisons, .. } = self;
        let more = match tasks.len().saturating_sub(MOST_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = tasks[..tasks.len().min(MOST_NAMES)].join(", ");
        let alpha = 1.0 - CONFIDENCE;
        let level = match comparisons {
            1 => format!("α = {alpha:.2}"),
            _ => format!("α = {alpha:.2}/{comparisons} for {comparisons} comparisons"),
        };
        let detectable = |it: &Detectable| {
            let points =
                it.detectable.map_or("none".to_owned(), |it| format!("{:.1} points", 100.0 * it));
            format!("{points} if decoders disagree on {:.0} % of them", 100.0 * it.discordant)
        };
        let differences: Vec<String> = self.differences.iter().map(detectable).collect();
        format!(
            "minimum detectable difference on {} of {names}{more} (80 % power, {level}): {}",
            counted(*items, "item"),
            differences.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the formula with the normal quantiles of a table: √n·δ = z·√ψ + z₀.₈·√(ψ − δ²),
    /// where z is the quantile of 1 − 0.05/(2·3).
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
            ["1000 items of t (", "α = 0.05/3 for 3", "3.2 points if", "on 10 %", "5.6 points if"]
        {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }

    #[test]
    fn few_items_show_nothing_and_many_tasks_are_counted() {
        let names = (0..57).map(|i| format!("mmlu/{i}")).collect();
        let line = Power::with(names, 6, 1).line();
        for word in ["mmlu/0, mmlu/1, mmlu/2 and 54 more (", ": none if", "α = 0.05)"] {
            assert!(line.contains(word), "{word:?} is not in: {line}");
        }
    }
}
