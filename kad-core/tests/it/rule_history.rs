//! Rules with a history, along long texts.

use kad_core::Distribution;
use kad_core::deferral::{Deferral, HistoryRule, PooledBudget, SteeredDual};
use proptest::prelude::*;

use crate::hard_distributions::{distributions, seeded_distributions, unit};
use crate::rule_distributions::spent;

/// The decisions of a rule along the base distributions of a text.
pub(crate) fn along(rule: &dyn HistoryRule, text: &[Distribution]) -> Vec<Deferral> {
    let mut state = rule.start();
    let decisions = text.iter().enumerate().map(|(position, p)| {
        let mut d = Deferral::default();
        rule.decide(state, p, &mut d);
        state = rule.next(state, spent(&d, p), position);
        d
    });
    decisions.collect()
}

/// The deferral masses of a rule along a text, and its final state.
fn masses(rule: &dyn HistoryRule, text: &[Distribution]) -> (Vec<f64>, f64) {
    let masses: Vec<f64> = along(rule, text).iter().zip(text).map(|(d, p)| spent(d, p)).collect();
    let end = |state, (position, &mass): (usize, &f64)| rule.next(state, mass, position);
    let last = masses.iter().enumerate().fold(rule.start(), end);
    (masses, last)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}

/// The sum of the updates of the steered dual: the mean misses the target by `(μ_{T+1} − μ_1) / (η
/// T)` if the multiplier never reached 0, and exceeds it by no more otherwise. Consequence: the
/// mean converges to the target.
#[test]
fn the_steered_dual_reaches_its_target() {
    let text = seeded_distributions(4_000, 12, 9);
    for target in [0.05, 0.2, 0.5, 0.8] {
        for (gain, threshold) in [(0.1, 0.5), (0.5, 0.5), (0.5, 1.0), (2.0, 0.01)] {
            let rule = SteeredDual::new(target, gain, threshold).unwrap();
            let (masses, last) = masses(&rule, &text);
            let length = text.len() as f64;
            let drift = (last - rule.start()) / (gain * length);
            let miss = mean(&masses) - target;
            let what = format!("target {target}, gain {gain}: mean {}", mean(&masses));
            assert!(miss <= drift + 1e-12, "{what}");
            let touched = touches_zero(&rule, &masses);
            assert!(touched || (miss - drift).abs() < 1e-12, "{what}");
            // The multiplier lies between 0 and the surprisal of the rarest token, about 21 nats,
            // plus one update.
            assert!(miss.abs() <= (21.0 + gain) / (gain * length), "{what}");
        }
    }
}

fn touches_zero(rule: &SteeredDual, masses: &[f64]) -> bool {
    let mut state = rule.start();
    masses.iter().enumerate().any(|(position, &mass)| {
        state = rule.next(state, mass, position);
        state == 0.0
    })
}

proptest! {
    /// The bound holds for any distributions, also before the mean converges.
    #[test]
    fn the_steered_dual_never_drifts_above_its_multiplier(
        text in proptest::collection::vec(distributions(), 1..40), target in unit(), gain in 0.01..3.0f64,
        threshold in 0.01..=1.0f64,
    ) {
        let rule = SteeredDual::new(target, gain, threshold).unwrap();
        let (masses, last) = masses(&rule, &text);
        let drift = (last - rule.start()) / (gain * text.len() as f64);
        prop_assert!(mean(&masses) - target <= drift + 1e-9);
        if !touches_zero(&rule, &masses) {
            prop_assert!((mean(&masses) - target - drift).abs() < 1e-9);
        }
    }

    /// No window of the pool spends more than `window · b`, and no token at or above the threshold
    /// is deferred.
    #[test]
    fn no_window_of_the_pool_overspends(
        text in proptest::collection::vec(distributions(), 1..40), budget in unit(), window in 1..6usize,
        threshold in unit(),
    ) {
        let rule = PooledBudget::new(budget, window as f64, threshold).unwrap();
        let decisions = along(&rule, &text);
        for (distributions, decisions) in text.chunks(window).zip(decisions.chunks(window)) {
            let used: f64 = decisions.iter().zip(distributions).map(|(d, p)| spent(d, p)).sum();
            prop_assert!(used <= budget * window as f64 * (1.0 + 1e-9), "{used}");
            for (d, p) in decisions.iter().zip(distributions) {
                let mut tokens = d.weights().iter().zip(p.probs());
                prop_assert!(tokens.all(|(&d, &p)| d == 0.0 || p < threshold));
            }
        }
    }
}

/// Unspent budget moves to later tokens of a window, and a new window starts with a full budget.
/// Computed by hand: four distributions, windows of 2 tokens with 0.6 between them.
#[test]
fn a_window_shares_its_budget_and_the_next_has_its_own() {
    let distribution = |probs: [f64; 3]| Distribution::from_probs(probs.to_vec()).unwrap();
    let text = [
        distribution([0.75, 0.125, 0.125]), // 0.25 fits 0.6, leaves 0.35
        distribution([0.5, 0.25, 0.25]),    // 0.25 of 0.35: the rest would make 0.5
        distribution([0.25, 0.25, 0.5]),    // a new window: 0.5 fits 0.6, leaves 0.1
        distribution([0.5, 0.375, 0.125]),  // nothing fits 0.1
    ];
    let (masses, _) = masses(&PooledBudget::new(0.3, 2.0, 1.0).unwrap(), &text);
    assert_eq!(masses, [0.25, 0.25, 0.5, 0.0]);
}

/// `e^(ln t)` differs from `t` for many decimals; the rule compares with the threshold as given.
#[test]
fn a_steered_rule_keeps_a_probability_equal_to_its_threshold() {
    for percent in 1..=99 {
        let threshold = f64::from(percent) / 100.0;
        let rule = SteeredDual::new(0.2, 0.5, threshold).unwrap();
        let distribution = Distribution::from_probs(vec![threshold, 1.0 - threshold]).unwrap();
        let mut d = kad_core::deferral::Deferral::default();
        rule.decide(rule.start(), &distribution, &mut d);
        assert_eq!(d.weights()[0], 0.0, "{threshold}");
        assert!(rule.to_string().ends_with(&format!("threshold {threshold}")), "{rule}");
    }
}
