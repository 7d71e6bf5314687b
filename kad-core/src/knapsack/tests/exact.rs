//! The exact solver against brute force and dynamic programming.

use super::super::{exact, relax};
use super::*;

/// Properties of any answer, proved or not.
fn check_consistent(items: &Items, budget: f64, found: &Exact) -> Result<(), TestCaseError> {
    prop_assert!((found.used - sum(items.weights(), &found.taken)).abs() < ROUNDING);
    prop_assert!((found.value - sum(items.values(), &found.taken)).abs() < ROUNDING);
    prop_assert!(found.used <= budget * (1.0 + 2.0 * BUDGET_SLACK));
    prop_assert!(found.value >= relax(items, budget).value - ROUNDING);
    prop_assert!(found.bound >= found.value);
    Ok(())
}

/// Dynamic programming over integer weights: the best value for every weight up to the budget.
fn table_optimum(weights: &[usize], values: &[f64], budget: usize) -> f64 {
    let mut best = vec![0.0f64; budget + 1];
    for (&weight, &value) in weights.iter().zip(values) {
        for spent in (weight..=budget).rev() {
            best[spent] = best[spent].max(best[spent - weight] + value);
        }
    }
    best[budget]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn exact_equals_brute_force((items, budget) in knapsacks()) {
        let found = exact(&items, budget, &ExactLimits::default());
        check_consistent(&items, budget, &found)?;
        prop_assert!(found.proved);
        let optimum = brute_force(&items, budget);
        prop_assert!((found.value - optimum).abs() <= 1e-9, "{} of {}", found.value, optimum);
    }

    /// At the smallest tolerance only rounding separates value and bound.
    #[test]
    fn the_loss_is_within_the_tolerance((items, budget) in knapsacks(), tolerance in 0.0..0.3f64) {
        let optimum = brute_force(&items, budget);
        for tolerance in [tolerance, ROUNDING] {
            let limits = ExactLimits { tolerance, ..Default::default() };
            let found = exact(&items, budget, &limits);
            prop_assert!(found.proved);
            prop_assert!(found.value >= optimum - tolerance - ROUNDING);
            prop_assert!(found.value <= optimum + ROUNDING);
            prop_assert!(found.bound >= optimum - ROUNDING);
        }
    }

    /// However early the search stops, the optimum lies between value and bound.
    #[test]
    fn a_truncated_search_still_brackets_the_optimum(
        (items, budget) in knapsacks(), states in 0..60usize,
    ) {
        let limits = ExactLimits { states, tolerance: 1e-9 };
        let found = exact(&items, budget, &limits);
        check_consistent(&items, budget, &found)?;
        prop_assert!(found.states <= states);
        let optimum = brute_force(&items, budget);
        prop_assert!(found.value <= optimum + ROUNDING && optimum <= found.bound + ROUNDING);
        prop_assert!(found.bound <= relax(&items, budget).bound * (1.0 + 1e-11) + ROUNDING);
        if found.proved {
            prop_assert!(optimum - found.value <= 1e-9 + ROUNDING);
        }
    }

    /// Weights k/1024 against dynamic programming over integers.
    #[test]
    fn exact_agrees_with_dynamic_programming(
        pairs in proptest::collection::vec((1..400usize, 0.01..1.0f64), 1..40),
        budget in 0..2000usize,
    ) {
        let (weights, values): (Vec<usize>, Vec<f64>) = pairs.into_iter().unzip();
        let optimum = table_optimum(&weights, &values, budget);
        let scaled = weights.iter().map(|&k| k as f64 / 1024.0).collect();
        let items = Items::new(scaled, values).unwrap();
        let found = exact(&items, budget as f64 / 1024.0, &ExactLimits::default());
        prop_assert!(found.proved);
        prop_assert!((found.value - optimum).abs() <= 1e-9, "{} of {}", found.value, optimum);
    }

    /// Surprisal items with probabilities k/1024 against dynamic programming.
    #[test]
    fn exact_agrees_with_dynamic_programming_on_distributions(
        cuts in proptest::collection::btree_set(1..1024usize, 1..40), budget in 0..=1024usize,
    ) {
        let ends = cuts.iter().copied().chain([1024]);
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let weights: Vec<usize> = starts.zip(ends).map(|(start, end)| end - start).collect();
        let distribution = Distribution::from_probs(weights.iter().map(|&k| k as f64 / 1024.0).collect()).unwrap();
        let items = Items::surprisal(&distribution);
        let optimum = table_optimum(&weights, items.values(), budget);
        let found = exact(&items, budget as f64 / 1024.0, &ExactLimits::default());
        prop_assert!(found.proved);
        prop_assert!((found.value - optimum).abs() <= 1e-9, "{} of {}", found.value, optimum);
    }

    /// Two positions under one budget: the optimum of the union, at least that of any split.
    #[test]
    fn positions_can_share_a_budget(
        a in proptest::collection::vec(1e-3..1.0f64, 1..7),
        b in proptest::collection::vec(1e-3..1.0f64, 1..7),
        budget in 0.0..2.0f64, share in 0.0..=1.0f64,
    ) {
        let (a, b) = (Items::surprisal(&distribution(&a)), Items::surprisal(&distribution(&b)));
        let mut window = a.clone();
        window.append(&b);
        let limits = ExactLimits::default();
        let found = exact(&window, budget, &limits);
        prop_assert!((found.value - brute_force(&window, budget)).abs() <= 1e-9);
        let alone = |items: &Items, part: f64| exact(items, part * budget, &limits).value;
        let split = alone(&a, share) + alone(&b, 1.0 - share);
        prop_assert!(found.value >= split - 3e-9);
    }
}

/// The rounding of sums exceeds the weight of such items; no bound may grow by it.
#[test]
fn items_lighter_than_rounding_do_no_harm() {
    let mut weights = vec![5e-324; 20];
    let mut values = vec![0.0; 20];
    for k in 1..20 {
        weights.push(f64::from(k) / 70.0);
        values.push(f64::from(k) / 70.0 + 0.01);
    }
    let items = Items::new(weights, values).unwrap();
    let found = exact(&items, 1.0, &ExactLimits::default());
    let heavy: Vec<usize> = (1..20).collect();
    let gains: Vec<f64> = heavy.iter().map(|&k| k as f64 / 70.0 + 0.01).collect();
    assert!((found.value - table_optimum(&heavy, &gains, 70)).abs() < 1e-9);
    assert!(found.proved && found.bound <= relax(&items, 1.0).bound + ROUNDING);
}

/// A case computed by hand where the greedy solution is not optimal.
#[test]
fn exact_improves_on_a_suboptimal_greedy_solution() {
    // p = 0.3, 0.3, 0.4 and b = 0.4: greedy takes one 0.3, value 0.361; 0.4 has value 0.367.
    let items = Items::surprisal(&distribution(&[0.3, 0.3, 0.4]));
    let found = exact(&items, 0.4, &ExactLimits::default());
    assert_eq!(found.taken, [false, false, true]);
    assert!((found.value - 0.4 * (1.0f64 / 0.4).ln()).abs() < 1e-15);
    assert!(relax(&items, 0.4).value < found.value);
}

#[test]
fn the_ends_are_exact() {
    let limits = ExactLimits::default();
    let items = Items::surprisal(&distribution(&[0.0, 0.2, 0.8]));
    assert_eq!(exact(&items, 0.0, &limits).taken, [true, false, false]);
    assert_eq!(exact(&items, 1.0, &limits).taken, [true; 3]);
    assert_eq!(exact(&items, f64::NAN, &limits).taken, [true, false, false]);
    assert!(exact(&Items::default(), 0.3, &limits).proved);
    let one_hot = exact(&Items::surprisal(&distribution(&[0.0, 1.0])), 0.5, &limits);
    assert_eq!((one_hot.taken, one_hot.value, one_hot.proved), (vec![true, false], 0.0, true));
}
