//! What a seed decides: the order of options, and which items become worked examples.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

use super::{Opening, Problem};
use crate::config::TaskSet;
use crate::failure::WrongRequest;

/// The numbers below `count` in an order that `seed` and `what` decide: by the digest of each, so
/// that it depends on no generator.
pub(super) fn shuffled(count: usize, seed: u64, what: &[&str]) -> Vec<usize> {
    let digest = |index: usize| {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_le_bytes());
        for part in what {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update((index as u64).to_le_bytes());
        <[u8; 32]>::from(hasher.finalize())
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|index| digest(*index));
    order
}

/// Problems of several groups in turn, each group in its own order, so that the first few are of
/// every group. `group` numbers the groups.
pub(super) fn in_turn(problems: Vec<Problem>, group: impl Fn(&Problem) -> usize) -> Vec<Problem> {
    let mut seen: Vec<usize> = Vec::new();
    let mut placed: Vec<(usize, usize, Problem)> = problems
        .into_iter()
        .map(|problem| {
            let group = group(&problem);
            if seen.len() <= group {
                seen.resize(group + 1, 0);
            }
            seen[group] += 1;
            (seen[group], group, problem)
        })
        .collect();
    placed.sort_by_key(|(turn, group, _)| (*turn, *group));
    placed.into_iter().map(|(_, _, problem)| problem).collect()
}

/// Puts `shots` worked examples before every problem: the first ones of `examples`, if the set has
/// another split; else problems drawn by the seed, which are then asked no more. MMLU's are of the
/// problem's own subject.
///
/// # Errors
/// If there are fewer.
pub(super) fn add_shots(
    problems: &mut Vec<Problem>,
    examples: Option<Vec<Problem>>,
    shots: usize,
    seed: u64,
    set: &TaskSet,
) -> Result<()> {
    let by_group = matches!(set, TaskSet::Mmlu(_));
    let pool = match examples {
        Some(examples) => examples,
        // Those of 57 subjects cannot be drawn from what is left of each.
        None if by_group => bail!(WrongRequest(format!(
            "`shots = {shots}`: the worked examples of mmlu are in mmlu/dev.jsonl, which is not in \
             the data folder; docs/TASKS.md says how to get it"
        ))),
        None => take(problems, shots, seed),
    };
    let mut openings: Vec<(Option<String>, Arc<Opening>)> = Vec::new();
    for problem in problems {
        let item = &mut problem.item;
        let key = item.group.clone().filter(|_| by_group);
        let known = openings.iter().find(|(other, _)| *other == key);
        let opening = match known {
            Some((_, opening)) => opening.clone(),
            None => {
                let own = pool.iter().filter(|shot| !by_group || shot.item.group == item.group);
                let shown: Vec<_> = own.take(shots).map(shown).collect();
                if shown.len() < shots {
                    let (held, of) = (shown.len(), key.as_deref().unwrap_or("the set"));
                    bail!(WrongRequest(format!(
                        "`shots = {shots}`: {of} has {held} worked examples; ask for fewer"
                    )));
                }
                let opening = Opening { system: item.opening.system.clone(), shots: shown };
                openings.push((key, Arc::new(opening)));
                openings[openings.len() - 1].1.clone()
            }
        };
        item.opening = opening;
    }
    Ok(())
}

fn shown(problem: &Problem) -> [String; 2] {
    [problem.item.prompt(), problem.reply.clone()]
}

/// Takes `count` problems out, by the seed alone. The last one is left to be asked.
fn take(problems: &mut Vec<Problem>, count: usize, seed: u64) -> Vec<Problem> {
    let most = count.min(problems.len().saturating_sub(1));
    let drawn: HashSet<usize> =
        shuffled(problems.len(), seed, &["shots"]).into_iter().take(most).collect();
    let mut index = 0;
    let (shots, rest) = std::mem::take(problems).into_iter().partition(|_| {
        index += 1;
        drawn.contains(&(index - 1))
    });
    *problems = rest;
    shots
}
