//! Certificates: the value of one deferral decision, with bounds on the best possible value.

use crate::deferral::Deferral;
use crate::distribution::Distribution;
use crate::knapsack::{Items, dual, effective_budget, relax};
use crate::mixture::mix;
use crate::sum::sum_by;

/// An assessment of one decision `d` over a base distribution `p` and an aligned distribution `q*`:
/// its deferral mass, its value in the knapsack of Hammal et al. (arXiv 2510.27017), bounds on the
/// value of any decision with the same budget, and its effect on the sampled distribution.
///
/// Values are in nats. With budget `b`, `greedy ≤ optimum ≤ linear = min_μ L(μ)` and
/// `linear − greedy ≤ 1/e`. [`knapsack::exact`](crate::knapsack::exact()) finds the optimum for the
/// same items.
///
/// ```
/// use kad_core::{Certificate, Distribution, deferral::{BaseRule, Deferral, KadPrimal}};
/// let base = Distribution::from_probs(vec![0.5, 0.3, 0.2])?;
/// let mut decision = Deferral::default();
/// KadPrimal::new(0.25)?.decide(&base, &mut decision);
/// let certificate = Certificate::new(&base, &base, &decision, Some(0.25));
/// assert_eq!((certificate.mass, certificate.budget), (0.2, 0.25));
/// assert_eq!(certificate.value, certificate.greedy);
/// assert!((certificate.gap - 0.05 * -0.3f64.ln()).abs() < 1e-12);
/// // Base and aligned distribution are equal here; the mixture differs by D (1 − D).
/// assert!((certificate.tv_base - 0.2 * 0.8).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// Deferral mass `D = Σ d p` ∈ [0, 1]: the probability that a base token is deferred.
    pub mass: f64,
    /// Value of the decision, `Σ d · (−p ln p)` ≥ 0.
    pub value: f64,
    /// Budget `b` of the bounds below: the rule's own, or the mass spent.
    pub budget: f64,
    /// `G`: value of the greedy (primal) solution for `b`.
    pub greedy: f64,
    /// `LP`: value of the linear relaxation for `b`; at least the value of every 0-1 decision
    /// within `b`.
    pub linear: f64,
    /// `L(μ*) = μ* b + Σ p · max(0, −ln p − μ*)`, summed over the vocabulary: equals `linear`, and
    /// is a valid bound however the relaxation was found.
    pub dual: f64,
    /// `μ*`: the surprisal `−ln p_c` of the first token that does not fit; 0 if all fit. The dual
    /// rule with threshold `α = e^(−μ*)` decides like the primal rule, except for ties.
    pub multiplier: f64,
    /// `linear − greedy` ∈ [0, 1/e]: the most that rounding the relaxation down can have cost.
    pub gap: f64,
    /// Total variation distance between the mixture and the base distribution, ≤ `D`.
    pub tv_base: f64,
    /// Total variation distance between the mixture and the aligned distribution, ≤ `1 − D`.
    pub tv_aligned: f64,
    /// Acceptance rate of drafts from the aligned model with the mixture as target in speculative
    /// decoding: `Σ min(π, q*) = 1 − TV(π, q*)`.
    pub acceptance: f64,
    /// The mixture `π = (1 − d) p + q* D`, which the token is sampled from.
    pub mixture: Distribution,
}

impl Certificate {
    /// The certificate of `deferral` over `base` and `aligned`, all over one vocabulary.
    ///
    /// `budget` is the rule's own budget, as for KAD primal. Without one, the bounds refer to the
    /// mass spent: they then tell how well that mass was placed. (The dual rule always has `value =
    /// linear`, because a threshold is optimal for the mass it spends.) A budget of 1 or more
    /// admits the whole distribution, whatever its sum rounds to; a negative or NaN budget counts
    /// as 0.
    ///
    /// Cost: expected `O(V)` time and a few buffers of that size.
    pub fn new(
        base: &Distribution,
        aligned: &Distribution,
        deferral: &Deferral,
        budget: Option<f64>,
    ) -> Self {
        let mut mixture = Distribution::default();
        let mass = mix(base, aligned, deferral, &mut mixture);

        let items = Items::surprisal(base);
        let decided = |buffer: &[f64]| {
            let weights = deferral.weights();
            sum_by(weights.len().min(buffer.len()), |token| weights[token] * buffer[token])
        };
        let budget = match budget {
            Some(budget) => effective_budget(budget.max(0.0), &items),
            None => decided(items.weights()),
        };
        let relaxed = relax(&items, budget);
        Self {
            mass,
            value: decided(items.values()),
            budget,
            greedy: relaxed.value,
            linear: relaxed.bound,
            dual: dual(&items, budget, relaxed.multiplier),
            multiplier: relaxed.multiplier,
            gap: (relaxed.bound - relaxed.value).max(0.0),
            tv_base: mixture.total_variation(base),
            tv_aligned: mixture.total_variation(aligned),
            acceptance: overlap(&mixture, aligned),
            mixture,
        }
    }

    /// `max(0, linear − value)` in nats: an upper bound on the value lost against the best decision
    /// with the same budget.
    ///
    /// ```
    /// use kad_core::{Certificate, Distribution, deferral::{BaseRule, Deferral, RandomDeferral}};
    /// let base = Distribution::from_probs(vec![0.7, 0.2, 0.1])?;
    /// let mut decision = Deferral::default();
    /// RandomDeferral::new(0.3)?.decide(&base, &mut decision);
    // A random rule defers as much mass as the two unlikely tokens have, but likely tokens too.
    /// let certificate = Certificate::new(&base, &base, &decision, None);
    /// assert!(certificate.shortfall() > 0.3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shortfall(&self) -> f64 {
        (self.linear - self.value).max(0.0)
    }
}

/// Overlap `Σ min(p, q)`.
fn overlap(p: &Distribution, q: &Distribution) -> f64 {
    let (p, q) = (p.probs(), q.probs());
    sum_by(p.len().min(q.len()), |token| p[token].min(q[token]))
}

#[cfg(test)]
mod tests;
