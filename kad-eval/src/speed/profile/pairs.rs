//! Acceptance of each drafter and token tree by each verifier, and the overhead of their rounds.

use anyhow::{Context, Result};
use kad_polybasic::theory::{PassTimes, RunLengths};

use super::file::{CandidateCost, CandidateProfile, PairProfile};
use super::passes::times_without;
use super::profiler::Profiler;
use super::round_overhead::{WeightedPoint, draft_seconds, overhead, round};
use super::targets::{tree_definition, tree_name};
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels, NamedDistribution};
use crate::interrupt;
use crate::models;
use crate::speed::progress::MeasurementProgress;
use crate::speed::timed_decoding::StepTime;

/// Text by text, drafts fill a pass of the widest width divided by one of these. The length of
/// drafts decides where in a sentence a round begins, and so how much of a draft is accepted:
/// acceptance must be counted for short drafts as well as for long ones.
const DIVISORS: [usize; 3] = [1, 2, 4];

/// A chain of two levels to be measured.
struct TwoLevelChain<'c> {
    target: &'c NamedDistribution,
    /// The target's pass times in this chain.
    times: PassTimes,
    drafter: Drafter<'c>,
    /// Decoders of the texts, in turn.
    kinds: Vec<DecoderKind>,
}

#[derive(Clone, Copy)]
enum Drafter<'c> {
    Candidate(&'c CandidateProfile),
    Tree {
        level: &'c LevelPlan,
        /// The target's place among the models of the chain.
        target: usize,
    },
}

/// Rounds of one chain.
#[derive(Default)]
struct PairSamples {
    runs: RunLengths,
    rounds: Vec<WeightedPoint>,
    /// Seconds in passes of the drafter and nodes of each tree.
    trees: Vec<(f64, f64)>,
}

/// The chain of `target` and one level below it.
pub(super) fn two_levels(target: &NamedDistribution, level: LevelPlan) -> DecoderKind {
    DecoderKind::Chain(ChainPlan { target: target.clone(), levels: Levels::listed(vec![level]) })
}

impl Profiler<'_> {
    /// Decodes with every pair of a verifier and a cheaper drafter; `None` if the user interrupted.
    pub(super) fn pairs(
        &self,
        candidates: &[CandidateProfile],
        context: usize,
    ) -> Result<Option<Vec<PairProfile>>> {
        let chains = self.two_level_chains(candidates, context)?;
        let samples = self.samples("drafted texts", &chains)?;
        Ok(samples.map(|samples| chains.iter().zip(&samples).map(pair).collect()))
    }

    /// Decodes with every tree of the experiment below every target that it is cheaper than.
    /// Returns the trees as candidates, and their pairs; `None` if the user interrupted.
    pub(super) fn trees(
        &self,
        candidates: &[CandidateProfile],
        context: usize,
    ) -> Result<Option<(Vec<CandidateProfile>, Vec<PairProfile>)>> {
        let chains = self.tree_chains(candidates, context);
        let Some(samples) = self.samples("texts with trees", &chains)? else { return Ok(None) };
        let mut trees: Vec<(&LevelPlan, Vec<(f64, f64)>)> = Vec::new();
        for (chain, samples) in chains.iter().zip(&samples) {
            let Drafter::Tree { level, .. } = chain.drafter else { continue };
            match trees.iter_mut().find(|(other, _)| tree_name(other) == tree_name(level)) {
                Some((_, drafts)) => drafts.extend(&samples.trees),
                None => trees.push((level, samples.trees.clone())),
            }
        }
        let trees = trees.into_iter().map(|(level, drafts)| tree_candidate(level, &drafts));
        Ok(Some((trees.collect(), chains.iter().zip(&samples).map(pair).collect())))
    }

    /// Decodes all prompts with each chain; `None` if the user interrupted.
    ///
    /// One chain after the other: between texts of a model that keeps one core busy the other falls
    /// asleep, and the next rounds of a chain would pay for waking it.
    fn samples(
        &self,
        what: &str,
        chains: &[TwoLevelChain<'_>],
    ) -> Result<Option<Vec<PairSamples>>> {
        let progress = MeasurementProgress::new(what, chains.len() * self.settings.prompts);
        let mut all = Vec::with_capacity(chains.len());
        for chain in chains {
            let mut samples = PairSamples::default();
            let prompts = self.prompts.of(&chain.kinds[0], self.models)?;
            let prompts = prompts.iter().take(self.settings.prompts);
            for ((seed, prompt), kind) in prompts.zip(chain.kinds.iter().cycle()) {
                let Some(text) = self.decode(kind, chain.target, prompt, *seed)? else {
                    return Ok(None);
                };
                samples.add(chain, prompt.len(), &text.steps)?;
                progress.advance();
            }
            all.push(samples);
        }
        Ok((!interrupt::requested()).then_some(all))
    }

    /// Chains of one vocabulary whose drafter is cheaper than their verifier.
    fn two_level_chains<'c>(
        &'c self,
        candidates: &'c [CandidateProfile],
        context: usize,
    ) -> Result<Vec<TwoLevelChain<'c>>> {
        let seconds = |at: usize| candidates[at].cost.pass_seconds(context);
        let distributions = &self.targets.distributions;
        let lookups = self.targets.lookups.iter().map(|lookup| DraftPlan::Lookup(*lookup));
        let drafts = distributions.iter().cloned().map(DraftPlan::Distribution);
        let drafts: Vec<DraftPlan> = drafts.chain(lookups).collect();
        let mut found = Vec::new();
        for (verifier, target) in distributions.iter().enumerate() {
            for (drafter, draft) in drafts.iter().enumerate() {
                if drafter == verifier || seconds(drafter) >= seconds(verifier) {
                    continue;
                }
                let kind = |divisor: usize| -> Result<DecoderKind> {
                    // With the token before it, a pass of a measured width.
                    let length = (self.settings.draft_length / divisor).max(2) - 1;
                    Ok(two_levels(target, LevelPlan::of(draft.clone(), length.try_into()?)))
                };
                let kinds: Vec<_> = DIVISORS.into_iter().map(kind).collect::<Result<_>>()?;
                // Models of another vocabulary are no mistake: they belong to another chain.
                if models::check_shared(&kinds[0], self.models).is_ok() {
                    let times = verifier_times(&candidates[verifier], &candidates[drafter])?;
                    let drafter = Drafter::Candidate(&candidates[drafter]);
                    found.push(TwoLevelChain { target, times, drafter, kinds });
                }
            }
        }
        Ok(found)
    }

    /// Chains of a model and a token tree that is cheaper.
    fn tree_chains<'c>(
        &'c self,
        candidates: &[CandidateProfile],
        context: usize,
    ) -> Vec<TwoLevelChain<'c>> {
        let cost = |name: &str| Some(&candidates.iter().find(|found| found.name == name)?.cost);
        let mut found = Vec::new();
        for level in &self.targets.trees {
            let drafter = match level.draft.distribution() {
                Some(part) => cost(&part.name).map(|cost| cost.pass_seconds(context)),
                None => Some(0.0),
            };
            for target in &self.targets.distributions {
                let kind = two_levels(target, level.clone());
                // Passes of the models of a composed distribution cannot be told from those of the
                // tree.
                let single = target.distribution.models().len() == 1;
                let place = kind.models().iter().position(|name| *name == target.name);
                let times = cost(&target.name).and_then(CandidateCost::times);
                let (Some(place), Some(times), true) = (place, times, single) else { continue };
                let cheaper = drafter.is_some_and(|drafter| drafter < times.seconds(1, context));
                if cheaper && models::check_shared(&kind, self.models).is_ok() {
                    let (times, kinds) = (times.clone(), vec![kind]);
                    let drafter = Drafter::Tree { level, target: place };
                    found.push(TwoLevelChain { target, times, drafter, kinds });
                }
            }
        }
        found
    }
}

/// The verifier's times; without the passes of the drafter if that is one of its models.
fn verifier_times(verifier: &CandidateProfile, drafter: &CandidateProfile) -> Result<PassTimes> {
    let times = verifier
        .cost
        .times()
        .with_context(|| format!("`{}` has no distribution", verifier.name))?;
    match &drafter.cost {
        CandidateCost::Distribution { times: own, distribution, .. }
            if verifier.is_composed() && verifier.models.contains(&drafter.name) =>
        {
            times_without(times, own, distribution)
        }
        _ => Ok(times.clone()),
    }
}

fn pair((chain, samples): (&TwoLevelChain<'_>, &PairSamples)) -> PairProfile {
    PairProfile {
        verifier: chain.target.name.clone(),
        drafter: match chain.drafter {
            Drafter::Candidate(drafter) => drafter.name.clone(),
            Drafter::Tree { level, .. } => tree_name(level),
        },
        runs: samples.runs.clone(),
        round_overhead: overhead(samples.rounds.clone()),
    }
}

/// A tree as a candidate, from the seconds and nodes of its `drafts` below all targets.
fn tree_candidate(level: &LevelPlan, drafts: &[(f64, f64)]) -> CandidateProfile {
    let mean = |of: fn(&(f64, f64)) -> f64| {
        drafts.iter().map(of).sum::<f64>() / drafts.len().max(1) as f64
    };
    let part = level.draft.distribution();
    let models = part.map_or(Vec::new(), |part| part.distribution.models());
    CandidateProfile {
        name: tree_name(level),
        models: models.into_iter().map(str::to_owned).collect(),
        definition: Some(tree_definition(level)),
        cost: CandidateCost::Tree {
            toml: level.in_toml(),
            draft_seconds: mean(|(seconds, _)| *seconds),
            nodes: mean(|(_, nodes)| *nodes),
            depth: level.length.get(),
        },
    }
}

impl PairSamples {
    /// Adds the rounds of one text after `prompt` tokens.
    fn add(&mut self, chain: &TwoLevelChain<'_>, prompt: usize, steps: &[StepTime]) -> Result<()> {
        let (mut text, mut after_bonus) = (prompt, false);
        for step in steps {
            let made = step.round.context("a chain has rounds")?;
            let context = text - 1;
            let verifying = chain.times.seconds(made.drafted + 1, context);
            match chain.drafter {
                Drafter::Candidate(drafter) => {
                    // A draft that an end token or the end of the text cut short counts as long as
                    // it is; one that the drafter ended of its own accord was requested one token
                    // longer.
                    let requested = made.drafted + usize::from(made.stopped);
                    if requested > 0 {
                        self.runs.record(requested, made.drafted, made.accepted)?;
                    }
                    if !step.reads_prompt {
                        let drafted = made.drafted;
                        let drafting = draft_seconds(&drafter.cost, drafted, context, after_bonus);
                        let drafting = drafting.context("a tree drafts for no pair")?;
                        self.rounds.push(round(drafted, step.seconds, verifying + drafting));
                    }
                }
                // Close to the end of the text, trees are cut: neither depth nor size is the usual
                // one.
                Drafter::Tree { level, target } => {
                    let depth = level.length.get();
                    let whole = made.depth >= depth || made.stopped;
                    if whole {
                        self.runs.record(depth, depth, made.accepted.min(depth))?;
                    }
                    if whole && !step.reads_prompt {
                        let drafting = step.passing() - step.by_model[target];
                        self.trees.push((drafting, made.drafted as f64));
                        self.rounds.push(round(0, step.seconds, drafting + verifying));
                    }
                }
            }
            text += step.emitted;
            after_bonus = made.emitted > made.accepted && made.accepted == made.drafted;
        }
        Ok(())
    }
}
