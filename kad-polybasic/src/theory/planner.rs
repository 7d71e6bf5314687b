//! The planner: the best models of a chain, their order and their lengths.

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Proposer, VerifyingLevel};
use super::error::{TheoryError, checked_seconds};
use super::length_search::{LengthSearch, VerifierTables, longest_draft, table_sizes};
use super::predictor::{Prediction, by_width};
use super::run_lengths::Acceptance;
use crate::level::Surplus;

/// A model or another drafter that a chain may contain. [The module](super) has an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its role at the bottom of a chain. A model may stand at any level, other drafters only at
    /// the bottom.
    pub proposer: Proposer,
    /// Overhead as a verifier, in seconds per round. Default: 0.
    #[serde(default)]
    pub round_overhead: f64,
}

/// The measured acceptance of an ordered pair of candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidatePair {
    /// The verifier, an index into [`Candidates::candidates`].
    pub verifier: usize,
    /// The drafter, an index into [`Candidates::candidates`].
    pub drafter: usize,
    /// Acceptance of the drafter's tokens by the verifier.
    pub acceptance: Acceptance,
    /// Additional overhead of the verifier with this drafter, in seconds per round: a pass just
    /// after another model's pass takes longer. Default: 0.
    #[serde(default)]
    pub round_overhead: f64,
    /// Additional overhead of the drafter at the bottom of a chain, in seconds per token. Default:
    /// 0. Ignored for trees, which cost per draft.
    #[serde(default)]
    pub token_overhead: f64,
}

impl CandidatePair {
    /// A pair without additional overhead.
    pub fn new(verifier: usize, drafter: usize, acceptance: impl Into<Acceptance>) -> Self {
        let acceptance = acceptance.into();
        Self { verifier, drafter, acceptance, round_overhead: 0.0, token_overhead: 0.0 }
    }
}

/// The input of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidates {
    /// Models and other drafters.
    pub candidates: Vec<Candidate>,
    /// The target: the index of the model whose distribution the text must have.
    pub target: usize,
    /// The measured pairs. A chain has only these pairs as neighbours. If a pair is listed several
    /// times, the first entry counts.
    pub pairs: Vec<CandidatePair>,
}

/// The limits of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanLimits {
    /// Context length at which pass times are taken, in tokens. Default: 256.
    pub context: usize,
    /// The largest length of a level, in tokens, ≥ 1. Default: 16.
    pub max_length: usize,
    /// The largest number of levels, the target included, ≥ 1. Default: 4.
    pub max_levels: usize,
    /// True if verifiers draw bonus tokens. Default: true.
    pub bonus: bool,
    /// The number of chains to return, ≥ 1. Default: 5.
    pub chains: usize,
}

impl Default for PlanLimits {
    fn default() -> Self {
        Self { context: 256, max_length: 16, max_levels: 4, bonus: true, chains: 5 }
    }
}

/// A chain with its best lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedChain {
    /// The levels as indices into [`Candidates::candidates`], target first. The target alone is
    /// plain decoding.
    pub members: Vec<usize>,
    /// The best lengths of the verifiers, target first.
    pub lengths: Vec<usize>,
    /// The prediction for this chain.
    pub prediction: Prediction,
    /// Speed-up: seconds per token of plain decoding over those of this chain.
    pub speedup: f64,
}

/// The fastest chains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedChains {
    /// Seconds per token of plain decoding.
    pub plain_seconds_per_token: f64,
    /// Different chains, the fastest first. Includes plain decoding, if it is fast enough.
    pub ranked: Vec<PlannedChain>,
}

/// Seconds by width of each candidate and acceptance of each pair, at one context length.
struct PlanTables {
    pass: Vec<Vec<f64>>,
    /// `[verifier][drafter]`
    pairs: Vec<Vec<Option<PairTable>>>,
}

#[derive(Clone)]
struct PairTable {
    survival: Vec<f64>,
    proposed: Vec<f64>,
    round_overhead: f64,
    /// The drafter, for the bottom of a chain.
    proposer: Proposer,
}

/// The candidate as the proposer of a chain, with the overhead of its pair.
fn proposing(candidate: &Proposer, pair: Option<&CandidatePair>) -> Proposer {
    let mut proposer = candidate.clone();
    let more = pair.map_or(0.0, |pair| pair.token_overhead);
    match &mut proposer {
        Proposer::Model { overhead: seconds, .. }
        | Proposer::Lookup { token_seconds: seconds, .. } => *seconds += more,
        Proposer::Tree { .. } => {}
    }
    proposer
}

impl Candidates {
    /// Checks that a plan can be made from these numbers.
    ///
    /// # Errors
    /// If an index is out of range, the target is no model, a time is negative or no number, or a
    /// rate is no probability.
    pub fn check(&self) -> Result<(), TheoryError> {
        let candidates = self.candidates.len();
        let indices = self.pairs.iter().flat_map(|pair| [pair.verifier, pair.drafter]);
        if let Some(index) = indices.chain([self.target]).find(|&index| index >= candidates) {
            return Err(TheoryError::UnknownCandidate { index, candidates });
        }
        for candidate in &self.candidates {
            candidate.proposer.check()?;
            checked_seconds("the overhead of a round", candidate.round_overhead)?;
        }
        for pair in &self.pairs {
            pair.acceptance.check()?;
            checked_seconds("the overhead of a round", pair.round_overhead)?;
            checked_seconds("the overhead of a token", pair.token_overhead)?;
        }
        match &self.candidates[self.target].proposer {
            Proposer::Model { .. } => Ok(()),
            other => Err(TheoryError::NoModel { name: other.name().to_owned() }),
        }
    }

    /// The fastest chains that start with the target, each with its best lengths: the fewest
    /// predicted seconds per token over all ordered choices of other candidates (lookups and trees
    /// at the bottom only), over all lengths up to the limit, and over plain decoding. [The
    /// module](super) has an example.
    ///
    /// The result equals exhaustive search with [`Chain::predict`] (test P10). It is found by
    /// branch and bound. Distributions of rounds are built from the bottom up, so all lengths above
    /// a partial chain share it. A partial chain is dropped if even the cheapest round above it,
    /// with every buffer as long as its acceptance allows, is slower than the chains found. (arXiv
    /// 2510.19705 finds latency-optimal hierarchies in polynomial time, for independent acceptance
    /// and constant pass times.)
    ///
    /// # Errors
    /// Errors of [`Candidates::check`], and if a limit is 0.
    pub fn plan(&self, limits: &PlanLimits) -> Result<RankedChains, TheoryError> {
        self.check_with(limits)?;
        let plain_seconds_per_token = self.plain(limits)?;
        let tables = self.tables(limits);
        let mut ranked = vec![(plain_seconds_per_token, vec![self.target], Vec::new())];
        for (bound, members) in self.chains(&tables, limits) {
            let limit = match ranked.get(limits.chains - 1) {
                Some((worst, ..)) => *worst,
                None => f64::INFINITY,
            };
            // Chains are sorted by their bounds, so all later ones are slower.
            if bound > limit * (1.0 + 1e-12) {
                break;
            }
            let found =
                self.length_search(&tables, &members, limits).best(limits.max_length, limit);
            if let Some((seconds, lengths)) = found {
                ranked.push((seconds, members, lengths));
                ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
                ranked.truncate(limits.chains);
            }
        }
        let ranked = ranked.into_iter().map(|(_, members, lengths)| {
            self.planned(members, lengths, plain_seconds_per_token, limits)
        });
        Ok(RankedChains { plain_seconds_per_token, ranked: ranked.collect::<Result<_, _>>()? })
    }

    /// The chain of `members` (indices into [`Candidates::candidates`], target first) with
    /// `lengths`, one per verifier. `plain_seconds` is not set.
    ///
    /// ```
    /// use kad_polybasic::theory::{
    ///     Acceptance, Candidate, CandidatePair, Candidates, PassTimes, Proposer, TheoryError,
    /// };
    /// let model = |name: &str, seconds| {
    ///     let times = PassTimes::constant(seconds)?;
    ///     let proposer = Proposer::Model { name: name.into(), times, overhead: 0.0 };
    ///     Ok::<_, TheoryError>(Candidate { proposer, round_overhead: 0.0 })
    /// };
    /// let candidates = Candidates {
    ///     candidates: vec![model("large", 22e-3)?, model("small", 1.5e-3)?],
    ///     target: 0,
    ///     pairs: vec![CandidatePair::new(0, 1, Acceptance::Rate(0.7))],
    /// };
    /// let chain = candidates.chain(&[0, 1], &[5], true)?;
    /// assert_eq!(chain.names(), ["large", "small"]);
    /// assert!(chain.predict(0)?.seconds_per_token < 22e-3);
    /// # Ok::<(), TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// If `members` is empty or names an unknown candidate or an unmeasured pair, if the number of
    /// lengths differs from the number of verifiers, or if a verifier is no model.
    pub fn chain(
        &self,
        members: &[usize],
        lengths: &[usize],
        bonus: bool,
    ) -> Result<Chain, TheoryError> {
        let Some((&last, above)) = members.split_last() else {
            return Err(TheoryError::Zero { what: "number of levels" });
        };
        if above.len() != lengths.len() {
            let (verifiers, lengths) = (above.len(), lengths.len());
            return Err(TheoryError::LengthCount { verifiers, lengths });
        }
        let neighbours = members.windows(2).zip(lengths);
        let verifiers = neighbours.map(|(pair, &length)| self.verifier(pair, length, bonus));
        let verifiers = verifiers.collect::<Result<_, _>>()?;
        let drafts_for = above.last().and_then(|&verifier| self.pair(verifier, last));
        let proposer = proposing(&self.candidate(last)?.proposer, drafts_for);
        Ok(Chain { verifiers, proposer, plain_seconds: None })
    }

    fn verifier(
        &self,
        pair: &[usize],
        length: usize,
        bonus: bool,
    ) -> Result<VerifyingLevel, TheoryError> {
        let candidate = self.candidate(pair[0])?;
        let Proposer::Model { name, times, overhead: token_overhead } = &candidate.proposer else {
            return Err(TheoryError::NoModel { name: candidate.proposer.name().to_owned() });
        };
        let (name, times) = (name.clone(), times.clone());
        let measured = self.pair(pair[0], pair[1]);
        let measured =
            measured.ok_or(TheoryError::UnmeasuredPair { verifier: pair[0], drafter: pair[1] })?;
        let overhead = candidate.round_overhead + measured.round_overhead;
        let (acceptance, token_overhead) = (measured.acceptance.clone(), *token_overhead);
        let surplus = Surplus::Flush;
        Ok(VerifyingLevel {
            name,
            times,
            acceptance,
            length,
            bonus,
            surplus,
            overhead,
            token_overhead,
        })
    }

    fn candidate(&self, index: usize) -> Result<&Candidate, TheoryError> {
        let candidates = self.candidates.len();
        self.candidates.get(index).ok_or(TheoryError::UnknownCandidate { index, candidates })
    }

    fn pair(&self, verifier: usize, drafter: usize) -> Option<&CandidatePair> {
        self.pairs.iter().find(|pair| (pair.verifier, pair.drafter) == (verifier, drafter))
    }

    pub(super) fn check_with(&self, limits: &PlanLimits) -> Result<(), TheoryError> {
        for (what, value) in [
            ("longest length", limits.max_length),
            ("number of levels", limits.max_levels),
            ("number of chains", limits.chains),
        ] {
            if value == 0 {
                return Err(TheoryError::Zero { what });
            }
        }
        self.check()
    }

    /// Seconds per token of plain decoding.
    pub(super) fn plain(&self, limits: &PlanLimits) -> Result<f64, TheoryError> {
        let alone = self.chain(&[self.target], &[], limits.bonus)?;
        Ok(alone.predict(limits.context)?.seconds_per_token)
    }

    /// The chain of `members` with its best lengths; `None` if a pair in it was not measured.
    pub(super) fn best_of(
        &self,
        members: &[usize],
        plain: f64,
        limits: &PlanLimits,
    ) -> Result<Option<PlannedChain>, TheoryError> {
        let known =
            |pair: &[usize]| self.pair(pair[0], pair[1]).is_some() && self.is_model(pair[0]);
        if !members.windows(2).all(known) {
            return Ok(None);
        }
        let levels = members.len().max(limits.max_levels);
        let tables = self.tables(&PlanLimits { max_levels: levels, ..*limits });
        let search = self.length_search(&tables, members, limits);
        match search.best(limits.max_length, f64::INFINITY) {
            None => Ok(None),
            Some((_, lengths)) => self.planned(members.to_vec(), lengths, plain, limits).map(Some),
        }
    }

    fn is_model(&self, index: usize) -> bool {
        matches!(self.candidates[index].proposer, Proposer::Model { .. })
    }

    /// The chain of `members` with `lengths`, predicted.
    pub(super) fn planned(
        &self,
        members: Vec<usize>,
        lengths: Vec<usize>,
        plain: f64,
        limits: &PlanLimits,
    ) -> Result<PlannedChain, TheoryError> {
        let prediction = self.chain(&members, &lengths, limits.bonus)?.predict(limits.context)?;
        let speedup = plain / prediction.seconds_per_token;
        Ok(PlannedChain { members, lengths, prediction, speedup })
    }

    /// All chains of at least two levels with the lower bounds of their seconds per token, rising.
    fn chains(&self, tables: &PlanTables, limits: &PlanLimits) -> Vec<(f64, Vec<usize>)> {
        let (mut found, mut open) = (Vec::new(), vec![vec![self.target]]);
        while let Some(members) = open.pop() {
            let Some(&last) = members.last() else { continue };
            if members.len() == limits.max_levels || !self.is_model(last) {
                continue;
            }
            for next in 0..self.candidates.len() {
                if members.contains(&next) || tables.pairs[last][next].is_none() {
                    continue;
                }
                let longer: Vec<usize> = members.iter().copied().chain([next]).collect();
                found.push((
                    self.length_search(tables, &longer, limits).bound_of_all(),
                    longer.clone(),
                ));
                open.push(longer);
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        found
    }

    fn length_search<'t>(
        &'t self,
        tables: &'t PlanTables,
        members: &[usize],
        limits: &PlanLimits,
    ) -> LengthSearch<'t> {
        let mut verifiers = Vec::new();
        let mut proposed: &[f64] = &[];
        let last = members.last().copied().unwrap_or(self.target);
        let (mut proposer, pass) = (&self.candidates[last].proposer, &tables.pass[last]);
        for pair in members.windows(2) {
            let Some(table) = &tables.pairs[pair[0]][pair[1]] else { continue };
            (proposed, proposer) = (&table.proposed, &table.proposer);
            verifiers.push(VerifierTables {
                survival: &table.survival,
                pass: &tables.pass[pair[0]],
                overhead: self.candidates[pair[0]].round_overhead + table.round_overhead,
                bonus: limits.bonus,
                keep: false,
            });
        }
        LengthSearch { verifiers, proposer, proposed, pass }
    }

    fn tables(&self, limits: &PlanLimits) -> PlanTables {
        let (cap, verifiers) = (limits.max_length, limits.max_levels.saturating_sub(1).max(1));
        let sizes = self.candidates.iter().map(|c| table_sizes(verifiers, cap, &c.proposer));
        let (buffer, width) =
            sizes.fold((0, 0), |most, size| (most.0.max(size.0), most.1.max(size.1)));
        let pass = self.candidates.iter().map(|candidate| match &candidate.proposer {
            Proposer::Model { times, .. } => by_width(times, width, limits.context),
            Proposer::Lookup { .. } | Proposer::Tree { .. } => Vec::new(),
        });
        let row = |verifier: usize| {
            (0..self.candidates.len()).map(move |drafter| {
                let pair = self.pair(verifier, drafter)?;
                let drafter = &self.candidates[drafter].proposer;
                Some(PairTable {
                    survival: pair.acceptance.survival(buffer),
                    proposed: pair.acceptance.proposed(longest_draft(drafter, cap)),
                    round_overhead: pair.round_overhead,
                    proposer: proposing(drafter, Some(pair)),
                })
            })
        };
        let pairs = (0..self.candidates.len()).map(|verifier| row(verifier).collect()).collect();
        PlanTables { pass: pass.collect(), pairs }
    }
}
