//! Agreement of the logits of two models along the same texts.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kad_core::{CachedSession, LanguageModel, TokenId};

use super::prompts;
use crate::analysis::model_comparison::{LogitAgreement, LogitDifferences, baseline_model};
use crate::config::{Experiment, ModelPlan};
use crate::interrupt;
use crate::models::{Model, Models};
use crate::task::Conversation;

/// Maximum number of tokens compared of a prompt: each is a row of the size of the vocabulary.
const TOKENS: usize = 128;

/// The agreement of every model with its [`reference()`], along the reference's prompts of `asked`;
/// `None` if the user interrupted.
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

/// The logits after each token of `text`, read in one pass.
fn rows(model: &Model, text: &[TokenId]) -> Result<Vec<Vec<f32>>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut session = CachedSession::new(&model.counted)?;
    let rows = session.rows(text, text.len()).context("the logits of a prompt")?;
    Ok(rows.map(<[f32]>::to_vec).collect())
}

/// The model that `name` is compared with. Among models of the same weights that is the baseline's,
/// or else the first by name. If no other model has these weights, it is the baseline's model,
/// provided that the vocabularies are the same. `None` for a reference itself.
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

/// The identity of a model's weights, on any backend.
fn weights(plan: &ModelPlan) -> (&str, Option<usize>) {
    (&plan.source, plan.early_exit.as_ref().map(|exit| exit.layers))
}
