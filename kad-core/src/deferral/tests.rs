//! Small decisions computed by hand. The invariants of the theory are property tests in
//! `tests/it/`.

use super::*;

fn decide(rule: &dyn BaseRule, distribution: &Distribution) -> Vec<f64> {
    let mut out = Deferral::default();
    rule.decide(distribution, &mut out);
    out.weights().to_vec()
}

fn distribution(weights: Vec<f64>) -> Distribution {
    let total: f64 = weights.iter().sum();
    Distribution::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
}

/// Thresholds are strict: a probability equal to the threshold is kept.
#[test]
fn a_probability_equal_to_the_threshold_is_kept() {
    let even = distribution(vec![0.5, 0.25, 0.25]);
    assert_eq!(decide(&Nudging::new(0.5).unwrap(), &even), [0.0; 3]);
    assert_eq!(decide(&KadDual::new(0.25).unwrap(), &even), [0.0; 3]);
    let certain = distribution(vec![0.0, 1.0]);
    assert_eq!(decide(&Nudging::new(1.0).unwrap(), &certain), [0.0; 2]);
}

#[test]
fn ties_keep_the_lower_id() {
    let flat = distribution(vec![1.0; 4]);
    assert_eq!(decide(&KadPrimal::new(0.5).unwrap(), &flat), [0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_ends_of_the_budget_are_exact() {
    let distribution = distribution(vec![0.0, 0.1, 0.2, 0.7]);
    assert_eq!(decide(&KadPrimal::new(0.0).unwrap(), &distribution), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(decide(&KadPrimal::new(1.0).unwrap(), &distribution), [1.0; 4]);
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
