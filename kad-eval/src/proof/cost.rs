//! The size of an enumeration, before it starts.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::config::{DecoderKind, DecoderPlan, Execution, LevelPlan, Proof, TreePlan};

/// Contexts and paths of single steps that are enumerated at most: minutes of work.
const CONTEXTS: f64 = 1e6;
const PATHS: f64 = 3e7;

/// Refuses a proof that would not finish. The error has both numbers, and the settings to change.
pub(crate) fn check(proof: &Proof) -> Result<()> {
    for claim in &proof.claims {
        let plan = &claim.decoder;
        let (contexts, paths) = work(proof, plan);
        // An overflow is refused too.
        if !(contexts <= CONTEXTS && paths <= PATHS) {
            let (name, length, vocab) = (&plan.name, proof.length, proof.vocab);
            let lengths = match plan.kind {
                DecoderKind::Chain(_) => "`length` of a level",
                _ => "`draft_length`",
            };
            bail!(
                "decoder `{name}` has {} contexts with {} paths to enumerate \
                 (length {length}, {vocab} tokens); at most {CONTEXTS:.0e} and {PATHS:.0e} are \
                 tried: use a smaller `length`, vocabulary or {lengths}",
                about(contexts),
                about(paths)
            );
        }
    }
    Ok(())
}

/// Small counts in full, large ones in powers of ten.
fn about(count: f64) -> String {
    if count < 1e4 { format!("{count:.0}") } else { format!("{count:.1e}") }
}

/// Upper bounds of the contexts, and of the paths of one step from each of them.
fn work(proof: &Proof, plan: &DecoderPlan) -> (f64, f64) {
    let vocab = proof.vocab as f64;
    let levels = levels(&plan.kind, vocab);
    if plan.kind.carries_tokens() {
        return (1.0, whole(&levels, vocab, proof.length));
    }
    let ends: BTreeSet<_> = proof.eos.iter().collect();
    let (mut contexts, mut paths, mut here) = (0.0, 0.0, 1.0);
    for position in 0..proof.length {
        contexts += here;
        let step: f64 = step(&levels, vocab, proof.length - position).iter().sum();
        paths += here * step;
        here *= vocab - ends.len() as f64;
        // The length may be a billion.
        if here == 0.0 || !(contexts <= CONTEXTS && paths <= PATHS) {
            break;
        }
    }
    (contexts, paths)
}

/// Paths of whole texts, from the prompt to the end.
fn whole(levels: &[LevelCost], vocab: f64, length: usize) -> f64 {
    let mut texts = vec![1.0];
    for room in 1..=length {
        let step = step(levels, vocab, room);
        let all = step.iter().enumerate().skip(1).map(|(made, paths)| paths * texts[room - made]);
        let all: f64 = all.sum();
        texts.push(all);
        // The length may be a billion; an overflow stays one.
        if all > PATHS || all.is_nan() {
            break;
        }
    }
    texts.last().copied().unwrap_or(f64::NAN)
}

/// A level that drafts `n` tokens in at most `ways · each^n` ways, if it is the lowest one.
struct LevelCost {
    length: usize,
    bonus: bool,
    ways: f64,
    each: f64,
}

/// The levels of a decoder, the uppermost first; none if it drafts nothing.
fn levels(kind: &DecoderKind, vocab: f64) -> Vec<LevelCost> {
    let level = |level: &LevelPlan| {
        let nodes = level.tree.map_or(1.0, |tree| tree.nodes().get() as f64);
        // Lookups and the likeliest tokens are proposed, not drawn.
        let (ways, each) = match (level.draft.distribution(), level.tree) {
            (None, _) | (_, Some(TreePlan::TopK { .. } | TreePlan::Lookup { .. })) => (nodes, 1.0),
            (Some(_), Some(TreePlan::Sampled { .. })) => (nodes * vocab.powf(nodes), 1.0),
            (Some(_), None) => (1.0, vocab),
        };
        LevelCost { length: level.length.get(), bonus: level.bonus, ways, each }
    };
    match (kind, kind.execution()) {
        (DecoderKind::Chain(chain), _) => chain.listed().iter().map(level).collect(),
        (_, Some(Execution::Speculative { draft_length, bonus, .. })) => {
            vec![LevelCost { length: draft_length.get(), bonus, ways: 1.0, each: vocab }]
        }
        _ => Vec::new(),
    }
}

/// Tokens per step that no enumeration can reach.
const TOO_LONG: usize = 1000;

/// Upper bounds of the paths of one step that makes 0, 1, 2, … tokens, up to `room`.
fn step(levels: &[LevelCost], vocab: f64, room: usize) -> Vec<f64> {
    let lengths = levels.iter().map(|level| level.length);
    let room = room.min(lengths.fold(levels.len() + 1, usize::saturating_add));
    if room > TOO_LONG { vec![f64::INFINITY] } else { round(levels, vocab, room) }
}

/// Costs of a round of the uppermost of these levels; without levels, of a token of the target.
fn round(levels: &[LevelCost], vocab: f64, room: usize) -> Vec<f64> {
    let Some((level, below)) = levels.split_first() else {
        return verified(&[1.0], true, vocab, room);
    };
    let left = room - usize::from(level.bonus && room > 0);
    let wanted = level.length.min(left);
    let drafts = if below.is_empty() {
        let mut drafts = vec![0.0; wanted];
        drafts.push(level.ways * level.each.powf(wanted as f64));
        drafts
    } else {
        collected(&round(below, vocab, left), wanted, room)
    };
    verified(&drafts, level.bonus, vocab, room)
}

/// Number of ways to collect tokens of rounds until there are `wanted`.
fn collected(round: &[f64], wanted: usize, room: usize) -> Vec<f64> {
    let mut ways = vec![0.0; room + 1];
    ways[0] = 1.0;
    for held in 0..wanted {
        for (made, paths) in round.iter().enumerate().skip(1) {
            if held + made <= room {
                ways[held + made] += ways[held] * paths;
            }
        }
    }
    ways[..wanted].fill(0.0);
    ways
}

/// Verification of a draft: each of its tokens may be rejected and replaced, and after all of them
/// comes the bonus token.
fn verified(drafts: &[f64], bonus: bool, vocab: f64, room: usize) -> Vec<f64> {
    let mut made = vec![0.0; room + 1];
    for (drafted, paths) in drafts.iter().enumerate().filter(|(_, paths)| **paths > 0.0) {
        (1..=drafted).for_each(|tokens| made[tokens] += paths * vocab);
        let whole = if bonus || drafted == 0 { drafted + 1 } else { drafted };
        made[whole.min(room)] += paths * vocab;
    }
    made
}
