//! How far one distribution accepts what another, or a lookup, drafts for it; and what their rounds
//! take.

use anyhow::{Context, Result};
use kad_polybasic::theory::{PassTimes, RunLengths};

use super::file::{Candidate, Cost, Pair};
use super::measure::{Measurement, interrupted};
use super::passes::times_without;
use super::round_overhead::{Drafting, Rounds};
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels};
use crate::models::{self, Rules};
use crate::speed::progress::Progress;
use crate::speed::timed_decoding::StepTime;

/// Drafts are asked for that make passes of these parts of the widest one, text by text. Where a
/// round begins in a sentence depends on how long drafts are, and with it how far they are right:
/// what is counted must be of short drafts as well as of long ones.
const PARTS: [usize; 3] = [1, 2, 4];

/// A chain of two levels, by the indices of its candidates.
struct TwoLevels {
    verifier: usize,
    drafter: usize,
    /// With drafts of each of the [`PARTS`].
    kinds: Vec<DecoderKind>,
}

/// What the texts of one pair showed.
#[derive(Default)]
struct Shown {
    runs: RunLengths,
    rounds: Rounds,
}

impl Measurement<'_> {
    /// Really speculates with every pair that may be worth while, prompt by prompt. None if the
    /// user interrupted.
    ///
    /// # Errors
    /// If a model fails.
    pub(super) fn pairs(
        &self,
        candidates: &[Candidate],
        context: usize,
    ) -> Result<Option<Vec<Pair>>> {
        let chains = self.plausible(candidates, context)?;
        let progress = Progress::new("drafted texts", chains.len() * self.effort.prompts);
        let mut pairs = Vec::with_capacity(chains.len());
        // One chain after the other: between texts of a model that keeps one core busy the other
        // falls asleep, and the next rounds of a chain would pay for waking it.
        for chain in &chains {
            let Some(shown) = self.shown(chain, candidates, &progress)? else { return Ok(None) };
            pairs.push(Pair {
                verifier: candidates[chain.verifier].name.clone(),
                drafter: candidates[chain.drafter].name.clone(),
                beside: shown.rounds.beside(),
                runs: shown.runs,
            });
        }
        Ok(if interrupted() { None } else { Some(pairs) })
    }

    /// What a chain shows on all prompts.
    fn shown(
        &self,
        chain: &TwoLevels,
        candidates: &[Candidate],
        progress: &Progress,
    ) -> Result<Option<Shown>> {
        let rules = Rules::of(chain.kind(0))?;
        let times = chain.times(candidates)?;
        let drafting = drafting(&candidates[chain.drafter])?;
        let distribution = &self.targets.distributions[chain.verifier];
        let mut shown = Shown::default();
        let prompts = self.prompts.of(chain.kind(0), self.models)?;
        for (text, (seed, prompt)) in prompts.iter().take(self.effort.prompts).enumerate() {
            let Some(steps) = self.text(chain.kind(text), distribution, &rules, prompt, *seed)?
            else {
                return Ok(None);
            };
            shown.add(&steps, prompt.len(), &times, &drafting)?;
            progress.one();
        }
        Ok(Some(shown))
    }

    /// Chains of two levels whose drafter is cheaper than what it drafts for, and of one
    /// vocabulary.
    fn plausible(&self, candidates: &[Candidate], context: usize) -> Result<Vec<TwoLevels>> {
        let seconds = |at: usize| match &candidates[at].cost {
            Cost::Distribution { times, .. } => times.seconds(1, context),
            Cost::Lookup { .. } | Cost::Tree { .. } => 0.0,
        };
        let distributions = &self.targets.distributions;
        let drafts =
            distributions.iter().map(|distribution| DraftPlan::Distribution(distribution.clone()));
        let lookups = self.targets.lookups.iter().map(|lookup| lookup.draft());
        let drafts: Vec<DraftPlan> = drafts.chain(lookups).collect();
        let mut found = Vec::new();
        for (verifier, target) in distributions.iter().enumerate() {
            for (drafter, draft) in drafts.iter().enumerate() {
                if drafter == verifier || seconds(drafter) >= seconds(verifier) {
                    continue;
                }
                let kind = |part: usize| -> Result<DecoderKind> {
                    // With the token before it, a pass of a width that was measured.
                    let length = (self.effort.draft_length / part).max(2) - 1;
                    let length = length.try_into()?;
                    let levels = Levels::Listed(vec![LevelPlan::of(draft.clone(), length)]);
                    Ok(DecoderKind::Chain(ChainPlan { target: target.clone(), levels }))
                };
                let kinds: Vec<_> = PARTS.into_iter().map(kind).collect::<Result<_>>()?;
                // Another vocabulary is no mistake here: those models are of another chain.
                if models::check_shared(&kinds[0], self.models).is_ok() {
                    found.push(TwoLevels { verifier, drafter, kinds });
                }
            }
        }
        Ok(found)
    }
}

impl TwoLevels {
    /// What decodes text `text`.
    fn kind(&self, text: usize) -> &DecoderKind {
        &self.kinds[text % self.kinds.len()]
    }

    /// The verifier's times, without the passes of a model that drafts for a distribution it is
    /// part of.
    fn times(&self, candidates: &[Candidate]) -> Result<PassTimes> {
        let (verifier, drafter) = (&candidates[self.verifier], &candidates[self.drafter]);
        let Cost::Distribution { times, .. } = &verifier.cost else {
            return Err(no_distribution(verifier));
        };
        match &drafter.cost {
            Cost::Distribution { times: own, distribution, .. }
                if verifier.models.len() > 1 && verifier.models.contains(&drafter.name) =>
            {
                times_without(times, own, distribution)
            }
            _ => Ok(times.clone()),
        }
    }
}

/// What a draft takes by itself.
fn drafting(drafter: &Candidate) -> Result<Drafting<'_>> {
    match &drafter.cost {
        Cost::Distribution { times, token_overhead, .. } => {
            Ok(Drafting::Distribution { times, token: *token_overhead })
        }
        Cost::Lookup { draft_seconds, token_seconds, .. } => {
            Ok(Drafting::Lookup { draft: *draft_seconds, token: *token_seconds })
        }
        Cost::Tree { .. } => Err(no_distribution(drafter)),
    }
}

fn no_distribution(candidate: &Candidate) -> anyhow::Error {
    anyhow::anyhow!("`{}` has no distribution", candidate.name)
}

impl Shown {
    /// The rounds of one text, whose verifier and drafter take these times by themselves.
    fn add(
        &mut self,
        steps: &[StepTime],
        prompt: usize,
        times: &PassTimes,
        drafting: &Drafting<'_>,
    ) -> Result<()> {
        let (mut text, mut after_bonus) = (prompt, false);
        for step in steps {
            let round = step.round.context("a chain has rounds")?;
            // A draft that ended with an end token or with the room for tokens was as long as it
            // was asked for; one that the drafter ended of its own accord was not.
            let asked = round.drafted + usize::from(round.stopped);
            if asked > 0 {
                self.runs.record(asked, round.drafted, round.accepted)?;
            }
            if !step.reads_prompt {
                let context = text - 1;
                let verifying = times.seconds(round.drafted + 1, context);
                let drafting = drafting.seconds(round.drafted, context, after_bonus);
                self.rounds.add(round.drafted, step.seconds, verifying + drafting);
            }
            text += step.emitted;
            after_bonus = round.emitted > round.accepted && round.accepted == round.drafted;
        }
        Ok(())
    }
}
