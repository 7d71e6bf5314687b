//! The decoders of an experiment file.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;

use super::chain::{self, Names};
use super::experiment::{DecoderKind, DecoderPlan, DraftPart, Execution, SamplingPlan};
use super::{RulePlan, joined, read};
use crate::toml_table::{ConfigError, Place, Result, Table, Value};

/// Tokens per draft of speculative execution, unless a file says otherwise.
pub(crate) const DEFAULT_DRAFT_LENGTH: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The `[[decoders]]` of a file with these `models`. Entries may have `more_keys`, which the caller
/// reads.
pub(crate) fn decoders<M>(
    value: &Value<'_>,
    models: &BTreeMap<String, M>,
    sampling: &SamplingPlan,
    more_keys: &[&'static str],
) -> Result<Vec<DecoderPlan>> {
    let entries = value.list()?.iter().map(DecoderEntry::read).collect::<Result<Vec<_>>>()?;
    // Chains are made of the other decoders, which may come later in the file.
    let mut made: Vec<Vec<DecoderPlan>> = Vec::new();
    for entry in &entries {
        made.push(if entry.kind == CHAIN { Vec::new() } else { entry.plans(models, sampling)? });
    }
    let chains = || entries.iter().filter(|entry| entry.kind == CHAIN);
    let names = Names {
        models: models.keys().map(String::as_str).collect(),
        decoders: made.concat(),
        chains: chains().map(|it| (it.name, chain::references(&it.table))).collect(),
        sampling,
    };
    for (entry, plans) in entries.iter().zip(&mut made).filter(|(entry, _)| entry.kind == CHAIN) {
        *plans = chain::chains(&entry.table, entry.name, &names, sampling)?;
    }
    let mut decoders: Vec<DecoderPlan> = Vec::new();
    let mut called: HashMap<String, &DecoderEntry<'_>> = HashMap::new();
    for (entry, plans) in entries.iter().zip(made) {
        for plan in plans {
            if let Some(first) = called.insert(plan.name.clone(), entry) {
                return Err(entry.twice(first, &plan.name));
            }
            decoders.push(plan);
        }
        entry.table.allow(more_keys);
        entry.table.finish()?;
    }
    if decoders.is_empty() {
        return Err(value.error("no decoders").help("add a `[[decoders]]` entry"));
    }
    Ok(decoders)
}

struct DecoderEntry<'a> {
    table: Table<'a>,
    name: &'a str,
    place: Place,
    kind: &'a str,
}

impl<'a> DecoderEntry<'a> {
    fn read(value: &Value<'a>) -> Result<Self> {
        let table = value.table("[[decoders]]")?;
        let called = table.required("name")?;
        let name = called.visible("a decoder's name")?;
        let kind = table.required("kind")?.known("decoder kind", KINDS.into_iter())?;
        Ok(Self { table, name, place: called.place(), kind })
    }

    /// The error for a decoder called `name`, which is also a decoder of `first`.
    fn twice(&self, first: &Self, name: &str) -> ConfigError {
        let message = format!("two decoders are called `{name}`");
        let help = match std::ptr::eq(self, first) {
            true => "a value is given twice in the sweep: leave one out",
            false => "give each its own name",
        };
        self.place.repeats(&first.place, message).help(help)
    }

    /// The decoders of an entry that is not a chain.
    fn plans<M>(
        &self,
        models: &BTreeMap<String, M>,
        sampling: &SamplingPlan,
    ) -> Result<Vec<DecoderPlan>> {
        let Self { table, name, kind, .. } = self;
        let sampling = read::sampling(table, read::OWN_SAMPLING, sampling)?;
        let model = |key| {
            let value = table.required(key)?;
            value.known("model", models.keys().map(String::as_str)).map(str::to_owned)
        };
        let kinds: Vec<(DecoderKind, String)> = match *kind {
            "single" => vec![(DecoderKind::Single { model: model("model")? }, String::new())],
            "deferral" => {
                let (base, aligned) = (model("base")?, model("aligned")?);
                let ways = ["lazy", "autoregressive", "speculative"];
                let executions = executions(table, &ways, &["aligned"])?;
                let rules = RulePlan::sweep(&table.required("rule")?.table("rule")?)?;
                let each = |(rule, words): (RulePlan, String)| {
                    let (base, aligned, execution) =
                        (base.clone(), aligned.clone(), Execution::Lazy);
                    let kind = DecoderKind::Deferral { base, aligned, rule, execution };
                    let executed = executions.iter();
                    executed.map(move |(way, how)| (kind.executed(*way), joined(&words, how)))
                };
                rules.into_iter().flat_map(each).collect()
            }
            _ => {
                let kind = DecoderKind::ImplicitReward {
                    base: model("base")?,
                    small: model("small")?,
                    aligned: model("aligned")?,
                    cap_log_ratio: table.get("cap_log_ratio", cap_log_ratio)?,
                    execution: Execution::Autoregressive,
                };
                // Implicit reward needs all of its models for every token: there is no lazy
                // execution.
                let ways = ["autoregressive", "speculative"];
                let executions = executions(table, &ways, &["aligned", "small"])?;
                executions.into_iter().map(|(way, words)| (kind.executed(way), words)).collect()
            }
        };
        let plan = |(kind, words): (DecoderKind, String)| DecoderPlan {
            name: joined(name, &words),
            family: (*name).to_owned(),
            kind,
            sampling: sampling.clone(),
        };
        Ok(kinds.into_iter().map(plan).collect())
    }
}

const CHAIN: &str = "chain";

const KINDS: [&str; 4] = ["single", "deferral", "implicit-reward", CHAIN];

fn cap_log_ratio(value: &Value<'_>) -> Result<f64> {
    let cap = value.float()?;
    // NaN fails this comparison.
    if cap > 0.0 && cap.is_finite() {
        return Ok(cap);
    }
    let message = format!("cap_log_ratio = {cap} is out of range: above 0 and finite, in nats");
    let help = "without `cap_log_ratio`, tokens that are impossible for the small base model stay \
                impossible";
    Err(value.error(message).help(help))
}

/// The executions of a composed distribution, each with the words that distinguish it: `execution`,
/// one or several of `ways` and by default the first, with the keys that belong to it.
fn executions<'a>(
    table: &Table<'a>,
    ways: &[&'static str],
    drafters: &[&str],
) -> Result<Vec<(Execution, String)>> {
    let known = |value: &Value<'a>| value.known("execution", ways.iter().copied());
    let chosen = table.get("execution", |value| value.sweep()?.iter().map(known).collect())?;
    let chosen: Vec<&str> = chosen.unwrap_or_else(|| vec![ways[0]]);
    let mut made = Vec::new();
    for way in &chosen {
        let word = if chosen.len() > 1 { way } else { "" };
        match *way {
            "autoregressive" => made.push((Execution::Autoregressive, word.to_owned())),
            "lazy" => made.push((Execution::Lazy, word.to_owned())),
            _ => made.extend(speculative(table, drafters, word)?),
        }
    }
    Ok(made)
}

/// Speculative execution, once for each `draft_length`.
fn speculative(
    table: &Table<'_>,
    drafters: &[&str],
    word: &str,
) -> Result<Vec<(Execution, String)>> {
    let bonus = table.get("bonus", Value::bool)?.unwrap_or(true);
    let drafter = match table.optional("drafter") {
        Some(value) if value.known("drafter", drafters.iter().copied())? == "small" => {
            DraftPart::Small
        }
        _ => DraftPart::Aligned,
    };
    let help = "draft at least one token, or choose another execution";
    let least = |value: &Value<'_>| value.at_least_one(help);
    let lengths: Option<Vec<NonZeroUsize>> =
        table.get("draft_length", |value| value.sweep()?.iter().map(least).collect())?;
    let lengths = lengths.unwrap_or_else(|| vec![DEFAULT_DRAFT_LENGTH]);
    let swept = lengths.len() > 1;
    let made = lengths.into_iter().map(|draft_length| {
        let words = if swept { format!("draft_length {draft_length}") } else { String::new() };
        (Execution::Speculative { draft_length, bonus, drafter }, joined(word, &words))
    });
    Ok(made.collect())
}
