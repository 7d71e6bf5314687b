//! The size of an enumeration, before it starts.

use anyhow::{Result, bail};

use crate::config::{ChainPlan, DecoderKind, DecoderPlan, Execution, LevelPlan, Proof, TreePlan};

/// Contexts and paths of single steps that are enumerated at most: minutes of work.
const CONTEXTS: f64 = 1e6;
const PATHS: f64 = 3e7;

/// Refuses a proof that would not finish.
///
/// # Errors
/// The two numbers, and the settings to change.
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
                "decoder `{name}` has {contexts:.1e} contexts with {paths:.1e} paths to enumerate \
                 (length {length}, {vocab} tokens); at most {CONTEXTS:.0e} and {PATHS:.0e} are \
                 tried: use a smaller `length`, vocabulary or {lengths}"
            );
        }
    }
    Ok(())
}

/// Upper bounds of the contexts, and of the paths of one step from each of them.
fn work(proof: &Proof, plan: &DecoderPlan) -> (f64, f64) {
    let vocab = proof.vocab as f64;
    if plan.kind.carries_tokens() {
        return (1.0, whole(proof, plan));
    }
    let mut ends = proof.eos.clone();
    ends.sort_unstable();
    ends.dedup();
    let going_on = vocab - ends.len() as f64;
    let (mut contexts, mut paths, mut here) = (0.0, 0.0, 1.0);
    for position in 0..proof.length {
        contexts += here;
        let step: f64 = step(&plan.kind, vocab, proof.length - position).iter().sum();
        paths += here * step;
        here *= going_on;
        // The length may be a billion.
        if here == 0.0 || !(contexts <= CONTEXTS && paths <= PATHS) {
            break;
        }
    }
    (contexts, paths)
}

/// Paths of whole texts, from the prompt to the end.
fn whole(proof: &Proof, plan: &DecoderPlan) -> f64 {
    let mut texts = vec![1.0];
    for room in 1..=proof.length {
        let step = step(&plan.kind, proof.vocab as f64, room);
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

/// Tokens per step that no enumeration can reach.
const TOO_LONG: usize = 1000;

/// Upper bounds of the paths of one step that makes 0, 1, 2, … tokens, up to `room`.
fn step(kind: &DecoderKind, vocab: f64, room: usize) -> Vec<f64> {
    let drafted = match (kind, kind.execution()) {
        (DecoderKind::Chain(chain), _) => {
            let lengths = chain.listed().iter().map(|level| level.length.get());
            lengths.fold(chain.listed().len(), usize::saturating_add)
        }
        (_, Some(Execution::Speculative { draft_length, .. })) => draft_length.get(),
        _ => 0,
    };
    let room = room.min(drafted.saturating_add(1));
    if room > TOO_LONG {
        return vec![f64::INFINITY];
    }
    match (kind, kind.execution()) {
        (DecoderKind::Chain(chain), _) => round(chain, 0, vocab, room),
        (_, Some(Execution::Speculative { draft_length, bonus, .. })) => {
            let drafts =
                one_draft(draft_length.get().min(room), room, |drafted| vocab.powf(drafted as f64));
            verified(&drafts, bonus, vocab, room)
        }
        _ => verified(&one_draft(0, room, |_| 1.0), true, vocab, room),
    }
}

/// One round of a level that verifies the drafts of level `index`.
fn round(chain: &ChainPlan, index: usize, vocab: f64, room: usize) -> Vec<f64> {
    let levels = chain.listed();
    let Some(level) = levels.get(index) else {
        return verified(&one_draft(0, room, |_| 1.0), true, vocab, room);
    };
    let left = room - usize::from(level.bonus && room > 0);
    let wanted = level.length.get().min(left);
    let drafts = if index + 1 == levels.len() {
        let siblings = level.tree.map_or(1.0, |tree| tree.nodes().get() as f64);
        let drafts = one_draft(wanted, room, |drafted| lowest(level, vocab, drafted));
        drafts.iter().map(|paths| paths * siblings).collect()
    } else {
        collected(&round(chain, index + 1, vocab, left), wanted, room)
    };
    verified(&drafts, level.bonus, vocab, room)
}

/// Number of ways in which the lowest level drafts `drafted` tokens.
fn lowest(level: &LevelPlan, vocab: f64, drafted: usize) -> f64 {
    match (level.draft.distribution(), level.tree) {
        // Proposed, not drawn.
        (None, _) | (_, Some(TreePlan::TopK { .. } | TreePlan::Lookup { .. })) => 1.0,
        (Some(_), Some(TreePlan::Sampled { nodes, .. })) => vocab.powf(nodes.get() as f64),
        (Some(_), None) => vocab.powf(drafted as f64),
    }
}

/// Drafts of a single length.
fn one_draft(drafted: usize, room: usize, ways: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..=room).map(|length| if length == drafted { ways(length) } else { 0.0 }).collect()
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
