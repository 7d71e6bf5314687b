//! How much an enumeration has to do, before it starts.

use anyhow::{Result, bail};

use crate::config::{DecoderPlan, Execution, Proof};

/// The most contexts, and paths of single steps, that a decoder is enumerated over: minutes.
const CONTEXTS: f64 = 1e6;
const PATHS: f64 = 3e7;

/// Refuses a proof that would not finish.
///
/// # Errors
/// With the numbers and what to change.
pub(super) fn check(proof: &Proof) -> Result<()> {
    for claim in &proof.claims {
        let plan = &claim.decoder;
        let (contexts, paths) = work(proof, plan);
        // Written so that an overflow is refused.
        if !(contexts <= CONTEXTS && paths <= PATHS) {
            let (name, length, vocab) = (&plan.name, proof.length, proof.vocab);
            bail!(
                "decoder `{name}` has {contexts:.1e} contexts with {paths:.1e} paths to enumerate \
                 (length {length}, {vocab} tokens); at most {CONTEXTS:.0e} and {PATHS:.0e} are \
                 tried: use a smaller `length`, vocabulary or `draft_length`"
            );
        }
    }
    Ok(())
}

/// At most so many contexts, and paths of one step from each of them.
fn work(proof: &Proof, plan: &DecoderPlan) -> (f64, f64) {
    let vocab = proof.vocab as f64;
    let mut ends = proof.eos.clone();
    ends.sort_unstable();
    ends.dedup();
    let going_on = vocab - ends.len() as f64;
    let drafted = match plan.kind.execution() {
        Some(Execution::Speculative { draft_length, .. }) => draft_length.get(),
        _ => 0,
    };
    let (mut contexts, mut paths, mut here) = (0.0, 0.0, 1.0);
    for position in 0..proof.length {
        contexts += here;
        let drafted = drafted.min(proof.length - position);
        // Every draft; after each, a token of the target or the replacement of a rejected one.
        paths += here * vocab * vocab.powf(drafted as f64) * (drafted + 1) as f64;
        here *= going_on;
        // No need to count on to a length of a billion.
        if here == 0.0 || !(contexts <= CONTEXTS && paths <= PATHS) {
            break;
        }
    }
    (contexts, paths)
}
