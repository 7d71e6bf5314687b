//! The distributions, lookups and trees of an experiment that a profile measures.

use anyhow::{Context, Result, anyhow, bail};
use kad_polybasic::Verifier;

use super::file::{CandidateCost, Profile};
use crate::config::{
    ChainPlan, DecoderKind, DraftPlan, Experiment, LevelPlan, Lookup, NamedDistribution,
    plain_decoding, same_distribution,
};
use crate::failure::WrongRequest;
use crate::output;
use crate::toml_table::nearest;

/// Everything that a profile measures.
#[derive(Clone, Debug)]
pub(crate) struct ProfileTargets {
    /// Models and composed distributions, under the experiment's sampling settings.
    pub(crate) distributions: Vec<NamedDistribution>,
    pub(crate) lookups: Vec<Lookup>,
    pub(crate) trees: Vec<LevelPlan>,
    /// The name of the baseline's distribution, if it is among them.
    pub(crate) baseline: Option<String>,
}

impl ProfileTargets {
    /// The targets of `experiment`, or of the models and decoders in `only`, separated by commas.
    /// Decoders with sampling settings of their own are left out with a note.
    pub(crate) fn of(experiment: &Experiment, only: Option<&str>) -> Result<Self> {
        let mut distributions = distributions(experiment);
        if let Some(only) = only {
            let names: Vec<&str> = distributions.iter().map(|part| part.name.as_str()).collect();
            let wanted = listed(only, "model or composed decoder", &names)?;
            distributions.retain(|part| wanted.contains(&part.name));
        }
        let (trees, lookups) = (trees(experiment, &distributions), lookups(experiment));
        let baseline = experiment.decoders.iter().find(|plan| plan.name == experiment.baseline);
        let baseline = baseline.map(|plan| plain_decoding(&plan.kind));
        let baseline =
            baseline.and_then(|kind| distributions.iter().find(|part| *part.distribution == kind));
        let baseline = baseline.map(|part| part.name.clone());
        Ok(Self { distributions, lookups, trees, baseline })
    }

    pub(crate) fn part(&self, name: &str) -> Result<&NamedDistribution> {
        let found = self.distributions.iter().find(|part| part.name == name);
        found.ok_or_else(|| missing(&format!("`{name}` of the profile is no model or decoder")))
    }

    /// The levels below the target of a chain with these members.
    pub(crate) fn levels(
        &self,
        profile: &Profile,
        members: &[String],
        lengths: &[usize],
    ) -> Result<Vec<LevelPlan>> {
        let drafters = members.iter().skip(1).zip(lengths);
        let level = |(name, &length): (&String, &usize)| {
            let draft = match profile.candidate(name).map(|found| &found.cost) {
                Some(CandidateCost::Lookup { lookup, .. }) => DraftPlan::Lookup(*lookup),
                Some(CandidateCost::Tree { .. }) => return self.tree(name),
                _ => DraftPlan::Distribution(self.part(name)?.clone()),
            };
            let length = length.try_into().context("a level has a length of 1 or more")?;
            Ok(LevelPlan::of(draft, length))
        };
        drafters.map(level).collect()
    }

    fn tree(&self, name: &str) -> Result<LevelPlan> {
        let found = self.trees.iter().find(|tree| tree_name(tree) == name).cloned();
        found.ok_or_else(|| missing(&format!("`{name}` of the profile is no tree of a chain")))
    }

    /// The kinds of all distributions, for loading their models.
    pub(crate) fn kinds(&self) -> impl Iterator<Item = &DecoderKind> {
        self.distributions.iter().map(|part| &*part.distribution)
    }
}

fn missing(what: &str) -> anyhow::Error {
    anyhow!(WrongRequest(format!(
        "{what} of this experiment: make a profile of this one with `kad profile`"
    )))
}

/// The names in `text`, separated by commas. Names may contain commas themselves, as the names of
/// sweeps do. A name that is none of `known` is an error with the nearest one.
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
    let part = |name: &String, kind| NamedDistribution {
        name: name.clone(),
        distribution: Box::new(kind),
        sampling: sampling.clone(),
    };
    let single = |name: &String| part(name, DecoderKind::Single { model: name.clone() });
    let mut distributions: Vec<NamedDistribution> = experiment.models.keys().map(single).collect();
    for plan in &experiment.decoders {
        if matches!(plan.kind, DecoderKind::Single { .. } | DecoderKind::Chain(_)) {
            continue;
        }
        let composed = plain_decoding(&plan.kind);
        if !same_distribution(&plan.sampling, sampling) {
            output::note(&format!(
                "note: decoder `{}` has sampling settings of its own and is left out",
                plan.name
            ));
        } else if !distributions.iter().any(|other| *other.distribution == composed) {
            distributions.push(part(&plan.name, composed));
        }
    }
    distributions
}

fn chains(experiment: &Experiment) -> impl Iterator<Item = &ChainPlan> {
    experiment.decoders.iter().filter_map(|plan| match &plan.kind {
        DecoderKind::Chain(chain) => Some(chain),
        _ => None,
    })
}

/// A lookup of each kind: the first one of the experiment's chains, or the default.
fn lookups(experiment: &Experiment) -> Vec<Lookup> {
    let drafts = chains(experiment).flat_map(ChainPlan::drafts);
    let used: Vec<Lookup> = drafts.filter_map(DraftPlan::lookup).collect();
    let own = |default: &Lookup| used.iter().find(|used| used.name() == default.name()).copied();
    Lookup::DEFAULTS.iter().map(|default| own(default).unwrap_or(*default)).collect()
}

/// The trees at the bottom of the experiment's chains, each once: of measured distributions and of
/// lookups, with the default verification.
fn trees(experiment: &Experiment, distributions: &[NamedDistribution]) -> Vec<LevelPlan> {
    let mut found: Vec<LevelPlan> = Vec::new();
    for level in chains(experiment).filter_map(|chain| chain.listed().last()) {
        let measured = level.draft.distribution().is_none_or(|part| distributions.contains(part));
        let default = level.verifier == Verifier::Token && level.bonus;
        let level = LevelPlan { place: None, ..level.clone() };
        if level.tree.is_some() && measured && default && !found.contains(&level) {
            found.push(level);
        }
    }
    found
}

/// The name of a tree as a candidate: trees of different depth differ.
pub(super) fn tree_name(level: &LevelPlan) -> String {
    format!("{}, depth {}", level.tree_name().unwrap_or_default(), level.length)
}

/// The parts of a tree as a text that changes when they do.
pub(super) fn tree_definition(level: &LevelPlan) -> String {
    serde_json::to_string(level).unwrap_or_default()
}

/// The parts of a composed distribution as a text that changes when they do.
pub(super) fn definition(distribution: &DecoderKind) -> String {
    serde_json::to_string(&plain_decoding(distribution)).unwrap_or_default()
}

impl Profile {
    /// The name of the candidate that is this composed distribution.
    pub(crate) fn composed(&self, distribution: &DecoderKind) -> Option<&str> {
        self.defined(&definition(distribution))
    }

    /// The name of the candidate that is this tree.
    pub(crate) fn tree(&self, level: &LevelPlan) -> Option<&str> {
        self.defined(&tree_definition(&LevelPlan { place: None, ..level.clone() }))
    }

    fn defined(&self, definition: &str) -> Option<&str> {
        let same = |candidate: &&super::CandidateProfile| {
            candidate.definition.as_deref() == Some(definition)
        };
        self.candidates.iter().find(same).map(|candidate| candidate.name.as_str())
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
