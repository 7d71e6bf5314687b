//! What trees of drafts cost, and how deep they are accepted.

use anyhow::Result;
use kad_polybasic::theory::RunLengths;

use super::file::{Candidate, Cost, Pair};
use super::measure::{Measurement, interrupted};
use super::round_overhead::Rounds;
use super::targets::tree_definition;
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels};
use crate::models::{self, Rules};
use crate::speed::progress::Progress;
use crate::speed::timed_decoding::StepTime;

/// A tree below a target, by the index of the target among the distributions.
struct Grown<'e> {
    verifier: usize,
    level: &'e LevelPlan,
    kind: DecoderKind,
}

/// What one tree showed, below one distribution or several.
#[derive(Default)]
struct Shown {
    runs: RunLengths,
    /// Seconds in passes of the drafter, by draft.
    drafts: Vec<f64>,
    nodes: Vec<f64>,
    /// What was left of each round when the drafts of this tree and the verifier's pass over it are
    /// taken off.
    rounds: Rounds,
}

impl Measurement<'_> {
    /// Every tree of the experiment below every distribution that it is cheaper than, really
    /// decoding: the trees as candidates, and how far each distribution follows them. None if the
    /// user interrupted.
    ///
    /// # Errors
    /// If a model fails.
    pub(super) fn trees(
        &self,
        candidates: &[Candidate],
        context: usize,
    ) -> Result<Option<(Vec<Candidate>, Vec<Pair>)>> {
        let grown = self.grown(candidates, context);
        let progress = Progress::new("texts with trees", grown.len() * self.effort.prompts);
        let (mut trees, mut pairs): (Vec<Candidate>, Vec<Pair>) = (Vec::new(), Vec::new());
        let mut costs: Vec<(String, Shown)> = Vec::new();
        for tree in &grown {
            let rules = Rules::of(&tree.kind)?;
            let distribution = &self.targets.distributions[tree.verifier];
            let mut shown = Shown::default();
            for (seed, prompt) in
                self.prompts.of(&tree.kind, self.models)?.iter().take(self.effort.prompts)
            {
                let Some(steps) = self.text(&tree.kind, distribution, &rules, prompt, *seed)?
                else {
                    return Ok(None);
                };
                let place = tree.kind.models().iter().position(|name| *name == distribution.name);
                shown.add(&steps, prompt.len(), place, &candidates[tree.verifier], tree.level)?;
                progress.one();
            }
            let name = name(tree.level);
            let verifier = distribution.name.clone();
            pairs.push(Pair {
                verifier,
                drafter: name.clone(),
                runs: shown.runs.clone(),
                beside: shown.rounds.beside(),
            });
            match costs.iter_mut().find(|(other, _)| *other == name) {
                Some((_, all)) => all.join(shown),
                None => costs.push((name, shown)),
            }
        }
        for (name, shown) in costs {
            let Some(tree) = grown.iter().find(|tree| self::name(tree.level) == name) else {
                continue;
            };
            trees.push(shown.candidate(name, tree.level));
        }
        Ok(if interrupted() { None } else { Some((trees, pairs)) })
    }

    fn grown(&self, candidates: &[Candidate], context: usize) -> Vec<Grown<'_>> {
        let seconds = |name: &str| {
            let found = candidates.iter().find(|candidate| candidate.name == name)?;
            match &found.cost {
                Cost::Distribution { times, .. } => Some(times.seconds(1, context)),
                Cost::Lookup { .. } | Cost::Tree { .. } => Some(0.0),
            }
        };
        let mut found = Vec::new();
        for level in &self.targets.trees {
            for (verifier, target) in self.targets.distributions.iter().enumerate() {
                let drafter = match &level.draft {
                    DraftPlan::Distribution(part) => seconds(&part.name),
                    _ => Some(0.0),
                };
                let cheaper = drafter.zip(seconds(&target.name)).is_some_and(|(a, b)| a < b);
                // Passes of a composed distribution's own models cannot be told from those of the
                // tree.
                let single = target.distribution.models().len() == 1;
                let levels = Levels::Listed(vec![level.clone()]);
                let kind = DecoderKind::Chain(ChainPlan { target: target.clone(), levels });
                if cheaper && single && models::check_shared(&kind, self.models).is_ok() {
                    found.push(Grown { verifier, level, kind });
                }
            }
        }
        found
    }
}

/// As candidates are called: trees that differ in their depth differ.
pub(super) fn name(level: &LevelPlan) -> String {
    format!("{}, depth {}", level.tree_name().unwrap_or_default(), level.length)
}

impl Shown {
    /// The rounds of one text, whose verifier has index `place` among the models of its decoder.
    fn add(
        &mut self,
        steps: &[StepTime],
        prompt: usize,
        place: Option<usize>,
        verifier: &Candidate,
        level: &LevelPlan,
    ) -> Result<()> {
        let (Some(place), Cost::Distribution { times, .. }) = (place, &verifier.cost) else {
            return Ok(());
        };
        let (mut text, depth) = (prompt, level.length.get());
        for step in steps {
            let context = text - 1;
            text += step.emitted;
            // Where the text ends soon, trees are cut: neither their depth nor their size is the
            // usual one.
            let Some(round) = step.round.filter(|round| round.depth >= depth || round.stopped)
            else {
                continue;
            };
            self.runs.record(depth, depth, round.accepted.min(depth))?;
            if !step.reads_prompt {
                let draft = step.passing() - step.by_model[place];
                let verifying = times.seconds(round.drafted + 1, context);
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

    fn candidate(&self, name: String, level: &LevelPlan) -> Candidate {
        let mean = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len().max(1) as f64;
        let models =
            level.draft.distribution().map_or(Vec::new(), |part| part.distribution.models());
        let cost = Cost::Tree {
            toml: level.in_toml(),
            draft_seconds: mean(&self.drafts),
            nodes: mean(&self.nodes),
            depth: level.length.get(),
        };
        let models = models.into_iter().map(str::to_owned).collect();
        Candidate { name, models, definition: Some(tree_definition(level)), cost }
    }
}
