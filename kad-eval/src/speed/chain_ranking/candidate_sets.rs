//! Sets of candidates, planned one by one. A composed distribution costs less where one of its
//! models also drafts, since that model has read the text already: there is a set for each choice
//! of such models.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use kad_polybasic::theory::{
    Acceptance, BootstrapInterval, Candidate, CandidatePair, Candidates, Chain, Insertion,
    InsertionCriterion, PassTime, PlanLimits, Proposer,
};

use super::members::unknown;
use super::replay::{ReplayRange, ReplayedTexts};
use super::{LevelInsertion, RankedChain};
use crate::speed::profile::{CandidateCost, Profile, times_without};

/// Chains that are replayed: the fastest ones by run lengths.
const SHORTLIST: usize = 12;

/// Candidates of a profile for one target.
pub(super) struct CandidateSets<'p> {
    pub(super) profile: &'p Profile,
    pub(super) target: &'p str,
    /// The target first.
    pub(super) names: Vec<String>,
    pub(super) limits: PlanLimits,
    pub(super) replay: ReplayedTexts,
}

/// Candidates with the times that hold where the models of `drafting` draft.
struct CandidateSet {
    names: Vec<String>,
    candidates: Candidates,
    /// The models of composed distributions that draft.
    drafting: BTreeSet<String>,
}

impl<'p> CandidateSets<'p> {
    /// The candidates of one chain, the target first; `None` if the profile lacks a member or a pair.
    pub(super) fn of(
        profile: &'p Profile,
        members: &'p [String],
        bonus: bool,
        range: ReplayRange,
    ) -> Option<Self> {
        let known = members.iter().all(|name| profile.candidate(name).is_some());
        let pairs = members.windows(2).all(|pair| profile.pair(&pair[0], &pair[1]).is_some());
        let limits = PlanLimits { context: profile.context, bonus, ..PlanLimits::default() };
        let target = members.first().filter(|_| known && pairs)?;
        let replay = ReplayedTexts::of(profile, target, range);
        Some(Self { profile, target, names: members.to_vec(), limits, replay })
    }

    /// The chain of all candidates in their order.
    pub(super) fn chain(&self, lengths: &[usize]) -> Result<Chain> {
        let drafting = self.names[1..].iter().filter(|name| self.shared_models().contains(name));
        let set = self.set(drafting.cloned().collect())?;
        let indices: Vec<usize> = (0..self.names.len()).collect();
        let chain = set.candidates.chain(&indices, lengths, self.limits.bonus)?;
        let plain_seconds = self.measured_plain().map(|plain| plain.seconds);
        Ok(Chain { plain_seconds, ..chain })
    }

    /// Candidates that are models of composed candidates.
    fn shared_models(&self) -> Vec<&String> {
        let candidates = self.names.iter().filter_map(|name| self.profile.candidate(name));
        let composed = candidates.filter(|found| found.is_composed());
        let models: BTreeSet<&String> = composed.flat_map(|found| &found.models).collect();
        self.names.iter().filter(|name| models.contains(name)).collect()
    }

    /// The set in which the models of `drafting` draft, and no other model of a composed
    /// distribution is in the chain.
    fn set(&self, drafting: BTreeSet<String>) -> Result<CandidateSet> {
        let shared = self.shared_models();
        let within = |name: &&String| {
            !shared.contains(name) || drafting.contains(*name) || *name == self.target
        };
        let names: Vec<String> = self.names.iter().filter(within).cloned().collect();
        let index: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let candidates = names.iter().map(|name| self.candidate(name, &drafting));
        let candidates = candidates.collect::<Result<_>>()?;
        let pairs = self.profile.pairs.iter().filter_map(|pair| {
            Some(CandidatePair {
                verifier: *index.get(pair.verifier.as_str())?,
                drafter: *index.get(pair.drafter.as_str())?,
                acceptance: Acceptance::Runs(pair.runs.clone()),
                round_overhead: pair.round_overhead.round,
                token_overhead: pair.round_overhead.token,
            })
        });
        let candidates = Candidates { candidates, target: 0, pairs: pairs.collect() };
        Ok(CandidateSet { names, candidates, drafting })
    }

    fn candidate(&self, name: &str, drafting: &BTreeSet<String>) -> Result<Candidate> {
        let Some(found) = self.profile.candidate(name) else {
            bail!(unknown(self.profile, "candidate", name));
        };
        let name = name.to_owned();
        let proposer = match found.cost {
            CandidateCost::Lookup { draft_seconds, token_seconds, .. } => {
                Proposer::Lookup { name, draft_seconds, token_seconds }
            }
            CandidateCost::Tree { draft_seconds, nodes, depth, .. } => {
                let nodes = (nodes.round() as usize).max(1);
                Proposer::Tree { name, draft_seconds, nodes, depth }
            }
            CandidateCost::Distribution { ref times, token_overhead: overhead, .. } => {
                let mut times = times.clone();
                let shared = |model: &&String| found.is_composed() && drafting.contains(*model);
                for model in found.models.iter().filter(shared) {
                    let cost = self.profile.candidate(model).map(|part| &part.cost);
                    if let Some(CandidateCost::Distribution { times: own, distribution, .. }) = cost
                    {
                        times = times_without(&times, own, distribution)?;
                    }
                }
                Proposer::Model { name, times, overhead }
            }
        };
        Ok(Candidate { proposer, round_overhead: 0.0 })
    }

    /// All sets: one for each subset of the models that composed distributions share with drafters.
    fn all(&self) -> Result<Vec<CandidateSet>> {
        let shared = self.shared_models();
        let shared: Vec<_> = shared.into_iter().filter(|name| *name != self.target).collect();
        let sets = (0..1usize << shared.len().min(4)).map(|set| {
            let chosen = shared.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            chosen.map(|(_, name)| (*name).clone()).collect()
        });
        sets.map(|drafting| self.set(drafting)).collect()
    }

    /// The target alone.
    pub(super) fn plain(&self) -> Result<RankedChain> {
        let set = self.set(BTreeSet::new())?;
        let chain = set.candidates.chain(&[0], &[], true)?;
        let mut plain = RankedChain::of(&chain, self.limits.context, None, &self.replay)?;
        if let Some(measured) = self.measured_plain() {
            let milliseconds = 1e3 * measured.seconds;
            let half = 1.96e3 * measured.standard_error;
            let (low, high) = (milliseconds - half, milliseconds + half);
            plain.milliseconds_per_token = milliseconds;
            plain.tokens_per_second = 1.0 / measured.seconds;
            plain.interval = BootstrapInterval { low, high };
            plain.levels[0].milliseconds_per_token = milliseconds;
        }
        Ok(plain)
    }

    /// A token of plain decoding of a composed target: its decoder does not run every model for
    /// every token.
    fn measured_plain(&self) -> Option<PassTime> {
        match &self.profile.candidate(self.target)?.cost {
            CandidateCost::Distribution { plain, .. } => *plain,
            CandidateCost::Lookup { .. } | CandidateCost::Tree { .. } => None,
        }
    }

    /// The prediction for a chain, compared with plain decoding.
    pub(super) fn ranked_chain(&self, chain: &Chain, plain: &RankedChain) -> Result<RankedChain> {
        let measured = self.measured_plain().map(|_| plain);
        RankedChain::of(chain, self.limits.context, measured, &self.replay)
    }

    /// Chains of two levels and more, the fastest first.
    pub(super) fn ranked(&self, plain: &RankedChain) -> Result<Vec<RankedChain>> {
        let shortlist = if self.replay.len() > 0 { SHORTLIST } else { 1 };
        let wanted = self.limits.chains.max(shortlist);
        let mut found = Vec::new();
        for set in self.all()? {
            // Some of them belong to another set, and one is plain decoding.
            let limits = PlanLimits { chains: wanted * 3 + 1, ..self.limits };
            let plan = set.candidates.plan(&limits)?;
            for planned in plan.ranked.into_iter().filter(|planned| planned.members.len() > 1) {
                let names = || planned.members.iter().map(|&at| &set.names[at]);
                if set.drafting.iter().all(|model| names().any(|name| name == model)) {
                    let chain = set.candidates.chain(&planned.members, &planned.lengths, true)?;
                    found.push((planned.prediction.seconds_per_token, chain));
                }
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.truncate(wanted);
        let chains = found.iter().map(|(_, chain)| self.ranked_chain(chain, plain));
        let mut chains = chains.collect::<Result<Vec<_>>>()?;
        chains.sort_by(|a, b| a.milliseconds_per_token.total_cmp(&b.milliseconds_per_token));
        chains.truncate(self.limits.chains);
        Ok(chains)
    }

    /// The effect of one more level in `best`, or in plain decoding.
    pub(super) fn insertions(&self, best: Option<&RankedChain>) -> Result<Vec<LevelInsertion>> {
        let target = [self.target.to_owned()];
        let (members, lengths) =
            best.map_or((&target[..], &[][..]), |best| (&best.members, &best.lengths));
        let shared = self.shared_models();
        let inside = members.iter().filter(|name| shared.contains(name) && *name != self.target);
        let set = self.set(inside.cloned().collect())?;
        let index = |name: &String| set.names.iter().position(|other| other == name);
        let members: Vec<usize> = members.iter().filter_map(index).collect();
        let inserted = |insertion: Insertion| {
            let Insertion { candidate, level, published, measured, after, .. } = insertion;
            LevelInsertion {
                candidate: set.names[candidate].clone(),
                level,
                published,
                exact: InsertionCriterion {
                    left: 1e3 * measured.left,
                    right: 1e3 * measured.right,
                },
                milliseconds_per_token: 1e3 * after.prediction.seconds_per_token,
                lengths: after.lengths,
            }
        };
        let found = set.candidates.insertions(&members, lengths, &self.limits)?;
        Ok(found.into_iter().map(inserted).collect())
    }
}
