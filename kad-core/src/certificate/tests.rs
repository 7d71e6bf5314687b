//! Certificates against the mixture's closed forms and against all subsets.

use proptest::prelude::*;

use super::*;
use crate::deferral::{BaseRule, KadDual, KadPrimal, Nudging, RandomDeferral};
use crate::knapsack::{ExactLimits, exact};

/// Rounding of a few sums of numbers of order 1.
const ROUNDING: f64 = 1e-12;

fn distribution(weights: Vec<f64>) -> Distribution {
    let total: f64 = weights.iter().sum();
    Distribution::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
}

/// Two distributions over the same 1 to 12 tokens, with impossible and tied ones.
fn pairs() -> impl Strategy<Value = (Distribution, Distribution)> {
    let weight =
        || prop_oneof![1 => Just(0.0), 2 => (1..4u8).prop_map(f64::from), 5 => 1e-6..3.0f64];
    proptest::collection::vec((weight(), weight()), 1..=12)
        .prop_map(|pairs| pairs.into_iter().unzip())
        .prop_filter("both are possible", |(p, q): &(Vec<f64>, Vec<f64>)| {
            p.iter().sum::<f64>() > 0.0 && q.iter().sum::<f64>() > 0.0
        })
        .prop_map(|(p, q)| (distribution(p), distribution(q)))
}

fn decide(rule: impl BaseRule, base: &Distribution) -> Deferral {
    let mut decision = Deferral::default();
    rule.decide(base, &mut decision);
    decision
}

/// The identities that hold for any rule that decides 0 or 1 (A10, K1), by their closed forms.
fn check_mixture(
    told: &Certificate,
    p: &Distribution,
    q: &Distribution,
    d: &Deferral,
) -> Result<(), TestCaseError> {
    let (p, q, d) = (p.probs(), q.probs(), d.weights());
    let mass: f64 = p.iter().zip(d).map(|(p, d)| p * d).sum();
    prop_assert!((told.mass - mass).abs() < ROUNDING);
    let mut acceptance = mass;
    let mut to_base = 0.0;
    for y in 0..p.len() {
        let kept = if d[y] == 0.0 { p[y] } else { 0.0 };
        prop_assert!((told.mixture.probs()[y] - (kept + mass * q[y])).abs() < ROUNDING);
        // a = D + Σ_{d = 0} min((1 − D) q*, p)
        acceptance += if d[y] == 0.0 { p[y].min((1.0 - mass) * q[y]) } else { 0.0 };
        // TV(π, p) = ½ Σ |D q* − d p|
        to_base += 0.5 * (mass * q[y] - d[y] * p[y]).abs();
    }
    prop_assert!((told.acceptance - acceptance).abs() < ROUNDING);
    prop_assert!((told.tv_aligned - (1.0 - acceptance)).abs() < ROUNDING);
    prop_assert!((told.tv_base - to_base).abs() < ROUNDING);
    prop_assert!(told.tv_base <= mass + ROUNDING && told.tv_aligned <= 1.0 - mass + ROUNDING);
    Ok(())
}

fn check_bounds(told: &Certificate) -> Result<(), TestCaseError> {
    let scale = ROUNDING * (1.0 + told.linear);
    prop_assert!((told.dual - told.linear).abs() < scale);
    prop_assert!((told.linear - told.greedy - told.gap).abs() < ROUNDING);
    prop_assert!((0.0..=(-1f64).exp() + ROUNDING).contains(&told.gap));
    prop_assert!(told.value <= told.linear + scale);
    prop_assert!((told.shortfall() - (told.linear - told.value)).abs() < scale);
    Ok(())
}

proptest! {
    /// The primal rule's value is the greedy one, and the optimum is within the certified gap.
    #[test]
    fn the_primal_rule_is_certified((p, q) in pairs(), budget in 0.0..=1.0f64) {
        let decision = decide(KadPrimal::new(budget).unwrap(), &p);
        let told = Certificate::new(&p, &q, &decision, Some(budget));
        check_mixture(&told, &p, &q, &decision)?;
        check_bounds(&told)?;
        prop_assert!((told.value - told.greedy).abs() < ROUNDING);
        prop_assert!((told.budget - budget).abs() < ROUNDING);
        let best = exact(&Items::surprisal(&p), budget, &ExactLimits::default());
        prop_assert!(best.proved && best.value - told.value <= told.gap + ROUNDING);
    }

    /// K7: a threshold spends its mass as well as it can be spent.
    #[test]
    fn the_dual_rule_has_no_shortfall((p, q) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(KadDual::new(threshold).unwrap(), &p);
        let told = Certificate::new(&p, &q, &decision, None);
        check_mixture(&told, &p, &q, &decision)?;
        check_bounds(&told)?;
        prop_assert!((told.budget - told.mass).abs() < ROUNDING);
        prop_assert!(told.shortfall() < ROUNDING && told.gap < ROUNDING);
        // The multiplier is the surprisal of the first token that is kept: at most −ln α.
        prop_assert!(threshold == 0.0 || told.multiplier <= -threshold.ln() + ROUNDING);
    }

    /// A coin at rate r spends r for r of the entropy; its mixture is (1 − r) p + r q*.
    #[test]
    fn a_fractional_rule_is_told_as_it_is((p, q) in pairs(), rate in 0.0..=1.0f64) {
        let decision = decide(RandomDeferral::new(rate).unwrap(), &p);
        let told = Certificate::new(&p, &q, &decision, None);
        check_bounds(&told)?;
        let entropy: f64 = p.probs().iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        prop_assert!((told.value - rate * entropy).abs() < ROUNDING);
        prop_assert!((told.tv_base - rate * p.total_variation(&q)).abs() < ROUNDING);
        let distance = (1.0 - rate) * p.total_variation(&q);
        prop_assert!((told.acceptance - (1.0 - distance)).abs() < ROUNDING);
    }

    /// K10: with p = q*, `a = D + (1 − D)²` and `TV(π, p) = D (1 − D)`.
    #[test]
    fn deferring_to_oneself_is_not_nothing((p, _) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(KadDual::new(threshold).unwrap(), &p);
        let told = Certificate::new(&p, &p, &decision, None);
        let mass = told.mass;
        prop_assert!((told.acceptance - (mass + (1.0 - mass).powi(2))).abs() < ROUNDING);
        prop_assert!((told.tv_base - mass * (1.0 - mass)).abs() < ROUNDING);
        prop_assert_eq!(told.tv_base, told.tv_aligned);
    }

    /// Nudging is all or nothing: one of the two distributions, and no bound is missed by either.
    #[test]
    fn nudging_is_one_of_the_two_distributions((p, q) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(Nudging::new(threshold).unwrap(), &p);
        let told = Certificate::new(&p, &q, &decision, None);
        check_bounds(&told)?;
        prop_assert!(told.shortfall() < ROUNDING);
        let nearer = told.tv_base.min(told.tv_aligned);
        prop_assert!(nearer < ROUNDING);
        prop_assert!((told.tv_base.max(told.tv_aligned) - p.total_variation(&q)).abs() < ROUNDING);
    }
}

/// The values of the theory's example: acceptance is not monotone in the budget.
#[test]
fn acceptance_falls_and_rises_with_the_budget() {
    let p = distribution(vec![0.5, 0.3, 0.2]);
    for (budget, acceptance) in [(0.0, 1.0), (0.2, 0.84), (0.5, 0.75), (1.0, 1.0)] {
        let decision = decide(KadPrimal::new(budget).unwrap(), &p);
        let told = Certificate::new(&p, &p, &decision, Some(budget));
        assert!((told.acceptance - acceptance).abs() < ROUNDING, "b = {budget}: {told:?}");
    }
}

/// A distribution may sum to 1 + 1e-9; a budget of 1 still admits all of it. Bad budgets count as
/// 0.
#[test]
fn the_ends_of_the_budget() {
    let p = Distribution::from_probs(vec![0.6, 0.4 + 9e-10]).unwrap();
    let decision = decide(KadPrimal::new(1.0).unwrap(), &p);
    let told = Certificate::new(&p, &p, &decision, Some(1.0));
    assert_eq!((told.gap, told.multiplier), (0.0, 0.0));
    assert!(told.shortfall() < ROUNDING && told.mass == 1.0);
    let none = decide(KadPrimal::new(0.0).unwrap(), &p);
    for bad in [f64::NAN, -1.0] {
        let told = Certificate::new(&p, &p, &none, Some(bad));
        assert_eq!((told.budget, told.greedy, told.linear, told.dual), (0.0, 0.0, 0.0, 0.0));
    }
}
