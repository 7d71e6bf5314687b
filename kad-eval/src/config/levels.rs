//! What a chain of levels is made of.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use kad_polybasic::{Surplus, Verifier, theory};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::experiment::{DecoderKind, Execution, SamplingPlan};
use super::table::Place;

/// A target and the levels that draft for it: the first for the target, each next one for the one
/// before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChainPlan {
    pub(crate) target: Part,
    pub(crate) levels: Levels,
}

/// A distribution with the name that the file gives it: a model, or a composed distribution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) distribution: Box<DecoderKind>,
    pub(crate) sampling: SamplingPlan,
}

/// The levels below the target.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Levels {
    Listed(Vec<LevelPlan>),
    /// Listed by a plan: lengths start as listed and adapt to what is accepted.
    Adapting {
        levels: Vec<LevelPlan>,
        /// What the profile says about this chain.
        measured: Box<theory::Chain>,
    },
    /// The best chain by a profile of this machine; listed once the models are loaded.
    Planned {
        profile: PathBuf,
        /// What may draft.
        candidates: Vec<DraftPlan>,
        /// Where the file is named, if it is not there once it is needed.
        place: Place,
    },
}

/// `levels` is a list, with `adapting: true` beside it where lengths adapt, or what is to be
/// planned from. The measurement that adaptation starts from stays in the profile.
impl Serialize for ChainPlan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Planned<'p> {
            profile: &'p PathBuf,
            candidates: &'p [DraftPlan],
        }
        let adapting = matches!(self.levels, Levels::Adapting { .. });
        let mut plan = to.serialize_struct("ChainPlan", 2 + usize::from(adapting))?;
        plan.serialize_field("target", &self.target)?;
        match &self.levels {
            Levels::Listed(levels) | Levels::Adapting { levels, .. } => {
                plan.serialize_field("levels", levels)?;
            }
            Levels::Planned { profile, candidates, .. } => {
                plan.serialize_field("levels", &Planned { profile, candidates })?;
            }
        }
        if adapting {
            plan.serialize_field("adapting", &true)?;
        }
        plan.end()
    }
}

/// One level: what drafts, and how the level above takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct LevelPlan {
    pub(crate) draft: DraftPlan,
    /// Tokens wanted before the level above verifies them; the depth of a tree.
    pub(crate) length: NonZeroUsize,
    /// Whether the level above adds a token of its own to a draft that is accepted whole.
    pub(crate) bonus: bool,
    /// How the level above verifies.
    #[serde(serialize_with = "verifier")]
    pub(crate) verifier: Verifier,
    /// What becomes of tokens beyond `length`; for levels that verify themselves.
    #[serde(serialize_with = "surplus")]
    pub(crate) surplus: Surplus,
    /// Drafting stops before a token of which the draft distribution is less sure; the lowest
    /// level's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_below: Option<f64>,
    /// Drafts as a tree; the lowest level's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<TreePlan>,
    /// Where it is written, for mistakes that show only once the models are loaded.
    #[serde(skip)]
    pub(crate) place: Option<Place>,
}

/// What drafts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum DraftPlan {
    /// A model or a composed distribution.
    Distribution(Part),
    /// What followed the last few tokens when they occurred before.
    NGram { longest: NonZeroUsize, shortest: NonZeroUsize },
    /// What followed the longest suffix that occurred before.
    SuffixAutomaton { longest: NonZeroUsize, shortest: NonZeroUsize },
}

/// The shape of a tree of drafts; its depth is the level's length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TreePlan {
    /// The `nodes` most confident of those that `top_k` of each level and their `top_k` likeliest
    /// continuations make.
    TopK { top_k: NonZeroUsize, nodes: NonZeroUsize },
    /// `width` independent draws after every node, level by level, until `nodes` are there.
    Sampled { width: NonZeroUsize, nodes: NonZeroUsize },
    /// What followed several earlier occurrences.
    Lookup { nodes: NonZeroUsize },
}

impl TreePlan {
    /// The most nodes.
    pub(crate) fn nodes(self) -> NonZeroUsize {
        match self {
            TreePlan::TopK { nodes, .. }
            | TreePlan::Sampled { nodes, .. }
            | TreePlan::Lookup { nodes } => nodes,
        }
    }
}

impl ChainPlan {
    /// The levels, the uppermost first; none until a plan has listed them.
    pub(crate) fn listed(&self) -> &[LevelPlan] {
        match &self.levels {
            Levels::Listed(levels) | Levels::Adapting { levels, .. } => levels,
            Levels::Planned { .. } => &[],
        }
    }

    /// What drafts, or may.
    pub(crate) fn drafts(&self) -> Vec<&DraftPlan> {
        match &self.levels {
            Levels::Listed(levels) | Levels::Adapting { levels, .. } => {
                levels.iter().map(|level| &level.draft).collect()
            }
            Levels::Planned { candidates, .. } => candidates.iter().collect(),
        }
    }

    /// The composed or single distributions of the chain, the target first.
    pub(crate) fn parts(&self) -> Vec<&Part> {
        let drafts = self.drafts().into_iter().filter_map(DraftPlan::part);
        std::iter::once(&self.target).chain(drafts).collect()
    }

    /// The models it runs, each once. Those of the target come last: they speak for it.
    pub(crate) fn models(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for name in self.parts().into_iter().rev().flat_map(|part| part.distribution.models()) {
            names.retain(|other| *other != name);
            names.push(name);
        }
        names
    }

    /// How much more often than exact a token is accepted, if that is not 0.
    pub(crate) fn leniency(&self) -> Option<f64> {
        self.listed().iter().find_map(|level| match level.verifier {
            Verifier::Lenient { leniency } if leniency > 0.0 => Some(leniency),
            _ => None,
        })
    }

    /// The name of a level's distribution: 1 is the target, the last one drafts only.
    pub(crate) fn level_name(&self, level: usize) -> String {
        match level.checked_sub(2) {
            None => self.target.name.clone(),
            Some(below) => self.listed().get(below).map_or(String::new(), |l| l.draft.name()),
        }
    }

    /// `3 levels: 6 by middle, 3 by small`.
    pub(crate) fn in_words(&self) -> String {
        let levels = match &self.levels {
            Levels::Planned { .. } => return "levels by plan".to_owned(),
            Levels::Listed(levels) | Levels::Adapting { levels, .. } => levels,
        };
        if levels.is_empty() {
            return "plain decoding (no chain is faster)".to_owned();
        }
        let words: Vec<String> = levels.iter().map(LevelPlan::in_words).collect();
        format!("{} levels: {}", levels.len() + 1, words.join(", "))
    }
}

impl DraftPlan {
    /// Its distribution, if it is one of models.
    pub(crate) fn part(&self) -> Option<&Part> {
        match self {
            DraftPlan::Distribution(part) => Some(part),
            DraftPlan::NGram { .. } | DraftPlan::SuffixAutomaton { .. } => None,
        }
    }

    /// As a level of an experiment file drafts with it.
    pub(crate) fn in_toml(&self) -> String {
        match self {
            DraftPlan::Distribution(part) => {
                serde_json::Value::from(part.name.as_str()).to_string()
            }
            DraftPlan::NGram { longest, shortest } => {
                format!("{{ kind = \"n-gram\", longest = {longest}, shortest = {shortest} }}")
            }
            DraftPlan::SuffixAutomaton { longest, shortest } => format!(
                "{{ kind = \"suffix-automaton\", longest = {longest}, shortest = {shortest} }}"
            ),
        }
    }

    /// As files and tables call it.
    pub(crate) fn name(&self) -> String {
        match self {
            DraftPlan::Distribution(part) => part.name.clone(),
            DraftPlan::NGram { .. } => "n-gram".to_owned(),
            DraftPlan::SuffixAutomaton { .. } => "suffix-automaton".to_owned(),
        }
    }
}

impl LevelPlan {
    /// `length` tokens of `draft`, with all else by default.
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

    /// What is drafted, and what departs from the defaults.
    /// As an experiment file has it; for levels verified as usual.
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

    /// What a profile calls its tree, whose depth is said beside it; None if it drafts no tree.
    pub(crate) fn tree_name(&self) -> Option<String> {
        let name = self.draft.name();
        self.tree.map(|tree| match tree {
            TreePlan::TopK { top_k, nodes } => format!("{name}, tree of {nodes}, top {top_k}"),
            TreePlan::Sampled { width, nodes } => format!("{name}, tree of {nodes}, {width} drawn"),
            TreePlan::Lookup { nodes } => format!("{name}, tree of {nodes}"),
        })
    }

    fn in_words(&self) -> String {
        let mut words = vec![format!("{} by {}", self.length, self.draft.name())];
        words.extend(self.tree.map(|tree| match tree {
            TreePlan::TopK { top_k, nodes } => format!("in a tree of {nodes}, top {top_k}"),
            TreePlan::Sampled { width, nodes } => {
                format!("in a tree of {nodes}, {width} siblings drawn")
            }
            TreePlan::Lookup { nodes } => format!("in a tree of {nodes}"),
        }));
        words.extend(self.stop_below.map(|least| format!("while ≥ {least}")));
        words.extend((!self.bonus).then(|| "without bonus".to_owned()));
        words.extend((self.surplus == Surplus::Keep).then(|| "surplus kept".to_owned()));
        let token = self.verifier == Verifier::Token;
        words.extend((!token).then(|| format!("{} verified", verifier_name(self.verifier))));
        words.join(" ")
    }
}

/// Decoding the distribution of `kind` without drafts, with the fewest forward passes; none for a
/// chain.
pub(crate) fn plain_decoding(kind: &DecoderKind) -> Option<DecoderKind> {
    let mut kind = kind.clone();
    match &mut kind {
        DecoderKind::Single { .. } => {}
        DecoderKind::Deferral { execution, .. } => *execution = Execution::Lazy,
        DecoderKind::ImplicitReward { execution, .. } => *execution = Execution::Autoregressive,
        DecoderKind::Chain(_) => return None,
    }
    Some(kind)
}

/// True if tokens have the same distribution; the length of texts may differ.
pub(crate) fn same_distribution(one: &SamplingPlan, other: &SamplingPlan) -> bool {
    *one == SamplingPlan { max_new_tokens: one.max_new_tokens, ..other.clone() }
}

/// The verifier as files name it.
pub(crate) fn verifier_name(verifier: Verifier) -> &'static str {
    match verifier {
        Verifier::Token => "token",
        Verifier::Block => "block",
        Verifier::SharedUniform => "same-uniform",
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
