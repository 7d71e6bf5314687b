//! Token trees: cost of their drafts, and depth to which verifiers accept them.

use anyhow::Result;
use kad_polybasic::theory::{PassTimes, RunLengths};

use super::file::{CandidateCost, CandidateProfile, PairProfile};
use super::pairs::two_levels;
use super::profiler::Profiler;
use super::round_overhead::RoundSamples;
use super::targets::tree_definition;
use crate::config::{DecoderKind, LevelPlan, NamedDistribution};
use crate::interrupt;
use crate::models;
use crate::speed::progress::MeasurementProgress;
use crate::speed::timed_decoding::StepTime;

/// A chain of a target and a token tree to be measured.
struct TreeChain<'c> {
    target: &'c NamedDistribution,
    /// The target's pass times, and its place among the models of the chain.
    times: &'c PassTimes,
    place: usize,
    level: &'c LevelPlan,
    kind: DecoderKind,
}

/// Rounds of one tree, below one target or several.
#[derive(Default)]
struct TreeSamples {
    runs: RunLengths,
    /// Seconds in passes of the drafter, by draft.
    drafts: Vec<f64>,
    /// Nodes, by draft.
    nodes: Vec<f64>,
    rounds: RoundSamples,
}

impl Profiler<'_> {
    /// Decodes with every tree of the experiment below every target that it is cheaper than.
    /// Returns the trees as candidates, and their pairs; None if the user interrupted.
    ///
    /// # Errors
    /// If a model fails.
    pub(super) fn trees(
        &self,
        candidates: &[CandidateProfile],
        context: usize,
    ) -> Result<Option<(Vec<CandidateProfile>, Vec<PairProfile>)>> {
        let chains = self.tree_chains(candidates, context);
        let texts = chains.len() * self.settings.prompts;
        let progress = MeasurementProgress::new("texts with trees", texts);
        let (mut pairs, mut trees): (_, Vec<(&LevelPlan, TreeSamples)>) = (Vec::new(), Vec::new());
        for chain in &chains {
            let mut samples = TreeSamples::default();
            let add = |prompt, steps: &[StepTime]| samples.add(steps, prompt, chain);
            let kinds = std::slice::from_ref(&chain.kind);
            if !self.decode_chain(chain.target, kinds, &progress, add)? {
                return Ok(None);
            }
            pairs.push(PairProfile {
                verifier: chain.target.name.clone(),
                drafter: tree_name(chain.level),
                runs: samples.runs.clone(),
                round_overhead: samples.rounds.overhead(),
            });
            match trees.iter_mut().find(|(level, _)| tree_name(level) == tree_name(chain.level)) {
                Some((_, all)) => all.join(samples),
                None => trees.push((chain.level, samples)),
            }
        }
        let trees = trees.into_iter().map(|(level, samples)| samples.candidate(level)).collect();
        Ok((!interrupt::requested()).then_some((trees, pairs)))
    }

    fn tree_chains<'c>(
        &'c self,
        candidates: &'c [CandidateProfile],
        context: usize,
    ) -> Vec<TreeChain<'c>> {
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
                    found.push(TreeChain { target, times, place, level, kind });
                }
            }
        }
        found
    }
}

/// The name of a tree as a candidate: trees of different depth differ.
pub(super) fn tree_name(level: &LevelPlan) -> String {
    format!("{}, depth {}", level.tree_name().unwrap_or_default(), level.length)
}

impl TreeSamples {
    /// Adds the rounds of one text after `prompt` tokens.
    fn add(&mut self, steps: &[StepTime], prompt: usize, chain: &TreeChain<'_>) -> Result<()> {
        let (mut text, depth) = (prompt, chain.level.length.get());
        for step in steps {
            let context = text - 1;
            text += step.emitted;
            // Close to the end of the text, trees are cut: neither depth nor size is the usual one.
            let Some(round) = step.round.filter(|round| round.depth >= depth || round.stopped)
            else {
                continue;
            };
            self.runs.record(depth, depth, round.accepted.min(depth))?;
            if !step.reads_prompt {
                let draft = step.passing() - step.by_model[chain.place];
                let verifying = chain.times.seconds(round.drafted + 1, context);
                self.drafts.push(draft);
                self.nodes.push(round.drafted as f64);
                self.rounds.add(0, step.seconds, draft + verifying);
            }
        }
        Ok(())
    }

    fn join(&mut self, other: Self) {
        self.runs.merge(&other.runs);
        self.drafts.extend(other.drafts);
        self.nodes.extend(other.nodes);
    }

    fn candidate(&self, level: &LevelPlan) -> CandidateProfile {
        let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        let models =
            level.draft.distribution().map_or(Vec::new(), |part| part.distribution.models());
        let cost = CandidateCost::Tree {
            toml: level.in_toml(),
            draft_seconds: mean(&self.drafts),
            nodes: mean(&self.nodes),
            depth: level.length.get(),
        };
        CandidateProfile {
            name: tree_name(level),
            models: models.into_iter().map(str::to_owned).collect(),
            definition: Some(tree_definition(level)),
            cost,
        }
    }
}
