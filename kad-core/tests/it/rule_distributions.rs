//! The mixture of every rule over hard distributions: K1, K2, K9, K10 and K14.

use kad_core::deferral::{Deferral, Rule, RuleInfo, catalogue, named};
use kad_core::mixture::mix;
use kad_core::oracle::enumerate;
use kad_core::{ChoiceSource, Distribution, DistributionError, Number, Sampling, SamplingSettings};
use proptest::prelude::*;

use crate::hard_distributions::{distributions, pairs, parameters, unit, wide_distributions};

/// Rounding error of sums of a few probabilities.
const ROUNDING: f64 = 1e-12;
/// Relative slack of a budget.
const SLACK: f64 = 1e-12;

/// Kinds of the rules with a budget per token.
const BUDGETED: [&str; 4] = ["kad-primal", "kad-fractional", "knapsack-exact", "kad-fallback"];

pub(crate) fn rule(kind: &str, value: f64) -> Rule {
    named(kind).unwrap().with(value).unwrap()
}

pub(crate) fn decide(rule: &Rule, p: &Distribution, q: &Distribution) -> Deferral {
    let mut out = Deferral::default();
    rule.decide(p, q, &mut out);
    out
}

/// `Σ d(y) p(y)`, to about one rounding.
pub(crate) fn spent(d: &Deferral, p: &Distribution) -> f64 {
    total(d.weights().iter().zip(p.probs()).map(|(d, p)| d * p))
}

/// A sum to about one rounding.
pub(crate) fn total(terms: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Default::default();
    terms.for_each(|term| f64::add_to(&mut sum, term));
    <f64 as Number>::total(sum)
}

/// Rounding error of a plain sum of probabilities: one unit per term.
fn rounding(terms: usize) -> f64 {
    (terms as f64 * f64::EPSILON).max(ROUNDING)
}

fn mixed(p: &Distribution, q: &Distribution, d: &Deferral) -> (Distribution, f64) {
    let mut pi = Distribution::default();
    let mass = mix(p, q, d, &mut pi);
    (pi, mass)
}

/// The mixture of one decision (K1): `π` is a distribution, `π ≥ D q*`, its distances are bounded
/// by `D`, and its ends are `p` and `q*`.
fn is_a_mixture(
    p: &Distribution,
    q: &Distribution,
    d: &Deferral,
    what: &str,
) -> Result<(), String> {
    let (pi, mass) = mixed(p, q, d);
    let sum = total(pi.probs().iter().copied());
    let lost = rounding(p.len());
    let floor = |(pi, q): (&f64, &f64)| *pi >= 0.0 && *pi >= mass * q * (1.0 - ROUNDING);
    let claims = [
        (d.weights().len() == p.len(), "one d per token"),
        (d.weights().iter().all(|d| (0.0..=1.0).contains(d)), "0 ≤ d ≤ 1"),
        ((mass - spent(d, p)).abs() < lost && (0.0..=1.0).contains(&mass), "D = Σ d p"),
        ((sum - 1.0).abs() < lost, "Σ π = 1"),
        (pi.probs().iter().zip(q.probs()).all(floor), "π ≥ D q*"),
        (pi.total_variation(p) <= mass + lost, "TV(π, p) ≤ D"),
        (pi.total_variation(q) <= 1.0 - mass + lost, "TV(π, q*) ≤ 1 − D"),
        (d.weights().iter().any(|&d| d != 0.0) || &pi == p, "d ≡ 0 ⇒ π = p"),
        (d.weights().iter().any(|&d| d != 1.0) || pi.total_variation(q) < lost, "d ≡ 1 ⇒ π = q*"),
    ];
    match claims.iter().find(|(holds, _)| !holds) {
        Some((_, claim)) => Err(format!("{what}: not {claim}; D = {mass}, Σ π = {sum}")),
        None => Ok(()),
    }
}

fn with_values(
    x: f64,
    p: &Distribution,
    token: usize,
) -> impl Iterator<Item = (&'static RuleInfo, f64)> {
    let values = parameters(p, x, token);
    catalogue().iter().flat_map(move |info| values.map(|value| (info, value)))
}

proptest! {
    #[test]
    fn k1_every_rule_makes_a_mixture((p, q) in pairs(), x in unit(), token in 0..10usize) {
        for (info, value) in with_values(x, &p, token) {
            let d = decide(&info.with(value).unwrap(), &p, &q);
            let found = is_a_mixture(&p, &q, &d, &format!("{} {value}", info.kind));
            prop_assert!(found.is_ok(), "{}", found.unwrap_err());
        }
    }

    /// The mixture is the distribution of its procedure (K1): sample from `p`, defer with
    /// probability `d` of the token. All paths are enumerated.
    #[test]
    fn k1_the_mixture_is_the_distribution_of_the_sampling_procedure((p, q) in pairs(), x in unit()) {
        for info in catalogue() {
            let d = decide(&info.with(x).unwrap(), &p, &q);
            let drawn = enumerate(|choices: &mut dyn ChoiceSource| {
                let token = choices.token(&p);
                let deferred = choices.accept(d.weights()[token as usize]);
                Ok::<_, ()>(if deferred { choices.token(&q) } else { token })
            });
            let drawn = drawn.unwrap();
            for (token, &pi) in (0..).zip(mixed(&p, &q, &d).0.probs()) {
                let path = drawn.get(&token).copied().unwrap_or(0.0);
                prop_assert!((path - pi).abs() < ROUNDING, "{}: token {token}", info.kind);
            }
        }
    }

    /// Budgets are kept (K2): never exceeded; a budget of 1 defers everything (kad-fallback: tokens
    /// of positive value), a budget of 0 nothing of positive probability.
    #[test]
    fn k2_budgets_are_kept((p, q) in pairs(), x in unit(), token in 0..10usize) {
        for kind in BUDGETED {
            for budget in parameters(&p, x, token) {
                let d = decide(&rule(kind, budget), &p, &q);
                let used = spent(&d, &p);
                prop_assert!(used <= budget * (1.0 + 2.0 * SLACK), "{kind} {budget} spent {used}");
                if budget == 0.0 {
                    prop_assert!(d.weights().iter().zip(p.probs()).all(|(d, p)| d * p == 0.0));
                }
                let weightless = d.weights().iter().zip(p.probs()).all(|(&d, &p)| p > 0.0 || d == 1.0);
                prop_assert!(weightless, "{kind} {budget}: impossible tokens cost nothing");
            }
            if kind != "kad-fallback" {
                let everything = decide(&rule(kind, 1.0), &p, &q);
                prop_assert!(everything.weights().iter().all(|&d| d == 1.0), "{kind}");
            }
        }
    }

    /// Nudging is all or nothing (K9): `p` or `q*`; equal to the dual where nothing reaches the
    /// threshold; Chow's rule is nudging at `1 − λ`.
    #[test]
    fn k9_nudging_is_all_or_nothing((p, q) in pairs(), x in unit(), token in 0..10usize) {
        for threshold in parameters(&p, x, token) {
            let nudging = decide(&rule("nudging", threshold), &p, &q);
            let (pi, _) = mixed(&p, &q, &nudging);
            let all = p.max_prob() < threshold;
            let wanted = if all { &q } else { &p };
            prop_assert!(pi.total_variation(wanted) < ROUNDING);
            if all {
                let dual = decide(&rule("kad-dual", threshold), &p, &q);
                prop_assert_eq!(dual.weights(), nudging.weights());
            }
            let chow = decide(&rule("chow", threshold), &p, &q);
            let mirrored = decide(&rule("nudging", 1.0 - threshold), &p, &q);
            prop_assert_eq!(chow.weights(), mirrored.weights());
        }
    }

    /// Argmax-only is the limit of token-v2 and token-v3 at margin 0 (K9).
    #[test]
    fn k9_argmax_only_is_the_limit_of_the_margins((p, q) in pairs()) {
        let best = p.max_prob();
        let below = p.probs().iter().copied().filter(|&p| p < best).fold(0.0, f64::max);
        let limit = decide(&rule("argmax-only", 0.0), &p, &q);
        let wanted: Vec<f64> = p.probs().iter().map(|&p| f64::from(u8::from(p < best))).collect();
        prop_assert_eq!(limit.weights(), &wanted[..]);
        for margin in [0.0, 0.5 * (best - below)] {
            for kind in ["token-v2", "token-v3"] {
                let found = decide(&rule(kind, margin), &p, &q);
                prop_assert_eq!(found.weights(), limit.weights(), "{} {}", kind, margin);
            }
        }
    }

    /// Self-deferral (K10): for `d ∈ {0, 1}` and `q* = p`, the distribution moves by `D (1 − D)`,
    /// and a draft of the copy is accepted with probability `D + (1 − D)²`.
    #[test]
    fn k10_self_deferral_sharpens(p in distributions(), x in unit(), token in 0..10usize) {
        for (info, value) in with_values(x, &p, token) {
            let d = decide(&info.with(value).unwrap(), &p, &p);
            if d.weights().iter().all(|&d| d == 0.0 || d == 1.0) {
                let (pi, mass) = mixed(&p, &p, &d);
                let rest = 1.0 - mass;
                prop_assert!((pi.total_variation(&p) - mass * rest).abs() < ROUNDING);
                let overlap = pi.probs().iter().zip(p.probs()).map(|(a, b)| a.min(*b));
                prop_assert!((overlap.sum::<f64>() - (mass + rest * rest)).abs() < ROUNDING);
            }
        }
    }

    /// Finite logits, masks and settings always give a distribution (K14); a row without a possible
    /// token gives an error.
    #[test]
    fn k14_finite_logits_never_give_nan(
        rows in logits(), temperature in temperatures(), x in unit(),
        cuts in (proptest::option::of(1..6usize), proptest::option::of(0.01..=1.0f64)),
        penalty in 0.1..10.0f64,
    ) {
        let settings = SamplingSettings {
            temperature, top_k: cuts.0, top_p: cuts.1, min_p: cuts.1, repetition_penalty: penalty,
        };
        let (plain, cut) =
            (Sampling::at_temperature(temperature).unwrap(), Sampling::new(settings).unwrap());
        for sampling in [plain, cut] {
            let distributions = rows.clone().map(|row| {
                let mut distribution = Distribution::default();
                let made = sampling.distribution(&row, &[0, 2, 2], &mut distribution);
                let masked = row.iter().all(|&logit| logit == f32::NEG_INFINITY);
                (made.map(|()| distribution), masked)
            });
            for (distribution, masked) in &distributions {
                prop_assert_eq!(distribution.as_ref().err(), masked.then_some(&DistributionError::Empty));
            }
            if let [(Ok(p), _), (Ok(q), _)] = &distributions {
                let sum: f64 = p.probs().iter().sum();
                prop_assert!((sum - 1.0).abs() < ROUNDING && p.probs().iter().all(|&p| p >= 0.0));
                for info in catalogue() {
                    let d = decide(&info.with(x).unwrap(), p, q);
                    let found = is_a_mixture(p, q, &d, info.kind);
                    prop_assert!(found.is_ok(), "{}", found.unwrap_err());
                }
            }
        }
    }
}

const TEMPERATURES: [f64; 9] = [0.0, 5e-324, 1e-300, 1e-7, 0.7, 1.0, 100.0, 1e300, f64::MAX];

fn temperatures() -> impl Strategy<Value = f64> {
    proptest::sample::select(&TEMPERATURES)
}

/// Two rows of logits over one vocabulary: any finite number, the largest ones, masks.
fn logits() -> impl Strategy<Value = [Vec<f32>; 2]> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    let logit = || {
        prop_oneof![
            3 => POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO,
            3 => -20.0..20.0f32,
            2 => Just(f32::NEG_INFINITY),
            1 => Just(f32::MAX),
            1 => Just(f32::MIN),
        ]
    };
    (1..7usize).prop_flat_map(move |n| {
        let row = || proptest::collection::vec(logit(), n);
        [row(), row()]
    })
}

/// Mixtures, budgets and finite results (K1, K2, K14) for long sums.
#[test]
fn wide_distributions_are_mixed_without_loss() {
    let distributions = wide_distributions();
    for (index, (name, p)) in distributions.iter().enumerate() {
        let q = &distributions[(index + 1) % distributions.len()].1;
        for info in catalogue() {
            let d = decide(&info.with(0.35).unwrap(), p, q);
            is_a_mixture(p, q, &d, &format!("{} on {name}", info.kind)).unwrap();
            if BUDGETED.contains(&info.kind) {
                assert!(spent(&d, p) <= 0.35 * (1.0 + ROUNDING), "{} on {name}", info.kind);
            }
        }
    }
}
