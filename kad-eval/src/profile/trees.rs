//! What trees of drafts cost, and how deep they are accepted.

use anyhow::Result;
use kad_polybasic::theory::RunLengths;

use super::format::{Candidate, Cost, Pair};
use super::measure::{Measurement, interrupted};
use super::progress::Progress;
use super::steps::StepTime;
use super::subjects::tree_definition;
use crate::config::{ChainPlan, DecoderKind, DraftPlan, LevelPlan, Levels};
use crate::models::{self, Rules};

/// A tree below a target, by the index of the target among the laws.
struct Grown<'e> {
    verifier: usize,
    level: &'e LevelPlan,
    kind: DecoderKind,
}

/// What rounds of one tree showed.
#[derive(Default)]
struct Rounds {
    runs: RunLengths,
    /// Seconds of a draft.
    drafts: Vec<f64>,
    nodes: Vec<f64>,
}

impl Measurement<'_> {
    /// Every tree of the experiment below every law that it is cheaper than, really decoding: the
    /// trees as candidates, and how far each law follows them. None if the user interrupted.
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
        let mut costs: Vec<(String, Rounds)> = Vec::new();
        for tree in &grown {
            let rules = Rules::of(&tree.kind)?;
            let law = &self.subjects.laws[tree.verifier];
            let mut rounds = Rounds::default();
            for (seed, prompt) in
                self.prompts.of(&tree.kind, self.models)?.iter().take(self.effort.prompts)
            {
                let Some(steps) = self.text(&tree.kind, law, &rules, prompt, *seed)? else {
                    return Ok(None);
                };
                let place = tree.kind.models().iter().position(|name| *name == law.name);
                for step in &steps {
                    rounds.add(step, place, &candidates[tree.verifier], tree.level)?;
                }
                progress.one();
            }
            let name = name(tree.level);
            let verifier = law.name.clone();
            pairs.push(Pair { verifier, drafter: name.clone(), runs: rounds.runs.clone() });
            match costs.iter_mut().find(|(other, _)| *other == name) {
                Some((_, all)) => all.join(rounds),
                None => costs.push((name, rounds)),
            }
        }
        for (name, rounds) in costs {
            let Some(tree) = grown.iter().find(|tree| self::name(tree.level) == name) else {
                continue;
            };
            trees.push(rounds.candidate(name, tree.level));
        }
        Ok(if interrupted() { None } else { Some((trees, pairs)) })
    }

    fn grown(&self, candidates: &[Candidate], context: usize) -> Vec<Grown<'_>> {
        let seconds = |name: &str| {
            let found = candidates.iter().find(|candidate| candidate.name == name)?;
            match &found.cost {
                Cost::Law { times, .. } => Some(times.seconds(1, context)),
                Cost::Lookup { .. } | Cost::Tree { .. } => Some(0.0),
            }
        };
        let mut found = Vec::new();
        for level in &self.subjects.trees {
            for (verifier, target) in self.subjects.laws.iter().enumerate() {
                let drafter = match &level.draft {
                    DraftPlan::Law(part) => seconds(&part.name),
                    _ => Some(0.0),
                };
                let cheaper = drafter.zip(seconds(&target.name)).is_some_and(|(a, b)| a < b);
                // Passes of a composed law's own models cannot be told from those of the tree.
                let single = target.law.models().len() == 1;
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

impl Rounds {
    /// Counts the round of a step whose target has index `place` among the chain's models. What is not
    /// the target's pass, its laws and its round is the draft.
    fn add(
        &mut self,
        step: &StepTime,
        place: Option<usize>,
        verifier: &Candidate,
        level: &LevelPlan,
    ) -> Result<()> {
        let (Some(round), Some(place)) = (step.round, place) else { return Ok(()) };
        let depth = level.length.get();
        // Where the text ends soon, trees are cut: neither their depth nor their size is the usual one.
        if round.depth < depth && !round.stopped {
            return Ok(());
        }
        self.runs.record(depth, depth, round.accepted.min(depth))?;
        let Cost::Law { law, round_overhead, .. } = &verifier.cost else { return Ok(()) };
        if !step.reads_prompt {
            // The prediction charges a pass with the laws after all of its tokens.
            let width = round.drafted + 1;
            let laws = width as f64 * law.seconds;
            self.drafts
                .push((step.seconds - step.by_model[place] - laws - round_overhead).max(0.0));
            self.nodes.push(round.drafted as f64);
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
        let models = level.draft.part().map_or(Vec::new(), |part| part.law.models());
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
