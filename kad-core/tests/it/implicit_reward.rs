//! Implicit reward (K15): against the same distribution composed of probabilities, and the
//! condition under which a deferral mixture can produce it.

use kad_core::mixture::mix_weights;
use kad_core::oracle::{BigRational, TableModel, ratio};
use kad_core::{
    DecodeError, Distribution, DistributionError, ImplicitReward, Predictor, Sampling,
    SamplingSettings, TokenId, UndefinedRatio,
};
use proptest::prelude::*;

use UndefinedRatio::{CapLogRatio, Exclude};

/// Rounding error of a few exponentials and products.
const ROUNDING: f64 = 1e-12;
pub(crate) const NEVER: f32 = f32::NEG_INFINITY;

/// The implicit-reward distribution for three rows of logits: p, q, q*.
pub(crate) fn composed(
    rows: &[Vec<f32>; 3],
    temperature: f64,
    impossible: UndefinedRatio,
) -> Result<Distribution, DecodeError> {
    let table = |row: &Vec<f32>| TableModel::random("table", row.len(), 0, 0).with_row(&[], row);
    let [base, small, aligned] = rows.each_ref().map(table);
    let sampling = Sampling::at_temperature(temperature).unwrap();
    let mut reward = ImplicitReward::new(&base, &small, &aligned, sampling, impossible)?;
    let mut distributions = Vec::new();
    reward.distributions(&[0], 1, &mut distributions)?;
    Ok(distributions.remove(0))
}

/// `softmax(row / temperature)`, by its definition.
fn softmax(row: &[f32], temperature: f64) -> Vec<f64> {
    let weights: Vec<f64> = row.iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// `p · min(q*/q, cap)`, normalised, from probabilities. Where `q = 0`, the ratio is the cap, or
/// the token is excluded without one. `None` if no token is left.
fn by_hand([p, q, q_star]: [&[f64]; 3], cap: Option<f64>) -> Option<Distribution> {
    let ratio = |q_star: f64, q: f64| match cap {
        _ if q_star == 0.0 => 0.0,
        None => {
            if q > 0.0 {
                q_star / q
            } else {
                0.0
            }
        }
        Some(cap) => (q_star / q).min(cap),
    };
    Distribution::proportional((0..p.len()).map(|y| p[y] * ratio(q_star[y], q[y])))
}

fn apart(found: &Distribution, wanted: &Distribution) -> f64 {
    found.total_variation(wanted)
}

/// Three rows of multiples of 1/16, which shift without rounding.
fn rows() -> impl Strategy<Value = [Vec<f32>; 3]> {
    (1..8usize).prop_flat_map(|n| {
        let row = || proptest::collection::vec((-96..96i32).prop_map(|l| l as f32 / 16.0), n);
        [row(), row(), row()]
    })
}

/// Three rows with masked tokens.
fn masked_rows() -> impl Strategy<Value = [Vec<f32>; 3]> {
    (1..8usize).prop_flat_map(|n| {
        let logit = || prop_oneof![1 => Just(NEVER), 4 => -6.0..6.0f32];
        let row = || {
            let row = proptest::collection::vec(logit(), n);
            row.prop_filter("possible", |row| row.iter().any(|l| *l > NEVER))
        };
        [row(), row(), row()]
    })
}

proptest! {
    /// Temperature commutes (K15): on the composed scores it equals temperature on each factor.
    #[test]
    fn k15_temperature_commutes(rows in rows(), temperature in 0.2..5.0f64) {
        let found = composed(&rows, temperature, Exclude).unwrap();
        let [p, q, q_star] = rows.each_ref().map(|row| softmax(row, temperature));
        let wanted = by_hand([&p, &q, &q_star], None).unwrap();
        prop_assert!(apart(&found, &wanted) < ROUNDING);
    }

    /// Equal models cancel (K15): q* = q gives the base model, p = q the aligned model.
    #[test]
    fn k15_equal_models_cancel([p, q, _] in rows()) {
        let distribution = |row: &[f32]| Distribution::proportional(softmax(row, 1.0)).unwrap();
        let unmoved = composed(&[p.clone(), q.clone(), q.clone()], 1.0, Exclude).unwrap();
        prop_assert!(apart(&unmoved, &distribution(&p)) < ROUNDING);
        let all = composed(&[p.clone(), p, q.clone()], 1.0, Exclude).unwrap();
        prop_assert!(apart(&all, &distribution(&q)) < ROUNDING);
    }

    /// Shift invariance (K15): a constant added to a model's logits changes nothing, capped or not.
    #[test]
    fn k15_logits_may_be_shifted(rows in rows(), shifts in [-64..64i32, -64..64i32, -64..64i32]) {
        let mut shifted = rows.clone();
        for (row, shift) in shifted.iter_mut().zip(shifts) {
            row.iter_mut().for_each(|logit| *logit += shift as f32 / 4.0);
        }
        for policy in [Exclude, CapLogRatio(0.75)] {
            let [plain, moved] =
                [&rows, &shifted].map(|rows| composed(rows, 1.0, policy).unwrap());
            prop_assert!(apart(&plain, &moved) < ROUNDING, "{policy:?}");
        }
    }

    /// Both policies for tokens that the small model excludes (K15), against the composition of
    /// probabilities; if no token is left, an error that names the models.
    #[test]
    fn k15_masks_follow_the_policy(rows in masked_rows(), cap in -2.0..3.0f64) {
        let [p, q, q_star] = rows.each_ref().map(|row| softmax(row, 1.0));
        for (policy, cap) in [(Exclude, None), (CapLogRatio(cap), Some(cap.exp()))] {
            let found = composed(&rows, 1.0, policy);
            match by_hand([&p, &q, &q_star], cap) {
                Some(wanted) => prop_assert!(apart(&found.unwrap(), &wanted) < ROUNDING),
                None => {
                    let error = found.unwrap_err();
                    let empty = matches!(error, DecodeError::Distribution { source: DistributionError::Empty, .. });
                    prop_assert!(empty, "{error}");
                }
            }
        }
    }

    /// NaN from any of the three models is an error that names them (K15).
    #[test]
    fn k15_nan_is_an_error(rows in rows(), model in 0..3usize, token in 0..8usize) {
        let mut rows = rows;
        let token = token % rows[model].len();
        rows[model][token] = f32::NAN;
        for policy in [Exclude, CapLogRatio(1.0)] {
            let error = composed(&rows, 1.0, policy).unwrap_err();
            let named = matches!(error, DecodeError::Distribution { source: DistributionError::NotFinite { .. }, .. });
            prop_assert!(named, "{error}");
        }
    }
}

/// Penalties see the prefix of each distribution, as for a single model.
#[test]
fn the_penalty_sees_the_prefix_of_each_composed_distribution() {
    const TEXT: [TokenId; 4] = [0, 3, 1, 2];
    let [base, small, aligned] = [1, 2, 3].map(|seed| TableModel::random("table", 5, 2, seed));
    let settings = SamplingSettings { repetition_penalty: 1.7, ..Default::default() };
    let sampling = Sampling::new(settings).unwrap();
    let reward = || ImplicitReward::new(&base, &small, &aligned, sampling, Exclude).unwrap();
    let mut together = Vec::new();
    reward().distributions(&TEXT, 3, &mut together).unwrap();
    for (len, distribution) in (2..=4).zip(&together) {
        let mut alone = Vec::new();
        reward().distributions(&TEXT[..len], 1, &mut alone).unwrap();
        assert_eq!(distribution, &alone[0], "prefix of {len}");
    }
}

fn exact(weights: &[i64]) -> Distribution<BigRational> {
    Distribution::proportional(weights.iter().map(|&w| ratio(w, 1))).unwrap()
}

/// The deferral masses `m` for which `s` can be a mixture of `p` and `q*`:
/// `max (s − p)/q* ≤ m ≤ min s/q*` within [0, 1]; `None` if there are none.
fn masses(
    p: &Distribution<BigRational>,
    q_star: &Distribution<BigRational>,
    s: &Distribution<BigRational>,
) -> Option<[BigRational; 2]> {
    let parts = || p.probs().iter().zip(q_star.probs()).zip(s.probs());
    let low = parts().map(|((p, q), s)| (s - p) / q).fold(ratio(0, 1), std::cmp::Ord::max);
    let high = parts().map(|((_, q), s)| s / q).fold(ratio(1, 1), std::cmp::Ord::min);
    (low <= high).then_some([low, high])
}

proptest! {
    /// Proposition 1 of arXiv 2604.16146 (K15) as an exact condition, necessary: every mixture lies
    /// in its own interval, in rationals.
    #[test]
    fn k15_every_mixture_meets_the_condition(
        tokens in proptest::collection::vec((1..9i64, 1..9i64, 0..=8i64), 1..6),
    ) {
        let column = |f: fn(&(i64, i64, i64)) -> i64| tokens.iter().map(f).collect::<Vec<_>>();
        let (p, q_star) = (exact(&column(|t| t.0)), exact(&column(|t| t.1)));
        let d: Vec<_> = tokens.iter().map(|t| ratio(t.2, 8)).collect();
        let mass: BigRational = d.iter().zip(p.probs()).map(|(d, p)| d * p).sum();
        let mut pi = Distribution::default();
        mix_weights(&p, &q_star, &d, mass.clone(), &mut pi);
        let found = masses(&p, &q_star, &pi);
        prop_assert!(found.is_some_and(|[low, high]| low <= mass && mass <= high));
    }
}

/// The condition is sufficient (K15): `μ = 1 + (q* m − s)/p` is a rejection distribution and
/// produces `s` exactly, at both ends of the interval. Over every seventh triple of weights 1 to 3
/// on three tokens, as `p`, `q`, `q*` of a composed distribution and as `p`, `s`, `q*` directly.
/// Both outcomes occur.
#[test]
fn k15_a_distribution_that_meets_the_condition_is_a_mixture() {
    let weights = |code: i64| [1 + code % 3, 1 + code / 3 % 3, 1 + code / 9 % 3];
    let (mut made, mut impossible) = (0, 0);
    for code in (0..27 * 27 * 27).step_by(7) {
        let [p, q, q_star] = [code, code / 27, code / (27 * 27)].map(|c| exact(&weights(c)));
        let composed = (0..3).map(|y| &p.probs()[y] * &q_star.probs()[y] / &q.probs()[y]);
        for s in [Distribution::proportional(composed).unwrap(), q] {
            match masses(&p, &q_star, &s) {
                Some(ends) => {
                    made += 1;
                    ends.iter().for_each(|m| is_made_by_handing_over(m, &p, &q_star, &s));
                }
                None => impossible += 1,
            }
        }
    }
    assert!(made > 1_000 && impossible > 1_000, "{made} made, {impossible} not");
}

/// A distribution that lies between `p` and `q*` at every token need not be a mixture of them
/// (K15).
#[test]
fn k15_a_distribution_between_the_two_need_not_be_a_mixture() {
    let (p, q_star, s) = (exact(&[1, 1, 8]), exact(&[4, 4, 2]), exact(&[4, 1, 5]));
    let mut tokens = p.probs().iter().zip(q_star.probs()).zip(s.probs());
    assert!(tokens.all(|((p, q), s)| p.min(q) <= s && s <= p.max(q)));
    assert!(masses(&p, &q_star, &s).is_none());
}

fn is_made_by_handing_over(
    m: &BigRational,
    p: &Distribution<BigRational>,
    q_star: &Distribution<BigRational>,
    s: &Distribution<BigRational>,
) {
    let parts = p.probs().iter().zip(q_star.probs()).zip(s.probs());
    let weights: Vec<_> = parts.map(|((p, q), s)| ratio(1, 1) + (q * m - s) / p).collect();
    assert!(weights.iter().all(|d| &ratio(0, 1) <= d && d <= &ratio(1, 1)));
    let mass: BigRational = weights.iter().zip(p.probs()).map(|(d, p)| d * p).sum();
    assert_eq!(&mass, m);
    let mut pi = Distribution::default();
    mix_weights(p, q_star, &weights, mass, &mut pi);
    assert_eq!(&pi, s);
}

/// A mask in one model does not hide a NaN of another.
#[test]
fn nan_behind_a_mask_is_an_error() {
    let rows = [vec![0.0, 0.0], vec![NEVER, 0.0], vec![f32::NAN, 0.0]];
    let found = composed(&rows, 1.0, UndefinedRatio::Exclude);
    assert!(matches!(
        found,
        Err(DecodeError::Distribution { source: DistributionError::NotFinite { .. }, .. })
    ));
}

/// `a − ∞ = −∞` would silently exclude the token.
#[test]
fn an_infinite_logit_of_the_small_model_is_an_error() {
    let rows = [vec![0.0, 0.0], vec![f32::INFINITY, 0.0], vec![0.0, 0.0]];
    let found = composed(&rows, 1.0, UndefinedRatio::Exclude);
    assert!(matches!(
        found,
        Err(DecodeError::Distribution { source: DistributionError::NotFinite { .. }, .. })
    ));
}

/// A penalty depends on the sign of scores. Even so, a cap that never binds has no effect, and
/// neither has a constant added to the logits of a small model.
#[test]
fn penalties_ignore_a_constant_shift_of_the_logits() {
    let distribution = |aligned: [f32; 2], policy| {
        let settings = SamplingSettings { repetition_penalty: 2.0, ..Default::default() };
        let sampling = Sampling::new(settings).unwrap();
        let [base, small, aligned] = [[1.0, 0.0], [0.0, 0.0], aligned]
            .map(|row| TableModel::random("table", 2, 0, 0).with_row(&[], &row));
        let mut reward = ImplicitReward::new(&base, &small, &aligned, sampling, policy).unwrap();
        let mut distributions = Vec::new();
        reward.distributions(&[0], 1, &mut distributions).unwrap();
        distributions.remove(0)
    };
    // q* = q gives the base distribution, whose token 0 has the logit 1, halved.
    let wanted = 1.0 / (1.0 + (-0.5f64).exp());
    for aligned in [[0.0, 0.0], [3.0, 3.0], [-7.0, -7.0]] {
        for policy in [Exclude, CapLogRatio(50.0)] {
            assert!(
                (distribution(aligned, policy).prob(0) - wanted).abs() < 1e-7,
                "{aligned:?} {policy:?}"
            );
        }
    }
}
