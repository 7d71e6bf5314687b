//! Certificates against closed forms of the mixture and against all subsets.

use proptest::prelude::*;

use super::*;
use crate::deferral::{BaseRule, KadDual, KadPrimal, Nudging, RandomDeferral};
use crate::knapsack::{ExactLimits, exact};

/// Rounding error of a few sums of numbers of order 1.
const ROUNDING: f64 = 1e-12;

fn distribution(weights: Vec<f64>) -> Distribution {
    let total: f64 = weights.iter().sum();
    Distribution::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
}

/// Two distributions over the same 1 to 12 tokens, with zeros and ties.
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

/// Identities of any 0-1 decision, in closed form: acceptance rate (A10), mixture (K1).
fn check_mixture(
    certificate: &Certificate,
    p: &Distribution,
    q: &Distribution,
    d: &Deferral,
) -> Result<(), TestCaseError> {
    let (p, q, d) = (p.probs(), q.probs(), d.weights());
    let mass: f64 = p.iter().zip(d).map(|(p, d)| p * d).sum();
    prop_assert!((certificate.mass - mass).abs() < ROUNDING);
    let mut acceptance = mass;
    let mut to_base = 0.0;
    for y in 0..p.len() {
        let kept = if d[y] == 0.0 { p[y] } else { 0.0 };
        prop_assert!((certificate.mixture.probs()[y] - (kept + mass * q[y])).abs() < ROUNDING);
        // a = D + Σ_{d = 0} min((1 − D) q*, p)
        acceptance += if d[y] == 0.0 { p[y].min((1.0 - mass) * q[y]) } else { 0.0 };
        // TV(π, p) = ½ Σ |D q* − d p|
        to_base += 0.5 * (mass * q[y] - d[y] * p[y]).abs();
    }
    prop_assert!((certificate.acceptance - acceptance).abs() < ROUNDING);
    prop_assert!((certificate.tv_aligned - (1.0 - acceptance)).abs() < ROUNDING);
    prop_assert!((certificate.tv_base - to_base).abs() < ROUNDING);
    prop_assert!(
        certificate.tv_base <= mass + ROUNDING && certificate.tv_aligned <= 1.0 - mass + ROUNDING
    );
    Ok(())
}

fn check_bounds(certificate: &Certificate) -> Result<(), TestCaseError> {
    let scale = ROUNDING * (1.0 + certificate.linear);
    prop_assert!((certificate.dual - certificate.linear).abs() < scale);
    prop_assert!((certificate.linear - certificate.greedy - certificate.gap).abs() < ROUNDING);
    prop_assert!((0.0..=(-1f64).exp() + ROUNDING).contains(&certificate.gap));
    prop_assert!(certificate.value <= certificate.linear + scale);
    prop_assert!(
        (certificate.shortfall() - (certificate.linear - certificate.value)).abs() < scale
    );
    Ok(())
}

proptest! {
    /// The primal rule has the greedy value, and the optimum is within the certified gap.
    #[test]
    fn the_primal_rule_is_certified((p, q) in pairs(), budget in 0.0..=1.0f64) {
        let decision = decide(KadPrimal::new(budget).unwrap(), &p);
        let certificate = Certificate::new(&p, &q, &decision, Some(budget));
        check_mixture(&certificate, &p, &q, &decision)?;
        check_bounds(&certificate)?;
        prop_assert!((certificate.value - certificate.greedy).abs() < ROUNDING);
        prop_assert!((certificate.budget - budget).abs() < ROUNDING);
        let best = exact(&Items::surprisal(&p), budget, &ExactLimits::default());
        prop_assert!(best.proved && best.value - certificate.value <= certificate.gap + ROUNDING);
    }

    /// The dual rule spends its mass optimally (K7).
    #[test]
    fn the_dual_rule_has_no_shortfall((p, q) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(KadDual::new(threshold).unwrap(), &p);
        let certificate = Certificate::new(&p, &q, &decision, None);
        check_mixture(&certificate, &p, &q, &decision)?;
        check_bounds(&certificate)?;
        prop_assert!((certificate.budget - certificate.mass).abs() < ROUNDING);
        prop_assert!(certificate.shortfall() < ROUNDING && certificate.gap < ROUNDING);
        // The multiplier is the surprisal of the first kept token: at most −ln α.
        prop_assert!(threshold == 0.0 || certificate.multiplier <= -threshold.ln() + ROUNDING);
    }

    /// A random rule with rate r gains the fraction r of the entropy; its mixture is
    /// (1 − r) p + r q*.
    #[test]
    fn a_random_rule_has_its_closed_form((p, q) in pairs(), rate in 0.0..=1.0f64) {
        let decision = decide(RandomDeferral::new(rate).unwrap(), &p);
        let certificate = Certificate::new(&p, &q, &decision, None);
        check_bounds(&certificate)?;
        let entropy: f64 = p.probs().iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        prop_assert!((certificate.value - rate * entropy).abs() < ROUNDING);
        prop_assert!((certificate.tv_base - rate * p.total_variation(&q)).abs() < ROUNDING);
        let distance = (1.0 - rate) * p.total_variation(&q);
        prop_assert!((certificate.acceptance - (1.0 - distance)).abs() < ROUNDING);
    }

    /// Deferral to a copy, p = q* (K10): `a = D + (1 − D)²` and `TV(π, p) = D (1 − D)`.
    #[test]
    fn self_deferral_changes_the_distribution((p, _) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(KadDual::new(threshold).unwrap(), &p);
        let certificate = Certificate::new(&p, &p, &decision, None);
        let mass = certificate.mass;
        prop_assert!((certificate.acceptance - (mass + (1.0 - mass).powi(2))).abs() < ROUNDING);
        prop_assert!((certificate.tv_base - mass * (1.0 - mass)).abs() < ROUNDING);
        prop_assert_eq!(certificate.tv_base, certificate.tv_aligned);
    }

    /// Nudging gives one of the two distributions, and both decisions are optimal.
    #[test]
    fn nudging_is_one_of_the_two_distributions((p, q) in pairs(), threshold in 0.0..=1.0f64) {
        let decision = decide(Nudging::new(threshold).unwrap(), &p);
        let certificate = Certificate::new(&p, &q, &decision, None);
        check_bounds(&certificate)?;
        prop_assert!(certificate.shortfall() < ROUNDING);
        let nearer = certificate.tv_base.min(certificate.tv_aligned);
        prop_assert!(nearer < ROUNDING);
        prop_assert!((certificate.tv_base.max(certificate.tv_aligned) - p.total_variation(&q)).abs() < ROUNDING);
    }
}

/// The example of the theory: the acceptance rate is not monotone in the budget.
#[test]
fn acceptance_falls_and_rises_with_the_budget() {
    let p = distribution(vec![0.5, 0.3, 0.2]);
    for (budget, acceptance) in [(0.0, 1.0), (0.2, 0.84), (0.5, 0.75), (1.0, 1.0)] {
        let decision = decide(KadPrimal::new(budget).unwrap(), &p);
        let certificate = Certificate::new(&p, &p, &decision, Some(budget));
        assert!(
            (certificate.acceptance - acceptance).abs() < ROUNDING,
            "b = {budget}: {certificate:?}"
        );
    }
}

/// A distribution may sum to 1 + 1e-9; a budget of 1 still admits all of it. Negative and NaN
/// budgets count as 0.
#[test]
fn budgets_at_and_beyond_their_ends() {
    let p = Distribution::from_probs(vec![0.6, 0.4 + 9e-10]).unwrap();
    let decision = decide(KadPrimal::new(1.0).unwrap(), &p);
    let certificate = Certificate::new(&p, &p, &decision, Some(1.0));
    assert_eq!((certificate.gap, certificate.multiplier), (0.0, 0.0));
    assert!(certificate.shortfall() < ROUNDING && certificate.mass == 1.0);
    let none = decide(KadPrimal::new(0.0).unwrap(), &p);
    for bad in [f64::NAN, -1.0] {
        let certificate = Certificate::new(&p, &p, &none, Some(bad));
        assert_eq!(
            (certificate.budget, certificate.greedy, certificate.linear, certificate.dual),
            (0.0, 0.0, 0.0, 0.0)
        );
    }
}
