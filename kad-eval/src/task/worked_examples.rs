//! Worked examples before the items.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Result, bail};

use super::shuffle::shuffled;
use super::{LoadOptions, LoadedItems, Opening, Shots, SolvedItem, TaskKind};
use crate::failure::WrongRequest;
use crate::numbers::counted;

/// Puts `count` worked examples before every item: the first ones of the task's own examples, or of
/// those of the item's group; else items drawn by the seed, which are then not asked.
pub(super) fn add(
    loaded: LoadedItems,
    count: usize,
    shots: Shots,
    options: LoadOptions<'_>,
    kind: &TaskKind,
) -> Result<Vec<SolvedItem>> {
    let by_group = shots == Shots::OfGroup;
    let LoadedItems { mut items, examples } = loaded;
    let pool = match examples {
        Some(examples) => examples,
        // A few examples of each group cannot be drawn from the items that are left of it.
        None if by_group => bail!(WrongRequest(format!(
            "`shots = {count}`: the worked examples of {0} are in {0}/{1}, which is not in the data \
             folder; docs/TASKS.md says how to get it",
            kind.name,
            kind.examples.unwrap_or_default()
        ))),
        None => draw(&mut items, count, options.seed),
    };
    let mut openings: HashMap<Option<String>, Arc<Opening>> = HashMap::new();
    for SolvedItem { item, .. } in &mut items {
        let group = item.group.clone().filter(|_| by_group);
        if !openings.contains_key(&group) {
            let own = pool.iter().filter(|shot| !by_group || shot.item.group == item.group);
            let shown = own.map(|shot| [shot.item.prompt(), shot.reply.clone()]);
            let shown: Vec<_> = shown.take(count).collect();
            if shown.len() < count {
                let of = group.as_deref().unwrap_or("the set");
                let examples = counted(shown.len(), "worked example");
                bail!(WrongRequest(format!(
                    "`shots = {count}`: {of} has {examples}; ask for fewer"
                )));
            }
            let opening = Opening { system: item.opening.system.clone(), shots: shown };
            openings.insert(group.clone(), Arc::new(opening));
        }
        item.opening = openings[&group].clone();
    }
    Ok(items)
}

/// Takes `count` items out, decided by the seed alone; one item at least is left.
fn draw(items: &mut Vec<SolvedItem>, count: usize, seed: u64) -> Vec<SolvedItem> {
    let most = count.min(items.len().saturating_sub(1));
    let drawn: HashSet<usize> =
        shuffled(items.len(), seed, &["shots"]).into_iter().take(most).collect();
    let numbered = std::mem::take(items).into_iter().enumerate();
    let (shots, rest): (Vec<_>, Vec<_>) = numbered.partition(|(index, _)| drawn.contains(index));
    *items = rest.into_iter().map(|(_, item)| item).collect();
    shots.into_iter().map(|(_, item)| item).collect()
}
