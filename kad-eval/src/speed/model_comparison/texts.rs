//! Texts that are the baseline's, and the reference's two best logits where they part.

use std::collections::BTreeMap;

use anyhow::Result;
use kad_core::{LanguageModel, TokenId};
use serde::{Deserialize, Serialize};

use super::Agreement;
use crate::config::{DecoderKind, DecoderPlan, Experiment, SamplingPlan};
use crate::interrupt;
use crate::models::{self, Models, part_at, top_gap};
use crate::run::record::Record;
use crate::task::Task;

/// Best logits that are no further apart than this are a tie that rounding may turn: the likelier
/// token is likelier by a hundredth at most.
const TIE: f64 = 0.01;

/// How many texts of a decoder are the baseline's, token for token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SameTexts {
    pub(crate) equal: u64,
    /// Items that both have finished.
    pub(crate) of: u64,
    /// Where greedy texts part; none if none do.
    pub(crate) gaps: Option<Gaps>,
}

/// How far the two best logits of the baseline's model are apart where the others' texts first
/// leave the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gaps {
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
}

impl Gaps {
    fn with(found: Option<Self>, gap: f64) -> Self {
        let Self { smallest, largest } = found.unwrap_or(Self { smallest: gap, largest: gap });
        Self { smallest: smallest.min(gap), largest: largest.max(gap) }
    }

    /// Whether every text parts at a tie that the differences of logits along the prompts can turn:
    /// each of two logits may be off by the worst of them. None where those differences are so
    /// large that this would excuse anything.
    pub(crate) fn explained(&self, agreement: &Agreement) -> Option<bool> {
        let turned = 2.0 * agreement.worst;
        (turned <= TIE).then_some(self.largest <= turned)
    }
}

/// Of every decoder but the baseline.
///
/// # Errors
/// If the baseline's model fails where texts part.
pub(super) fn compare(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    records: &[Record],
) -> Result<BTreeMap<String, SameTexts>> {
    let Some(baseline) = experiment.decoders.iter().find(|d| d.name == experiment.baseline) else {
        return Ok(BTreeMap::new());
    };
    let wanted = by_item(&baseline.name, records);
    let mut found = BTreeMap::new();
    for plan in experiment.decoders.iter().filter(|plan| plan.name != baseline.name) {
        let mut same = SameTexts::default();
        for (item, record) in by_item(&plan.name, records) {
            let Some(wanted) = wanted.get(&item) else { continue };
            same.of += 1;
            let Some(at) = part_at(&record.tokens, &wanted.tokens) else {
                same.equal += 1;
                continue;
            };
            // One that only ended earlier, or has no room for its prompt, parted from nothing.
            let ended = record.tokens.len().min(wanted.tokens.len()) == at;
            if !ended && picks_the_best(plan, baseline) && !interrupt::requested() {
                let text = &wanted.tokens[..at];
                let gap = gap(baseline, models, tasks, item, text)?;
                same.gaps = gap.map(|gap| Gaps::with(same.gaps, gap)).or(same.gaps);
            }
        }
        found.insert(plan.name.clone(), same);
    }
    Ok(found)
}

type Item<'r> = (&'r str, &'r str);

/// The records of a decoder whose tokens are known.
fn by_item<'r>(decoder: &str, records: &'r [Record]) -> BTreeMap<Item<'r>, &'r Record> {
    let own = records.iter().filter(|record| record.decoder == decoder);
    let known = own.filter(|record| record.tokens.len() as u64 == record.new_tokens);
    known.map(|record| ((record.task.as_str(), record.item.as_str()), record)).collect()
}

/// Whether both write the best token of the same logits: a gap of other ones decides nothing.
fn picks_the_best(plan: &DecoderPlan, baseline: &DecoderPlan) -> bool {
    let plain = |plan: &DecoderPlan| {
        let SamplingPlan { temperature, repetition_penalty, .. } = plan.sampling;
        temperature == 0.0 && repetition_penalty == 1.0 && plan.kind.is_exact()
    };
    plain(plan) && plain(baseline)
}

/// After the prompt of `item` and `text`; None for composed distributions, and where the context
/// ends.
fn gap(
    baseline: &DecoderPlan,
    models: &Models,
    tasks: &[Task],
    (task, item): Item<'_>,
    text: &[TokenId],
) -> Result<Option<f64>> {
    let DecoderKind::Single { model } = baseline.kind.distribution() else { return Ok(None) };
    let task = tasks.iter().find(|other| other.name == task);
    let item = task.and_then(|task| Some((task, task.items.iter().find(|one| one.id == item)?)));
    let Some((task, item)) = item else { return Ok(None) };
    let (kind, speaker) = (&baseline.kind, models::speaker(&baseline.kind, models));
    let prompt =
        models::prompt(kind, models, &task.conversation(item, &[]))?.tokens(speaker, "")?;
    let (model, text) = (&models[model], [&prompt, text].concat());
    if text.len() > model.counted.context_len() {
        return Ok(None);
    }
    top_gap(model, &text).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(worst: f64) -> Agreement {
        Agreement { reference: "r".to_owned(), positions: 9, worst, same_top: 1.0 }
    }

    #[test]
    fn ties_are_what_the_difference_of_logits_can_turn() {
        let gaps = Gaps::with(Some(Gaps::with(None, 3e-5)), 1e-6);
        assert_eq!(gaps, Gaps { smallest: 1e-6, largest: 3e-5 });
        assert_eq!(gaps.explained(&agreement(1.5e-5)), Some(true));
        assert_eq!(gaps.explained(&agreement(1.4e-5)), Some(false));
        assert_eq!(gaps.explained(&agreement(2.0)), None, "a rounded model, or another one");
        let wide = Gaps { smallest: 1e-6, largest: 0.4 };
        assert_eq!(wide.explained(&agreement(0.005)), Some(false));
    }
}
