//! Knapsack rules (K3, K4, K6, K7) against a full sort, the dual of the linear program and all
//! subsets.

use kad_core::Distribution;
use kad_core::deferral::{PooledBudget, Rule};
use proptest::prelude::*;

use crate::hard_distributions::{
    distributions, pairs, parameters, seeded_distributions, unit, wide_distributions,
};
use crate::rule_distributions::{decide, rule, spent, total};
use crate::rule_invariances::ranking;

/// Rounding error of sums of a few probabilities, and the slack of a budget.
const ROUNDING: f64 = 1e-12;

/// The kept tokens are the nucleus (K6): the smallest prefix of the full sort with mass at least
/// `1 − b`. The rest fits the budget, and would not fit with the last kept token.
fn keeps_the_nucleus(p: &Distribution, d: &[f64], budget: f64) -> Result<(), String> {
    let order = ranking(p);
    let kept = order.iter().take_while(|&&token| d[token] < 1.0).count();
    if order[kept..].iter().any(|&token| d[token] < 1.0) {
        return Err(format!("budget {budget}: what is kept is no top set"));
    }
    let cut = total(order[kept..].iter().map(|&token| p.probs()[token]));
    let more = kept.checked_sub(1).map_or(f64::INFINITY, |last| cut + p.probs()[order[last]]);
    let fits = cut <= budget * (1.0 + 2.0 * ROUNDING);
    let minimal = more > budget * (1.0 - ROUNDING);
    if fits && minimal { Ok(()) } else { Err(format!("budget {budget} between {cut} and {more}")) }
}

proptest! {
    /// The primal rule's gap (K3, K4): its value is at most the optimum and misses it by at most
    /// `(b − U)(−ln p_c) ≤ −p_c ln p_c ≤ 1/e` with the critical token `c`. The better of the primal
    /// set and `c` alone has at least half the optimum.
    #[test]
    fn k4_the_primal_rule_misses_at_most_the_critical_token(
        p in distributions(), x in unit(), token in 0..10usize,
    ) {
        for budget in parameters(&p, x, token) {
            let d = decide(&rule("kad-primal", budget), &p, &p);
            let (used, greedy) = (spent(&d, &p), worth(&p, d.weights()));
            let best = optimum(&p, budget);
            prop_assert!(greedy <= best + ROUNDING, "{budget}: {greedy} of {best}");
            let kept = p.probs().iter().zip(d.weights()).filter(|(_, d)| **d == 0.0);
            let critical = kept.map(|(&p, _)| p).fold(f64::INFINITY, f64::min);
            if critical <= 1.0 {
                let (missed, most) = ((budget - used) * -critical.ln(), -critical * critical.ln());
                prop_assert!(best - greedy <= missed + ROUNDING, "{budget}: {greedy} of {best}");
                prop_assert!(missed <= most + ROUNDING && most <= (-1f64).exp() + ROUNDING);
                if critical <= budget {
                    prop_assert!(greedy.max(most) >= best / 2.0 - ROUNDING);
                }
            }
        }
    }

    #[test]
    fn k6_the_kept_tokens_are_the_nucleus(p in distributions(), x in unit(), token in 0..10usize) {
        for budget in parameters(&p, x, token) {
            let d = decide(&rule("kad-primal", budget), &p, &p);
            let found = keeps_the_nucleus(&p, d.weights(), budget);
            prop_assert!(found.is_ok(), "{}", found.unwrap_err());
        }
    }

    /// The fractional rule defers the primal rule's set whole (up to sets that fit by rounding),
    /// spends its budget, and has the value of the linear program: the minimum of `L(μ) = μ b + Σ
    /// (v − μ w)₊` over all breakpoints.
    #[test]
    fn the_fractional_rule_solves_the_linear_program(
        p in distributions(), x in unit(), token in 0..10usize,
    ) {
        for budget in parameters(&p, x, token) {
            let d = decide(&rule("kad-fractional", budget), &p, &p);
            prop_assert!((spent(&d, &p) - budget).abs() <= ROUNDING, "{budget}");
            let found = keeps_the_nucleus(&p, d.weights(), budget);
            prop_assert!(found.is_ok(), "{}", found.unwrap_err());
            let breakpoints = p.probs().iter().filter(|p| **p > 0.0).map(|p| -p.ln()).chain([0.0]);
            let bound = breakpoints.map(|price| dual_value(&p, budget, price)).fold(f64::MAX, f64::min);
            let worth = worth(&p, d.weights());
            prop_assert!((worth - bound).abs() < ROUNDING * 1e3, "{budget}: {worth}, not {bound}");
        }
    }

    /// The exact rule reaches the optimum of all subsets (K3).
    #[test]
    fn the_exact_rule_reaches_the_optimum(p in distributions(), x in unit(), token in 0..10usize) {
        for budget in parameters(&p, x, token) {
            let found = worth(&p, decide(&rule("knapsack-exact", budget), &p, &p).weights());
            prop_assert!(found >= optimum(&p, budget) - 2e-9, "{budget}: {found}");
        }
    }

    /// The dual rule is optimal for its mass (K7): no set of that mass has a larger value. At the
    /// critical probability it equals the primal rule except for ties.
    #[test]
    fn k7_the_dual_is_optimal_for_the_mass_it_spends(p in distributions(), x in unit(), token in 0..10usize) {
        for value in parameters(&p, x, token) {
            let dual = decide(&rule("kad-dual", value), &p, &p);
            let best = optimum(&p, spent(&dual, &p));
            prop_assert!((worth(&p, dual.weights()) - best).abs() < ROUNDING, "{value}");
            let primal = decide(&rule("kad-primal", value), &p, &p);
            let kept = p.probs().iter().zip(primal.weights()).filter(|(_, d)| **d == 0.0);
            let critical = kept.map(|(&p, _)| p).fold(f64::INFINITY, f64::min);
            if critical <= 1.0 {
                let dual = decide(&rule("kad-dual", critical), &p, &p);
                for ((&p, dual), primal) in p.probs().iter().zip(dual.weights()).zip(primal.weights()) {
                    prop_assert!(p == critical || dual == primal, "{value}: {p}");
                }
            }
        }
    }

    /// The fallback rule defers a possible token iff the primal rule and the dual rule at `e^(−H)`
    /// both do. Tokens within rounding of the dual's threshold are left out.
    #[test]
    fn the_fallback_rule_is_the_primal_rule_within_the_dual((p, q) in pairs(), budget in unit()) {
        let loss = total(p.probs().iter().zip(q.probs()).filter(|(p, _)| **p > 0.0)
            .map(|(p, q)| -p * q.ln()));
        let threshold = (-loss).exp();
        let clear = |p: f64| p > 0.0 && (p - threshold).abs() > ROUNDING * p;
        let [fallback, primal] =
            ["kad-fallback", "kad-primal"].map(|kind| decide(&rule(kind, budget), &p, &q));
        let dual = decide(&rule("kad-dual", threshold.min(1.0)), &p, &q);
        for y in (0..p.len()).filter(|&y| clear(p.probs()[y])) {
            let both = primal.weights()[y].min(dual.weights()[y]);
            prop_assert_eq!(fallback.weights()[y], both, "H = {}, token {}", loss, y);
        }
    }
}

/// `Σ −p ln p · d` in nats.
fn worth(p: &Distribution, d: &[f64]) -> f64 {
    let value = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    total(p.probs().iter().zip(d).map(|(&p, d)| d * value(p)))
}

/// `L(μ) = μ b + Σ p (−ln p − μ)₊`.
fn dual_value(p: &Distribution, budget: f64, price: f64) -> f64 {
    let gain = |&p: &f64| if p > 0.0 { p * (-p.ln() - price).max(0.0) } else { 0.0 };
    price * budget + total(p.probs().iter().map(gain))
}

/// The optimum of the 0-1 knapsack by all subsets; a set fits with one rounding to spare.
fn optimum(p: &Distribution, budget: f64) -> f64 {
    let subsets = (0u32..1 << p.len()).map(|bits| {
        let d: Vec<f64> = (0..p.len()).map(|i| f64::from(bits >> i & 1)).collect();
        let used: f64 = p.probs().iter().zip(&d).map(|(p, d)| d * p).sum();
        if used <= budget * (1.0 + 1e-15) { worth(p, &d) } else { 0.0 }
    });
    subsets.fold(0.0, f64::max)
}

/// The nucleus (K6) of long distributions with mostly tiny probabilities.
#[test]
fn k6_the_nucleus_of_a_wide_distribution() {
    for (name, p) in wide_distributions() {
        for budget in [0.0, 1e-9, 0.1, 0.5, 0.999] {
            for kind in ["kad-primal", "kad-fractional"] {
                let d = decide(&rule(kind, budget), &p, &p);
                let found = keeps_the_nucleus(&p, d.weights(), budget);
                assert!(found.is_ok(), "{kind} on {name}: {}", found.unwrap_err());
            }
        }
    }
}

/// The pool with windows of one token and threshold 1 is the primal rule.
#[test]
fn a_pool_of_one_token_is_the_primal_rule() {
    for p in seeded_distributions(200, 7, 5) {
        for budget in [0.0, 0.05, 0.3, 0.7, 0.999] {
            let pool = Rule::history(PooledBudget::new(budget, 1.0, 1.0).unwrap());
            let [pool, primal] = [pool, rule("kad-primal", budget)].map(|r| decide(&r, &p, &p));
            assert_eq!(pool.weights(), primal.weights(), "{budget}");
        }
    }
}

/// A token with `−ln p(y) = H` has value 0 and is kept.
#[test]
fn the_fallback_rule_keeps_a_token_of_value_zero() {
    let even = Distribution::from_probs(vec![0.5, 0.5]).unwrap();
    assert_eq!(decide(&rule("kad-fallback", 0.5), &even, &even).weights(), [0.0, 0.0]);
}
