//! Records: one JSON line per finished item and decoder, from which all results are computed.

mod log;

use std::collections::BTreeMap;

use kad_core::TokenId;
use kad_core::decode::{Emitted, Origin, Round, Step};
use serde::{Deserialize, Serialize};

pub(super) use log::{RecordWriter, each, lines, read, sort_into};

/// One item of a task, finished by one decoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) decoder: String,
    pub(crate) task: String,
    pub(crate) item: String,
    /// Seed of the item's draws; the same for every decoder.
    pub(crate) seed: u64,
    pub(crate) gold: String,
    /// The answer extracted from the text; none where the text gives no answer.
    pub(crate) answer: Option<String>,
    pub(crate) correct: bool,
    /// The tokens of the text; empty if no text was generated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<TokenId>,
    /// Points between 0 and 1, where an item can be partly right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) points: Option<f64>,
    /// Subject, category or level of the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Log probabilities of given texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scored: Option<Scored>,
    /// The text, cut where the origin of tokens changes.
    pub(crate) spans: Vec<Span>,
    pub(crate) stop: String,
    pub(crate) prompt_tokens: u64,
    /// Tokens generated; for given texts, tokens scored.
    pub(crate) new_tokens: u64,
    /// Tokens drawn from the aligned model; only of lazy deferral.
    pub(crate) deferred_tokens: Option<u64>,
    /// Sum of the deferral mass over the new tokens; only of deferral mixtures.
    pub(crate) deferral_mass: Option<f64>,
    /// Acceptance of drafts; only of speculative decoders.
    pub(crate) acceptance: Option<Acceptance>,
    /// Verification of every level, the target first; empty without drafts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) levels: Vec<LevelRecord>,
    /// New tokens by origin and level.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) origins: Vec<OriginCount>,
    pub(crate) passes: BTreeMap<String, Passes>,
    /// Wall-clock time of the item, prompt included.
    pub(crate) seconds: f64,
    /// Remarks of the decoder: draft lengths changed, speculation given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remarks: Vec<String>,
}

impl Record {
    /// The item's points, or 1 for a right answer and 0 for a wrong one.
    pub(crate) fn earned(&self) -> f64 {
        self.points.unwrap_or(f64::from(u8::from(self.correct)))
    }

    /// The record as it is kept in memory: without its text, and without tokens unless
    /// `keep_tokens`.
    pub(crate) fn without_text(mut self, keep_tokens: bool) -> Self {
        self.spans = Vec::new();
        if !keep_tokens {
            self.tokens = Vec::new();
        }
        self
    }
}

/// Log-probabilities under a decoder's distribution, in nats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scored {
    /// Log probability of each option, or of the text; `None` for probability 0.
    pub(crate) log_probs: Vec<Option<f64>>,
    pub(crate) tokens: u64,
    pub(crate) bytes: u64,
}

/// A piece of text from one origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) origin: String,
    /// The level that made it; 1 is the target, and is not written.
    #[serde(default = "target_level", skip_serializing_if = "is_target")]
    pub(crate) level: u64,
    pub(crate) text: String,
}

fn target_level() -> u64 {
    1
}

fn is_target(level: &u64) -> bool {
    *level == 1
}

/// Number of new tokens of one origin and level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginCount {
    /// `base`, `deferred`, `drafted`, `corrected`, `bonus` or `sampled`.
    pub origin: String,
    /// The level that made them; 1 is the target.
    pub level: u64,
    /// Number of tokens.
    pub tokens: u64,
}

impl OriginCount {
    /// Counts all tokens, in the order of origins and levels.
    pub(crate) fn of(made: &[Emitted]) -> Vec<Self> {
        let mut counts: BTreeMap<(Origin, usize), u64> = BTreeMap::new();
        for token in made {
            *counts.entry((token.origin, token.level)).or_default() += 1;
        }
        let count = |((origin, level), tokens)| Self {
            origin: origin_name(origin).to_owned(),
            level: level as u64,
            tokens,
        };
        counts.into_iter().map(count).collect()
    }
}

/// Verification of the drafts of the level below.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LevelRecord {
    /// 1 is the target.
    pub level: u64,
    /// Verifications, also of empty drafts.
    pub rounds: u64,
    /// Tokens handed on: accepted ones, and its own.
    pub emitted: u64,
    #[serde(flatten)]
    /// Acceptance of the drafts.
    pub drafts: Acceptance,
}

impl LevelRecord {
    /// A record for every level that verified, the target first.
    pub(crate) fn of(rounds: &[Round]) -> Vec<Self> {
        let mut levels: BTreeMap<usize, Self> = BTreeMap::new();
        for round in rounds {
            let level = levels.entry(round.level).or_default();
            level.level = round.level as u64;
            level.rounds += 1;
            level.emitted += round.emitted as u64;
            level.drafts.count(round.drafted, round.accepted);
        }
        levels.into_values().collect()
    }

    /// Adds the counts of the same level on another text.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.emitted += other.emitted;
        self.drafts.add(&other.drafts);
    }
}

/// Acceptance of drafts: the acceptance rate is `accepted / drafted`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Number of drafted tokens.
    pub drafted: u64,
    /// Number of accepted tokens.
    pub accepted: u64,
    /// Number of drafts of which 0, 1, 2, … tokens were accepted.
    pub lengths: Vec<u64>,
}

impl Acceptance {
    pub(crate) fn of(steps: &[Step]) -> Self {
        let mut acceptance = Self::default();
        steps.iter().for_each(|step| acceptance.count(step.drafted, step.accepted));
        acceptance
    }

    /// Adds one draft; an empty draft does not count.
    fn count(&mut self, drafted: usize, accepted: usize) {
        if drafted > 0 {
            let lengths = vec![0; accepted].into_iter().chain([1]).collect();
            self.add(&Self { drafted: drafted as u64, accepted: accepted as u64, lengths });
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        let longest = self.lengths.len().max(other.lengths.len());
        self.lengths.resize(longest, 0);
        for (sum, count) in self.lengths.iter_mut().zip(&other.lengths) {
            *sum += count;
        }
    }

    pub(crate) fn drafts(&self) -> u64 {
        self.lengths.iter().sum()
    }
}

/// Forward passes of one model for one item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Passes {
    pub(crate) passes: u64,
    pub(crate) tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
}

/// The name of an origin in records and reports.
pub(crate) fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Base => "base",
        Origin::Deferred => "deferred",
        Origin::Drafted => "drafted",
        Origin::Corrected => "corrected",
        Origin::Bonus => "bonus",
        _ => "sampled",
    }
}

/// Decoder, task and item: unique within a run.
pub(crate) type RecordKey = (String, String, String);

pub(crate) fn key(record: &Record) -> RecordKey {
    (record.decoder.clone(), record.task.clone(), record.item.clone())
}

#[cfg(test)]
pub(crate) fn sample(decoder: &str, item: &str, correct: bool) -> Record {
    Record {
        decoder: decoder.to_owned(),
        task: "toy".to_owned(),
        item: item.to_owned(),
        seed: 1,
        gold: "4".to_owned(),
        answer: correct.then(|| "4".to_owned()),
        correct,
        tokens: vec![5, 0],
        spans: vec![Span { origin: "base".to_owned(), level: 1, text: "4".to_owned() }],
        stop: "eos".to_owned(),
        prompt_tokens: 3,
        new_tokens: 2,
        deferred_tokens: Some(1),
        deferral_mass: Some(0.5),
        passes: BTreeMap::from([("m".to_owned(), Passes { passes: 2, tokens: 4, seconds: None })]),
        seconds: 0.5,
        ..Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_and_read_back() {
        let record = sample("a", "0", true);
        let json = serde_json::to_string(&record).unwrap();
        for word in ["levels", "origins", "level", "seconds\":null"] {
            assert!(!json.contains(&format!("\"{word}")), "{json}");
        }
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }

    #[test]
    fn rounds_are_summed_by_level_and_drafts_counted_by_length() {
        let round = |level, drafted, accepted, emitted| Round {
            level,
            drafted,
            depth: drafted,
            accepted,
            emitted,
            stopped: false,
        };
        let rounds = [round(2, 3, 1, 2), round(2, 3, 3, 4), round(1, 6, 2, 3), round(2, 0, 0, 1)];
        let acceptance = |drafted, accepted, lengths: &[u64]| Acceptance {
            drafted,
            accepted,
            lengths: lengths.to_vec(),
        };
        let wanted = [
            LevelRecord { level: 1, rounds: 1, emitted: 3, drafts: acceptance(6, 2, &[0, 0, 1]) },
            LevelRecord {
                level: 2,
                rounds: 3,
                emitted: 7,
                drafts: acceptance(6, 4, &[0, 1, 0, 1]),
            },
        ];
        assert_eq!(LevelRecord::of(&rounds), wanted);
        let json = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<Vec<LevelRecord>>(&json).unwrap(), wanted);
    }
}
