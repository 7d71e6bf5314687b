//! Monotonicity in the parameter (K5) and invariance to permutations of the tokens (K8).

use kad_core::Distribution;
use kad_core::deferral::{Deferral, HistoryRule, Monotone, PooledBudget, SteeredDual};
use kad_core::deferral::{catalogue, named};
use proptest::prelude::*;

use crate::hard_distributions::{
    pairs, pairs_without_ties, parameters, seeded_distributions, unit,
};
use crate::rule_distributions::{decide, rule};
use crate::rule_history::along;

/// True if `large` defers every token with at least the probability of `small`.
fn inside(small: &Deferral, large: &Deferral) -> bool {
    small.weights().iter().zip(large.weights()).all(|(small, large)| small <= large)
}

/// Token ids from the last to be deferred to the first.
pub(crate) fn ranking(p: &Distribution) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p.probs()[b].total_cmp(&p.probs()[a]).then(a.cmp(&b)));
    order
}

proptest! {
    /// Decisions are nested (K5) for every rule that the catalogue calls monotone.
    #[test]
    fn k5_decisions_are_nested_as_the_catalogue_says(
        (p, q) in pairs(), x in unit(), y in unit(), token in 0..10usize,
    ) {
        for info in catalogue() {
            let mut values = [&parameters(&p, x, token)[..], &[y]].concat();
            values.sort_by(f64::total_cmp);
            for pair in values.windows(2) {
                let [low, high] = [pair[0], pair[1]].map(|v| decide(&info.with(v).unwrap(), &p, &q));
                let nested = match info.monotone {
                    Monotone::Grows => inside(&low, &high),
                    Monotone::Shrinks => inside(&high, &low),
                    Monotone::No => true,
                };
                prop_assert!(nested, "{} from {} to {}", info.kind, pair[0], pair[1]);
            }
        }
    }

    /// Permutation invariance (K8): permuting the tokens permutes the decision.
    #[test]
    fn k8_permuting_tokens_permutes_the_decision(
        (p, q) in pairs_without_ties(), x in 0.01..0.99f64, seed in any::<u64>(),
    ) {
        let names = permutation(p.len(), seed);
        let renamed = |distribution: &Distribution| {
            Distribution::from_probs(names.iter().map(|&old| distribution.probs()[old]).collect()).unwrap()
        };
        for info in catalogue() {
            let rule = info.with(x).unwrap();
            let (plain, other) = (decide(&rule, &p, &q), decide(&rule, &renamed(&p), &renamed(&q)));
            for (new, &old) in names.iter().enumerate() {
                let (a, b) = (plain.weights()[old], other.weights()[new]);
                prop_assert!((a - b).abs() < 1e-9, "{}: token {old} {a}, as {new} {b}", info.kind);
            }
        }
    }

    /// Ties (K8): tokens equal in both distributions get the same `d`, unless a budget ends among
    /// them; then the lower id is kept longer.
    #[test]
    fn k8_among_equals_the_lower_id_is_kept((p, q) in pairs(), x in unit(), token in 0..10usize) {
        for info in catalogue() {
            for value in parameters(&p, x, token) {
                let d = decide(&info.with(value).unwrap(), &p, &q);
                let budgeted = info.parameters.first().is_some_and(|p| p.name == "budget");
                for low in 0..p.len() {
                    for high in low + 1..p.len() {
                        let same = |distribution: &Distribution| distribution.probs()[low] == distribution.probs()[high];
                        let (kept, other) = (d.weights()[low], d.weights()[high]);
                        let holds = kept == other || budgeted && kept < other;
                        let equal = same(&p) && (same(&q) || budgeted);
                        prop_assert!(!equal || holds, "{} {value}: {low}, {high}", info.kind);
                    }
                }
            }
        }
    }
}

/// A permutation of `0..n`, fixed by the seed.
fn permutation(n: usize, seed: u64) -> Vec<usize> {
    let keys = &seeded_distributions(1, n, seed)[0];
    ranking(keys)
}

/// Rules that the catalogue calls not monotone have a counterexample (K5). One distribution
/// suffices for the exact rule; rules with a history need a few tokens, because mass spent early is
/// missing later.
#[test]
fn k5_rules_called_not_monotone_have_a_counterexample() {
    let distributions = seeded_distributions(3_000, 5, 1);
    let crossing = |a: &Deferral, b: &Deferral| !inside(a, b) && !inside(b, a);
    let (low, high) = (0.3, 0.45);
    let exact = |value, p: &Distribution| {
        decide(&named("knapsack-exact").unwrap().with(value).unwrap(), p, p)
    };
    assert!(
        distributions.iter().any(|p| crossing(&exact(low, p), &exact(high, p))),
        "knapsack-exact"
    );
    let steered = |target| SteeredDual::new(target, 2.0, 0.5).unwrap();
    let pool = |budget| PooledBudget::new(budget, 4.0, 1.0).unwrap();
    let grows_and_shrinks = |low: &dyn HistoryRule, high: &dyn HistoryRule| {
        let texts = || distributions.chunks(4).map(|text| (along(low, text), along(high, text)));
        let some = |test: &dyn Fn(&Deferral, &Deferral) -> bool| {
            texts().any(|(low, high)| low.iter().zip(&high).any(|(a, b)| test(a, b)))
        };
        some(&|a, b| !inside(a, b)) && some(&|a, b| !inside(b, a))
    };
    assert!(grows_and_shrinks(&steered(low), &steered(high)), "kad-steered");
    assert!(grows_and_shrinks(&pool(0.2), &pool(0.25)), "kad-pool");
    let open =
        catalogue().iter().filter(|i| i.monotone == Monotone::No && !i.parameters.is_empty());
    let kinds: Vec<_> = open.map(|info| info.kind).collect();
    assert_eq!(kinds, ["knapsack-exact", "kad-steered", "kad-pool"], "one counterexample each");
}

/// Either of two equal tokens reaches the optimum; the rule keeps the lower id.
#[test]
fn the_exact_rule_keeps_the_lower_of_two_equals() {
    const HIGH: f64 = 0.4999999944373154;
    let p = Distribution::from_probs(vec![HIGH, 1.1125369168762167e-8, HIGH]).unwrap();
    assert_eq!(
        decide(&rule("knapsack-exact", 0.5000000055626845), &p, &p).weights(),
        [0.0, 1.0, 1.0]
    );
}
