//! What a profile says about chains: which is fastest, by how much, and how surely.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use kad_polybasic::theory::{
    Acceptance, BootstrapInterval, Candidate, CandidatePair, Candidates, Chain, Insertion,
    InsertionCriterion, LemmaLevel, PassTime, PlanLimits, Prediction, Proposer, lemma_time,
};
use serde::Serialize;

mod members;
mod replay;

use self::members::{members, target, unknown};
pub(crate) use self::replay::ReplayRange;
use self::replay::ReplayedTexts;
use super::profile::{Cost, Effort, Profile, times_without};

/// Resamples of the measurement for an interval.
const RESAMPLES: usize = 1000;

/// A speed-up that is none: plain decoding is simpler.
const TIE: f64 = 1.001;

/// Of the resamples: the same profile always gives the same intervals.
const SEED: u64 = 1;

/// Where chains can be replayed, the fastest ones by run lengths are, and ranked by that.
const SHORTLIST: usize = 12;

/// What is asked of a profile.
#[derive(Clone, Debug)]
pub(crate) struct RankingRequest {
    /// Whose distribution the text has; the slowest model that others draft for if absent.
    pub(crate) target: Option<String>,
    /// What may draft; if absent, models and lookups, and for a composed target composed
    /// distributions too.
    pub(crate) drafters: Option<Vec<String>>,
    pub(crate) max_levels: usize,
    pub(crate) max_length: usize,
    /// How many chains to name.
    pub(crate) chains: usize,
}

impl RankingRequest {
    /// The most levels that are looked for unless more are asked for, the target included.
    pub(crate) const MAX_LEVELS: usize = 4;
    /// The most tokens that a level waits for unless more are asked for.
    pub(crate) const MAX_LENGTH: usize = Effort::LOOKED_UP;
}

/// Chains by what they are expected to take.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChainRanking {
    pub(crate) target: String,
    /// Tokens before the middle of a text.
    pub(crate) context: usize,
    /// Texts of the target that chains were replayed along; 0 if the profile has none.
    pub(crate) texts: usize,
    pub(crate) verdict: Verdict,
    /// Milliseconds and the rest of the target alone.
    pub(crate) plain: RankedChain,
    /// The fastest first; plain decoding is not among them.
    pub(crate) chains: Vec<RankedChain>,
    /// What one more level would do to the first of them, or to plain decoding if there is none.
    pub(crate) insertions: Vec<LevelInsertion>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// The first chain is faster than plain decoding.
    Speculate,
    /// It may be, but the measurement does not show it.
    Undecided,
    /// No chain is expected to be faster.
    Plain,
}

/// One chain with its best lengths.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RankedChain {
    /// The target, then each level's drafter.
    pub(crate) members: Vec<String>,
    /// Of the levels that verify, the target's first.
    pub(crate) lengths: Vec<usize>,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) interval: BootstrapInterval,
    pub(crate) tokens_per_second: f64,
    /// Plain decoding's time over this one's.
    pub(crate) speedup: f64,
    pub(crate) speedup_interval: BootstrapInterval,
    /// Whether it was replayed along texts; otherwise it was predicted by run lengths.
    pub(crate) replayed: bool,
    /// Lemma 3.1 of arXiv 2510.26527 as published.
    pub(crate) lemma_milliseconds_per_token: f64,
    pub(crate) levels: Vec<LevelShare>,
}

/// A level's part in a chain.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LevelShare {
    pub(crate) name: String,
    pub(crate) milliseconds_per_token: f64,
    pub(crate) passes_per_token: f64,
    /// Mean number of tokens it accepts of a draft; None for the last one.
    pub(crate) acceptance_length: Option<f64>,
    /// Tokens it hands on per token of the text.
    pub(crate) waste: f64,
}

/// One more level, by both criteria.
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
    /// What `profile` says about `ask`.
    ///
    /// # Errors
    /// If the target or a drafter is not in the profile, or cannot be what is asked.
    pub(crate) fn of(profile: &Profile, ask: &RankingRequest) -> Result<Self> {
        let target = target(profile, ask)?;
        let names = members(profile, &target, ask)?;
        let limits = PlanLimits {
            context: profile.context,
            max_length: ask.max_length,
            max_levels: ask.max_levels,
            bonus: true,
            chains: ask.chains,
        };
        let replay = ReplayedTexts::of(profile, &target, ReplayRange::WHOLE);
        let texts = replay.len();
        let candidate_sets = CandidateSets { profile, target: &target, names, limits, replay };
        let plain = candidate_sets.plain()?;
        let chains = candidate_sets.ranked(&plain)?;
        let verdict = verdict(chains.first());
        let insertions =
            candidate_sets.insertions(chains.first().filter(|_| verdict != Verdict::Plain))?;
        Ok(Self { target, context: profile.context, texts, verdict, plain, chains, insertions })
    }

    /// What is expected of one chain on a stretch of the texts, the target first, with the lengths
    /// of its verifiers; None if `profile` lacks one of its members or pairs.
    ///
    /// # Errors
    /// If there is not one length for each verifier.
    pub(crate) fn chain(
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
        bonus: bool,
        stretch: ReplayRange,
    ) -> Result<Option<RankedChain>> {
        let Some(candidate_sets) = CandidateSets::of(profile, members, bonus, stretch) else {
            return Ok(None);
        };
        let plain = candidate_sets.plain()?;
        if members.len() == 1 {
            return Ok(Some(plain));
        }
        let chain = candidate_sets.chain(lengths)?;
        candidate_sets.ranked_chain(&chain, &plain).map(Some)
    }

    /// The numbers that describe one chain, as for [`ChainRanking::chain`].
    ///
    /// # Errors
    /// If there is not one length for each verifier.
    pub(crate) fn measured(
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
        bonus: bool,
    ) -> Result<Option<Chain>> {
        let candidate_sets = CandidateSets::of(profile, members, bonus, ReplayRange::WHOLE);
        candidate_sets.map(|candidate_sets| candidate_sets.chain(lengths)).transpose()
    }

    /// The chain to decode with: the first one, unless plain decoding is expected to be as fast.
    pub(crate) fn best(&self) -> &RankedChain {
        match (self.verdict, self.chains.first()) {
            (Verdict::Speculate | Verdict::Undecided, Some(best)) => best,
            _ => &self.plain,
        }
    }
}

fn verdict(best: Option<&RankedChain>) -> Verdict {
    match best {
        Some(best) if best.speedup_interval.low > TIE => Verdict::Speculate,
        Some(best) if best.speedup > TIE => Verdict::Undecided,
        _ => Verdict::Plain,
    }
}

/// A composed distribution costs less where one of its models also drafts: that model has read the
/// text. So chains are planned once for each set of such models, with the times that hold there.
struct CandidateSets<'p> {
    profile: &'p Profile,
    target: &'p str,
    /// The target first.
    names: Vec<String>,
    limits: PlanLimits,
    replay: ReplayedTexts,
}

/// The candidates of one such set.
struct CandidateSet {
    names: Vec<String>,
    candidates: Candidates,
    /// The models of composed distributions that draft here.
    drafting: BTreeSet<String>,
}

impl<'p> CandidateSets<'p> {
    /// Those of one chain, the target first; None if the profile lacks a member or a pair.
    fn of(
        profile: &'p Profile,
        members: &'p [String],
        bonus: bool,
        stretch: ReplayRange,
    ) -> Option<Self> {
        let known = members.iter().all(|name| profile.candidate(name).is_some());
        let pairs = members.windows(2).all(|pair| profile.pair(&pair[0], &pair[1]).is_some());
        let limits = PlanLimits { context: profile.context, bonus, ..PlanLimits::default() };
        let target = members.first().filter(|_| known && pairs)?;
        let replay = ReplayedTexts::of(profile, target, stretch);
        Some(Self { profile, target, names: members.to_vec(), limits, replay })
    }

    /// The chain of all of them, in their order.
    fn chain(&self, lengths: &[usize]) -> Result<Chain> {
        let drafting = self.names[1..].iter().filter(|name| self.parts().contains(name));
        let candidate_set = self.candidate_set(drafting.cloned().collect())?;
        let indices: Vec<usize> = (0..self.names.len()).collect();
        let chain = candidate_set.candidates.chain(&indices, lengths, self.limits.bonus)?;
        let plain_seconds = self.measured_plain().map(|plain| plain.seconds);
        Ok(Chain { plain_seconds, ..chain })
    }

    /// Candidates that are models of composed candidates.
    fn parts(&self) -> Vec<&String> {
        let composed = self.names.iter().filter_map(|name| self.profile.candidate(name));
        let parts: BTreeSet<&String> = composed
            .filter(|found| found.models.len() > 1)
            .flat_map(|found| &found.models)
            .collect();
        self.names.iter().filter(|name| parts.contains(name)).collect()
    }

    /// With the models of `drafting` below the composed distributions they are part of, and no
    /// other model of a composed distribution in the chain.
    fn candidate_set(&self, drafting: BTreeSet<String>) -> Result<CandidateSet> {
        let parts = self.parts();
        let within = |name: &&String| {
            !parts.contains(name) || drafting.contains(*name) || *name == self.target
        };
        let names: Vec<String> = self.names.iter().filter(within).cloned().collect();
        let index: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let candidates = names.iter().map(|name| self.candidate(name, &drafting));
        let candidates = candidates.collect::<Result<_>>()?;
        let pairs = self.profile.pairs.iter().filter_map(|pair| {
            let (verifier, drafter) =
                (*index.get(pair.verifier.as_str())?, *index.get(pair.drafter.as_str())?);
            Some(CandidatePair {
                verifier,
                drafter,
                acceptance: Acceptance::Runs(pair.runs.clone()),
                round_overhead: pair.beside.round,
                token_overhead: pair.beside.token,
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
        Ok(match &found.cost {
            Cost::Lookup { draft_seconds, token_seconds, .. } => {
                let (draft_seconds, token_seconds) = (*draft_seconds, *token_seconds);
                let proposer = Proposer::Lookup { name, draft_seconds, token_seconds };
                Candidate { proposer, round_overhead: 0.0 }
            }
            Cost::Tree { draft_seconds, nodes, depth, .. } => {
                let nodes = (nodes.round() as usize).max(1);
                let (draft_seconds, depth) = (*draft_seconds, *depth);
                let proposer = Proposer::Tree { name, draft_seconds, nodes, depth };
                Candidate { proposer, round_overhead: 0.0 }
            }
            Cost::Distribution { times, token_overhead, .. } => {
                let shared = found.models.iter().filter(|model| drafting.contains(*model));
                let shared = shared.filter(|_| found.models.len() > 1);
                let times = shared.filter_map(|model| self.profile.candidate(model)).try_fold(
                    times.clone(),
                    |times, part| match &part.cost {
                        Cost::Distribution { times: own, distribution, .. } => {
                            times_without(&times, own, distribution)
                        }
                        Cost::Lookup { .. } | Cost::Tree { .. } => Ok(times),
                    },
                )?;
                let proposer = Proposer::Model { name, times, overhead: *token_overhead };
                Candidate { proposer, round_overhead: 0.0 }
            }
        })
    }

    /// All of them: one for each set of the models that composed distributions are made of.
    fn all(&self) -> Result<Vec<CandidateSet>> {
        let parts = self.parts();
        let parts: Vec<_> = parts.into_iter().filter(|name| *name != self.target).collect();
        let sets = (0..1usize << parts.len().min(4)).map(|set| {
            let chosen = parts.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1);
            chosen.map(|(_, name)| (*name).clone()).collect()
        });
        sets.map(|drafting| self.candidate_set(drafting)).collect()
    }

    /// The target alone.
    fn plain(&self) -> Result<RankedChain> {
        let candidate_set = self.candidate_set(BTreeSet::new())?;
        let chain = candidate_set.candidates.chain(&[0], &[], true)?;
        let mut plain = ranked(&chain, self.limits.context, None, &self.replay)?;
        if let Some(measured) = self.measured_plain() {
            let milliseconds = 1e3 * measured.seconds;
            let half = 1.96e3 * measured.standard_error;
            plain.milliseconds_per_token = milliseconds;
            plain.tokens_per_second = 1.0 / measured.seconds;
            plain.interval =
                BootstrapInterval { low: milliseconds - half, high: milliseconds + half };
            plain.levels[0].milliseconds_per_token = milliseconds;
        }
        Ok(plain)
    }

    /// What the decoder of a composed target takes for a token, which is not what asking all of its
    /// models takes.
    fn measured_plain(&self) -> Option<PassTime> {
        match &self.profile.candidate(self.target)?.cost {
            Cost::Distribution { plain, .. } => *plain,
            Cost::Lookup { .. } | Cost::Tree { .. } => None,
        }
    }

    /// A chain in words and numbers, beside plain decoding.
    fn ranked_chain(&self, chain: &Chain, plain: &RankedChain) -> Result<RankedChain> {
        let measured = self.measured_plain().map(|_| plain);
        ranked(chain, self.limits.context, measured, &self.replay)
    }

    /// Chains of two levels and more, the fastest first.
    fn ranked(&self, plain: &RankedChain) -> Result<Vec<RankedChain>> {
        let replayed = self.replay.len() > 0;
        let wanted = self.limits.chains.max(if replayed { SHORTLIST } else { 1 });
        let mut found = Vec::new();
        for candidate_set in self.all()? {
            // Some of them belong to another candidate_set, and one is plain decoding.
            let chains = wanted * 3 + 1;
            let plan = candidate_set.candidates.plan(&PlanLimits { chains, ..self.limits })?;
            for planned in plan.ranked.into_iter().filter(|planned| planned.members.len() > 1) {
                let names = || planned.members.iter().map(|&at| &candidate_set.names[at]);
                if candidate_set.drafting.iter().all(|model| names().any(|name| name == model)) {
                    let chain =
                        candidate_set.candidates.chain(&planned.members, &planned.lengths, true)?;
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

    /// What one more level would do to `best`, or to plain decoding.
    fn insertions(&self, best: Option<&RankedChain>) -> Result<Vec<LevelInsertion>> {
        let target = [self.target.to_owned()];
        let (members, lengths) =
            best.map_or((&target[..], &[][..]), |best| (&best.members, &best.lengths));
        let parts = self.parts();
        let inside = members.iter().filter(|name| parts.contains(name) && *name != self.target);
        let candidate_set = self.candidate_set(inside.cloned().collect())?;
        let index = |name: &String| candidate_set.names.iter().position(|other| other == name);
        let members: Vec<usize> = members.iter().filter_map(index).collect();
        let found = candidate_set.candidates.insertions(&members, lengths, &self.limits)?;
        Ok(found.into_iter().map(|insertion| inserted(&candidate_set.names, insertion)).collect())
    }
}

fn inserted(names: &[String], insertion: Insertion) -> LevelInsertion {
    let Insertion { candidate, level, published, measured, after, .. } = insertion;
    LevelInsertion {
        candidate: names[candidate].clone(),
        level,
        published,
        exact: InsertionCriterion { left: 1e3 * measured.left, right: 1e3 * measured.right },
        milliseconds_per_token: 1e3 * after.prediction.seconds_per_token,
        lengths: after.lengths,
    }
}

/// A chain in words and numbers, replayed if there are texts; its speed-up is over `plain` if that
/// was measured as a whole.
fn ranked(
    chain: &Chain,
    context: usize,
    plain: Option<&RankedChain>,
    replay: &ReplayedTexts,
) -> Result<RankedChain> {
    let replayed = replay.replay(chain)?;
    let (prediction, found, alone) = match &replayed {
        Some(found) => (found.prediction.clone(), found.uncertainty, found.plain_seconds_per_token),
        None => {
            let alone = chain.plain().predict(context)?.seconds_per_token;
            (chain.predict(context)?, chain.uncertainty(context, RESAMPLES, SEED)?, alone)
        }
    };
    let seconds = prediction.seconds_per_token;
    let interval = found.seconds_per_token;
    let (speedup, speedup_interval) = match plain {
        None => (alone / seconds, found.speedup),
        // Measured apart: the ends that are farthest from each other.
        Some(plain) => {
            let over = |plain: f64, seconds: f64| plain / (1e3 * seconds);
            let low = over(plain.interval.low, interval.high);
            let high = over(plain.interval.high, interval.low);
            (over(plain.milliseconds_per_token, seconds), BootstrapInterval { low, high })
        }
    };
    Ok(RankedChain {
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

/// Lemma 3.1 as one would use it: `T_i` of a pass over one token, `L_i` the tokens that a level
/// hands on per pass, `β` the drafts of the last level. It leaves out that verifying passes are
/// wider, and that tokens handed on are rejected further up.
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
    let share = |(at, level): (usize, &kad_polybasic::theory::LevelPrediction)| LevelShare {
        name: level.name.clone(),
        milliseconds_per_token: 1e3 * level.seconds_per_token,
        passes_per_token: level.passes_per_token,
        acceptance_length: (at < last).then_some(level.acceptance_length),
        waste: level.waste,
    };
    prediction.levels.iter().enumerate().map(share).collect()
}

#[cfg(test)]
mod tests;
