//! What of an experiment can be measured: its models, its composed distributions, and lookups.

use std::num::NonZeroUsize;

use anyhow::{Context, Result, anyhow, bail};

use super::file::{About, Cost, Lookup, ModelIdentity, Profile};
use crate::config::{
    DecoderKind, DraftPlan, Experiment, LevelPlan, NamedDistribution, SamplingPlan, plain_decoding,
    same_distribution,
};
use crate::failure::WrongRequest;
use crate::machine::Machine;
use crate::models::Models;
use crate::output;
use crate::toml_table::nearest;
use kad_polybasic::Verifier;

/// Lookups where the experiment names none.
const LOOKUPS: [Lookup; 2] = [
    Lookup::NGram { longest: NonZeroUsize::new(3).unwrap(), shortest: NonZeroUsize::MIN },
    Lookup::SuffixAutomaton {
        longest: NonZeroUsize::new(32).unwrap(),
        shortest: NonZeroUsize::new(2).unwrap(),
    },
];

impl Lookup {
    /// As a level of a chain.
    pub(crate) fn draft(self) -> DraftPlan {
        match self {
            Lookup::NGram { longest, shortest } => DraftPlan::NGram { longest, shortest },
            Lookup::SuffixAutomaton { longest, shortest } => {
                DraftPlan::SuffixAutomaton { longest, shortest }
            }
        }
    }

    /// Of a level of a chain, if it is one.
    fn of(draft: &DraftPlan) -> Option<Self> {
        match *draft {
            DraftPlan::NGram { longest, shortest } => Some(Lookup::NGram { longest, shortest }),
            DraftPlan::SuffixAutomaton { longest, shortest } => {
                Some(Lookup::SuffixAutomaton { longest, shortest })
            }
            DraftPlan::Distribution(_) => None,
        }
    }
}

/// What is measured.
#[derive(Clone, Debug)]
pub(crate) struct ProfileTargets {
    /// Models and composed distributions, under the experiment's sampling settings.
    pub(crate) distributions: Vec<NamedDistribution>,
    pub(crate) lookups: Vec<Lookup>,
    /// Trees that chains of the experiment grow.
    pub(crate) trees: Vec<LevelPlan>,
    /// The distribution of the experiment's baseline, if it is among them.
    pub(crate) baseline: Option<String>,
}

impl ProfileTargets {
    /// Those of `experiment`, or those named in `only` (separated by commas): a model or a decoder
    /// each. Decoders with sampling settings of their own are left out with a note.
    ///
    /// # Errors
    /// If a name is neither a model nor a decoder that has a distribution.
    pub(crate) fn of(experiment: &Experiment, only: Option<&str>) -> Result<Self> {
        let mut distributions = distributions(experiment);
        if let Some(only) = only {
            let names = distributions
                .iter()
                .map(|distribution| distribution.name.as_str())
                .collect::<Vec<_>>();
            let wanted = listed(only, "model or composed decoder", &names)?;
            distributions.retain(|distribution| wanted.contains(&distribution.name));
        }
        let (trees, lookups) = (trees(experiment, &distributions), lookups(experiment));
        let baseline = experiment.decoders.iter().find(|plan| plan.name == experiment.baseline);
        let baseline = baseline.and_then(|plan| {
            let distribution = plain_decoding(plan.kind.distribution())?;
            Some(
                distributions
                    .iter()
                    .find(|other| *other.distribution == distribution)?
                    .name
                    .clone(),
            )
        });
        Ok(Self { distributions, lookups, trees, baseline })
    }

    /// The distribution of this name.
    ///
    /// # Errors
    /// If the experiment has none.
    pub(crate) fn part(&self, name: &str) -> Result<&NamedDistribution> {
        self.distributions.iter().find(|distribution| distribution.name == name).ok_or_else(|| {
            anyhow!(WrongRequest(format!(
                "`{name}` of the profile is no model or decoder of this experiment: make a profile \
                 of this one with `kad profile`"
            )))
        })
    }

    /// The levels below the target of a chain of these names.
    ///
    /// # Errors
    /// If the experiment lacks one of them.
    pub(crate) fn levels(
        &self,
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
    ) -> Result<Vec<LevelPlan>> {
        let drafters = members.iter().skip(1).zip(lengths);
        let level = |(name, &length): (&String, &usize)| {
            let draft = match profile.candidate(name).map(|found| &found.cost) {
                Some(Cost::Lookup { lookup, .. }) => lookup.draft(),
                Some(Cost::Tree { .. }) => return self.tree(name),
                _ => DraftPlan::Distribution(self.part(name)?.clone()),
            };
            let length = length.try_into().context("a level waits for a token at least")?;
            Ok(LevelPlan::of(draft, length))
        };
        drafters.map(level).collect()
    }

    /// The tree of this name.
    fn tree(&self, name: &str) -> Result<LevelPlan> {
        let found = self.trees.iter().find(|tree| super::trees::name(tree) == name).cloned();
        found.ok_or_else(|| {
            anyhow!(WrongRequest(format!(
                "no chain of this experiment grows the tree `{name}` of the profile: make a profile \
                 of this one with `kad profile`"
            )))
        })
    }

    /// The kinds of all distributions, for whoever loads their models.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &DecoderKind> {
        self.distributions.iter().map(|distribution| &*distribution.distribution)
    }
}

/// The names in `text`, separated by commas; names may have commas themselves (those of sweeps do).
///
/// # Errors
/// If there is something that is none of `known`, with the nearest that is.
pub(crate) fn listed(text: &str, what: &str, known: &[&str]) -> Result<Vec<String>> {
    let pieces: Vec<&str> = text.split(',').collect();
    let (mut names, mut from) = (Vec::new(), 0);
    while from < pieces.len() {
        // The longest name that begins here.
        let joined = |to: usize| pieces[from..to].join(",").trim().to_owned();
        let found = (from + 1..=pieces.len()).rev().find(|&to| known.contains(&&*joined(to)));
        let Some(to) = found else {
            let given = joined(from + 1);
            let help = match nearest(&given, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", known.join("; ")),
            };
            bail!(WrongRequest(format!("no {what} is called `{given}`; {help}")));
        };
        names.push(joined(to));
        from = to;
    }
    Ok(names)
}

/// Every model alone, and every composed distribution once.
fn distributions(experiment: &Experiment) -> Vec<NamedDistribution> {
    let sampling = &experiment.sampling;
    let model = |name: &String| NamedDistribution {
        name: name.clone(),
        distribution: Box::new(DecoderKind::Single { model: name.clone() }),
        sampling: sampling.clone(),
    };
    let mut distributions: Vec<NamedDistribution> = experiment.models.keys().map(model).collect();
    for plan in &experiment.decoders {
        let Some(distribution) = plain_decoding(&plan.kind)
            .filter(|distribution| !matches!(distribution, DecoderKind::Single { .. }))
        else {
            continue;
        };
        if !same_distribution(&plan.sampling, sampling) {
            output::note(&format!(
                "note: decoder `{}` has sampling settings of its own and is left out",
                plan.name
            ));
        } else if !distributions.iter().any(|other| *other.distribution == distribution) {
            let (name, sampling) = (plan.name.clone(), sampling.clone());
            distributions.push(NamedDistribution {
                name,
                distribution: Box::new(distribution),
                sampling,
            });
        }
    }
    distributions
}

/// Of each kind those that the experiment's chains use, or the usual ones.
fn lookups(experiment: &Experiment) -> Vec<Lookup> {
    let chains = experiment.decoders.iter().filter_map(|plan| match &plan.kind {
        DecoderKind::Chain(chain) => Some(chain),
        _ => None,
    });
    let used: Vec<Lookup> =
        chains.flat_map(|chain| chain.drafts()).filter_map(Lookup::of).collect();
    let same_kind = |a: &Lookup, b: &Lookup| std::mem::discriminant(a) == std::mem::discriminant(b);
    let chosen =
        LOOKUPS.iter().map(|usual| *used.iter().find(|u| same_kind(u, usual)).unwrap_or(usual));
    chosen.collect()
}

/// The trees at the bottom of the experiment's chains, each once: those of measured distributions
/// and of lookups, verified as usual.
fn trees(experiment: &Experiment, distributions: &[NamedDistribution]) -> Vec<LevelPlan> {
    let mut found: Vec<LevelPlan> = Vec::new();
    for plan in &experiment.decoders {
        let DecoderKind::Chain(chain) = &plan.kind else { continue };
        let Some(level) = chain.listed().last().filter(|level| level.tree.is_some()) else {
            continue;
        };
        let measured = level.draft.distribution().is_none_or(|part| distributions.contains(part));
        let level = LevelPlan { place: None, ..level.clone() };
        let usual = level.verifier == Verifier::Token && level.bonus;
        if measured && usual && !found.contains(&level) {
            found.push(level);
        }
    }
    found
}

/// What a tree is made of, in words that change when it does.
pub(crate) fn tree_definition(level: &LevelPlan) -> String {
    serde_json::to_string(level).unwrap_or_default()
}

/// What a composed distribution is made of, in words that change when it does.
pub(super) fn definition(distribution: &DecoderKind) -> String {
    serde_json::to_string(&plain_decoding(distribution)).unwrap_or_default()
}

impl Profile {
    /// The candidate that is this composed distribution.
    pub(crate) fn composed(&self, distribution: &DecoderKind) -> Option<&str> {
        let wanted = definition(distribution);
        let found = self.candidates.iter().find(|c| c.definition.as_ref() == Some(&wanted));
        found.map(|candidate| candidate.name.as_str())
    }
}

impl About {
    /// What another profile was made with, by this program and on this machine.
    pub(crate) fn here(other: &Self) -> Self {
        let kad = env!("CARGO_PKG_VERSION").to_owned();
        Self { kad, machine: Machine::here(), ..other.clone() }
    }

    /// What runs here and now.
    pub(crate) fn now(sampling: &SamplingPlan, models: &Models) -> Self {
        let identity = |model: &crate::models::Model| ModelIdentity {
            source: model.details.source.clone(),
            layers: model.details.layers,
            digest: model.digest.clone(),
            backend: model.details.backend.to_string(),
            dtype: model.details.dtype.to_string(),
            device: model.details.options.device.to_string(),
            threads: model.details.options.threads.map(usize::from),
            library: model.details.library.clone(),
        };
        Self {
            kad: env!("CARGO_PKG_VERSION").to_owned(),
            machine: Machine::here(),
            sampling: sampling.clone(),
            models: models.iter().map(|(name, model)| (name.clone(), identity(model))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn names_may_have_commas() {
        let known = ["a", "b", "kad, budget 0.1", "kad, budget 0.3", "large"];
        let found = listed("a, kad, budget 0.3,b,large", "model", &known).unwrap();
        assert_eq!(found, ["a", "kad, budget 0.3", "b", "large"]);
        let error = listed("a,larg", "model", &known).unwrap_err().to_string();
        assert!(error.contains("no model is called `larg`; did you mean `large`?"), "{error}");
        assert!(listed("", "model", &known).is_err());
    }
}
