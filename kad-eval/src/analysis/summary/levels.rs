//! Chains in a summary: verification by level, origins of tokens, and time by model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::DecoderKind;
use crate::run::record::{LevelRecord, OriginCount, Record};

/// Verification of drafts by one level of a chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelResult {
    /// 1 is the target.
    pub level: u64,
    /// The verifying model or decoder of this level.
    pub name: String,
    /// The drafter below it.
    pub drafter: String,
    /// Accepted ÷ drafted tokens; tokens after a rejection count as not accepted.
    pub acceptance_rate: f64,
    /// Mean number of accepted tokens per draft.
    pub acceptance_length: f64,
    /// Standard deviation of the accepted tokens over drafts.
    pub acceptance_length_deviation: f64,
    /// `ω`: tokens emitted to the level above per token of the text. It exceeds 1 where the levels
    /// above reject.
    pub waste: f64,
    /// Tokens (in a token tree, nodes) drafted for this level per token of the text.
    pub drafted_per_token: f64,
    /// The counts behind these numbers; `lengths[k]` drafts had k tokens accepted.
    pub counts: LevelRecord,
}

/// Seconds per new token, prompts included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// Wall-clock time.
    pub total: f64,
    /// Forward passes, by model.
    pub passes: BTreeMap<String, f64>,
    /// The rest: distributions, rules, drafting, verification.
    pub overhead: f64,
}

/// The levels of the decoder `kind`, summed over `records`.
pub(super) fn levels(records: &[&Record], kind: &DecoderKind, new_tokens: u64) -> Vec<LevelResult> {
    let mut sums: BTreeMap<u64, LevelRecord> = BTreeMap::new();
    for level in records.iter().flat_map(|record| &record.levels) {
        let empty = || LevelRecord { level: level.level, ..LevelRecord::default() };
        sums.entry(level.level).or_insert_with(empty).add(level);
    }
    sums.into_values().map(|counts| level(counts, kind, new_tokens)).collect()
}

fn level(counts: LevelRecord, kind: &DecoderKind, new_tokens: u64) -> LevelResult {
    let share = |part: u64, of: u64| part as f64 / of.max(1) as f64;
    let drafts = &counts.drafts;
    let mean = share(drafts.accepted, drafts.drafts());
    let squares = (0..).zip(&drafts.lengths).map(|(length, &count)| {
        let apart = f64::from(length) - mean;
        count as f64 * apart * apart
    });
    let variance = squares.sum::<f64>() / drafts.drafts().max(1) as f64;
    let number = usize::try_from(counts.level).unwrap_or(usize::MAX);
    LevelResult {
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

/// Time by model; none if a record lacks it.
pub(super) fn time(records: &[&Record]) -> Option<Time> {
    let mut passes: BTreeMap<String, f64> = BTreeMap::new();
    for (model, done) in records.iter().flat_map(|record| &record.passes) {
        *passes.entry(model.clone()).or_default() += done.seconds?;
    }
    let new_tokens: u64 = records.iter().map(|record| record.new_tokens).sum();
    let per_token = |seconds: f64| seconds / new_tokens.max(1) as f64;
    passes.values_mut().for_each(|seconds| *seconds = per_token(*seconds));
    let total = per_token(records.iter().map(|record| record.seconds).sum());
    // Two clocks: a tiny rest must not come out negative.
    let overhead = (total - passes.values().sum::<f64>()).max(0.0);
    Some(Time { total, passes, overhead })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::{Acceptance, Passes, sample};

    fn record(lengths: &[u64], drafted: u64, emitted: u64, seconds: f64) -> Record {
        let accepted = (0..).zip(lengths).map(|(length, count)| length * count).sum();
        let drafts = Acceptance { drafted, accepted, lengths: lengths.to_vec() };
        let rounds = lengths.iter().sum();
        let level = |level| LevelRecord { level, rounds, emitted, drafts: drafts.clone() };
        let passes = Passes { passes: 1, tokens: 1, seconds: Some(seconds) };
        Record {
            levels: vec![level(1), level(2)],
            new_tokens: 5,
            passes: BTreeMap::from([("m".to_owned(), passes)]),
            seconds: 1.0,
            ..sample("a", "0", true)
        }
    }

    /// Drafts of 3 with 0, 0, 1, 3 and 3, 3 tokens accepted, by hand: mean 10/6, mean square 28/6.
    #[test]
    fn levels_are_pooled_over_records() {
        let records = [record(&[2, 1, 0, 1], 12, 8, 0.25), record(&[0, 0, 0, 2], 6, 8, 0.5)];
        let records: Vec<&Record> = records.iter().collect();
        let kind = DecoderKind::Single { model: "m".to_owned() };
        let levels = levels(&records, &kind, 10);
        assert_eq!(levels.len(), 2);
        let level = &levels[1];
        assert_eq!((level.level, &level.counts.drafts.lengths[..]), (2, &[2, 1, 0, 3][..]));
        assert_eq!(level.acceptance_rate, 10.0 / 18.0);
        assert_eq!(level.acceptance_length, 10.0 / 6.0);
        let variance: f64 = 28.0 / 6.0 - (10.0f64 / 6.0).powi(2);
        assert!((level.acceptance_length_deviation - variance.sqrt()).abs() < 1e-12);
        assert_eq!((level.waste, level.drafted_per_token), (1.6, 1.8));
    }

    #[test]
    fn time_is_split_completely_or_not_at_all() {
        let records = [record(&[1], 1, 1, 0.25), record(&[1], 1, 1, 0.5)];
        let mut records: Vec<Record> = records.into();
        let of = |records: &[Record]| time(&records.iter().collect::<Vec<_>>());
        let wanted =
            Time { total: 0.2, passes: BTreeMap::from([("m".to_owned(), 0.075)]), overhead: 0.125 };
        assert_eq!(of(&records), Some(wanted));
        records.push(sample("a", "1", true));
        assert_eq!(of(&records), None, "a record without times");
    }
}
