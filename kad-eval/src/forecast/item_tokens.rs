//! Token counts of items, from which times, KV-cache memory and prompts that do not fit follow.

use std::collections::HashMap;
use std::rc::Rc;

use kad_core::TokenId;

use crate::config::{DecoderKind, Experiment};
use crate::models::{self, Models};
use crate::task::{Item, Task, TaskMode};

/// The tokens of one item, as one decoder reads them.
#[derive(Clone, Debug)]
pub(super) struct ItemTokens {
    pub(super) mode: TaskMode,
    /// The prompt, all turns without the replies between them; or the scored text.
    pub(super) prompt: Vec<TokenId>,
    pub(super) turns: usize,
    /// Tokens of each option.
    pub(super) options: Vec<usize>,
}

impl ItemTokens {
    /// Tokens of an item; `None` if the chat template or the tokenizer fails: the item will then
    /// fail in the run.
    pub(super) fn of(
        kind: &DecoderKind,
        models: &Models,
        task: &Task,
        item: &Item,
    ) -> Option<Self> {
        let (mode, speaker) = (task.grading.mode(), models::speaker(kind, models));
        let (turns, mut options) = (item.turns.len().max(1), Vec::new());
        let conversation = || task.conversation(item, &vec![String::new(); turns - 1]);
        let prompt = || models::prompt(kind, models, &conversation()).ok();
        let prompt = match mode {
            TaskMode::Generate => prompt()?.tokens(speaker, "").ok()?,
            TaskMode::Options => {
                let texts = models::continuations(&prompt()?, speaker, item).ok()?;
                options.extend(texts.texts.iter().map(|text| text.len() - texts.shared));
                texts.texts.first()?[..texts.shared].to_vec()
            }
            TaskMode::Text => speaker.tokenizer.encode(&item.prompt(), true).ok()?,
        };
        (!prompt.is_empty()).then_some(Self { mode, prompt, turns, options })
    }

    /// Tokens of the longest text if every reply has `new` tokens.
    pub(super) fn longest(&self, new: usize) -> usize {
        let more = match self.mode {
            TaskMode::Generate => new.saturating_mul(self.turns),
            TaskMode::Options => self.options.iter().copied().max().unwrap_or(0),
            TaskMode::Text => 0,
        };
        self.prompt.len().saturating_add(more)
    }

    /// Smallest context length for the item: the prompt and one token, or the longest option without
    /// its last token. `None` for scored texts, which are read in windows.
    fn needed(&self) -> Option<usize> {
        match self.mode {
            TaskMode::Generate => Some(self.prompt.len() + 1),
            TaskMode::Options => Some(self.longest(0) - 1),
            TaskMode::Text => None,
        }
    }
}

/// The result of `make` for each decoder, computed once per speaking model: tokens depend on no
/// other model.
pub(super) fn by_speaker<T>(
    experiment: &Experiment,
    make: impl Fn(&DecoderKind) -> T,
) -> impl Iterator<Item = Rc<T>> {
    let mut known: HashMap<&str, Rc<T>> = HashMap::new();
    experiment.decoders.iter().map(move |plan| {
        let speaker = plan.kind.models().pop().unwrap_or_default();
        known.entry(speaker).or_insert_with(|| Rc::new(make(&plan.kind))).clone()
    })
}

/// Number of prompts of `task` that do not fit the context of each decoder. Conversations may become
/// longer by their replies. Items without a prompt are left out.
pub(crate) fn too_long(experiment: &Experiment, models: &Models, task: &Task) -> Vec<usize> {
    let mode = task.grading.mode();
    if mode == TaskMode::Text {
        return vec![0; experiment.decoders.len()];
    }
    let needed = by_speaker(experiment, |kind| -> Vec<usize> {
        let of = |item| ItemTokens::of(kind, models, task, item)?.needed();
        task.items.iter().filter_map(of).collect()
    });
    let count = |(kind, needed): (&DecoderKind, Rc<Vec<usize>>)| {
        // Options are read by the decoder's distribution alone, without drafts.
        let kind = if mode == TaskMode::Generate { kind } else { kind.distribution() };
        let contexts = kind.models().into_iter().map(|name| models[name].details.context_len);
        let context = contexts.min().unwrap_or(0);
        needed.iter().filter(|needed| **needed > context).count()
    };
    experiment.decoders.iter().map(|plan| &plan.kind).zip(needed).map(count).collect()
}

/// The longest items in bytes over all tasks: tokenizing all of them would take too long.
pub(super) fn longest(tasks: &[Task]) -> Vec<(&Task, &Item)> {
    /// The item with the most tokens is expected among these.
    const TRIED: usize = 3;
    let mut all: Vec<(&Task, &Item)> =
        tasks.iter().flat_map(|task| task.items.iter().map(move |item| (task, item))).collect();
    all.sort_by_cached_key(|(_, item)| std::cmp::Reverse(bytes(item)));
    all.truncate(TRIED);
    all
}

/// The item with the median number of bytes; `None` for a task without items.
pub(super) fn typical(task: &Task) -> Option<&Item> {
    let mut all: Vec<&Item> = task.items.iter().collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable_by_key(middle, |item| bytes(item)).1)
}

fn bytes(item: &Item) -> usize {
    let shots = item.opening.shots.iter().flatten().map(String::len);
    let options = item.options.iter().map(|option| option.text.len()).max();
    item.turns.iter().map(String::len).chain(shots).sum::<usize>() + options.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Grading, PromptFormat};

    fn task(lengths: &[usize]) -> Task {
        let item = |&len: &usize| Item { turns: vec!["x".repeat(len)], ..Item::default() };
        let items = lengths.iter().map(item).collect();
        Task { name: "t".to_owned(), items, grading: Grading::Speed, format: PromptFormat::Chat }
    }

    #[test]
    fn the_longest_and_the_median_are_found_by_bytes() {
        let tasks = [task(&[5, 1, 9, 3]), task(&[7, 2])];
        let sizes: Vec<usize> = longest(&tasks).into_iter().map(|(_, item)| bytes(item)).collect();
        assert_eq!(sizes, [9, 7, 5]);
        assert_eq!(typical(&task(&[4, 100, 1])).map(bytes), Some(4));
        assert!(typical(&task(&[])).is_none() && longest(&[]).is_empty());
    }
}
