//! Which prompts have no room in the context of a decoder, known before anything is decoded.

use std::collections::HashMap;

use super::{prompts, score};
use crate::config::{DecoderKind, Experiment};
use crate::models::{self, Models};
use crate::task::{Grading, Item, Task};

/// How many prompts of `task` each decoder of the experiment cannot read, in their order. Replies
/// to earlier turns are not written yet, so conversations may turn out longer; what cannot be made
/// is left out, its items fail.
pub(crate) fn too_long(experiment: &Experiment, models: &Models, task: &Task) -> Vec<usize> {
    // Which prompts there are depends on the model that speaks.
    let mut known: HashMap<&str, Vec<usize>> = HashMap::new();
    let lengths = |kind: &DecoderKind| -> Vec<usize> {
        task.items.iter().filter_map(|item| needed(kind, models, task, item)).collect()
    };
    let count = |kind| {
        let speaker = DecoderKind::models(kind).pop().unwrap_or_default();
        let room = context(kind, models, task);
        known
            .entry(speaker)
            .or_insert_with(|| lengths(kind))
            .iter()
            .filter(|it| **it > room)
            .count()
    };
    experiment.decoders.iter().map(|plan| &plan.kind).map(count).collect()
}

/// The tokens that the context of the decoder holds. Options are read by its distribution alone,
/// without drafts.
fn context(kind: &DecoderKind, models: &Models, task: &Task) -> usize {
    let kind = if written(task) { kind } else { kind.distribution() };
    let all = kind.models().into_iter().map(|name| models[name].details.context_len);
    all.min().unwrap_or(0)
}

fn written(task: &Task) -> bool {
    matches!(task.grading, Grading::Speed | Grading::Answer(_))
}

/// The tokens that must fit: a prompt and one more, or an option but its last token, behind which
/// nothing is asked. None of a text that is scored: it is read in windows.
fn needed(kind: &DecoderKind, models: &Models, task: &Task, item: &Item) -> Option<usize> {
    if task.grading == Grading::Text {
        return None;
    }
    if written(task) {
        return Some(prompts::prompt(kind, models, task, item).ok()?.len() + 1);
    }
    let prompt = models::prompt(kind, models, &task.conversation(item, &[])).ok()?;
    let texts = score::continuations(&prompt, models::speaker(kind, models), item).ok()?;
    texts.texts.iter().map(|text| text.len() - 1).max()
}
