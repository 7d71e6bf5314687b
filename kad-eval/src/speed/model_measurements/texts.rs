//! Texts that equal the baseline's, and the gap between the reference's two largest logits at the
//! first difference of others.

use std::collections::BTreeMap;

use anyhow::Result;
use kad_core::TokenId;

use crate::analysis::model_comparison::{LogitGaps, TextAgreement};
use crate::config::{DecoderPlan, Experiment, SamplingPlan};
use crate::interrupt;
use crate::models::{self, Models, first_difference_at, top_two_gap};
use crate::run::record::Record;
use crate::task::Task;

/// The comparison of every decoder with the baseline.
pub(super) fn compare(
    experiment: &Experiment,
    models: &Models,
    tasks: &[Task],
    records: &[Record],
) -> Result<BTreeMap<String, TextAgreement>> {
    let Some(baseline) = experiment.decoders.iter().find(|d| d.name == experiment.baseline) else {
        return Ok(BTreeMap::new());
    };
    let wanted = by_item(&baseline.name, records);
    let mut found = BTreeMap::new();
    for plan in experiment.decoders.iter().filter(|plan| plan.name != baseline.name) {
        let mut texts = TextAgreement::default();
        for (item, record) in by_item(&plan.name, records) {
            let Some(wanted) = wanted.get(&item) else { continue };
            let difference = first_difference_at(&record.tokens, &wanted.tokens);
            texts.same.add(difference.is_none());
            let Some(at) = difference else { continue };
            // A text that ends earlier, or has no room for its prompt, has no differing token.
            let ended = record.tokens.len().min(wanted.tokens.len()) == at;
            if !ended && both_greedy(plan, baseline) && !interrupt::requested() {
                let text = &wanted.tokens[..at];
                let gap = gap(baseline, models, tasks, item, text)?;
                texts.gaps = gap.map(|gap| LogitGaps::with(texts.gaps, gap)).or(texts.gaps);
            }
        }
        found.insert(plan.name.clone(), texts);
    }
    Ok(found)
}

type ItemKey<'r> = (&'r str, &'r str);

/// The records of a decoder whose tokens are known.
fn by_item<'r>(decoder: &str, records: &'r [Record]) -> BTreeMap<ItemKey<'r>, &'r Record> {
    let own = records.iter().filter(|record| record.decoder == decoder);
    let known = own.filter(|record| record.tokens.len() as u64 == record.new_tokens);
    known.map(|record| ((record.task.as_str(), record.item.as_str()), record)).collect()
}

/// True if both write the most likely token of unchanged logits: only then the gap decides.
fn both_greedy(plan: &DecoderPlan, baseline: &DecoderPlan) -> bool {
    let plain = |plan: &DecoderPlan| {
        let SamplingPlan { temperature, repetition_penalty, .. } = plan.sampling;
        temperature == 0.0 && repetition_penalty == 1.0 && plan.kind.is_exact()
    };
    plain(plan) && plain(baseline)
}

/// The gap after the prompt of `item` and `text`; `None` for composed distributions, and where the
/// context is too short.
fn gap(
    baseline: &DecoderPlan,
    models: &Models,
    tasks: &[Task],
    (task, item): ItemKey<'_>,
    text: &[TokenId],
) -> Result<Option<f64>> {
    let task = tasks.iter().find(|other| other.name == task);
    let item = task.and_then(|task| Some((task, task.items.iter().find(|one| one.id == item)?)));
    let Some((task, item)) = item else { return Ok(None) };
    let kind = &baseline.kind;
    let prompt = models::prompt_tokens(kind, models, &task.conversation(item, &[]))?;
    top_two_gap(kind, models, &[&prompt, text].concat())
}
