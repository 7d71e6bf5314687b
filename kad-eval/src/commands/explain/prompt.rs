//! The deferral decision about the next token after a prompt.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use kad_backends::Source;
use kad_core::deferral::{Deferral, Rule};
use kad_core::{Certificate, Distribution, LanguageModel, LogitRows, Sampling, TokenId};
use serde_json::json;

use super::BudgetOf;
use crate::cli::ExplainArgs;
use crate::commands::plan;
use crate::commands::shared::{number_row, prompt_tokens};
use crate::config::{DecoderKind, Execution, RulePlan, SamplingPlan};
use crate::failure::Failure;
use crate::models::{self, Model};
use crate::output;

pub(super) struct PromptArgs<'a> {
    pub(super) args: &'a ExplainArgs,
    pub(super) text: &'a str,
    pub(super) base: &'a Source,
    pub(super) aligned: &'a Source,
    pub(super) rule: &'a RulePlan,
}

pub(super) fn run(asked: &PromptArgs<'_>) -> Result<(), Failure> {
    let (sampling, decision) = sampling(asked).map_err(Failure::Request)?;
    let kind = DecoderKind::Deferral {
        base: "base".to_owned(),
        aligned: "aligned".to_owned(),
        rule: asked.rule.clone(),
        execution: Execution::Lazy,
    };
    let engine = &asked.args.engine;
    let plans = [("base", asked.base), ("aligned", asked.aligned)];
    let plans: BTreeMap<String, _> =
        plans.map(|(name, source)| (name.to_owned(), plan(source, engine))).into();
    let models = models::load_all(&plans, std::iter::once(&kind))?;
    models::check_shared(&kind, &models)?;
    let system = asked.args.system.as_deref();
    let tokens = prompt_tokens((&kind, &models), (asked.args.chat, system), asked.text)?;
    if tokens.is_empty() {
        return Err(Failure::request(anyhow!("the prompt is empty: give one as PROMPT")));
    }
    let rows = [next_row(&models["base"], &tokens)?, next_row(&models["aligned"], &tokens)?];
    let drawn = distributions(&rows, sampling)?;
    let seen = distributions(&rows, decision)?;
    if asked.args.dump {
        let [p, q] = &drawn;
        let request = json!({ "p": p.probs(), "q": q.probs(), "rule": asked.rule });
        return Ok(output::line(&request.to_string())?);
    }
    let explained = Explained::new(drawn, &seen, asked.rule.rule());
    Ok(print(asked, &explained, &models["aligned"])?)
}

fn sampling(asked: &PromptArgs<'_>) -> Result<(Sampling, Sampling)> {
    let ExplainArgs { temperature, decision_temperature, dump, .. } = asked.args;
    if *dump && temperature != decision_temperature {
        return Err(anyhow!(
            "--dump writes one pair of distributions, but --temperature is {temperature} and \
             --decision-temperature {decision_temperature}: give both the same"
        ));
    }
    let plan = SamplingPlan {
        temperature: *temperature,
        decision_temperature: *decision_temperature,
        ..SamplingPlan::default()
    };
    Ok((plan.sampling()?, plan.decision()?))
}

fn next_row(model: &Model, tokens: &[TokenId]) -> Result<LogitRows> {
    let mut rows = LogitRows::new(model.counted.vocab().size());
    model.counted.start()?.extend(tokens, 1, &mut rows)?;
    Ok(rows)
}

fn distributions(rows: &[LogitRows; 2], sampling: Sampling) -> Result<[Distribution; 2]> {
    let distribution = |name: &str, rows: &LogitRows| -> Result<Distribution> {
        let mut distribution = Distribution::default();
        let made = sampling.distribution(rows.row(0), &[], &mut distribution);
        made.with_context(|| format!("model `{name}` returned unusable logits"))?;
        Ok(distribution)
    };
    Ok([distribution("base", &rows[0])?, distribution("aligned", &rows[1])?])
}

/// A decision with two certificates: at the sampling temperature and at the decision temperature.
struct Explained {
    drawn: [Distribution; 2],
    weights: Vec<f64>,
    budget_of: BudgetOf,
    distribution: Certificate,
    knapsack: Certificate,
}

impl Explained {
    fn new(drawn: [Distribution; 2], seen: &[Distribution; 2], rule: &Rule) -> Self {
        let mut decision = Deferral::default();
        rule.decide(&seen[0], &seen[1], &mut decision);
        let budget = rule.budget();
        Self {
            distribution: Certificate::new(&drawn[0], &drawn[1], &decision, budget),
            knapsack: Certificate::new(&seen[0], &seen[1], &decision, budget),
            weights: decision.weights().to_vec(),
            drawn,
            budget_of: BudgetOf::rule(rule),
        }
    }

    /// The tokens of the largest probability under `p`, `q*` or `π`; among equals the lower IDs.
    fn likeliest(&self, n: usize) -> Vec<usize> {
        let largest = |token: usize| {
            let distributions = [&self.drawn[0], &self.drawn[1], &self.distribution.mixture];
            distributions
                .map(|distribution| distribution.probs()[token])
                .into_iter()
                .fold(0.0, f64::max)
        };
        let mut order: Vec<(f64, usize)> =
            (0..self.weights.len()).map(|t| (largest(t), t)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        order.into_iter().take(n).map(|(_, token)| token).collect()
    }

    fn table(&self, n: usize, model: &Model) -> Table {
        let mut table = crate::report::table::empty(UTF8_FULL_CONDENSED);
        table.set_header(["token", "id", "p", "q*", "d", "π"]);
        for token in self.likeliest(n) {
            let [p, q] = self.drawn.each_ref().map(|distribution| distribution.probs()[token]);
            let numbers = [p, q, self.weights[token], self.distribution.mixture.probs()[token]];
            let numbers = numbers.map(|number| format!("{number:.5}"));
            let text = format!("{:?}", model.tokenizer.token_text(token as TokenId));
            table.add_row(number_row(&text, [token.to_string()].into_iter().chain(numbers)));
        }
        table
    }

    /// Name, number and meaning of each line.
    fn lines(&self) -> Vec<(&'static str, String, &'static str)> {
        let (drawn, seen) = (&self.distribution, &self.knapsack);
        let budget = match self.budget_of {
            BudgetOf::Rule => "largest deferral mass allowed, at the decision temperature",
            BudgetOf::MassSpent => {
                "deferral mass spent, at the decision temperature: no budget in the rule"
            }
        };
        let lines = [
            ("D", drawn.mass, "deferral mass: probability that the base model's token is deferred"),
            ("budget", seen.budget, budget),
            ("value", seen.value, "Σ d · (−p ln p), nats: surprisal deferred"),
            ("greedy", seen.greedy, "value of the greedy (primal) solution with this budget"),
            ("LP", seen.linear, "upper bound: value of the fractional optimum with this budget"),
            ("dual", seen.dual, "the same bound from the dual problem"),
            ("multiplier", seen.multiplier, "μ, nats per unit of budget; threshold α = e^(−μ)"),
            ("gap", seen.gap, "LP − greedy: largest possible loss of the greedy solution"),
            ("shortfall", seen.shortfall(), SHORTFALL),
            ("TV(π, p)", drawn.tv_base, "total variation distance from the base distribution"),
            ("TV(π, q*)", drawn.tv_aligned, TV_ALIGNED),
            ("acceptance", drawn.acceptance, ACCEPTANCE),
        ];
        let mut lines =
            lines.map(|(name, it, meaning)| (name, format!("{it:.6}"), meaning)).to_vec();
        let deferred = self.weights.iter().filter(|d| **d > 0.0).count();
        let of_all = format!("{deferred} of {}", self.weights.len());
        lines.insert(1, ("tokens deferred", of_all, "tokens with d > 0"));
        lines
    }
}

const TV_ALIGNED: &str = "total variation distance from the aligned distribution";
const ACCEPTANCE: &str = "probability that a token drafted from q* is accepted";
const SHORTFALL: &str =
    "LP − value: largest possible loss against the best decision with this budget";

fn print(asked: &PromptArgs<'_>, explained: &Explained, model: &Model) -> std::io::Result<()> {
    let ExplainArgs { temperature, decision_temperature, top, .. } = asked.args;
    output::line(&format!("{}, next token at temperature {temperature}", asked.rule))?;
    if temperature != decision_temperature {
        let at = "the rule, and budget to shortfall, use the distributions at decision temperature";
        output::line(&format!("{at} {decision_temperature}"))?;
    }
    output::line(&explained.table(*top, model).to_string())?;
    for (name, number, meaning) in explained.lines() {
        output::line(&format!("{name:<16}{number:>16}  {meaning}"))?;
    }
    Ok(())
}
