//! The deferral rules of a decoder. They are built before it, because it borrows them.

use anyhow::{Context, Result};
use kad_core::deferral::Rule;

use crate::config::{DecoderKind, RulePlan};

/// The rules of one decoder, each once.
pub(crate) struct Rules(Vec<(RulePlan, Rule)>);

impl Rules {
    /// The rules of `kind`: none for a single model, several for a chain of mixtures. A parameter out
    /// of range is an error; a checked plan has none.
    pub(crate) fn of(kind: &DecoderKind) -> Result<Self> {
        let mut rules: Vec<(RulePlan, Rule)> = Vec::new();
        for plan in kind.rules() {
            if !rules.iter().any(|(other, _)| other == plan) {
                rules.push((plan.clone(), plan.build()?));
            }
        }
        Ok(Self(rules))
    }

    /// The rule that `plan` describes; an error if the decoder has no such rule.
    pub(crate) fn rule(&self, plan: &RulePlan) -> Result<&Rule> {
        let found = self.0.iter().find(|(other, _)| other == plan);
        let (_, rule) = found.with_context(|| format!("{plan} is no rule of this decoder"))?;
        Ok(rule)
    }
}
