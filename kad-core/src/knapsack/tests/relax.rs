//! The relaxation, the greedy solution and the dual.

use super::super::relax;
use super::*;

/// The definition by a full sort: items taken, and the first that does not fit.
fn sorted_prefix(items: &Items, budget: f64) -> (Vec<bool>, Option<usize>) {
    let (w, v) = (items.weights(), items.values());
    let density = |i: usize| if w[i] > 0.0 { v[i] / w[i] } else { f64::INFINITY };
    let mut order: Vec<usize> = (0..items.len()).filter(|&i| v[i] >= 0.0).collect();
    order.sort_by(|&a, &b| {
        density(b).partial_cmp(&density(a)).unwrap().then(w[a].total_cmp(&w[b])).then(b.cmp(&a))
    });
    let (mut taken, mut spent) = (vec![false; items.len()], 0.0);
    for item in order {
        spent += w[item];
        if spent > budget * (1.0 + BUDGET_SLACK) {
            return (taken, Some(item));
        }
        taken[item] = true;
    }
    (taken, None)
}

/// `min_μ L(μ)`: the dual is linear between densities, so its minimum is at one of them or at 0.
fn least_dual(items: &Items, budget: f64) -> f64 {
    let pairs = || items.weights().iter().zip(items.values());
    let at = |multiplier: f64| {
        multiplier * budget + pairs().map(|(w, v)| (v - multiplier * w).max(0.0)).sum::<f64>()
    };
    let densities = pairs().filter(|(w, v)| **w > 0.0 && **v > 0.0).map(|(w, v)| v / w);
    densities.map(at).fold(at(0.0), f64::min)
}

fn is_subset(less: &[bool], more: &[bool]) -> bool {
    less.iter().zip(more).all(|(less, more)| less <= more)
}

proptest! {
    #[test]
    fn greedy_is_the_sorted_prefix((items, budget) in knapsacks()) {
        let relaxed = relax(&items, budget);
        let (taken, critical) = sorted_prefix(&items, budget);
        prop_assert_eq!(relaxed.taken, taken);
        prop_assert_eq!(relaxed.critical, critical);
    }

    /// The budget is kept (K2): `U ≤ b`; a budget of 1 takes all of a distribution, a budget of 0
    /// the impossible tokens alone.
    #[test]
    fn the_budget_is_kept_and_its_ends_are_exact(distribution in distributions(), budget in 0.0..1.0f64) {
        let items = Items::surprisal(&distribution);
        prop_assert!(relax(&items, budget).used <= budget * (1.0 + 2.0 * BUDGET_SLACK));
        prop_assert!(relax(&items, 1.0).taken.iter().all(|&taken| taken));
        let nothing = relax(&items, 0.0);
        for (&p, &taken) in distribution.probs().iter().zip(&nothing.taken) {
            prop_assert_eq!(taken, p == 0.0);
        }
        prop_assert_eq!((nothing.used, nothing.value, nothing.bound), (0.0, 0.0, 0.0));
        for bad in [-0.5, f64::NAN, f64::NEG_INFINITY] {
            prop_assert_eq!(&relax(&items, bad), &nothing);
        }
    }

    /// The order of solutions (K3): `G ≤ OPT ≤ LP = min_μ L(μ) = L(μ*)`; fields match their
    /// formulas.
    #[test]
    fn greedy_optimum_relaxation_and_dual_are_in_order((items, budget) in knapsacks()) {
        let relaxed = relax(&items, budget);
        let optimum = brute_force(&items, budget);
        prop_assert!((relaxed.used - sum(items.weights(), &relaxed.taken)).abs() < ROUNDING);
        prop_assert!((relaxed.value - sum(items.values(), &relaxed.taken)).abs() < ROUNDING);
        prop_assert!(relaxed.value <= optimum + ROUNDING);
        // A set may use the slack, which is worth the multiplier per unit.
        let slack = relaxed.multiplier * budget * BUDGET_SLACK;
        prop_assert!(optimum <= relaxed.bound + ROUNDING + slack);
        let scale = 1.0 + relaxed.bound;
        prop_assert!((relaxed.bound - least_dual(&items, budget)).abs() < ROUNDING * scale);
        let dual = dual(&items, budget, relaxed.multiplier);
        prop_assert!((relaxed.bound - dual).abs() < ROUNDING * scale);
        prop_assert!((0.0..=1.0).contains(&relaxed.fraction));
        if let Some(item) = relaxed.critical {
            let weight = relaxed.used + relaxed.fraction * items.weights()[item];
            prop_assert!((weight - budget).abs() < ROUNDING);
            let value = relaxed.value + relaxed.fraction * items.values()[item];
            prop_assert!((value - relaxed.bound).abs() < ROUNDING);
        } else {
            prop_assert_eq!((relaxed.multiplier, relaxed.fraction), (0.0, 0.0));
            prop_assert_eq!(relaxed.bound, relaxed.value);
        }
    }

    /// The dual is convex and nowhere below LP (K3).
    #[test]
    fn the_dual_is_convex_and_above_the_relaxation(
        (items, budget) in knapsacks(), a in 0.0..40.0f64, b in 0.0..40.0f64, t in 0.0..=1.0f64,
    ) {
        let at = |multiplier: f64| dual(&items, budget, multiplier);
        let bound = relax(&items, budget).bound;
        prop_assert!(at(a) >= bound - ROUNDING * (1.0 + bound));
        prop_assert!(at(t * a + (1.0 - t) * b) <= t * at(a) + (1.0 - t) * at(b) + 1e-11);
    }

    /// The greedy gap (K4): `OPT − G ≤ (b − U)(−ln p_c) ≤ −p_c ln p_c ≤ 1/e`; the better of the
    /// greedy set and the critical item has at least half the optimum.
    #[test]
    fn rounding_down_costs_at_most_the_critical_item(distribution in distributions(), budget in 0.0..1.0f64) {
        let items = Items::surprisal(&distribution);
        let relaxed = relax(&items, budget);
        let optimum = brute_force(&items, budget);
        if let Some(critical) = relaxed.critical {
            let p = distribution.probs()[critical];
            let lost = (budget - relaxed.used) * -p.ln();
            prop_assert!(optimum - relaxed.value <= lost + ROUNDING);
            prop_assert!(lost <= -p * p.ln() + ROUNDING);
            prop_assert!(-p * p.ln() <= (-1f64).exp() + ROUNDING);
            prop_assert!((relaxed.multiplier + p.ln()).abs() < ROUNDING * (1.0 - p.ln()));
            if p <= budget {
                prop_assert!(relaxed.value.max(-p * p.ln()) >= optimum / 2.0 - ROUNDING);
            }
        } else {
            prop_assert!((relaxed.value - optimum).abs() < ROUNDING);
        }
    }

    /// Solutions are nested (K5): set, weight, value and bound grow with the budget; `μ*` falls.
    #[test]
    fn solutions_are_nested((items, budget) in knapsacks(), part in 0.0..=1.0f64) {
        let (less, more) = (relax(&items, part * budget), relax(&items, budget));
        prop_assert!(is_subset(&less.taken, &more.taken));
        prop_assert!(less.used <= more.used + ROUNDING && less.value <= more.value + ROUNDING);
        prop_assert!(less.bound <= more.bound + ROUNDING * (1.0 + more.bound));
        prop_assert!(less.multiplier >= more.multiplier);
    }

    /// The kept tokens are the nucleus (K6): the smallest top set of mass ≥ 1 − b.
    #[test]
    fn the_kept_tokens_are_the_nucleus(distribution in distributions(), budget in 0.0..0.999f64) {
        let mut order: Vec<usize> = (0..distribution.len()).collect();
        order.sort_by(|&a, &b| distribution.probs()[b].total_cmp(&distribution.probs()[a]).then(a.cmp(&b)));
        let (mut left, mut mass) = (vec![true; distribution.len()], 0.0);
        for token in order {
            // Sums from the two ends of the distribution round differently; cases that depend on it
            // are left out.
            prop_assume!((mass - (1.0 - budget)).abs() > 1e-14);
            if mass >= 1.0 - budget {
                break;
            }
            left[token] = false;
            mass += distribution.probs()[token];
        }
        prop_assert_eq!(relax(&Items::surprisal(&distribution), budget).taken, left);
    }

    /// Multipliers are optimal for their weight (K7): the items above a multiplier are the optimum
    /// for the weight that they use; at the critical density they are the greedy solution except
    /// for ties.
    #[test]
    fn a_multiplier_is_optimal_for_the_weight_it_spends((items, budget) in knapsacks(), multiplier in 0.0..6.0f64) {
        let (w, v) = (items.weights(), items.values());
        let above = |multiplier: f64| -> Vec<bool> {
            let is_above = |i: usize| w[i] == 0.0 || items.density(i) > multiplier;
            (0..items.len()).map(|i| v[i] >= 0.0 && is_above(i)).collect()
        };
        let set = above(multiplier);
        let spent = sum(w, &set);
        prop_assert!((sum(v, &set) - brute_force(&items, spent)).abs() < 1e-11);
        let relaxed = relax(&items, budget);
        if let Some(critical) = relaxed.critical {
            prop_assert!(is_subset(&above(items.density(critical)), &relaxed.taken));
            let alike = |i: usize| items.density(i) == items.density(critical);
            if (0..items.len()).filter(|&i| alike(i)).count() == 1 {
                prop_assert_eq!(above(relaxed.multiplier), relaxed.taken);
            }
        }
    }

    /// Permutation invariance (K8). Ties go by index, so values are distinct here.
    #[test]
    fn permuting_items_permutes_the_solution(
        (weights, budget) in (proptest::collection::vec(1e-3..1.0f64, 1..14), 0.0..1.0f64),
        turn in 0..14usize,
    ) {
        let distribution = distribution(&weights);
        let mut turned = distribution.probs().to_vec();
        let turn = turn % turned.len();
        turned.rotate_left(turn);
        let mut there = relax(&Items::surprisal(&distribution), budget).taken;
        let here = relax(&Items::surprisal(&Distribution::from_probs(turned).unwrap()), budget).taken;
        there.rotate_left(turn);
        let mut distinct = weights;
        distinct.sort_by(f64::total_cmp);
        prop_assume!(distinct.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(here, there);
    }
}

#[test]
fn decimals_that_add_up_to_the_budget_fit() {
    let items = Items::surprisal(&distribution(&[0.7, 0.2, 0.1]));
    assert!(items.weights()[1] + items.weights()[2] > 0.3);
    assert_eq!(relax(&items, 0.3).taken, [false, true, true]);
    // The slack is no larger.
    assert_eq!(relax(&items, 0.3 * (1.0 - 1e-11)).taken, [false, false, true]);
}

#[test]
fn of_equal_tokens_the_lower_id_is_kept_longer() {
    let items = Items::surprisal(&distribution(&[1.0; 4]));
    assert_eq!(relax(&items, 0.5).taken, [false, false, true, true]);
    assert_eq!(relax(&items, 0.5).critical, Some(1));
}

#[test]
fn one_item_and_no_items() {
    let certain = Items::surprisal(&distribution(&[1.0]));
    assert_eq!(certain.values(), [0.0]);
    assert_eq!(relax(&certain, 0.5).critical, Some(0));
    assert_eq!(relax(&certain, 1.0).taken, [true]);
    assert_eq!(relax(&Items::default(), 0.5).bound, 0.0);
    assert_eq!(dual(&Items::default(), 0.5, 2.0), 1.0);
    // 0 · ∞ is 0: a weightless item at an infinite multiplier.
    let free = Items::new(vec![0.0], vec![2.0]).unwrap();
    assert_eq!(dual(&free, 0.0, f64::INFINITY), 2.0);
    assert_eq!(dual(&free, f64::INFINITY, 0.0), 2.0);
}

#[test]
fn a_buffer_can_be_reused() {
    let mut reused = relax(&Items::surprisal(&distribution(&[1.0; 9])), 0.7);
    let items = Items::surprisal(&distribution(&[0.5, 0.3, 0.2]));
    relax_into(&items, 0.25, &mut reused);
    assert_eq!(reused, relax(&items, 0.25));
}
