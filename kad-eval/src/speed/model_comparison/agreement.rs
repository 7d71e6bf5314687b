//! How far the logits of two models agree along the same texts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kad_core::{CachedSession, LanguageModel, TokenId};

use super::prompts;
use crate::analysis::model_comparison::{LogitAgreement, LogitDifferences, baseline_model};
use crate::config::{Experiment, ModelPlan};
use crate::interrupt;
use crate::models::{Model, Models};
use crate::task::Conversation;

/// The most tokens of a prompt that are compared: every one is a row of the vocabulary's size.
const TOKENS: usize = 128;

/// Every model that has a [`reference()`] against it, along the prompts that `asked` makes for
/// that; None if the user interrupted.
///
/// # Errors
/// If a model fails.
pub(super) fn compare(
    experiment: &Experiment,
    models: &Models,
    asked: &[Conversation],
) -> Result<Option<BTreeMap<String, LogitAgreement>>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in models.keys() {
        if let Some(reference) = reference(name, experiment, models) {
            groups.entry(reference).or_default().push(name);
        }
    }
    let mut found = BTreeMap::new();
    for (reference, others) in groups {
        let mut sums: Vec<LogitDifferences> =
            others.iter().map(|_| LogitDifferences::default()).collect();
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
        found.extend(each.map(|(name, sums)| ((*name).to_owned(), sums.agreement(reference))));
    }
    Ok(Some(found))
}

/// After each token of `text`, read in one pass.
fn rows(model: &Model, text: &[TokenId]) -> Result<Vec<Vec<f32>>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut session = CachedSession::new(&model.counted)?;
    let rows = session.rows(text, text.len()).context("the logits of a prompt")?;
    Ok(rows.map(<[f32]>::to_vec).collect())
}

/// The model that `name` is compared with: one of the same weights, the baseline's if it is one of
/// them and else the first in the order of names; if there is none the baseline's, if it has the
/// same vocabulary. None for those that others are compared with.
fn reference<'m>(name: &str, experiment: &'m Experiment, models: &'m Models) -> Option<&'m str> {
    let weights = |name: &str| experiment.models.get(name).map(weights);
    let vocab = models[name].counted.vocab();
    let fits = |other: &&str| models[*other].counted.vocab() == vocab;
    let baseline = baseline_model(experiment).filter(fits);
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
