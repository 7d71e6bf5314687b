//! `kind = "chain"`: a target, and the levels that draft for it.

use std::num::NonZeroUsize;

use kad_polybasic::{Surplus, Verifier};

use super::experiment::{DecoderKind, DecoderPlan, Execution, SamplingPlan};
use super::levels::{
    ChainPlan, DraftPlan, LevelPlan, Levels, Lookup, NamedDistribution, PlannedLevels, TreePlan,
};
use super::read;
use super::{joined, product};
use crate::toml_table::{Result, Table, Value};

/// The names that the parts of a chain can have.
pub(super) struct Names<'n> {
    pub(super) models: Vec<&'n str>,
    /// The decoders that are not chains.
    pub(super) decoders: Vec<DecoderPlan>,
    /// The chains, and the names that each refers to.
    pub(super) chains: Vec<(&'n str, Vec<String>)>,
    /// The settings of the file.
    pub(super) sampling: &'n SamplingPlan,
}

pub(super) fn references(table: &Table<'_>) -> Vec<String> {
    let drafts = table.optional("levels").and_then(|levels| levels.list().ok());
    let drafts = drafts.unwrap_or_default().into_iter().filter_map(|level| {
        let level = level.table("a level").ok()?;
        level.optional("draft")
    });
    let named = table.optional("target").into_iter().chain(drafts);
    named.filter_map(|value| value.str().ok().map(str::to_owned)).collect()
}

/// The chains of a table: several if its target or a length is a sweep.
pub(super) fn chains(
    table: &Table<'_>,
    name: &str,
    names: &Names<'_>,
    sampling: &SamplingPlan,
) -> Result<Vec<DecoderPlan>> {
    let target = table.required("target")?;
    let mut plans = Vec::new();
    let reader = ChainReader { chain: name, names, sampling };
    for (part, target_words) in reader.distributions(&target)? {
        // The chain's own settings are on top of the target's.
        let sampling = read::sampling(table, read::OWN_SAMPLING, &part.sampling)?;
        let own = NamedDistribution { sampling: sampling.clone(), ..part };
        let levels = ChainReader { sampling: &sampling, ..reader }.levels(table)?;
        target.check_members(plans.len() + levels.len())?;
        for (levels, words) in levels {
            plans.push(DecoderPlan {
                name: joined(name, &joined(&target_words, &words)),
                family: name.to_owned(),
                kind: DecoderKind::Chain(ChainPlan { target: own.clone(), levels }),
                sampling: sampling.clone(),
            });
        }
    }
    Ok(plans)
}

#[derive(Clone, Copy)]
struct ChainReader<'c> {
    chain: &'c str,
    names: &'c Names<'c>,
    /// The settings of its parts that are models.
    sampling: &'c SamplingPlan,
}

impl ChainReader<'_> {
    /// The distributions that `value` names, each with the words that distinguish it: several if it
    /// names a sweep.
    fn distributions(&self, value: &Value<'_>) -> Result<Vec<(NamedDistribution, String)>> {
        let Self { chain, names, sampling } = *self;
        let found = value.str()?;
        names.refuse_chain(chain, value, found)?;
        let named = names.decoders.iter().filter(|plan| plan.name == found);
        let swept = names.decoders.iter().filter(|plan| plan.family == found);
        let decoders: Vec<&DecoderPlan> = match named.clone().next() {
            Some(_) => named.collect(),
            None => swept.collect(),
        };
        if names.models.contains(&found) {
            let distribution = DecoderKind::Single { model: found.to_owned() };
            let same =
                |plan: &&DecoderPlan| plan.kind == distribution && plan.sampling == *names.sampling;
            if !decoders.iter().all(same) {
                let error = value.error(format!(
                    "`{found}` names a model and a decoder, and their distributions differ"
                ));
                return Err(error.help("rename the decoder"));
            }
            return Ok(vec![(
                NamedDistribution::new(found, distribution, sampling),
                String::new(),
            )]);
        }
        if decoders.is_empty() {
            let decoders = names.decoders.iter().map(|plan| plan.name.as_str());
            let all = names.models.iter().copied().chain(decoders);
            return Err(value.unknown("model or decoder", all));
        }
        let mut parts: Vec<(NamedDistribution, String)> = Vec::new();
        for plan in decoders {
            let own = NamedDistribution::new(
                &plan.name,
                plan.kind.executed(Execution::Autoregressive),
                &plan.sampling,
            );
            // The executions of one distribution are one target; the chain decides its execution.
            let same = |(other, _): &(NamedDistribution, String)| {
                (&other.distribution, &other.sampling) == (&own.distribution, &own.sampling)
            };
            if !parts.iter().any(same) {
                let words = plan.name.strip_prefix(found).unwrap_or_default();
                parts.push((own, words.trim_start_matches(", ").to_owned()));
            }
        }
        if let [(only, words)] = parts.as_mut_slice() {
            found.clone_into(&mut only.name);
            words.clear();
        }
        Ok(parts)
    }

    /// The levels of a chain: several if lengths are swept.
    fn levels(&self, table: &Table<'_>) -> Result<Vec<(Levels, String)>> {
        let value = table.required("levels")?;
        if value.is_str() {
            value.known("kind of levels", ["plan"].into_iter())?;
            return Ok(vec![(self.planned(table)?, String::new())]);
        }
        let entries = value.list()?;
        let [upper @ .., _] = &entries[..] else {
            let help =
                "write `levels = [ { draft = \"…\", length = 4 } ]`, or use `kind = \"single\"`";
            return Err(value.error("a chain without levels drafts nothing").help(help));
        };
        let mut chains = vec![(Vec::new(), String::new())];
        for (index, entry) in entries.iter().enumerate() {
            let place = LevelReader { index, lowest: index == upper.len() };
            let swept = place.read(entry, self)?;
            value.check_members(chains.len().saturating_mul(swept.len()))?;
            let words = |level: &LevelPlan| match (swept.len(), entries.len()) {
                (1, _) => String::new(),
                (_, 1) => format!("length {}", level.length),
                _ => format!("{} length {}", level.draft.name(), level.length),
            };
            let swept: Vec<_> = swept.iter().map(|level| (level.clone(), words(level))).collect();
            chains = product(&chains, &swept);
        }
        for (levels, _) in &chains {
            check_uniforms(levels)?;
        }
        Ok(chains.into_iter().map(|(levels, words)| (Levels::listed(levels), words)).collect())
    }

    /// `levels = "plan"`, with a `profile` and the `candidates` that may draft: by default every model
    /// and both lookups.
    fn planned(&self, table: &Table<'_>) -> Result<Levels> {
        let value = table.required("profile")?;
        let profile = value.path()?;
        let candidates = table.get("candidates", |value| {
            value.list()?.iter().map(|value| self.draft(value)).collect()
        })?;
        let candidates = candidates.unwrap_or_else(|| {
            let model = |name: &&str| {
                let distribution = DecoderKind::Single { model: (*name).to_owned() };
                DraftPlan::Distribution(NamedDistribution::new(name, distribution, self.sampling))
            };
            self.names
                .models
                .iter()
                .map(model)
                .chain(Lookup::DEFAULTS.map(DraftPlan::Lookup))
                .collect()
        });
        Ok(Levels::Planned { levels: PlannedLevels { profile, candidates, place: value.place() } })
    }

    /// The drafter of a level: the name of a distribution, or the table of a lookup.
    fn draft(&self, value: &Value<'_>) -> Result<DraftPlan> {
        if value.is_table() {
            return lookup_table(&value.table("draft")?);
        }
        let mut parts = self.distributions(value)?;
        match (parts.pop(), parts.is_empty()) {
            (Some((part, _)), true) => Ok(DraftPlan::Distribution(part)),
            _ => {
                let found = value.str()?;
                let message = format!("`{found}` is a sweep of several decoders");
                let members = self.names.decoders.iter().filter(|plan| plan.family == found);
                let members: Vec<&str> = members.map(|plan| plan.name.as_str()).collect();
                Err(value.error(message).help(format!("name one: {}", members.join("; "))))
            }
        }
    }
}

impl Names<'_> {
    /// Refuses a chain as a part of a chain; of a circle of chains, it shows the circle.
    fn refuse_chain(&self, chain: &str, value: &Value<'_>, found: &str) -> Result<()> {
        // A name of a model means the model.
        let is_chain = self.chains.iter().any(|(name, _)| *name == found);
        if !is_chain || self.models.contains(&found) {
            return Ok(());
        }
        let referred = |name: &str| {
            let own = self.chains.iter().find(|(chain, _)| *chain == name);
            let all = own.map_or(&[][..], |(_, names)| names).iter().map(String::as_str);
            all.filter(|name| !self.models.contains(name)).collect()
        };
        if let Some(path) = circle(chain, &[chain, found], &referred) {
            let message = match path[..] {
                [own, _] if own == found => format!("`{own}` contains itself"),
                _ => format!("these decoders contain each other: `{}`", path.join("` → `")),
            };
            let help = "use models and decoders that are not chains";
            return Err(value.error(message).help(help));
        }
        let message = format!("`{found}` is a chain, and a chain cannot contain a chain");
        let help = format!("name the target of `{found}` here and add its levels to `levels`");
        Err(value.error(message).help(help))
    }
}

/// The names `passed` and those that lead back from the last of them to `end`; each name leads to
/// those that `next` gives.
pub(super) fn circle<'p>(
    end: &str,
    passed: &[&'p str],
    next: &dyn Fn(&str) -> Vec<&'p str>,
) -> Option<Vec<&'p str>> {
    let here = *passed.last()?;
    if passed.len() > 1 && here == end {
        return Some(passed.to_vec());
    }
    let new = next(here).into_iter().filter(|name| !passed[1..].contains(name));
    new.map(|name| [passed, &[name]].concat()).find_map(|longer| circle(end, &longer, next))
}

/// Refuses "same-uniform" at some levels only. A draft that is not drawn from its position's uniform
/// agrees with the target by accident, and a verifier that looks ahead would condition the uniforms
/// of later positions.
fn check_uniforms(levels: &[LevelPlan]) -> Result<()> {
    let by_place = |level: &&LevelPlan| level.verifier == Verifier::SameUniform;
    let Some(without) = levels.iter().find(|level| !by_place(level)) else {
        return Ok(());
    };
    match (levels.iter().find(by_place), &without.place) {
        (Some(_), Some(place)) => {
            let message = "\"same-uniform\" must verify at every level of a chain or at none";
            let help = "write `verifier = \"same-uniform\"` here too";
            Err(place.error(message).help(help))
        }
        _ => Ok(()),
    }
}

/// A lookup with its defaults.
pub(crate) fn lookup(name: &str) -> Option<Lookup> {
    Lookup::DEFAULTS.into_iter().find(|lookup| lookup.name() == name)
}

fn lookup_table(table: &Table<'_>) -> Result<DraftPlan> {
    let kind = table.required("kind")?;
    let names = Lookup::DEFAULTS.iter().map(|lookup| lookup.name());
    let mut plan = lookup(kind.str()?).ok_or_else(|| kind.unknown("drafter", names))?;
    let least = |value: &Value<'_>| value.at_least_one("look for one token or more");
    plan.longest = table.get("longest", least)?.unwrap_or(plan.longest);
    plan.shortest = table.get("shortest", least)?.unwrap_or(plan.shortest);
    let Lookup { longest, shortest, .. } = plan;
    if shortest > longest {
        let message = format!("`shortest = {shortest}` is more than `longest = {longest}`");
        return Err(table.error(message));
    }
    table.finish()?;
    Ok(DraftPlan::Lookup(plan))
}

/// Are the siblings of a tree the top-k tokens? Else they are sampled.
fn siblings(value: &Value<'_>) -> Result<bool> {
    value.one_of("choice of siblings", &[("top-k", true), ("sampled", false)])
}

/// `width + width² + … + width^depth`.
fn all_nodes(width: NonZeroUsize, depth: NonZeroUsize) -> NonZeroUsize {
    let mut nodes = width;
    for _ in 1..depth.get().min(1 << 20) {
        nodes = nodes.saturating_mul(width).saturating_add(width.get());
    }
    nodes
}

struct LevelReader {
    index: usize,
    lowest: bool,
}

impl LevelReader {
    /// One level for each of its lengths.
    fn read(&self, value: &Value<'_>, reader: &ChainReader<'_>) -> Result<Vec<LevelPlan>> {
        let table = value.table("a level")?;
        let drafter = table.required("draft")?;
        let draft = reader.draft(&drafter)?;
        if draft.distribution().is_none() && !self.lowest {
            let message = format!("`{}` cannot verify the drafts of the level below", draft.name());
            let help = "it has no distribution: make it the last level";
            return Err(drafter.error(message).help(help));
        }
        let tree = self.tree(&table, &draft)?;
        let lengths = match tree {
            Some((_, depth)) => vec![depth],
            None => {
                let length = table.required("length")?;
                let help = "draft at least one token, or leave the level out";
                length.sweep()?.iter().map(|v| v.at_least_one(help)).collect::<Result<_>>()?
            }
        };
        let plan = LevelPlan {
            bonus: table.get("bonus", Value::bool)?.unwrap_or(true),
            verifier: self.verifier(&table, tree.map(|(tree, _)| tree))?,
            surplus: self.surplus(&table)?,
            stop_below: self.stop_below(&table, &draft, tree.is_some())?,
            tree: tree.map(|(tree, _)| tree),
            place: Some(drafter.place()),
            ..LevelPlan::of(draft, lengths[0])
        };
        table.finish()?;
        Ok(lengths.into_iter().map(|length| LevelPlan { length, ..plan.clone() }).collect())
    }

    fn tree(
        &self,
        table: &Table<'_>,
        draft: &DraftPlan,
    ) -> Result<Option<(TreePlan, NonZeroUsize)>> {
        let Some(value) = table.optional("tree") else {
            return Ok(None);
        };
        if !self.lowest {
            let help = "other levels pass on the tokens that they verified";
            return Err(value.error("only the last level drafts a tree").help(help));
        }
        if let Some(length) = table.optional("length") {
            let help = "leave out `length`: the tree has its `depth`";
            return Err(length.error("a tree has no `length`").help(help));
        }
        let tree = value.table("tree")?;
        let least = |value: &Value<'_>| value.at_least_one("use at least one node");
        let count = |key| least(&tree.required(key)?);
        let depth = count("depth")?;
        let plan = if draft.distribution().is_none() {
            TreePlan::Lookup { nodes: count("nodes")? }
        } else if tree.get("siblings", siblings)?.unwrap_or(true) {
            TreePlan::TopK { top_k: count("top_k")?, nodes: count("nodes")? }
        } else {
            let width = count("width")?;
            let all = all_nodes(width, depth);
            TreePlan::Sampled { width, nodes: tree.get("nodes", least)?.unwrap_or(all) }
        };
        tree.finish()?;
        Ok(Some((plan, depth)))
    }

    fn verifier(&self, table: &Table<'_>, tree: Option<TreePlan>) -> Result<Verifier> {
        let Some(value) = table.optional("verifier") else {
            return Ok(Verifier::Token);
        };
        let names = ["token", "block", "same-uniform", "lenient"];
        let found = value.known("verifier", names.into_iter())?;
        if matches!(tree, Some(TreePlan::Sampled { .. })) && found == "same-uniform" {
            let help = "take top-k siblings, or verify by \"token\"";
            return Err(value.error("\"same-uniform\" cannot verify sampled siblings").help(help));
        }
        if tree.is_some() && (found == "block" || found == "lenient") {
            let help = "trees are verified by \"token\" or \"same-uniform\"";
            return Err(value.error(format!("`{found}` cannot verify trees")).help(help));
        }
        Ok(match found {
            "block" => Verifier::Block,
            "same-uniform" => Verifier::SameUniform,
            "lenient" => Verifier::Lenient { leniency: self.leniency(table, &value)? },
            _ => Verifier::Token,
        })
    }

    fn leniency(&self, table: &Table<'_>, verifier: &Value<'_>) -> Result<f64> {
        if self.index > 0 {
            let message = "only the first level can be verified leniently";
            let help = "use lenient verification at the first level only: the tokens of other \
                        levels must have their exact distribution";
            return Err(verifier.error(message).help(help));
        }
        let value = table.required("leniency")?;
        let leniency = value.float()?;
        if (0.0..1.0).contains(&leniency) {
            return Ok(leniency);
        }
        let message = format!("leniency = {leniency} is out of range: 0 (exact) or above, below 1");
        Err(value.error(message))
    }

    fn surplus(&self, table: &Table<'_>) -> Result<Surplus> {
        let Some(value) = table.optional("surplus") else {
            return Ok(Surplus::Flush);
        };
        let words = [("flush", Surplus::Flush), ("keep", Surplus::Keep)];
        let surplus = value.one_of("treatment of the surplus", &words)?;
        if self.lowest {
            let help = "leave it out: the last level drafts no more tokens than asked for";
            return Err(value.error("the last level has no surplus").help(help));
        }
        Ok(surplus)
    }

    fn stop_below(&self, table: &Table<'_>, draft: &DraftPlan, tree: bool) -> Result<Option<f64>> {
        let Some(value) = table.optional("stop_below") else {
            return Ok(None);
        };
        let confidence = value.float()?;
        if !(0.0..=1.0).contains(&confidence) {
            let message = format!("stop_below = {confidence} is out of range: between 0 and 1");
            return Err(value.error(message));
        }
        if !self.lowest || tree || draft.distribution().is_none() {
            let help = "use it at the last level, with a model that drafts token by token";
            return Err(value.error("`stop_below` has no effect here").help(help));
        }
        Ok(Some(confidence))
    }
}
