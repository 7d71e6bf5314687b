//! Acceptance of each drafter by each verifier, and the overhead of their rounds.

use anyhow::{Context, Result};
use kad_polybasic::theory::{PassTimes, RunLengths};

use super::file::{CandidateCost, CandidateProfile, PairProfile};
use super::passes::times_without;
use super::profiler::Profiler;
use super::round_overhead::{RoundSamples, draft_seconds};
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels, NamedDistribution};
use crate::interrupt;
use crate::models::{self, Rules};
use crate::speed::progress::MeasurementProgress;
use crate::speed::timed_decoding::StepTime;

/// Text by text, drafts fill a pass of the widest width divided by one of these. The length of
/// drafts decides where in a sentence a round begins, and so how much of a draft is accepted:
/// acceptance must be counted for short drafts as well as for long ones.
const DIVISORS: [usize; 3] = [1, 2, 4];

/// A chain of two levels to be measured.
struct TwoLevelChain<'c> {
    target: &'c NamedDistribution,
    verifier: &'c CandidateProfile,
    drafter: &'c CandidateProfile,
    /// A decoder for each of the [`DIVISORS`].
    kinds: Vec<DecoderKind>,
}

/// Rounds of one pair.
#[derive(Default)]
struct PairSamples {
    runs: RunLengths,
    rounds: RoundSamples,
}

/// The chain of `target` and one level below it.
pub(super) fn two_levels(target: &NamedDistribution, level: LevelPlan) -> DecoderKind {
    DecoderKind::Chain(ChainPlan { target: target.clone(), levels: Levels::Listed(vec![level]) })
}

impl Profiler<'_> {
    /// Decodes with every pair of a verifier and a cheaper drafter; None if the user interrupted.
    ///
    /// # Errors
    /// If a model fails.
    pub(super) fn pairs(
        &self,
        candidates: &[CandidateProfile],
        context: usize,
    ) -> Result<Option<Vec<PairProfile>>> {
        let chains = self.two_level_chains(candidates, context)?;
        let texts = chains.len() * self.settings.prompts;
        let progress = MeasurementProgress::new("drafted texts", texts);
        let mut pairs = Vec::with_capacity(chains.len());
        // One chain after the other: between texts of a model that keeps one core busy the other
        // falls asleep, and the next rounds of a chain would pay for waking it.
        for TwoLevelChain { target, verifier, drafter, kinds } in &chains {
            let times = verifier_times(verifier, drafter)?;
            let mut samples = PairSamples::default();
            let add =
                |prompt, steps: &[StepTime]| samples.add(steps, prompt, &times, &drafter.cost);
            if !self.decode_chain(target, kinds, &progress, add)? {
                return Ok(None);
            }
            pairs.push(PairProfile {
                verifier: verifier.name.clone(),
                drafter: drafter.name.clone(),
                round_overhead: samples.rounds.overhead(),
                runs: samples.runs,
            });
        }
        Ok((!interrupt::requested()).then_some(pairs))
    }

    /// Decodes all prompts with a chain below `target`, text `i` with `kinds[i % kinds.len()]`;
    /// `add` gets the length of each prompt and the steps of its text. False if the user
    /// interrupted.
    ///
    /// # Errors
    /// If a model or `add` fails.
    pub(super) fn decode_chain(
        &self,
        target: &NamedDistribution,
        kinds: &[DecoderKind],
        progress: &MeasurementProgress,
        mut add: impl FnMut(usize, &[StepTime]) -> Result<()>,
    ) -> Result<bool> {
        let (first, rules) = (&kinds[0], Rules::of(&kinds[0])?);
        let prompts = self.prompts.of(first, self.models)?;
        let prompts = prompts.iter().take(self.settings.prompts);
        for ((seed, prompt), kind) in prompts.zip(kinds.iter().cycle()) {
            let Some(text) = self.decode(kind, target, &rules, prompt, *seed)? else {
                return Ok(false);
            };
            add(prompt.len(), &text.steps)?;
            progress.advance();
        }
        Ok(true)
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
                    let (verifier, drafter) = (&candidates[verifier], &candidates[drafter]);
                    found.push(TwoLevelChain { target, verifier, drafter, kinds });
                }
            }
        }
        Ok(found)
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

impl PairSamples {
    /// Adds the rounds of one text after `prompt` tokens.
    fn add(
        &mut self,
        steps: &[StepTime],
        prompt: usize,
        times: &PassTimes,
        drafter: &CandidateCost,
    ) -> Result<()> {
        let (mut text, mut after_bonus) = (prompt, false);
        for step in steps {
            let round = step.round.context("a chain has rounds")?;
            // A draft that an end token or the end of the text cut short counts as long as it is;
            // one that the drafter ended of its own accord was requested one token longer.
            let requested = round.drafted + usize::from(round.stopped);
            if requested > 0 {
                self.runs.record(requested, round.drafted, round.accepted)?;
            }
            if !step.reads_prompt {
                let context = text - 1;
                let verifying = times.seconds(round.drafted + 1, context);
                let drafting = draft_seconds(drafter, round.drafted, context, after_bonus);
                let drafting = drafting.context("a tree drafts for no pair")?;
                self.rounds.add(round.drafted, step.seconds, verifying + drafting);
            }
            text += step.emitted;
            after_bonus = round.emitted > round.accepted && round.accepted == round.drafted;
        }
        Ok(())
    }
}
