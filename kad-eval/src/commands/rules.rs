//! `kad rules`: the catalogue of deferral rules, to read, to parse, or as `docs/RULES.md`.

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

/// What `docs/RULES.md` says before its table.
const INTRODUCTION: &str = "\
# Deferral rules

This file is what `kad rules --markdown` prints; a test compares the two.

At each token the base model draws from its distribution `p`. A rule says with which probability `d(y)` the
draw `y` is discarded, and the aligned model draws from its distribution `q*` instead. The token then has the
distribution

```text
π(y) = (1 − d(y)) · p(y) + q*(y) · D,      D = Σ d(y) p(y)
```

- **Ties.** Among tokens of equal probability the lower id counts as the more probable one: it is
  kept longer.
- **Comparisons are strict.** What equals a threshold is kept; what fills a budget exactly fits.
- **Budgets** have a relative slack of 1e-12, so that decimals which add up to the budget fit although
  their sum is rounded.
- **Temperatures.** Rules see both distributions at the decision temperature, with nothing cut; tokens are
  drawn, and `D` is taken, at the sampling temperature.
- `1[…]` is 1 where the condition holds and 0 elsewhere; `max p` is the largest base probability,
  `max q*` the largest aligned one; `U` is the mass of the tokens that fit the budget whole.
- *As it rises* says how the set that is handed over changes with the first parameter; *at T = 0*
  what greedy decoding is when the rule sees the distributions at temperature 0 too, for parameters inside
  their range (at its ends a rule may do otherwise); *in code* is the name in the code that
  accompanies arXiv 2510.27017.

In files a rule is written `{ kind = \"kad-dual\", threshold = 0.4 }`, on the command line
`--rule kad-dual=0.4` or `--rule kad-pool=0.3,window=8`.

";

fn markdown(rules: &[RuleInfo]) -> String {
    let head = "\
| kind | parameters | d(y) | looks at | as it rises | at T = 0 | in code | source |
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
        format!("  looks at    {}", looks_at(rule)),
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
