//! How long prompts are, without asking the tokenizer for all of them.

use anyhow::Result;
use kad_core::TokenId;

use crate::config::DecoderKind;
use crate::models::{self, Models};
use crate::task::{Grading, Item, Task};

/// So many prompts of the most bytes are tokenised to find the one of the most tokens.
const LONGEST: usize = 3;

/// The items of the most bytes over all tasks.
pub(super) fn longest(tasks: &[Task]) -> Vec<(&Task, &Item)> {
    let all = tasks.iter().flat_map(|task| task.items.iter().map(move |item| (task, item)));
    let mut found: Vec<(usize, (&Task, &Item))> = Vec::with_capacity(LONGEST + 1);
    for (task, item) in all {
        let size = bytes(item);
        let place = found.partition_point(|(other, _)| *other >= size);
        if place < LONGEST {
            found.insert(place, (size, (task, item)));
            found.truncate(LONGEST);
        }
    }
    found.into_iter().map(|(_, it)| it).collect()
}

/// The item of the median number of bytes; none of a task without items.
pub(crate) fn typical(task: &Task) -> Option<&Item> {
    let mut all: Vec<&Item> = task.items.iter().collect();
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable_by_key(middle, |item| bytes(item)).1)
}

/// What a decoder reads of `item` before it writes, all turns without the replies between them; of
/// a text that is scored, the text.
///
/// # Errors
/// If the chat template or the tokenizer refuses it.
pub(crate) fn prompt(
    kind: &DecoderKind,
    models: &Models,
    task: &Task,
    item: &Item,
) -> Result<Vec<TokenId>> {
    let speaker = models::speaker(kind, models);
    if task.grading == Grading::Text {
        return Ok(speaker.tokenizer.encode(&item.prompt(), true)?);
    }
    let replies = vec![String::new(); item.turns.len().saturating_sub(1)];
    models::prompt(kind, models, &task.conversation(item, &replies))?.tokens(speaker, "")
}

fn bytes(item: &Item) -> usize {
    let shots = item.opening.shots.iter().flatten().map(String::len);
    let options = item.options.iter().map(|option| option.text.len()).max();
    item.turns.iter().map(String::len).chain(shots).sum::<usize>() + options.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Form;

    fn task(lengths: &[usize]) -> Task {
        let item = |&len: &usize| Item { turns: vec!["x".repeat(len)], ..Item::default() };
        let items = lengths.iter().map(item).collect();
        Task { name: "t".to_owned(), items, grading: Grading::Speed, form: Form::Chat }
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
