//! What chains add to a summary: levels, origins of tokens, and where the time went.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::DecoderKind;
use crate::record::{LevelRecord, OriginCount, Record};

/// What one level did with the drafts of the level below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Level {
    /// 1 is the target.
    pub(crate) level: u64,
    /// What verifies here, and what drafts for it.
    pub(crate) name: String,
    pub(crate) drafter: String,
    /// Share of the drafted tokens that were accepted; what follows a rejection counts as rejected.
    pub(crate) acceptance_rate: f64,
    /// Mean number of accepted tokens per draft, and its standard deviation over drafts.
    pub(crate) acceptance_length: f64,
    pub(crate) acceptance_length_deviation: f64,
    /// `ω`: tokens that the level handed on for each token of the text. The levels above it rejected
    /// some, and added some of their own.
    pub(crate) waste: f64,
    /// Tokens (in a tree, nodes) drafted for it for each token of the text.
    pub(crate) drafted_per_token: f64,
    /// The sums they are made of; `lengths[k]` drafts had k of their tokens accepted.
    pub(crate) counts: LevelRecord,
}

/// Seconds per new token, prompts included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Time {
    /// Of wall clock.
    pub(crate) total: f64,
    /// In the passes of each model.
    pub(crate) passes: BTreeMap<String, f64>,
    /// Everything else: laws, rules, drafting, verification.
    pub(crate) overhead: f64,
}

/// The levels of the decoder `kind`, summed over `records`.
pub(super) fn levels(records: &[&Record], kind: &DecoderKind, new_tokens: u64) -> Vec<Level> {
    let mut sums: BTreeMap<u64, LevelRecord> = BTreeMap::new();
    for level in records.iter().flat_map(|record| &record.levels) {
        let empty = || LevelRecord { level: level.level, ..LevelRecord::default() };
        sums.entry(level.level).or_insert_with(empty).add(level);
    }
    sums.into_values().map(|counts| level(counts, kind, new_tokens)).collect()
}

fn level(counts: LevelRecord, kind: &DecoderKind, new_tokens: u64) -> Level {
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let drafts = &counts.drafts;
    let mean = share(drafts.accepted, drafts.drafts());
    let squares = (0..).zip(&drafts.lengths).map(|(length, &count)| {
        let apart = f64::from(length) - mean;
        count as f64 * apart * apart
    });
    let variance = squares.sum::<f64>() / drafts.drafts().max(1) as f64;
    let number = usize::try_from(counts.level).unwrap_or(usize::MAX);
    Level {
        level: counts.level,
        name: kind.level_name(number),
        drafter: kind.level_name(number.saturating_add(1)),
        acceptance_rate: share(drafts.accepted, drafts.drafted),
        acceptance_length: mean,
        acceptance_length_deviation: variance.sqrt(),
        waste: share(counts.emitted, new_tokens),
        drafted_per_token: share(drafts.drafted, new_tokens),
        counts,
    }
}

/// The tokens of all records by their origin and level.
pub(super) fn origins(records: &[&Record]) -> Vec<OriginCount> {
    let mut sums: Vec<OriginCount> = Vec::new();
    for count in records.iter().flat_map(|record| &record.origins) {
        let same =
            |sum: &&mut OriginCount| (&sum.origin, sum.level) == (&count.origin, count.level);
        match sums.iter_mut().find(same) {
            Some(sum) => sum.tokens += count.tokens,
            None => sums.push(count.clone()),
        }
    }
    sums.sort_by(|a, b| (a.level, &a.origin).cmp(&(b.level, &b.origin)));
    sums
}

/// Where the time went, if all records say.
pub(super) fn time(records: &[&Record]) -> Option<Time> {
    let mut passes: BTreeMap<String, f64> = BTreeMap::new();
    for (model, done) in records.iter().flat_map(|record| &record.passes) {
        *passes.entry(model.clone()).or_default() += done.seconds?;
    }
    let new_tokens: u64 = records.iter().map(|record| record.new_tokens).sum();
    let per_token = |seconds: f64| seconds / new_tokens.max(1) as f64;
    passes.values_mut().for_each(|seconds| *seconds = per_token(*seconds));
    let total = per_token(records.iter().map(|record| record.seconds).sum());
    // Two clocks: what is next to nothing must not come out below it.
    let overhead = (total - passes.values().sum::<f64>()).max(0.0);
    Some(Time { total, passes, overhead })
}
