//! The plan of a speculative chain: a target and its levels.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use kad_polybasic::{Surplus, Verifier, theory};
use serde::{Deserialize, Serialize, Serializer};

use super::experiment::{DecoderKind, Execution, SamplingPlan};
use crate::toml_table::Place;

/// A target and the levels below it. The first level drafts for the target, each further one for the
/// level before it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ChainPlan {
    pub(crate) target: NamedDistribution,
    #[serde(flatten)]
    pub(crate) levels: Levels,
}

/// A distribution with its name in the file: of one model, or composed of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct NamedDistribution {
    pub(crate) name: String,
    pub(crate) distribution: Box<DecoderKind>,
    pub(crate) sampling: SamplingPlan,
}

/// The levels of a chain. In `plan.json` they are a list, with `adapting: true` beside it if
/// lengths adapt, or the profile and the candidates to plan from. Measurements stay in the profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Levels {
    Listed {
        levels: Vec<LevelPlan>,
        /// The profile's measurements of a planned chain, whose lengths start as listed and adapt to
        /// the acceptance measured while decoding.
        #[serde(rename = "adapting", serialize_with = "yes")]
        #[serde(skip_serializing_if = "Option::is_none")]
        measured: Option<Box<theory::Chain>>,
    },
    /// The fastest chain by a profile of this machine; listed once the models are loaded.
    Planned { levels: PlannedLevels },
}

/// Levels that a profile will list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PlannedLevels {
    pub(crate) profile: PathBuf,
    /// The drafters to choose from.
    pub(crate) candidates: Vec<DraftPlan>,
    /// The place of the profile's name, for an error if it is not there.
    #[serde(skip)]
    pub(crate) place: Place,
}

impl Levels {
    /// Levels of fixed lengths.
    pub(crate) fn listed(levels: Vec<LevelPlan>) -> Self {
        Levels::Listed { levels, measured: None }
    }
}

fn yes<T, S: Serializer>(_: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bool(true)
}

/// One level: a drafter, and the verification by the level above.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LevelPlan {
    pub(crate) draft: DraftPlan,
    /// Draft length of the last level, in tokens; of a level above it, the tokens collected before
    /// verification; of a tree, its depth.
    pub(crate) length: NonZeroUsize,
    /// Does the level above add a bonus token to a fully accepted draft?
    pub(crate) bonus: bool,
    #[serde(serialize_with = "verifier")]
    pub(crate) verifier: Verifier,
    /// The treatment of verified tokens beyond `length`; for levels that verify.
    #[serde(serialize_with = "surplus")]
    pub(crate) surplus: Surplus,
    /// Drafting stops before a token of lower draft probability; for the last level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_below: Option<f64>,
    /// The tree of drafts; for the last level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<TreePlan>,
    /// Its place in the file, for mistakes that show only once the models are loaded.
    #[serde(skip)]
    pub(crate) place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DraftPlan {
    Distribution(NamedDistribution),
    /// A lookup in the text so far.
    #[serde(untagged)]
    Lookup(Lookup),
}

/// Drafts the tokens that followed an earlier occurrence of the last ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lookup {
    pub(crate) kind: LookupKind,
    /// The most tokens that are matched.
    pub(crate) longest: NonZeroUsize,
    /// The fewest tokens that are matched.
    pub(crate) shortest: NonZeroUsize,
}

/// The index of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LookupKind {
    /// The n-grams of a few lengths.
    NGram,
    /// A suffix automaton, for the longest suffix that has an earlier occurrence.
    SuffixAutomaton,
}

/// The shape of a tree of drafts; its depth is the level's length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TreePlan {
    /// Top-k siblings: of the `top_k` likeliest continuations of the `top_k` best nodes per depth,
    /// the `nodes` with the highest probability.
    TopK { top_k: NonZeroUsize, nodes: NonZeroUsize },
    /// Sampled siblings: `width` independent draws after every node, depth by depth, up to `nodes`.
    Sampled { width: NonZeroUsize, nodes: NonZeroUsize },
    /// The continuations of several earlier occurrences.
    Lookup { nodes: NonZeroUsize },
}

impl NamedDistribution {
    pub(crate) fn new(name: &str, distribution: DecoderKind, sampling: &SamplingPlan) -> Self {
        let (name, sampling) = (name.to_owned(), sampling.clone());
        Self { name, distribution: Box::new(distribution), sampling }
    }
}

impl TreePlan {
    pub(crate) fn nodes(self) -> NonZeroUsize {
        match self {
            TreePlan::TopK { nodes, .. }
            | TreePlan::Sampled { nodes, .. }
            | TreePlan::Lookup { nodes } => nodes,
        }
    }

    /// `tree of 16, top 4`; `drawn` stands after the number of sampled siblings.
    fn in_words(self, drawn: &str) -> String {
        match self {
            TreePlan::TopK { top_k, nodes } => format!("tree of {nodes}, top {top_k}"),
            TreePlan::Sampled { width, nodes } => format!("tree of {nodes}, {width} {drawn}"),
            TreePlan::Lookup { nodes } => format!("tree of {nodes}"),
        }
    }
}

impl ChainPlan {
    /// The levels, the uppermost first; none until a plan has listed them.
    pub(crate) fn listed(&self) -> &[LevelPlan] {
        match &self.levels {
            Levels::Listed { levels, .. } => levels,
            Levels::Planned { .. } => &[],
        }
    }

    /// The drafters, or the candidates of a plan.
    pub(crate) fn drafts(&self) -> Vec<&DraftPlan> {
        match &self.levels {
            Levels::Planned { levels } => levels.candidates.iter().collect(),
            Levels::Listed { levels, .. } => levels.iter().map(|level| &level.draft).collect(),
        }
    }

    /// The distributions of the chain, the target first; lookups have none.
    pub(crate) fn distributions(&self) -> Vec<&NamedDistribution> {
        let drafts = self.drafts().into_iter().filter_map(DraftPlan::distribution);
        std::iter::once(&self.target).chain(drafts).collect()
    }

    /// The models it runs, each once; the target's come last, because they speak for the chain.
    pub(crate) fn models(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for name in
            self.distributions().into_iter().rev().flat_map(|part| part.distribution.models())
        {
            names.retain(|other| *other != name);
            names.push(name);
        }
        names
    }

    /// The leniency of its verification, if it is not 0.
    pub(crate) fn leniency(&self) -> Option<f64> {
        self.listed().iter().find_map(|level| match level.verifier {
            Verifier::Lenient { leniency } if leniency > 0.0 => Some(leniency),
            _ => None,
        })
    }

    /// The name of a level: 1 is the target. Empty if there is no such level.
    pub(crate) fn level_name(&self, level: usize) -> String {
        match level.checked_sub(2) {
            None => self.target.name.clone(),
            Some(below) => self.listed().get(below).map_or(String::new(), |l| l.draft.name()),
        }
    }

    /// `3 levels: 6 by middle, 3 by small`.
    pub(crate) fn in_words(&self) -> String {
        let levels = self.listed();
        if matches!(self.levels, Levels::Planned { .. }) {
            return "levels by plan".to_owned();
        }
        if levels.is_empty() {
            return "plain decoding (no chain is faster)".to_owned();
        }
        let words: Vec<String> = levels.iter().map(LevelPlan::in_words).collect();
        format!("{} levels: {}", levels.len() + 1, words.join(", "))
    }
}

impl DraftPlan {
    /// Its distribution; lookups have none.
    pub(crate) fn distribution(&self) -> Option<&NamedDistribution> {
        match self {
            DraftPlan::Distribution(part) => Some(part),
            DraftPlan::Lookup(_) => None,
        }
    }

    /// Its lookup; distributions have none.
    pub(crate) fn lookup(&self) -> Option<Lookup> {
        match self {
            DraftPlan::Distribution(_) => None,
            DraftPlan::Lookup(lookup) => Some(*lookup),
        }
    }

    /// The value of `draft` in an experiment file.
    pub(crate) fn in_toml(&self) -> String {
        match self {
            DraftPlan::Distribution(part) => toml_string(&part.name),
            DraftPlan::Lookup(lookup) => lookup.in_toml(),
        }
    }

    /// Its name in files and tables.
    pub(crate) fn name(&self) -> String {
        match self {
            DraftPlan::Distribution(part) => part.name.clone(),
            DraftPlan::Lookup(lookup) => lookup.name().to_owned(),
        }
    }
}

impl Lookup {
    /// A lookup of each kind with its default lengths.
    pub(crate) const DEFAULTS: [Self; 2] =
        [Self::of(LookupKind::NGram, 3, 1), Self::of(LookupKind::SuffixAutomaton, 32, 2)];

    const fn of(kind: LookupKind, longest: usize, shortest: usize) -> Self {
        const DEFAULTS: &str = "default lengths are 1 or more";
        let longest = NonZeroUsize::new(longest).expect(DEFAULTS);
        Self { kind, longest, shortest: NonZeroUsize::new(shortest).expect(DEFAULTS) }
    }

    /// The name of its kind in files and tables.
    pub(crate) fn name(self) -> &'static str {
        match self.kind {
            LookupKind::NGram => "n-gram",
            LookupKind::SuffixAutomaton => "suffix-automaton",
        }
    }

    /// The value of `draft` in an experiment file.
    pub(crate) fn in_toml(self) -> String {
        let Self { longest, shortest, .. } = self;
        format!("{{ kind = \"{}\", longest = {longest}, shortest = {shortest} }}", self.name())
    }
}

/// `text` as a string of TOML.
pub(crate) fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl LevelPlan {
    /// Drafts of `length` tokens, with the defaults for everything else.
    pub(crate) fn of(draft: DraftPlan, length: NonZeroUsize) -> Self {
        Self {
            draft,
            length,
            bonus: true,
            verifier: Verifier::Token,
            surplus: Surplus::Flush,
            stop_below: None,
            tree: None,
            place: None,
        }
    }

    /// A level as experiment files write it, for levels with the default verification.
    pub(crate) fn in_toml(&self) -> String {
        let draft = self.draft.in_toml();
        let depth = self.length;
        let shape = match self.tree {
            None => format!("length = {depth}"),
            Some(TreePlan::TopK { top_k, nodes }) => {
                format!("tree = {{ top_k = {top_k}, depth = {depth}, nodes = {nodes} }}")
            }
            Some(TreePlan::Sampled { width, nodes }) => format!(
                "tree = {{ width = {width}, depth = {depth}, nodes = {nodes}, siblings = \"sampled\" }}"
            ),
            Some(TreePlan::Lookup { nodes }) => {
                format!("tree = {{ depth = {depth}, nodes = {nodes} }}")
            }
        };
        format!("{{ draft = {draft}, {shape} }}")
    }

    /// The name of its tree in profiles, without the depth; `None` if it drafts no tree.
    pub(crate) fn tree_name(&self) -> Option<String> {
        let name = self.draft.name();
        self.tree.map(|tree| format!("{name}, {}", tree.in_words("drawn")))
    }

    /// The drafts, and everything that is not the default.
    fn in_words(&self) -> String {
        let mut words = vec![format!("{} by {}", self.length, self.draft.name())];
        words.extend(self.tree.map(|tree| format!("in a {}", tree.in_words("siblings drawn"))));
        words.extend(self.stop_below.map(|least| format!("while ≥ {least}")));
        words.extend((!self.bonus).then(|| "without bonus".to_owned()));
        words.extend((self.surplus == Surplus::Keep).then(|| "surplus kept".to_owned()));
        let token = self.verifier == Verifier::Token;
        words.extend((!token).then(|| format!("{} verified", verifier_name(self.verifier))));
        words.join(" ")
    }
}

/// The distribution of `kind`, of a chain the target's, without drafts, decoded in the fewest forward
/// passes.
pub(crate) fn plain_decoding(kind: &DecoderKind) -> DecoderKind {
    let kind = kind.distribution();
    match kind {
        DecoderKind::ImplicitReward { .. } => kind.executed(Execution::Autoregressive),
        _ => kind.executed(Execution::Lazy),
    }
}

/// Do tokens have the same distribution under both? The length of texts may differ.
pub(crate) fn same_distribution(one: &SamplingPlan, other: &SamplingPlan) -> bool {
    *one == SamplingPlan { max_new_tokens: one.max_new_tokens, ..other.clone() }
}

pub(crate) fn verifier_name(verifier: Verifier) -> &'static str {
    match verifier {
        Verifier::Token => "token",
        Verifier::Block => "block",
        Verifier::SameUniform => "same-uniform",
        Verifier::Lenient { .. } => "lenient",
    }
}

fn verifier<S: Serializer>(value: &Verifier, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Verifier::Lenient { leniency } => to.serialize_str(&format!("lenient {leniency}")),
        other => to.serialize_str(verifier_name(*other)),
    }
}

fn surplus<S: Serializer>(value: &Surplus, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match value {
        Surplus::Flush => "flush",
        Surplus::Keep => "keep",
    })
}
