//! Chains ranked by the time per token that a profile predicts for them.
//!
//! | part | file |
//! |---|---|
//! | target and drafters of a request | `members.rs` |
//! | sets of candidates, planned one by one | `candidate_sets.rs` |
//! | replay of a chain along the texts of a profile | `replay.rs` |
//! | the prediction for one chain | `ranked_chain.rs` |

mod candidate_sets;
mod members;
mod ranked_chain;
mod replay;

use anyhow::Result;
use kad_polybasic::theory::{Chain, InsertionCriterion, PlanLimits};
use serde::Serialize;

use self::candidate_sets::CandidateSets;
use self::members::{members, target};
pub(crate) use self::ranked_chain::{LevelShare, RankedChain};
pub(crate) use self::replay::ReplayRange;
use self::replay::ReplayedTexts;
use super::profile::{Profile, ProfileSettings};

/// Bootstrap resamples of an interval, and their seed: the same profile always gives the same
/// intervals.
const RESAMPLES: usize = 1000;
const SEED: u64 = 1;

/// Speed-ups up to this are a tie, and plain decoding is simpler.
const TIE: f64 = 1.001;

/// Parameters of a ranking.
#[derive(Clone, Debug)]
pub(crate) struct RankingRequest {
    /// The distribution of the text; `None` for the default target.
    pub(crate) target: Option<String>,
    /// Candidates that may draft; `None` for models and lookups, and for a composed target composed
    /// distributions too.
    pub(crate) drafters: Option<Vec<String>>,
    /// Maximum number of levels, the target included.
    pub(crate) max_levels: usize,
    /// Maximum draft length of a level.
    pub(crate) max_length: usize,
    /// Number of chains to return.
    pub(crate) chains: usize,
}

impl RankingRequest {
    pub(crate) const MAX_LEVELS: usize = 4;
    pub(crate) const MAX_LENGTH: usize = ProfileSettings::MIN_LOOKUP_LENGTH;

    /// The `chains` fastest chains within the default limits.
    pub(crate) fn of(chains: usize) -> Self {
        let (max_levels, max_length) = (Self::MAX_LEVELS, Self::MAX_LENGTH);
        Self { target: None, drafters: None, max_levels, max_length, chains }
    }
}

/// Chains ranked by predicted time per token.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChainRanking {
    pub(crate) target: String,
    /// Tokens before the middle of a text.
    pub(crate) context: usize,
    /// Number of texts that chains were replayed along; 0 if the profile has none of the target.
    pub(crate) texts: usize,
    pub(crate) recommendation: Recommendation,
    /// Plain decoding of the target.
    pub(crate) plain: RankedChain,
    /// The fastest first; plain decoding is not among them.
    pub(crate) chains: Vec<RankedChain>,
    /// The effect of one more level in the first chain, or in plain decoding if there is none.
    pub(crate) insertions: Vec<LevelInsertion>,
}

/// The fastest way to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Recommendation {
    /// The first chain is faster than plain decoding.
    Speculate,
    /// The first chain is predicted to be faster, but the interval includes a tie.
    Undecided,
    /// No chain is predicted to be faster.
    Plain,
}

/// A further level in a chain, by both criteria.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LevelInsertion {
    pub(crate) candidate: String,
    /// The level it becomes; 1 is the target.
    pub(crate) level: usize,
    /// Theorem 3.2 of arXiv 2510.26527: `T_new / T_i < L_new (1 / L_i − 1 / L_{i-new})`.
    pub(crate) published: InsertionCriterion,
    /// Milliseconds per token that it costs, and that the other levels save.
    pub(crate) exact: InsertionCriterion,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) lengths: Vec<usize>,
}

impl ChainRanking {
    /// The ranking of `request` by `profile`. A name that is not in the profile, or a target that
    /// only drafts, is an error.
    pub(crate) fn of(profile: &Profile, request: &RankingRequest) -> Result<Self> {
        let target = target(profile, request)?;
        let &RankingRequest { max_levels, max_length, chains, .. } = request;
        let context = profile.context;
        let limits = PlanLimits { context, max_length, max_levels, bonus: true, chains };
        let names = members(profile, &target, request)?;
        let replay = ReplayedTexts::of(profile, &target, ReplayRange::WHOLE);
        let texts = replay.len();
        let sets = CandidateSets { profile, target: &target, names, limits, replay };
        let plain = sets.plain()?;
        let chains = sets.ranked(&plain)?;
        let recommendation = match chains.first() {
            Some(best) if best.speedup_interval.low > TIE => Recommendation::Speculate,
            Some(best) if best.speedup > TIE => Recommendation::Undecided,
            _ => Recommendation::Plain,
        };
        let faster = chains.first().filter(|_| recommendation != Recommendation::Plain);
        let insertions = sets.insertions(faster)?;
        Ok(Self { target, context, texts, recommendation, plain, chains, insertions })
    }

    /// The prediction for one chain on a range of the texts: `members` with the target first, and a
    /// draft length for each verifier. `None` if `profile` lacks a member or a pair.
    pub(crate) fn chain(
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
        bonus: bool,
        range: ReplayRange,
    ) -> Result<Option<RankedChain>> {
        let Some(sets) = CandidateSets::of(profile, members, bonus, range) else {
            return Ok(None);
        };
        let plain = sets.plain()?;
        if members.len() == 1 {
            return Ok(Some(plain));
        }
        sets.ranked_chain(&sets.chain(lengths)?, &plain).map(Some)
    }

    /// The measurements of one chain, as for [`ChainRanking::chain`].
    pub(crate) fn measured(
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
        bonus: bool,
    ) -> Result<Option<Chain>> {
        let sets = CandidateSets::of(profile, members, bonus, ReplayRange::WHOLE);
        sets.map(|sets| sets.chain(lengths)).transpose()
    }

    /// The chain to decode with: the first one, or plain decoding if that is recommended.
    pub(crate) fn best(&self) -> &RankedChain {
        let chain = self.chains.first().filter(|_| self.recommendation != Recommendation::Plain);
        chain.unwrap_or(&self.plain)
    }
}

#[cfg(test)]
mod tests;
