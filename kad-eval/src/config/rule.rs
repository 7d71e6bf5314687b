//! A deferral rule with its parameters, from any of the places where one can be written.

use std::fmt;

use kad_core::deferral::{Rule, RuleError, RuleInfo, catalogue, named};
use serde::Serialize;
use serde::ser::SerializeMap;

use super::table::{Table, nearest};
use super::{ConfigError, read::known};

/// A rule of the catalogue and the values of its parameters, all in range.
#[derive(Clone, Debug)]
pub(crate) struct RulePlan {
    info: &'static RuleInfo,
    values: Vec<f64>,
}

/// Why a rule that is no part of an experiment file is refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum RulePlanError {
    #[error("unknown rule `{found}`{hint}")]
    Kind { found: String, hint: String },
    #[error("{kind} takes no parameter")]
    NoParameter { kind: &'static str },
    #[error("{kind} has no parameter `{found}`; it has: {known}")]
    Parameter { kind: &'static str, found: String, known: String },
    #[error("{kind} needs its {parameter}: {kind}=0.4")]
    Missing { kind: &'static str, parameter: &'static str },
    #[error("{parameter} `{found}` is not a number")]
    Number { parameter: String, found: String },
    #[error(transparent)]
    Range(#[from] RuleError),
}

impl RulePlan {
    /// The rule called `kind` with the parameters given by name; the others take their defaults.
    ///
    /// # Errors
    /// If there is no such rule or parameter, or a value is missing or out of range.
    pub(crate) fn new<'n>(
        kind: &str,
        given: impl Iterator<Item = (&'n str, f64)>,
    ) -> Result<Self, RulePlanError> {
        let info = named(kind).ok_or_else(|| unknown(kind))?;
        let mut values: Vec<Option<f64>> = info.parameters.iter().map(|p| p.default).collect();
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
            values[index] = Some(value);
        }
        let value = |(value, p): (Option<f64>, &kad_core::deferral::Parameter)| {
            value.ok_or(RulePlanError::Missing { kind: info.kind, parameter: p.name })
        };
        let values = values.into_iter().zip(info.parameters).map(value);
        let plan = Self { info, values: values.collect::<Result<_, _>>()? };
        plan.build()?;
        Ok(plan)
    }

    /// `kind`, `kind=value` for its first parameter, or `kind=value,name=value,…`.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if a value is not a number.
    pub(crate) fn parse(text: &str) -> Result<Self, RulePlanError> {
        let (kind, rest) = match text.split_once('=') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (text, None),
        };
        let first = match named(kind).ok_or_else(|| unknown(kind))?.parameters {
            [] if rest.is_some() => {
                return Err(RulePlanError::NoParameter {
                    kind: named(kind).map_or("", |r| r.kind),
                });
            }
            parameters => parameters.first().map_or("", |p| p.name),
        };
        let mut given = Vec::new();
        for part in rest.into_iter().flat_map(|rest| rest.split(',')) {
            let (name, value) = part.split_once('=').unwrap_or((first, part));
            let number = value.trim().parse().map_err(|_| RulePlanError::Number {
                parameter: name.to_owned(),
                found: value.to_owned(),
            })?;
            given.push((name.trim(), number));
        }
        Self::new(kind, given.into_iter())
    }

    /// The rules that a table of an experiment file describes: several if a parameter is a list, each
    /// with what distinguishes it in words.
    ///
    /// # Errors
    /// With the place of the mistake.
    pub(super) fn sweep(table: &Table<'_>) -> Result<Vec<(Self, String)>, ConfigError> {
        let kind = table.required("kind")?;
        let name = known(&kind, "rule", catalogue().iter().map(|rule| rule.kind))?;
        let Some(info) = named(name) else {
            return Err(kind.error(&format!("unknown rule `{name}`"), None));
        };
        let mut plans = vec![(Vec::new(), String::new())];
        for parameter in info.parameters {
            let given = table.optional(parameter.name);
            let values = match (&given, parameter.default) {
                (Some(given), _) => given.floats()?,
                (None, Some(default)) => vec![default],
                (None, None) => table.required(parameter.name)?.floats()?,
            };
            let swept = values.len() > 1;
            let longer = |plan: &(Vec<f64>, String)| {
                let (chosen, words) = plan.clone();
                let name = parameter.name;
                values
                    .iter()
                    .map(|value| {
                        let comma = if words.is_empty() { "" } else { ", " };
                        let words = match swept {
                            true => format!("{words}{comma}{name} {value}"),
                            false => words.clone(),
                        };
                        ([&chosen[..], &[*value]].concat(), words)
                    })
                    .collect::<Vec<_>>()
            };
            plans = plans.iter().flat_map(longer).collect();
        }
        let made = plans.into_iter().map(|(values, words)| {
            let plan = Self { info, values };
            plan.build().map_err(|error| match table.optional(error.parameter) {
                Some(at) => at.error(&error.to_string(), None),
                None => table.error(&error.to_string(), None),
            })?;
            Ok((plan, words))
        });
        let made = made.collect::<Result<Vec<_>, ConfigError>>()?;
        table.finish()?;
        Ok(made)
    }

    /// The value of its first parameter: what sweeps and plots go by.
    pub(crate) fn parameter(&self) -> Option<f64> {
        self.values.first().copied()
    }

    /// The core's rule.
    ///
    /// # Errors
    /// If a parameter is out of range, which it is not once the plan is made.
    pub(crate) fn build(&self) -> Result<Rule, RuleError> {
        (self.info.build)(&self.values)
    }
}

fn unknown(kind: &str) -> RulePlanError {
    let kinds = || catalogue().iter().map(|rule| rule.kind);
    let hint = match nearest(kind, kinds()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; known: {}", kinds().collect::<Vec<_>>().join(", ")),
    };
    RulePlanError::Kind { found: kind.to_owned(), hint }
}

impl PartialEq for RulePlan {
    fn eq(&self, other: &Self) -> bool {
        self.info.kind == other.info.kind && self.values == other.values
    }
}

/// In words, as the core's rule calls itself.
impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.build() {
            Ok(rule) => rule.fmt(f),
            Err(_) => f.write_str(self.info.kind),
        }
    }
}

/// As files write it: `{"kind": "kad-dual", "threshold": 0.4}`.
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

    fn message(text: &str) -> String {
        RulePlan::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn rules_are_written_as_kind_and_values() {
        let json = |text: &str| {
            serde_json::to_string(&RulePlan::parse(text).expect("a rule")).expect("serialises")
        };
        assert_eq!(json("kad-dual=0.4"), r#"{"kind":"kad-dual","threshold":0.4}"#);
        assert_eq!(json("always"), r#"{"kind":"always"}"#);
        let pool = r#"{"kind":"kad-pool","budget":0.3,"window":8.0,"threshold":1.0}"#;
        assert_eq!(json("kad-pool=0.3,window=8"), pool);
        assert_eq!(json("kad-pool=window=8,budget=0.3"), pool);
    }

    #[test]
    fn wrong_rules_say_what_is_right() {
        assert!(message("kad-dul=0.4").contains("did you mean `kad-dual`?"));
        assert_eq!(message("kad-dual"), "kad-dual needs its threshold: kad-dual=0.4");
        assert!(message("kad-dual=1.4").contains("out of range: between 0 and 1"));
        assert_eq!(message("always=1"), "always takes no parameter");
        assert_eq!(message("kad-dual=x"), "threshold `x` is not a number");
        assert!(message("kad-pool=0.3,windw=8").contains("it has: budget, window, threshold"));
        assert!(message("kad-pool=0.3,window=1.5").contains("a whole number"));
    }
}
