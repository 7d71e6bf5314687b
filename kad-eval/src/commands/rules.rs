//! `kad rules`: the catalogue of deferral rules, as text, JSON or `docs/RULES.md`.

use anyhow::anyhow;
use kad_core::deferral::{
    GreedyLimit, Monotone, Parameter, RuleInfo, RuleInputs, catalogue, named,
};
use serde_json::{Value, json};

use crate::cli::RulesArgs;
use crate::config::unknown_rule;
use crate::failure::Failure;
use crate::output;

pub(super) fn run(args: &RulesArgs) -> Result<(), Failure> {
    let all = args.kind.is_none();
    let rules = match &args.kind {
        None => catalogue(),
        Some(kind) => {
            let rule = named(kind).ok_or_else(|| Failure::request(unknown_rule(kind)))?;
            std::slice::from_ref(rule)
        }
    };
    let text = if args.markdown {
        let introduction = if all { INTRODUCTION } else { "" };
        format!("{introduction}{}", markdown(rules))
    } else if args.json {
        let objects: Vec<Value> = rules.iter().map(object).collect();
        let whole = serde_json::to_string_pretty(&objects);
        whole.map_err(|error| Failure::Work(anyhow!(error)))? + "\n"
    } else {
        rules.iter().map(paragraph).collect::<Vec<_>>().join("\n")
    };
    Ok(output::print(&text)?)
}

/// The head of `docs/RULES.md`.
const INTRODUCTION: &str = "\
# Deferral rules

This file is the output of `kad rules --markdown`; a test compares the two.

At each position the base model draws a token `y` from its distribution `p`. With the rule's probability `d(y)`,
that draw is discarded and the aligned model draws from its distribution `q*` instead. The resulting token has
the distribution

```text
π(y) = (1 − d(y)) · p(y) + q*(y) · D,      D = Σ d(y) p(y)
```

- **Ties.** Among tokens of equal probability, the lower ID counts as the more probable one and is
  kept longer.
- **Comparisons are strict.** A probability equal to the threshold is kept; a set that fills the budget exactly fits.
- **Budgets** have a relative tolerance of 1e-12, so that decimals that sum to the budget fit despite rounding.
- **Temperatures.** Rules compare the full distributions at the decision temperature. Tokens are drawn, and
  `D` is computed, with the sampling settings.
- `1[…]` is 1 if the condition holds and 0 otherwise; `max p` and `max q*` are the largest base and
  aligned probabilities; `U` is the total probability of the tokens that fit into the budget.
- *As it rises*: change of the deferred set as the first parameter rises. *At T = 0*: result of greedy
  decoding with decision temperature 0, for parameters strictly inside their ranges. *In code*: name in
  the code of arXiv 2510.27017.

Experiment files write a rule as `{ kind = \"kad-dual\", threshold = 0.4 }`, the command line as
`--rule kad-dual=0.4` or `--rule kad-pool=0.3,window=8`.

";

fn markdown(rules: &[RuleInfo]) -> String {
    let head = "\
| kind | parameters | d(y) | inputs | as it rises | at T = 0 | in code | source |
|---|---|---|---|---|---|---|---|
";
    let row = |rule: &RuleInfo| {
        let code = rule.code_name.map_or(String::new(), |name| format!("`{name}`"));
        format!(
            "| `{}` | {} | `{}` | {} | {} | {} | {code} | {} |\n",
            rule.kind,
            parameters(rule).join("; "),
            rule.formula,
            looks_at(rule),
            monotone(rule),
            at_zero(rule),
            rule.source,
        )
    };
    rules.iter().map(row).fold(head.to_owned(), |text, row| text + &row)
}

fn paragraph(rule: &RuleInfo) -> String {
    let parameters = match &parameters(rule)[..] {
        [] => "none".to_owned(),
        some => some.join("\n              "),
    };
    let mut lines = vec![
        rule.kind.to_owned(),
        format!("  d(y)        {}", rule.formula),
        format!("  parameters  {parameters}"),
        format!("  inputs      {}", looks_at(rule)),
        format!("  as it rises {}", monotone(rule)),
        format!("  at T = 0    {}", at_zero(rule)),
    ];
    lines.extend(rule.code_name.map(|name| format!("  in code     {name}")));
    lines.push(format!("  source      {}\n", rule.source));
    lines.join("\n")
}

fn object(rule: &RuleInfo) -> Value {
    let parameter = |p: &Parameter| json!({ "name": p.name, "range": p.range.to_string(), "default": p.default });
    json!({
        "kind": rule.kind,
        "parameters": rule.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "formula": rule.formula,
        "looks_at": looks_at(rule),
        "monotone": monotone(rule),
        "at_zero": at_zero(rule),
        "code_name": rule.code_name,
        "source": rule.source,
    })
}

fn parameters(rule: &RuleInfo) -> Vec<String> {
    let words = |p: &Parameter| match p.default {
        Some(default) => format!("{}: {} (default {default})", p.name, p.range),
        None => format!("{}: {}", p.name, p.range),
    };
    rule.parameters.iter().map(words).collect()
}

fn looks_at(rule: &RuleInfo) -> &'static str {
    match rule.inputs {
        RuleInputs::Base => "base distribution",
        RuleInputs::Both => "both distributions",
        RuleInputs::BaseAndHistory => "base distribution, past masses",
    }
}

fn monotone(rule: &RuleInfo) -> &'static str {
    match rule.monotone {
        Monotone::Grows => "grows",
        Monotone::Shrinks => "shrinks",
        Monotone::No if rule.parameters.is_empty() => "no parameter",
        Monotone::No => "not nested",
    }
}

fn at_zero(rule: &RuleInfo) -> &'static str {
    match rule.greedy_limit {
        GreedyLimit::Base => "base model",
        GreedyLimit::Aligned => "aligned model",
        GreedyLimit::Mixes => "still mixes",
    }
}
