//! Rules against the knapsack solved by brute force, and the invariants of the theory (K1 … K9).

use proptest::prelude::*;

use super::*;

fn decide(rule: &dyn BaseRule, law: &Law) -> Vec<f64> {
    let mut out = Deferral::default();
    rule.decide(law, &mut out);
    out.weights().to_vec()
}

fn law(weights: Vec<f64>) -> Law {
    let total: f64 = weights.iter().sum();
    Law::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
}

/// Laws of 1 to 10 tokens, some of them impossible.
fn laws() -> impl Strategy<Value = Law> {
    let weight = prop_oneof![1 => Just(0.0), 9 => 1e-6..1.0f64];
    proptest::collection::vec(weight, 1..10)
        .prop_filter("some token is possible", |w| w.iter().sum::<f64>() > 0.0)
        .prop_map(law)
}

fn value(p: f64) -> f64 {
    if p > 0.0 { -p * p.ln() } else { 0.0 }
}

fn total(law: &Law, d: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    law.probs().iter().zip(d).map(|(&p, d)| d * f(p)).sum()
}

/// The optimum of the 0-1 knapsack, by trying every subset.
fn brute_force(law: &Law, budget: f64) -> f64 {
    let n = law.len();
    let subsets = (0u32..1 << n).map(|bits| {
        let chosen = |f: fn(f64) -> f64| -> f64 {
            (0..n).filter(|i| bits >> i & 1 == 1).map(|i| f(law.probs()[i])).sum()
        };
        if chosen(|p| p) <= budget + 1e-15 { chosen(value) } else { 0.0 }
    });
    subsets.fold(0.0, f64::max)
}

/// The prefix by rising probability, by a full sort: the definition of the primal rule.
fn sorted_prefix(law: &Law, budget: f64) -> Vec<f64> {
    let mut order: Vec<TokenId> = (0..law.len() as TokenId).collect();
    order.sort_by(|&a, &b| law.prob(a).partial_cmp(&law.prob(b)).unwrap().then(b.cmp(&a)));
    let mut d = vec![0.0; law.len()];
    let mut spent = 0.0;
    for token in order {
        spent += law.prob(token);
        if spent > budget {
            break;
        }
        d[token as usize] = 1.0;
    }
    d
}

proptest! {
    #[test]
    fn primal_is_the_sorted_prefix(law in laws(), budget in 0.0..0.999f64) {
        let rule = KadPrimal::new(budget).unwrap();
        prop_assert_eq!(decide(&rule, &law), sorted_prefix(&law, budget));
    }

    /// K2, K3, K4: the mass fits, the value is below the optimum by at most `−p_c log p_c ≤ 1/e`.
    #[test]
    fn primal_fits_and_misses_the_optimum_by_at_most_the_critical_item(
        law in laws(), budget in 0.0..0.999f64,
    ) {
        let d = decide(&KadPrimal::new(budget).unwrap(), &law);
        let (used, greedy) = (total(&law, &d, |p| p), total(&law, &d, value));
        prop_assert!(used <= budget + 1e-12);
        let optimum = brute_force(&law, budget);
        prop_assert!(greedy <= optimum + 1e-12);
        let kept = law.probs().iter().zip(&d).filter(|(_, d)| **d == 0.0).map(|(&p, _)| p);
        let critical = kept.fold(f64::INFINITY, f64::min);
        if critical.is_finite() {
            let bound = (budget - used) * -critical.ln();
            prop_assert!(optimum - greedy <= bound + 1e-12);
            prop_assert!(bound <= value(critical) + 1e-12);
            prop_assert!(value(critical) <= (-1f64).exp() + 1e-12);
        }
    }

    /// K5: the deferred set grows with the budget and with the threshold.
    #[test]
    fn decisions_are_nested(law in laws(), a in 0.0..1.0f64, b in 0.0..1.0f64) {
        let (less, more) = (a.min(b), a.max(b));
        let pairs = [
            (decide(&KadPrimal::new(less).unwrap(), &law), decide(&KadPrimal::new(more).unwrap(), &law)),
            (decide(&KadDual::new(less).unwrap(), &law), decide(&KadDual::new(more).unwrap(), &law)),
            (decide(&Nudging::new(less).unwrap(), &law), decide(&Nudging::new(more).unwrap(), &law)),
        ];
        for (small, large) in pairs {
            prop_assert!(small.iter().zip(&large).all(|(s, l)| s <= l));
        }
    }

    /// K7: the dual at the critical probability is the primal, when no two tokens tie there.
    #[test]
    fn dual_at_the_critical_probability_is_the_primal(law in laws(), budget in 0.0..0.999f64) {
        let primal = decide(&KadPrimal::new(budget).unwrap(), &law);
        let kept = law.probs().iter().zip(&primal).filter(|(_, d)| **d == 0.0).map(|(&p, _)| p);
        let critical = kept.fold(f64::INFINITY, f64::min);
        let ties = law.probs().iter().filter(|&&p| p == critical).count();
        prop_assume!(ties == 1);
        prop_assert_eq!(decide(&KadDual::new(critical).unwrap(), &law), primal);
    }

    /// K7: no set of the dual's own mass is worth more.
    #[test]
    fn dual_is_optimal_for_its_own_budget(law in laws(), threshold in 0.0..1.0f64) {
        let d = decide(&KadDual::new(threshold).unwrap(), &law);
        let optimum = brute_force(&law, total(&law, &d, |p| p));
        prop_assert!((total(&law, &d, value) - optimum).abs() < 1e-12);
    }

    /// K9: nudging is all or nothing, and agrees with the dual where nothing reaches the threshold.
    #[test]
    fn nudging_is_all_or_nothing(law in laws(), threshold in 0.0..1.0f64) {
        let nudging = decide(&Nudging::new(threshold).unwrap(), &law);
        prop_assert!(nudging.iter().all(|&d| d == nudging[0]));
        if law.max_prob() < threshold {
            prop_assert_eq!(nudging, decide(&KadDual::new(threshold).unwrap(), &law));
        } else {
            prop_assert!(nudging.iter().all(|&d| d == 0.0));
        }
    }
}

/// Thresholds are strict: what equals them is kept.
#[test]
fn equality_keeps() {
    let even = law(vec![0.5, 0.25, 0.25]);
    assert_eq!(decide(&Nudging::new(0.5).unwrap(), &even), [0.0; 3]);
    assert_eq!(decide(&KadDual::new(0.25).unwrap(), &even), [0.0; 3]);
    let certain = law(vec![0.0, 1.0]);
    assert_eq!(decide(&Nudging::new(1.0).unwrap(), &certain), [0.0; 2]);
}

#[test]
fn ties_keep_the_lower_id() {
    let flat = law(vec![1.0; 4]);
    assert_eq!(decide(&KadPrimal::new(0.5).unwrap(), &flat), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_ends_of_the_budget_are_exact() {
    let law = law(vec![0.0, 0.1, 0.2, 0.7]);
    assert_eq!(decide(&KadPrimal::new(0.0).unwrap(), &law), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(decide(&KadPrimal::new(1.0).unwrap(), &law), [1.0; 4]);
}

#[test]
fn parameters_out_of_range_are_refused() {
    for bad in [-0.1, 1.1, f64::NAN] {
        let error = KadDual::new(bad).unwrap_err();
        assert_eq!((error.rule, error.parameter), ("kad-dual", "threshold"));
        assert!(Nudging::new(bad).is_err() && KadPrimal::new(bad).is_err());
        assert!(RandomDeferral::new(bad).is_err());
    }
    let message = KadPrimal::new(1.5).unwrap_err().to_string();
    assert_eq!(message, "budget = 1.5 of kad-primal is out of range: between 0 and 1");
}
