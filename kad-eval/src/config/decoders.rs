//! The decoders of an experiment file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use super::experiment::{DecoderKind, DecoderPlan, DraftPart, Execution, SamplingPlan};
use super::read::{known, read_sampling};
use super::table::{Table, Value};
use super::{ConfigError, RulePlan};

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
    let mut decoders: Vec<DecoderPlan> = Vec::new();
    for entry in value.list()? {
        let table = entry.table("[[decoders]]")?;
        let name = table.required("name")?;
        if name.str()?.trim().is_empty() || name.str()?.contains(char::is_control) {
            return Err(name.error("a decoder's name is one line of visible text", None));
        }
        let sampling = match table.optional("sampling") {
            Some(own) => read_sampling(&own.table("the decoder's sampling")?, sampling)?,
            None => sampling.clone(),
        };
        for plan in decoder(&table, name.str()?, models, &sampling)? {
            if decoders.iter().any(|other| other.name == plan.name) {
                let message = format!("two decoders are called `{}`", plan.name);
                return Err(name.error(&message, Some("give each its own name".into())));
            }
            decoders.push(plan);
        }
        table.finish()?;
    }
    if decoders.is_empty() {
        return Err(value.error("no decoders", Some("add a `[[decoders]]` entry".into())));
    }
    Ok(decoders)
}

fn decoder<M>(
    table: &Table<'_>,
    name: &str,
    models: &BTreeMap<String, M>,
    sampling: &SamplingPlan,
) -> Result<Vec<DecoderPlan>> {
    let kind = table.required("kind")?;
    let model = |key| {
        let value = table.required(key)?;
        known(&value, "model", models.keys().map(String::as_str)).map(str::to_owned)
    };
    let kinds = match known(&kind, "decoder kind", KINDS.into_iter())? {
        "single" => vec![(DecoderKind::Single { model: model("model")? }, String::new())],
        "deferral" => {
            let (base, aligned) = (model("base")?, model("aligned")?);
            let execution = execution(table, "lazy", &["aligned"])?;
            let rules = RulePlan::sweep(&table.required("rule")?.table("rule")?)?;
            let kind = |rule| {
                let (base, aligned) = (base.clone(), aligned.clone());
                DecoderKind::Deferral { base, aligned, rule, execution }
            };
            rules.into_iter().map(|(rule, words)| (kind(rule), words)).collect()
        }
        _ => {
            let (base, small, aligned) = (model("base")?, model("small")?, model("aligned")?);
            let execution = execution(table, "autoregressive", &["aligned", "small"])?;
            let kind = DecoderKind::ImplicitReward { base, small, aligned, execution };
            vec![(kind, String::new())]
        }
    };
    let plan = |(kind, words): (DecoderKind, String)| DecoderPlan {
        name: if words.is_empty() { name.to_owned() } else { format!("{name}, {words}") },
        family: name.to_owned(),
        kind,
        sampling: sampling.clone(),
    };
    Ok(kinds.into_iter().map(plan).collect())
}

const KINDS: [&str; 3] = ["single", "deferral", "implicit-reward"];

/// How a composed law is decoded: `execution`, and what belongs to it.
fn execution(table: &Table<'_>, default: &str, drafters: &[&str]) -> Result<Execution> {
    let value = table.optional("execution");
    let ways = ["autoregressive", "lazy", "speculative"].into_iter();
    // Implicit reward needs all of its models for every token.
    let ways = ways.filter(|way| *way != "lazy" || default == "lazy");
    let way = value.map_or(Ok(default), |value| known(&value, "execution", ways))?;
    Ok(match way {
        "autoregressive" => Execution::Autoregressive,
        "lazy" => Execution::Lazy,
        _ => Execution::Speculative {
            draft_length: draft_length(table)?,
            bonus: table.optional("bonus").map_or(Ok(true), |value| value.bool())?,
            drafter: match table.optional("drafter") {
                Some(value) if known(&value, "drafter", drafters.iter().copied())? == "small" => {
                    DraftPart::Small
                }
                _ => DraftPart::Aligned,
            },
        },
    })
}

fn draft_length(table: &Table<'_>) -> Result<NonZeroUsize> {
    let Some(value) = table.optional("draft_length") else {
        return Ok(DEFAULT_DRAFT_LENGTH);
    };
    let length = usize::try_from(value.count()?).unwrap_or(usize::MAX);
    NonZeroUsize::new(length).ok_or_else(|| {
        let help = "draft at least one token, or choose another execution";
        value.error("`draft_length = 0` drafts nothing", Some(help.into()))
    })
}
