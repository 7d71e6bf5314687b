//! The decoders of an experiment file.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;

use super::chain::{self, Names};
use super::experiment::{DecoderKind, DecoderPlan, DraftPart, Execution, SamplingPlan};
use super::read::{known, own_sampling, visible};
use super::table::{Table, Value};
use super::{ConfigError, RulePlan, joined};

type Result<T> = std::result::Result<T, ConfigError>;

/// Tokens drafted at a time where a file does not say.
pub(crate) const DEFAULT_DRAFT_LENGTH: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// The `[[decoders]]` of a file; `models` are the names it gives its models.
///
/// # Errors
/// The first mistake, with its place.
pub(crate) fn decoders<M>(
    value: &Value<'_>,
    models: &BTreeMap<String, M>,
    sampling: &SamplingPlan,
) -> Result<Vec<DecoderPlan>> {
    let entries = value.list()?.iter().map(Entry::read).collect::<Result<Vec<_>>>()?;
    // Chains are made of the others, wherever those stand.
    let mut made: Vec<Vec<DecoderPlan>> = Vec::new();
    for entry in &entries {
        made.push(if entry.is_chain() { Vec::new() } else { entry.plans(models, sampling)? });
    }
    let names = Names {
        models: models.keys().map(String::as_str).collect(),
        decoders: made.concat(),
        chains: entries.iter().filter(|entry| entry.is_chain()).map(Entry::references).collect(),
        sampling,
    };
    for (entry, plans) in entries.iter().zip(&mut made).filter(|(entry, _)| entry.is_chain()) {
        *plans = chain::chains(&entry.table, entry.name.str()?, &names, sampling)?;
    }
    let mut decoders: Vec<DecoderPlan> = Vec::new();
    let mut called: HashMap<String, &Entry<'_>> = HashMap::new();
    for (entry, plans) in entries.iter().zip(made) {
        for plan in plans {
            if let Some(first) = called.insert(plan.name.clone(), entry) {
                return Err(entry.twice(first, &plan.name));
            }
            decoders.push(plan);
        }
        entry.table.finish()?;
    }
    if decoders.is_empty() {
        return Err(value.error("no decoders", Some("add a `[[decoders]]` entry".into())));
    }
    Ok(decoders)
}

/// One table of `[[decoders]]`.
struct Entry<'a> {
    table: Table<'a>,
    name: Value<'a>,
    kind: &'a str,
}

impl<'a> Entry<'a> {
    fn read(value: &Value<'a>) -> Result<Self> {
        let table = value.table("[[decoders]]")?;
        let name = table.required("name")?;
        visible(&name, "a decoder's name")?;
        let kind = known(&table.required("kind")?, "decoder kind", KINDS.into_iter())?;
        Ok(Self { table, name, kind })
    }

    /// The error for a decoder called `name`, as one of `first` is.
    fn twice(&self, first: &Self, name: &str) -> ConfigError {
        let message = format!("two decoders are called `{name}`");
        let help = match std::ptr::eq(self, first) {
            true => "a value of the sweep stands twice: leave one out",
            false => "give each its own name",
        };
        self.name.twice(&first.name, &message, help)
    }

    fn is_chain(&self) -> bool {
        self.kind == "chain"
    }

    fn references(&self) -> (String, Vec<String>) {
        (self.name.str().unwrap_or_default().to_owned(), chain::references(&self.table))
    }

    fn plans<M>(
        &self,
        models: &BTreeMap<String, M>,
        sampling: &SamplingPlan,
    ) -> Result<Vec<DecoderPlan>> {
        let sampling = own_sampling(&self.table, sampling)?;
        decoder(&self.table, self.kind, self.name.str()?, models, &sampling)
    }
}

fn decoder<M>(
    table: &Table<'_>,
    kind: &str,
    name: &str,
    models: &BTreeMap<String, M>,
    sampling: &SamplingPlan,
) -> Result<Vec<DecoderPlan>> {
    let model = |key| {
        let value = table.required(key)?;
        known(&value, "model", models.keys().map(String::as_str)).map(str::to_owned)
    };
    let kinds = match kind {
        "single" => vec![(DecoderKind::Single { model: model("model")? }, String::new())],
        "deferral" => {
            let (base, aligned) = (model("base")?, model("aligned")?);
            let executions =
                executions(table, &["lazy", "autoregressive", "speculative"], &["aligned"])?;
            let rules = RulePlan::sweep(&table.required("rule")?.table("rule")?)?;
            let kind = |rule: &RulePlan, execution| {
                let (base, aligned, rule) = (base.clone(), aligned.clone(), rule.clone());
                DecoderKind::Deferral { base, aligned, rule, execution }
            };
            let each = |(rule, words): &(RulePlan, String)| -> Vec<_> {
                let all = executions.iter();
                all.map(|(way, how)| (kind(rule, *way), joined(words, how))).collect()
            };
            rules.iter().flat_map(each).collect()
        }
        _ => {
            let (base, small, aligned) = (model("base")?, model("small")?, model("aligned")?);
            let cap_log_ratio = table.optional("cap_log_ratio").map(cap_log_ratio).transpose()?;
            let kind = |execution| {
                let (base, small, aligned) = (base.clone(), small.clone(), aligned.clone());
                DecoderKind::ImplicitReward { base, small, aligned, cap_log_ratio, execution }
            };
            // Implicit reward needs all of its models for every token: there is no lazy way.
            let ways = ["autoregressive", "speculative"];
            let executions = executions(table, &ways, &["aligned", "small"])?;
            executions.into_iter().map(|(way, words)| (kind(way), words)).collect()
        }
    };
    let plan = |(kind, words): (DecoderKind, String)| DecoderPlan {
        name: joined(name, &words),
        family: name.to_owned(),
        kind,
        sampling: sampling.clone(),
    };
    Ok(kinds.into_iter().map(plan).collect())
}

const KINDS: [&str; 4] = ["single", "deferral", "implicit-reward", "chain"];

fn cap_log_ratio(value: Value<'_>) -> Result<f64> {
    let cap = value.float()?;
    // Written so that NaN is refused.
    if cap > 0.0 && cap.is_finite() {
        return Ok(cap);
    }
    let message = format!("cap_log_ratio = {cap} is out of range: above 0 and finite, in nats");
    let help = "leave it out to make tokens impossible that are so for the small base model";
    Err(value.error(&message, Some(help.into())))
}

/// The ways a composed distribution is to be decoded: `execution`, which may be a list of those in
/// `ways` and is the first of them by default, and what belongs to it. Each with what distinguishes
/// it in words.
fn executions(
    table: &Table<'_>,
    ways: &[&'static str],
    drafters: &[&str],
) -> Result<Vec<(Execution, String)>> {
    let chosen: Vec<&str> = match table.optional("execution") {
        Some(value) => {
            let known = |value| known(value, "execution", ways.iter().copied());
            value.sweep()?.iter().map(known).collect::<Result<_>>()?
        }
        None => vec![ways[0]],
    };
    let word = |way: &str| if chosen.len() > 1 { way.to_owned() } else { String::new() };
    let mut made = Vec::new();
    for way in &chosen {
        match *way {
            "autoregressive" => made.push((Execution::Autoregressive, word(way))),
            "lazy" => made.push((Execution::Lazy, word(way))),
            _ => made.extend(speculative(table, drafters, &word(way))?),
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
    let bonus = table.optional("bonus").map_or(Ok(true), |value| value.bool())?;
    let drafter = match table.optional("drafter") {
        Some(value) if known(&value, "drafter", drafters.iter().copied())? == "small" => {
            DraftPart::Small
        }
        _ => DraftPart::Aligned,
    };
    let lengths = match table.optional("draft_length") {
        Some(value) => value.sweep()?.iter().map(draft_length).collect::<Result<Vec<_>>>()?,
        None => vec![DEFAULT_DRAFT_LENGTH],
    };
    let swept = lengths.len() > 1;
    let made = lengths.into_iter().map(|draft_length| {
        let words = if swept { format!("draft_length {draft_length}") } else { String::new() };
        (Execution::Speculative { draft_length, bonus, drafter }, joined(word, &words))
    });
    Ok(made.collect())
}

fn draft_length(value: &Value<'_>) -> Result<NonZeroUsize> {
    let length = usize::try_from(value.count()?).unwrap_or(usize::MAX);
    NonZeroUsize::new(length).ok_or_else(|| {
        let help = "draft at least one token, or choose another execution";
        value.error("`draft_length = 0` drafts nothing", Some(help.into()))
    })
}
