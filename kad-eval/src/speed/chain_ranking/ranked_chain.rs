//! The prediction for one chain.

use anyhow::Result;
use kad_polybasic::theory::{
    BootstrapInterval, Chain, LemmaLevel, LevelPrediction, Prediction, Proposer, lemma_time,
};
use serde::Serialize;

use super::replay::ReplayedTexts;
use super::{RESAMPLES, SEED};

/// A chain with its best draft lengths.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RankedChain {
    /// The target, then the drafter of each level.
    pub(crate) members: Vec<String>,
    /// Draft lengths of the levels that verify, the target's first.
    pub(crate) lengths: Vec<usize>,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) interval: BootstrapInterval,
    pub(crate) tokens_per_second: f64,
    /// Plain decoding's time over this one's.
    pub(crate) speedup: f64,
    pub(crate) speedup_interval: BootstrapInterval,
    /// True if it was replayed along texts; otherwise it was predicted from run lengths.
    pub(crate) replayed: bool,
    /// Lemma 3.1 of arXiv 2510.26527 as published.
    pub(crate) lemma_milliseconds_per_token: f64,
    pub(crate) levels: Vec<LevelShare>,
}

/// The share of one level in the time of a chain.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LevelShare {
    pub(crate) name: String,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) passes_per_token: f64,
    /// Mean number of accepted tokens of a draft; `None` for the last level.
    pub(crate) acceptance_length: Option<f64>,
    /// Tokens it hands on per token of the text.
    pub(crate) waste: f64,
}

impl RankedChain {
    /// The prediction for `chain`, replayed if there are texts. Its speed-up is over `plain` where
    /// that was measured as a whole.
    pub(super) fn of(
        chain: &Chain,
        context: usize,
        plain: Option<&Self>,
        replay: &ReplayedTexts,
    ) -> Result<Self> {
        let replayed = replay.replay(chain)?;
        let (prediction, uncertainty, alone) = match &replayed {
            Some(found) => {
                (found.prediction.clone(), found.uncertainty, found.plain_seconds_per_token)
            }
            None => {
                let alone = chain.plain().predict(context)?.seconds_per_token;
                (chain.predict(context)?, chain.uncertainty(context, RESAMPLES, SEED)?, alone)
            }
        };
        let seconds = prediction.seconds_per_token;
        let interval = uncertainty.seconds_per_token;
        let (speedup, speedup_interval) = match plain {
            None => (alone / seconds, uncertainty.speedup),
            // Measured separately: the ends that are farthest from each other.
            Some(plain) => {
                let over = |plain: f64, seconds: f64| plain / (1e3 * seconds);
                let low = over(plain.interval.low, interval.high);
                let high = over(plain.interval.high, interval.low);
                (over(plain.milliseconds_per_token, seconds), BootstrapInterval { low, high })
            }
        };
        Ok(Self {
            members: chain.names().into_iter().map(str::to_owned).collect(),
            lengths: chain.lengths(),
            milliseconds_per_token: 1e3 * seconds,
            interval: BootstrapInterval { low: 1e3 * interval.low, high: 1e3 * interval.high },
            tokens_per_second: 1.0 / seconds,
            speedup,
            speedup_interval,
            replayed: replayed.is_some(),
            lemma_milliseconds_per_token: 1e3 * lemma(chain, &prediction, context),
            levels: shares(&prediction),
        })
    }

    /// `large ← 6 middle ← 3 small`.
    pub(crate) fn in_words(&self) -> String {
        let levels = self.members.iter().skip(1).zip(&self.lengths);
        let levels = levels.map(|(name, length)| format!(" ← {length} {name}"));
        self.members.iter().take(1).cloned().chain(levels).collect()
    }
}

/// Lemma 3.1 as published: `T_i` of a pass over one token, `L_i` the tokens that a level hands on
/// per pass, `β` the drafts of the last level. It ignores that verifying passes are wider, and that
/// tokens handed on are rejected further up.
fn lemma(chain: &Chain, prediction: &Prediction, context: usize) -> f64 {
    let verifiers = chain.verifiers.iter().zip(&prediction.levels);
    let verifiers: Vec<LemmaLevel> = verifiers
        .map(|(verifier, level)| LemmaLevel {
            seconds: verifier.times.seconds(1, context),
            tokens_per_pass: level.tokens_per_round,
        })
        .collect();
    let drafts = &prediction.levels[prediction.levels.len() - 1];
    match &chain.proposer {
        Proposer::Model { times, .. } => {
            lemma_time(&verifiers, drafts.tokens_per_round, times.seconds(1, context))
        }
        Proposer::Lookup { .. } | Proposer::Tree { .. } => {
            lemma_time(&verifiers, 1.0, drafts.seconds_per_pass)
        }
    }
}

fn shares(prediction: &Prediction) -> Vec<LevelShare> {
    let last = prediction.levels.len() - 1;
    let share = |(at, level): (usize, &LevelPrediction)| LevelShare {
        name: level.name.clone(),
        milliseconds_per_token: 1e3 * level.seconds_per_token,
        passes_per_token: level.passes_per_token,
        acceptance_length: (at < last).then_some(level.acceptance_length),
        waste: level.waste,
    };
    prediction.levels.iter().enumerate().map(share).collect()
}
