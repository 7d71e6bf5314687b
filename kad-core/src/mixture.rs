//! The law of a base model under deferral.

use crate::deferral::Deferral;
use crate::law::Law;

/// Writes `π(y) = (1 − d(y)) p(y) + q*(y) · D` into `out` and returns the deferral mass
/// `D = Σ d(y) p(y)`.
///
/// `p` is `base`, `q*` is `aligned`. This is the law of: draw from `p`; with probability `d` of
/// the drawn token discard it and draw from `q*` (arXiv 2510.27017; arXiv 2604.16146).
///
/// ```
/// use kad_core::{Law, deferral::{BaseRule, Deferral, KadDual}, mixture::mix};
/// let (p, q) = (Law::from_probs(vec![0.75, 0.25])?, Law::from_probs(vec![0.0, 1.0])?);
/// let (mut d, mut pi) = (Deferral::default(), Law::default());
/// KadDual::new(0.4)?.decide(&p, &mut d);
/// assert_eq!(mix(&p, &q, &d, &mut pi), 0.25);
/// assert_eq!(pi.probs(), [0.75, 0.25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mix(base: &Law, aligned: &Law, deferral: &Deferral, out: &mut Law) -> f64 {
    debug_assert_eq!(base.len(), aligned.len());
    debug_assert_eq!(base.len(), deferral.weights().len());
    let mass = deferral.mass(base);
    let probs = out.probs_mut();
    probs.clear();
    let kept = base.probs().iter().zip(deferral.weights()).map(|(p, d)| (1.0 - d) * p);
    probs.extend(kept.zip(aligned.probs()).map(|(kept, q)| kept + mass * q));
    mass
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deferral::{BaseRule, KadPrimal};
    use proptest::prelude::*;

    fn laws() -> impl Strategy<Value = (Law, Law)> {
        let pair = proptest::collection::vec((0.001..1.0f64, 0.001..1.0f64), 1..12);
        pair.prop_map(|pairs| {
            let normal = |weights: Vec<f64>| {
                let total: f64 = weights.iter().sum();
                Law::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
            };
            let (p, q): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            (normal(p), normal(q))
        })
    }

    proptest! {
        /// K1 and, for p = q*, K10.
        #[test]
        fn mass_is_conserved_and_distances_are_bounded((p, q) in laws(), budget in 0.0..=1.0f64) {
            let (mut d, mut pi) = (Deferral::default(), Law::default());
            KadPrimal::new(budget).unwrap().decide(&p, &mut d);
            let mass = mix(&p, &q, &d, &mut pi);
            prop_assert!((pi.probs().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            prop_assert!(pi.probs().iter().zip(q.probs()).all(|(pi, q)| *pi >= mass * q - 1e-15));
            prop_assert!(pi.total_variation(&p) <= mass + 1e-12);
            prop_assert!(pi.total_variation(&q) <= 1.0 - mass + 1e-12);
            mix(&p, &p, &d, &mut pi);
            prop_assert!((pi.total_variation(&p) - mass * (1.0 - mass)).abs() < 1e-12);
        }
    }
}
