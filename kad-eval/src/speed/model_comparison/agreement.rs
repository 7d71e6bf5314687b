//! How far the logits of two models agree along the same texts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kad_core::{Follower, LanguageModel, TokenId};
use serde::{Deserialize, Serialize};

use super::prompts;
use crate::config::{Experiment, ModelPlan};
use crate::interrupt;
use crate::models::{Model, Models};
use crate::task::Conversation;

/// The most tokens of a prompt that are compared: every one is a row of the vocabulary's size.
const TOKENS: usize = 128;

/// The logits of a model against those of another after every token of the same texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    /// The other one's name.
    pub(crate) reference: String,
    /// Tokens of the texts.
    pub(crate) positions: u64,
    /// The largest absolute difference of two logits.
    pub(crate) worst: f64,
    /// Share of positions where both have the same best token.
    pub(crate) same_top: f64,
}

/// Sums over positions.
#[derive(Default)]
struct Sums {
    positions: u64,
    worst: f64,
    same_top: u64,
}

impl Sums {
    fn add(&mut self, one: &[f32], other: &[f32]) {
        self.positions += 1;
        self.same_top += u64::from(best(one) == best(other));
        for (a, b) in one.iter().zip(other) {
            // Two that are −∞ agree; NaN never comes this far.
            if a != b {
                self.worst = self.worst.max((f64::from(*a) - f64::from(*b)).abs());
            }
        }
    }

    fn against(self, reference: &str) -> Agreement {
        let Self { positions, worst, same_top } = self;
        let same_top = same_top as f64 / positions.max(1) as f64;
        Agreement { reference: reference.to_owned(), positions, worst, same_top }
    }
}

/// The index of the largest; of several the first.
fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).reduce(|best, at| if row[at] > row[best] { at } else { best })
}

/// Every model that has a [`reference()`] against it, along the prompts that `asked` makes for
/// that; None if the user interrupted.
///
/// # Errors
/// If a model fails.
pub(super) fn compare(
    experiment: &Experiment,
    models: &Models,
    asked: &[Conversation],
) -> Result<Option<BTreeMap<String, Agreement>>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in models.keys() {
        if let Some(reference) = reference(name, experiment, models) {
            groups.entry(reference).or_default().push(name);
        }
    }
    let mut found = BTreeMap::new();
    for (reference, others) in groups {
        let mut sums: Vec<Sums> = others.iter().map(|_| Sums::default()).collect();
        for text in prompts(reference, models, asked)? {
            let names = || others.iter().chain([&reference]);
            let room = names().map(|name| models[*name].counted.context_len()).min();
            let text = &text[..text.len().min(TOKENS).min(room.unwrap_or(0))];
            let wanted = rows(&models[reference], text)?;
            for (name, sums) in others.iter().zip(&mut sums) {
                if interrupt::requested() {
                    return Ok(None);
                }
                let rows = rows(&models[*name], text)?;
                rows.iter().zip(&wanted).for_each(|(row, wanted)| sums.add(row, wanted));
            }
        }
        let each = others.iter().zip(sums);
        found.extend(each.map(|(name, sums)| ((*name).to_owned(), sums.against(reference))));
    }
    Ok(Some(found))
}

/// After each token of `text`, read in one pass.
fn rows(model: &Model, text: &[TokenId]) -> Result<Vec<Vec<f32>>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut session = Follower::new(&model.counted)?;
    let rows = session.rows(text, text.len()).context("the logits of a prompt")?;
    Ok(rows.map(<[f32]>::to_vec).collect())
}

/// The model that the baseline's tokens come from: of a composed distribution the one that speaks
/// for it.
pub(super) fn of_baseline(experiment: &Experiment) -> Option<&str> {
    let plan = experiment.decoders.iter().find(|plan| plan.name == experiment.baseline)?;
    plan.kind.distribution().models().pop()
}

/// The model that `name` is compared with: one of the same weights, the baseline's if it is one of
/// them and else the first in the order of names; if there is none the baseline's, if it has the
/// same vocabulary. None for those that others are compared with.
fn reference<'m>(name: &str, experiment: &'m Experiment, models: &'m Models) -> Option<&'m str> {
    let weights = |name: &str| experiment.models.get(name).map(weights);
    let vocab = models[name].counted.vocab();
    let fits = |other: &&str| models[*other].counted.vocab() == vocab;
    let baseline = of_baseline(experiment).filter(fits);
    let all = baseline.into_iter().chain(models.keys().map(String::as_str).filter(fits));
    let mut same = all.filter(|other| weights(other) == weights(name));
    let first = same.next();
    let shared = same.any(|other| Some(other) != first);
    let chosen = if shared { first } else { baseline };
    chosen.filter(|chosen| *chosen != name)
}

/// What decides the numbers in a model, whatever runs it.
fn weights(plan: &ModelPlan) -> (&str, Option<usize>) {
    (&plan.source, plan.early_exit.as_ref().map(|exit| exit.layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_by_hand() {
        let mut sums = Sums::default();
        sums.add(&[1.0, 3.0, f32::NEG_INFINITY], &[1.5, 2.0, f32::NEG_INFINITY]);
        sums.add(&[0.0, 0.0, -1.0], &[-0.25, 0.0, -1.0]);
        let found = sums.against("it");
        assert_eq!((found.positions, found.worst, found.same_top), (2, 1.0, 0.5));
        assert_eq!(best(&[2.0, 5.0, 5.0]), Some(1));
    }
}
