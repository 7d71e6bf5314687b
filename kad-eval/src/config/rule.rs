//! A deferral rule with the values of its parameters, from a file or the command line.

use std::fmt;
use std::sync::Arc;

use kad_core::deferral::{Rule, RuleError, RuleInfo, catalogue, named};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::product;
use crate::toml_table::{ConfigError, Table, Value, advice};

/// A rule of the catalogue with the values of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct RulePlan {
    info: &'static RuleInfo,
    values: Vec<f64>,
    rule: Arc<Rule>,
}

/// The error of a rule that is not written in an experiment file.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum RulePlanError {
    #[error("unknown rule `{found}`; {hint}")]
    Kind { found: String, hint: String },
    #[error("{kind} takes no parameter")]
    NoParameter { kind: &'static str },
    #[error("{kind} has no parameter `{found}`; it has: {known}")]
    Parameter { kind: &'static str, found: String, known: String },
    #[error("{kind} needs its {parameter}: {kind}=0.4")]
    Missing { kind: &'static str, parameter: &'static str },
    #[error("{kind}: {parameter} is given twice")]
    Twice { kind: &'static str, parameter: &'static str },
    #[error("`{found}` lacks the name of its parameter: only the first value may go without")]
    Unnamed { found: String },
    #[error("{parameter} `{found}` is not a number")]
    Number { parameter: String, found: String },
    #[error(transparent)]
    Range(#[from] RuleError),
}

impl RulePlan {
    /// The rule called `kind` with the parameters given by name; the others take their defaults.
    ///
    /// # Errors
    /// Fails if there is no such rule or parameter, or a value is missing, given twice or out of
    /// range.
    pub(crate) fn new<'n>(
        kind: &str,
        given: impl Iterator<Item = (&'n str, f64)>,
    ) -> Result<Self, RulePlanError> {
        Self::of(named(kind).ok_or_else(|| unknown(kind))?, given)
    }

    fn of<'n>(
        info: &'static RuleInfo,
        given: impl Iterator<Item = (&'n str, f64)>,
    ) -> Result<Self, RulePlanError> {
        let mut values: Vec<Option<f64>> = vec![None; info.parameters.len()];
        for (name, value) in given {
            let index = info.parameters.iter().position(|p| p.name == name);
            let index = index.ok_or_else(|| match info.parameters {
                [] => RulePlanError::NoParameter { kind: info.kind },
                known => RulePlanError::Parameter {
                    kind: info.kind,
                    found: name.to_owned(),
                    known: known.iter().map(|p| p.name).collect::<Vec<_>>().join(", "),
                },
            })?;
            // `-0.0 + 0.0` is 0: a zero is shown without its sign.
            if values[index].replace(value + 0.0).is_some() {
                let parameter = info.parameters[index].name;
                return Err(RulePlanError::Twice { kind: info.kind, parameter });
            }
        }
        let value = |(value, p): (Option<f64>, &kad_core::deferral::Parameter)| {
            let missing = RulePlanError::Missing { kind: info.kind, parameter: p.name };
            value.or(p.default).ok_or(missing)
        };
        let values = values.into_iter().zip(info.parameters).map(value);
        Ok(Self::build(info, values.collect::<Result<_, _>>()?)?)
    }

    /// `kind`, `kind=value` for its first parameter, or `kind=value,name=value,…`.
    ///
    /// # Errors
    /// Fails as [`new`](Self::new) does, or if a value is not a number, or a value after the first
    /// has no name.
    pub(crate) fn parse(text: &str) -> Result<Self, RulePlanError> {
        let (kind, rest) = match text.split_once('=') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let info = named(kind).ok_or_else(|| unknown(kind))?;
        let Some(rest) = rest else {
            return Self::of(info, std::iter::empty());
        };
        let Some(first) = info.parameters.first() else {
            return Err(RulePlanError::NoParameter { kind: info.kind });
        };
        let mut given = Vec::new();
        for part in rest.split(',') {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), value.trim()),
                None if given.is_empty() => (first.name, part.trim()),
                None => return Err(RulePlanError::Unnamed { found: part.trim().to_owned() }),
            };
            let number = value.parse().map_err(|_| RulePlanError::Number {
                parameter: name.to_owned(),
                found: value.to_owned(),
            })?;
            given.push((name, number));
        }
        Self::of(info, given.into_iter())
    }

    /// The rules of a table in an experiment file, each with the words that distinguish it: several
    /// if a parameter is a list.
    pub(super) fn sweep(table: &Table<'_>) -> Result<Vec<(Self, String)>, ConfigError> {
        let kind = table.required("kind")?;
        let name = kind.str()?;
        let kinds = || catalogue().iter().map(|rule| rule.kind);
        let info = named(name).ok_or_else(|| kind.unknown("rule", kinds()))?;
        let mut plans = vec![(Vec::new(), String::new())];
        for parameter in info.parameters {
            let given = table.optional(parameter.name);
            let values = match (&given, parameter.default) {
                (Some(given), _) => numbers(given)?,
                (None, Some(default)) => vec![default],
                (None, None) => numbers(&table.required(parameter.name)?)?,
            };
            let swept = values.len() > 1;
            if let Some(given) = &given {
                given.check_members(plans.len().saturating_mul(values.len()))?;
            }
            let words = |value: f64| match swept {
                true => format!("{} {value}", parameter.name),
                false => String::new(),
            };
            let values: Vec<_> = values.into_iter().map(|value| (value, words(value))).collect();
            plans = product(&plans, &values);
        }
        let made = plans.into_iter().map(|(values, words)| {
            let plan = Self::build(info, values).map_err(|error| {
                match table.optional(error.parameter) {
                    Some(at) => at.error(error.to_string()),
                    None => table.error(error.to_string()),
                }
            })?;
            Ok((plan, words))
        });
        let made = made.collect::<Result<Vec<_>, ConfigError>>()?;
        table.finish()?;
        Ok(made)
    }

    /// The value of its first parameter, the axis of sweeps and plots.
    pub(crate) fn parameter(&self) -> Option<f64> {
        self.values.first().copied()
    }

    /// The core's rule.
    pub(crate) fn rule(&self) -> &Rule {
        &self.rule
    }

    fn build(info: &'static RuleInfo, values: Vec<f64>) -> Result<Self, RuleError> {
        let rule = Arc::new((info.build)(&values)?);
        Ok(Self { info, values, rule })
    }
}

fn numbers(value: &Value<'_>) -> Result<Vec<f64>, ConfigError> {
    value.sweep()?.iter().map(Value::float).collect()
}

/// The error for an unknown rule, with the nearest known one.
pub(crate) fn unknown(kind: &str) -> RulePlanError {
    let kinds = || catalogue().iter().map(|rule| rule.kind);
    let all = || format!("known: {}", kinds().collect::<Vec<_>>().join(", "));
    let hint = advice(kind, kinds(), all);
    RulePlanError::Kind { found: kind.to_owned(), hint }
}

impl PartialEq for RulePlan {
    fn eq(&self, other: &Self) -> bool {
        self.info.kind == other.info.kind && self.values == other.values
    }
}

impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

/// The form of experiment files: `{"kind": "kad-dual", "threshold": 0.4}`.
impl Serialize for RulePlan {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1 + self.values.len()))?;
        map.serialize_entry("kind", self.info.kind)?;
        for (parameter, value) in self.info.parameters.iter().zip(&self.values) {
            map.serialize_entry(parameter.name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_kind_and_values() {
        let pool = r#"{"kind":"kad-pool","budget":0.3,"window":8.0,"threshold":0.5}"#;
        for (text, wanted) in [
            ("kad-dual=0.4", r#"{"kind":"kad-dual","threshold":0.4}"#),
            ("always", r#"{"kind":"always"}"#),
            ("kad-pool=0.3,window=8", pool),
            ("kad-pool=window=8,budget=0.3", pool),
        ] {
            assert_eq!(serde_json::to_string(&RulePlan::parse(text).unwrap()).unwrap(), wanted);
        }
        let plan = RulePlan::parse("kad-dual=-0").unwrap();
        assert_eq!(plan.to_string(), "KAD dual, threshold 0", "zero has no sign");
        assert_eq!(plan.parameter().map(f64::is_sign_positive), Some(true));
    }

    #[test]
    fn wrong_rules_are_refused_with_the_remedy() {
        let unnamed = " lacks the name of its parameter: only the first value may go without";
        for (text, wanted) in [
            ("kad-dul=0.4", "unknown rule `kad-dul`; did you mean `kad-dual`?"),
            ("kad-dual", "kad-dual needs its threshold: kad-dual=0.4"),
            ("kad-dual=1.4", "…out of range: between 0 and 1"),
            ("always=1", "always takes no parameter"),
            ("kad-dual=x", "threshold `x` is not a number"),
            ("kad-pool=0.3,windw=8", "…it has: budget, window, threshold"),
            ("kad-pool=0.3,window=1.5", "…a whole number"),
            ("kad-dual=0.4,threshold=0.5", "kad-dual: threshold is given twice"),
            ("kad-pool=window=8,budget=0.3,window=8", "kad-pool: window is given twice"),
            ("kad-dual=0.4,0.5", &format!("`0.5`{unnamed}")),
            ("kad-pool=.3,.5", &format!("`.5`{unnamed}")),
            ("kad-pool=window=8,0.3", &format!("`0.3`{unnamed}")),
        ] {
            let error = RulePlan::parse(text).unwrap_err().to_string();
            match wanted.strip_prefix('…') {
                Some(part) => assert!(error.contains(part), "{text}: {error}"),
                None => assert_eq!(error, wanted, "{text}"),
            }
        }
    }
}
