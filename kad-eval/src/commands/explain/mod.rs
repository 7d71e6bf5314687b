//! `kad explain`: the numbers behind one deferral decision.

mod prompt;
mod request;

use std::path::Path;

use anyhow::anyhow;
use kad_core::deferral::{Deferral, Rule};
use kad_core::{Certificate, Distribution, TokenId};
use serde::Serialize;

use crate::cli::ExplainArgs;
use crate::failure::Failure;
use crate::output;

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    match (&args.json, &args.prompt, &args.base, &args.aligned, &args.rule) {
        (Some(file), ..) => answer_all(file),
        (None, Some(text), Some(base), Some(aligned), Some(rule)) => {
            let asked = prompt::PromptArgs { args, text, base, aligned, rule };
            prompt::run(&asked)
        }
        _ => {
            let message = "give --base, --aligned, --rule and a PROMPT, or --json FILE";
            Err(Failure::request(anyhow!(message)))
        }
    }
}

/// Answers each decision in `file` with a line, as soon as it is read.
fn answer_all(file: &Path) -> Result<(), Failure> {
    let mut answered = 0;
    for decision in request::read(file)? {
        let request::Decision { base, aligned, rule } = decision?;
        let answer = serde_json::to_string(&Answer::of(&base, &aligned, rule.rule()));
        output::line(&answer.map_err(|error| Failure::Work(anyhow!(error)))?)?;
        answered += 1;
    }
    if answered == 0 {
        let message = "no decision given: write {\"p\": […], \"q\": […], \"rule\": {\"kind\": …}}";
        return Err(Failure::request(anyhow!("{}: {message}", request::name(file))));
    }
    Ok(())
}

#[derive(Serialize)]
struct Answer {
    /// Tokens that are always deferred, `d = 1`.
    deferred: Vec<TokenId>,
    /// Tokens that are deferred with a probability, `0 < d < 1`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fractional: Vec<Fractional>,
    mass: f64,
    /// Budget of the numbers from `value` to `shortfall`, and its origin.
    budget: f64,
    budget_of: BudgetOf,
    value: f64,
    greedy: f64,
    lp: f64,
    dual: f64,
    multiplier: f64,
    gap: f64,
    shortfall: f64,
    tv_base: f64,
    tv_aligned: f64,
    acceptance: f64,
    mixture: Vec<f64>,
}

/// Origin of a certificate's budget.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum BudgetOf {
    Rule,
    /// The deferral mass of the decision, because the rule has no budget.
    MassSpent,
}

impl BudgetOf {
    fn rule(rule: &Rule) -> Self {
        if rule.budget().is_some() { Self::Rule } else { Self::MassSpent }
    }
}

#[derive(Serialize)]
struct Fractional {
    id: TokenId,
    weight: f64,
}

impl Answer {
    fn of(base: &Distribution, aligned: &Distribution, rule: &Rule) -> Self {
        let mut decision = Deferral::default();
        rule.decide(base, aligned, &mut decision);
        let account = Certificate::new(base, aligned, &decision, rule.budget());
        let weights = || (0..).zip(decision.weights().iter().copied());
        let partly = weights().filter(|(_, weight)| *weight > 0.0 && *weight < 1.0);
        Self {
            deferred: weights().filter(|(_, weight)| *weight >= 1.0).map(|(id, _)| id).collect(),
            fractional: partly.map(|(id, weight)| Fractional { id, weight }).collect(),
            mass: account.mass,
            budget: account.budget,
            budget_of: BudgetOf::rule(rule),
            value: account.value,
            greedy: account.greedy,
            lp: account.linear,
            dual: account.dual,
            multiplier: account.multiplier,
            gap: account.gap,
            shortfall: account.shortfall(),
            tv_base: account.tv_base,
            tv_aligned: account.tv_aligned,
            acceptance: account.acceptance,
            mixture: account.mixture.probs().to_vec(),
        }
    }
}
