//! Decisions to explain, as a sequence of JSON objects.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use kad_core::{Distribution, DistributionError};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::config::{RulePlan, RulePlanError};
use crate::failure::Failure;
use crate::numbers::counted;

/// Largest difference from 1 of a sum that is normalised instead of refused, and the rounding error
/// allowed on top of it, so that 1.001 is accepted like 0.999.
const RESCALED: f64 = 1e-3;
const ROUNDING: f64 = 8.0 * f64::EPSILON;

/// Two distributions over one vocabulary and a rule.
pub(super) struct Decision {
    pub(super) base: Distribution,
    pub(super) aligned: Distribution,
    pub(super) rule: RulePlan,
}

/// The decisions in `file` (`-` is stdin), read one by one.
pub(super) fn read(
    file: &Path,
) -> Result<impl Iterator<Item = Result<Decision, Failure>>, Failure> {
    let name = name(file);
    let input: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("cannot read the decisions {name}"));
        Box::new(opened.map_err(Failure::Request)?)
    };
    let requests = serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter();
    Ok((1..).zip(requests).map(move |(number, request)| {
        let request = request.map_err(|error: serde_json::Error| match error.is_syntax() {
            true => anyhow!("{error} (JSON has no NaN and no Infinity)"),
            false => error.into(),
        });
        let decision = request.and_then(decision);
        decision.with_context(|| format!("{name}: object {number}")).map_err(Failure::Request)
    }))
}

pub(super) fn name(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

/// A JSON object: derived code would also accept a list of the fields.
struct DecisionRequest(Fields);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    p: Vec<Value>,
    q: Vec<Value>,
    rule: RuleObject,
}

impl<'de> Deserialize<'de> for DecisionRequest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = DecisionRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object {\"p\": [...], \"q\": [...], \"rule\": {\"kind\": ...}}")
    }
    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<DecisionRequest, A::Error> {
        Fields::deserialize(MapAccessDeserializer::new(object)).map(DecisionRequest)
    }
}

/// A rule's object without duplicate names.
struct RuleObject(Map<String, Value>);

impl<'de> Deserialize<'de> for RuleObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(RuleVisitor)
    }
}

struct RuleVisitor;

impl<'de> Visitor<'de> for RuleVisitor {
    type Value = RuleObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule {\"kind\": ...}")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RuleObject, A::Error> {
        let mut entries = Map::new();
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            if entries.contains_key(&name) {
                return Err(A::Error::custom(format!("the rule gives its `{name}` twice")));
            }
            entries.insert(name, value);
        }
        Ok(RuleObject(entries))
    }
}

fn decision(request: DecisionRequest) -> Result<Decision> {
    let DecisionRequest(Fields { p, q, rule }) = request;
    if p.len() != q.len() {
        bail!(
            "p has {} and q has {}: give one for each token in both",
            counted(p.len(), "value"),
            q.len()
        );
    }
    let rule = plan(&rule.0)?;
    Ok(Decision { base: distribution("p", p)?, aligned: distribution("q", q)?, rule })
}

fn plan(rule: &Map<String, Value>) -> Result<RulePlan> {
    let Some(kind) = rule.get("kind") else {
        bail!("the rule lacks its `kind`: {{\"kind\": \"kad-dual\", \"threshold\": 0.4}}");
    };
    let Some(kind) = kind.as_str() else {
        bail!("the rule's `kind` is {kind}, not a string");
    };
    let number = |(name, value): (&String, &Value)| match value.as_f64() {
        Some(number) => Ok((name.clone(), number)),
        None => bail!("the rule's `{name}` is {value}, not a number"),
    };
    let given = rule.iter().filter(|(name, _)| *name != "kind").map(number);
    let given = given.collect::<Result<Vec<_>>>()?;
    let given = given.iter().map(|(name, value)| (name.as_str(), *value));
    RulePlan::new(kind, given).map_err(|error| match error {
        // The message of the command line has another syntax.
        RulePlanError::Missing { kind, parameter } => {
            anyhow!("{kind} needs its {parameter}: {{\"kind\": \"{kind}\", \"{parameter}\": 0.4}}")
        }
        other => other.into(),
    })
}

/// The given numbers, unchanged if their sum is 1 up to rounding: normalising would move ties and
/// thresholds.
fn distribution(field: &str, entries: Vec<Value>) -> Result<Distribution> {
    if entries.is_empty() {
        bail!("{field} is empty: give one probability for each token");
    }
    let number = |(index, entry): (usize, Value)| match entry.as_f64() {
        Some(number) if number < 0.0 => bail!("{field}[{index}] is {number}: negative"),
        Some(number) => Ok(number),
        None => bail!("{field}[{index}] is {entry}, not a probability"),
    };
    let probs = entries.into_iter().enumerate().map(number).collect::<Result<Vec<f64>>>()?;
    match Distribution::from_probs(probs.clone()) {
        Err(DistributionError::Sum { sum }) if (sum - 1.0).abs() <= RESCALED + ROUNDING => {
            Distribution::proportional(probs).with_context(|| format!("{field} sums to 0"))
        }
        Err(DistributionError::Sum { sum }) => {
            bail!("{field} sums to {sum}, not to 1 within {RESCALED:e}")
        }
        other => other.with_context(|| field.to_owned()),
    }
}
