//! The catalogue against the code: formula, inputs, greedy limit and parameter ranges of every
//! rule.

use std::collections::BTreeSet;
use std::ops::Bound;

use kad_core::Distribution;
use kad_core::deferral::{
    GreedyLimit, Parameter, ParameterRange, Rule, RuleInfo, RuleInputs, catalogue, named,
};
use kad_core::mixture::mix;
use proptest::prelude::*;

use crate::hard_distributions::{pairs, parameters, seeded_distributions, unit};
use crate::rule_distributions::{decide, rule};

/// `d` of one token, from `p(y)`, `q*(y)`, `max p`, `max q*`, `TV(p, q*)` and the parameter `x`:
/// the formulas of the papers, written again. Rules that solve a knapsack have none.
fn formula(kind: &str, at: At) -> Option<bool> {
    let At { p, q, max_p, max_q, tv, x } = at;
    Some(match kind {
        "never" => false,
        "always" => true,
        "nudging" => max_p < x,
        "kad-dual" => p < x,
        "confidence-bet" => p < max_q - x,
        "aggressive-bet" => p < max_q + x,
        "aligned-below" => q < max_p + x,
        "aligned-above" => q > max_p + x,
        "token-v2" => p < max_p - x,
        "token-v3" => p < (1.0 - x) * max_p,
        "argmax-only" => p < max_p,
        "chow" => max_p < 1.0 - x,
        "difference" => max_p < max_q - x,
        "optimal-cascade" => max_p < max_q - x * tv,
        "cascade-token-v2" => q < max_q - x,
        "cascade-token-v3" => q < (1.0 - x) * max_q,
        // At the first token the threshold is the default, for every target.
        "kad-steered" => p < 0.5,
        _ => return None,
    })
}

#[derive(Clone, Copy)]
struct At {
    p: f64,
    q: f64,
    max_p: f64,
    max_q: f64,
    tv: f64,
    x: f64,
}

/// Rules without such a formula, each with the test that defines it.
const SOLVERS: [&str; 6] = [
    "random",         // here, below
    "kad-primal",     // k6_the_kept_tokens_are_the_nucleus
    "kad-fractional", // the_fractional_rule_solves_the_linear_program
    "knapsack-exact", // the_exact_rule_reaches_the_optimum
    "kad-fallback",   // the_fallback_rule_is_the_primal_rule_within_the_dual
    "kad-pool",       // a_pool_of_one_token_is_the_primal_rule
];

proptest! {
    #[test]
    fn every_rule_matches_its_formula((p, q) in pairs(), x in unit(), token in 0..10usize) {
        let largest = |distribution: &Distribution| distribution.probs().iter().copied().fold(0.0, f64::max);
        let (max_p, max_q) = (largest(&p), largest(&q));
        let apart = |(p, q): (&f64, &f64)| (p - q).abs();
        let tv = p.probs().iter().zip(q.probs()).map(apart).sum::<f64>() / 2.0;
        for info in catalogue() {
            for x in parameters(&p, x, token) {
                let d = decide(&info.with(x).unwrap(), &p, &q);
                for (y, &d) in d.weights().iter().enumerate() {
                    let at = At { p: p.probs()[y], q: q.probs()[y], max_p, max_q, tv, x };
                    let Some(wanted) = formula(info.kind, at) else {
                        prop_assert!(SOLVERS.contains(&info.kind), "{} is untested", info.kind);
                        continue;
                    };
                    prop_assert_eq!(d, f64::from(u8::from(wanted)), "{} {}", info.kind, x);
                }
            }
        }
        let random = decide(&rule("random", x), &p, &q);
        prop_assert!(random.weights().iter().all(|&d| d == x));
    }

    /// Rules that state the base distribution as their input decide the same for every aligned
    /// distribution.
    #[test]
    fn base_rules_ignore_the_aligned_distribution((p, q) in pairs(), x in unit()) {
        for info in catalogue().iter().filter(|info| info.inputs != RuleInputs::Both) {
            let rule = info.with(x).unwrap();
            let (one, other) = (decide(&rule, &p, &q), decide(&rule, &p, &p));
            prop_assert_eq!(one.weights(), other.weights(), "{}", info.kind);
        }
    }
}

/// The stated inputs match the variant of `Rule`, and rules for both distributions depend on both.
#[test]
fn rules_read_exactly_the_inputs_they_state() {
    let distributions = seeded_distributions(300, 4, 3);
    for info in catalogue() {
        let rule = info.with(0.1).unwrap();
        let variant = match rule {
            Rule::Base(_) => RuleInputs::Base,
            Rule::Pair(_) => RuleInputs::Both,
            Rule::History(_) => RuleInputs::BaseAndHistory,
        };
        assert_eq!(variant, info.inputs, "{}", info.kind);
        let sees = distributions.chunks(3).any(|distributions| {
            let [one, other] = [1, 2].map(|q| decide(&rule, &distributions[0], &distributions[q]));
            one.weights() != other.weights()
        });
        assert_eq!(sees, info.inputs == RuleInputs::Both, "{}", info.kind);
    }
}

/// The base distribution is one-hot at token 1, the aligned distribution at token 2.
#[test]
fn greedy_limits_are_as_stated() {
    let [p, q] = [1, 2].map(|at| {
        Distribution::from_probs((0..4).map(|y| f64::from(u8::from(y == at))).collect()).unwrap()
    });
    for info in catalogue() {
        let mut pi = Distribution::default();
        mix(&p, &q, &decide(&info.with(0.35).unwrap(), &p, &q), &mut pi);
        let found = match pi.probs() {
            probs if probs == p.probs() => GreedyLimit::Base,
            probs if probs == q.probs() => GreedyLimit::Aligned,
            _ => GreedyLimit::Mixes,
        };
        assert_eq!(found, info.greedy_limit, "{}: {:?}", info.kind, pi.probs());
    }
}

/// Values just inside and just outside of a range, at each of its ends.
fn edges(range: ParameterRange) -> (Vec<f64>, Vec<f64>) {
    let (mut inside, mut outside) = (vec![], vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    if range.is_whole() {
        outside.push(1.5);
    } else {
        inside.push(0.35);
    }
    match range.low() {
        Bound::Included(low) => {
            inside.push(low);
            outside.extend([low.next_down(), low - 1.0]);
        }
        Bound::Excluded(low) => {
            inside.push(low.next_up());
            outside.extend([low, low - 1.0]);
        }
        Bound::Unbounded => inside.push(-1e9),
    }
    match range.high() {
        Bound::Included(high) => {
            inside.push(high);
            outside.extend([high.next_up(), high + 1.0]);
        }
        Bound::Excluded(high) => {
            inside.push(high.next_down());
            outside.extend([high, high + 1.0]);
        }
        Bound::Unbounded => inside.push(1e9),
    }
    (inside, outside)
}

fn build(info: &RuleInfo, index: usize, value: f64) -> Result<Rule, String> {
    let values = info.parameters.iter().enumerate();
    let values = values.map(|(i, p)| if i == index { value } else { p.default.unwrap_or(0.35) });
    (info.build)(&values.collect::<Vec<_>>()).map_err(|error| error.to_string())
}

/// Values outside the stated range are refused, NaN included; the message names rule, parameter and
/// range. Values inside are accepted.
#[test]
fn parameter_ranges_are_enforced_as_listed() {
    for info in catalogue() {
        for (index, parameter) in info.parameters.iter().enumerate() {
            let (inside, outside) = edges(parameter.range);
            for value in inside {
                build(info, index, value).unwrap();
            }
            // No parameter of any rule may be negative.
            for value in outside.into_iter().chain([-0.1, -f64::MIN_POSITIVE]) {
                let error = build(info, index, value).expect_err(info.kind);
                let Parameter { name, range, .. } = parameter;
                let wanted = format!("{name} = {value} of {} is out of range: {range}", info.kind);
                assert_eq!(error, wanted);
            }
            if let Some(default) = parameter.default {
                build(info, index, default).unwrap();
            }
        }
    }
}

/// `Display` shows the words of the kind and all parameters; kinds are unique and found by name.
#[test]
fn rules_are_displayed_under_their_kind() {
    let kinds: BTreeSet<_> = catalogue().iter().map(|info| info.kind).collect();
    assert_eq!(kinds.len(), catalogue().len());
    assert!(named("no-such-rule").is_none());
    for info in catalogue() {
        assert_eq!(named(info.kind).unwrap().formula, info.formula);
        let printed = info.with(0.35).unwrap().to_string();
        let words = info.kind.replace('-', " ");
        assert!(printed.to_lowercase().starts_with(&words), "{}: {printed}", info.kind);
        for parameter in info.parameters {
            let value = parameter.default.unwrap_or(0.35);
            let shown = format!(", {} {value}", parameter.name);
            assert!(printed.contains(&shown), "{}: {printed}", info.kind);
        }
    }
}
