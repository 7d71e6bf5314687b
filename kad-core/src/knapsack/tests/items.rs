//! Items of a knapsack.

use super::*;

proptest! {
    #[test]
    fn surprisal_items_match_their_formula((p, other) in (distributions(), distributions())) {
        let items = Items::surprisal(&p);
        prop_assert_eq!(items.weights(), p.probs());
        for (&p, &value) in p.probs().iter().zip(items.values()) {
            prop_assert!(value >= 0.0);
            let expected = if p > 0.0 { p * (1.0 / p).ln() } else { 0.0 };
            // 1/p overflows for the smallest p only, where −p ln p is practically 0.
            prop_assert!((value - expected).abs() < 1e-15 || p < 1e-300);
        }
        let mut window = items.clone();
        window.append(&Items::surprisal(&other));
        let mut extended = Items::default();
        extended.extend_surprisal(&p);
        extended.extend_surprisal(&other);
        prop_assert_eq!(&window, &extended);
        prop_assert_eq!(window.len(), p.len() + other.len());
        prop_assert!((window.total_weight() - 2.0).abs() < 1e-12);
        window.clear();
        prop_assert!(window.is_empty() && window == Items::default());
    }

    /// `Σ v = H(p) − H(p, q) = −KL(p ‖ q) ≤ 0`. With an unlimited budget all tokens less probable
    /// than `e^(−H(p, q))` are taken.
    #[test]
    fn the_aligned_models_loss_is_subtracted(
        pairs in proptest::collection::vec((1e-3..1.0f64, 1e-3..1.0f64), 1..12),
    ) {
        let (p, q): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
        let (p, q) = (distribution(&p), distribution(&q));
        let items = Items::with_fallback(&p, &q);
        let divergence: f64 = p.probs().iter().zip(q.probs()).map(|(p, q)| p * (p / q).ln()).sum();
        prop_assert!((items.values().iter().sum::<f64>() + divergence).abs() < 1e-12);
        let loss: f64 = p.probs().iter().zip(q.probs()).map(|(p, q)| -p * q.ln()).sum();
        let taken = super::super::relax(&items, 1.0).taken;
        for (&p, taken) in p.probs().iter().zip(taken) {
            prop_assert!(taken == (p < (-loss).exp()) || (p.ln() + loss).abs() < 1e-12);
        }
    }
}

/// An infinite expected loss produces no NaN.
#[test]
fn an_aligned_model_that_excludes_tokens_has_no_positive_value() {
    let p = distribution(&[0.5, 0.0, 0.5]);
    let items = Items::with_fallback(&p, &distribution(&[1.0, 0.0, 0.0]));
    assert_eq!(items.values(), [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY]);
    for budget in [0.0, 0.5, 1.0, f64::INFINITY] {
        let relaxed = super::super::relax(&items, budget);
        assert_eq!(relaxed.taken, [false, true, false]);
        assert_eq!((relaxed.value, relaxed.bound, relaxed.critical), (0.0, 0.0, None));
        assert_eq!(dual(&items, budget, 0.0), 0.0);
        let best = super::super::exact(&items, budget, &ExactLimits::default());
        assert_eq!((best.value, best.bound, best.proved), (0.0, 0.0, true));
    }
    // A shorter aligned distribution counts as 0 beyond its end.
    assert_eq!(Items::with_fallback(&p, &distribution(&[1.0])), items);
}

#[test]
fn invalid_items_are_refused_with_their_index() {
    let new = |weights: &[f64], values: &[f64]| Items::new(weights.to_vec(), values.to_vec());
    assert_eq!(new(&[1.0], &[]), Err(KnapsackError::Length { weights: 1, values: 0 }));
    for bad in [-1.0, f64::INFINITY] {
        assert_eq!(new(&[0.0, bad], &[1.0; 2]), Err(KnapsackError::Weight { item: 1, found: bad }));
    }
    assert!(matches!(new(&[f64::NAN], &[0.0]), Err(KnapsackError::Weight { item: 0, .. })));
    for bad in [f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(
            new(&[0.0, 0.0], &[0.0, bad]),
            Err(KnapsackError::Value { item: 1, found: bad })
        );
    }
    assert!(matches!(new(&[0.0], &[f64::NAN]), Err(KnapsackError::Value { item: 0, .. })));
    assert!(matches!(new(&[5e-324], &[1.0]), Err(KnapsackError::Density { item: 0, .. })));
    assert_eq!(new(&[1e308; 2], &[1.0; 2]), Err(KnapsackError::Total));
    assert_eq!(new(&[1.0; 2], &[1e308, -1e308]), Err(KnapsackError::Total));
    let message = new(&[1.0, -2.0], &[1.0; 2]).unwrap_err().to_string();
    assert_eq!(message, "weight of item 1 is -2: give a finite number, 0 or more");
}
