//! What sessions keep in memory while a decoder works.

use std::collections::HashMap;

use super::prompts;
use crate::config::{DecoderKind, DecoderPlan, Experiment};
use crate::models::Models;
use crate::task::{Grading, Item, Task};

/// Keys and values of all sessions of a decoder, at the longest text that it may come to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Caches {
    /// Of the decoder that needs the most.
    pub(crate) bytes: u64,
    /// Tokens of that text: the longest prompt, and as many new ones as there may be.
    pub(crate) tokens: usize,
}

/// The most that one of the decoders needs at a time. Prompts that cannot be made are left out:
/// their items fail.
pub(crate) fn caches(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Caches {
    let longest = prompts::longest(tasks);
    // Which prompts there are depends on the model that speaks.
    let mut known: HashMap<&str, Vec<Text>> = HashMap::new();
    let texts = |plan: &DecoderPlan| -> Vec<Text> {
        let text = |(task, item)| Text::of(&plan.kind, models, task, item);
        longest.iter().filter_map(|it| text(*it)).collect()
    };
    let mut most = Caches::default();
    for plan in &experiment.decoders {
        let speaker = plan.kind.models().pop().unwrap_or_default();
        let texts = known.entry(speaker).or_insert_with(|| texts(plan));
        let new = usize::try_from(plan.sampling.max_new_tokens).unwrap_or(usize::MAX);
        let tokens = texts.iter().map(|text| text.tokens(new)).max().unwrap_or(0);
        let room = models[speaker].details.context_len;
        let bytes = sessions(&plan.kind).into_iter().map(|name| held(name, models, tokens)).sum();
        if bytes > most.bytes {
            most = Caches { bytes, tokens: tokens.min(room) };
        }
    }
    most
}

/// How long a text can become.
#[derive(Clone, Copy, Debug)]
struct Text {
    prompt: usize,
    /// Replies that are written.
    replies: usize,
    /// The most that is read behind the prompt.
    more: usize,
}

impl Text {
    fn of(kind: &DecoderKind, models: &Models, task: &Task, item: &Item) -> Option<Self> {
        let prompt = prompts::prompt(kind, models, task, item).ok()?.len();
        Some(match task.grading {
            Grading::Speed | Grading::Answer(_) => {
                Self { prompt, replies: item.turns.len().max(1), more: 0 }
            }
            // An option has no more tokens than bytes.
            _ => {
                let options = item.options.iter().map(|option| option.text.len() + 1);
                Self { prompt, replies: 0, more: options.max().unwrap_or(0) }
            }
        })
    }

    fn tokens(self, new: usize) -> usize {
        self.prompt.saturating_add(self.more).saturating_add(new.saturating_mul(self.replies))
    }
}

/// The model of every session that lives at a time.
fn sessions(kind: &DecoderKind) -> Vec<&str> {
    match kind {
        DecoderKind::Chain(chain) => {
            chain.parts().into_iter().flat_map(|part| part.distribution.models()).collect()
        }
        other => other.models(),
    }
}

/// Bytes of a session of this model that holds so many tokens, or as many as it can.
fn held(name: &str, models: &Models, tokens: usize) -> u64 {
    let details = &models[name].details;
    details.cache_bytes * tokens.min(details.context_len) as u64
}
