//! What one deferral decision is worth, and how much better it could have been.

use crate::deferral::Deferral;
use crate::distribution::Distribution;
use crate::knapsack::{Items, dual, effective_budget, relax};
use crate::mixture::mix;
use crate::sum::sum_by;

/// An account of one decision `d` over a base distribution `p` and an aligned distribution `q*`:
/// what it hands over, what that is worth in the knapsack of Hammal et al. (arXiv 2510.27017),
/// bounds on what any decision of the same budget could be worth, and what it does to the
/// distribution that is drawn from.
///
/// Values are in nats. With `b` the budget,
/// `greedy ≤ optimum ≤ linear = min_μ L(μ)`, and `linear − greedy ≤ 1/e`. An exact optimum for the
/// same items comes from [`knapsack::exact`](crate::knapsack::exact()).
///
/// ```
/// use kad_core::{Certificate, Distribution, deferral::{BaseRule, Deferral, KadPrimal}};
/// let base = Distribution::from_probs(vec![0.5, 0.3, 0.2])?;
/// let mut decision = Deferral::default();
/// KadPrimal::new(0.25)?.decide(&base, &mut decision);
/// let told = Certificate::new(&base, &base, &decision, Some(0.25));
/// assert_eq!((told.mass, told.budget), (0.2, 0.25));
/// assert_eq!(told.value, told.greedy);
/// assert!((told.gap - 0.05 * -0.3f64.ln()).abs() < 1e-12);
/// // Base and aligned distribution are the same here, and still the mixture is another one: D(1 − D).
/// assert!((told.tv_base - 0.2 * 0.8).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificate {
    /// Deferral mass `D = Σ d p` ∈ [0, 1]: the probability that a base draw is handed over.
    pub mass: f64,
    /// Value of the decision itself, `Σ d · (−p ln p)` ≥ 0.
    pub value: f64,
    /// The budget `b` that the fields below refer to: the rule's own, or the mass spent.
    pub budget: f64,
    /// `G`: value of the greedy (primal) solution for `b`.
    pub greedy: f64,
    /// `LP`: value of the linear relaxation for `b`, above every 0-1 decision that spends `b`.
    pub linear: f64,
    /// `L(μ*) = μ* b + Σ p · max(0, −ln p − μ*)`, summed anew over the vocabulary: equal to
    /// `linear`, and valid as a bound without trust in how the relaxation was found.
    pub dual: f64,
    /// `μ*`, the surprisal `−ln p_c` of the first token that did not fit; 0 if all fit. The dual
    /// rule with threshold `α = e^(−μ*)` decides as the primal one does, ties apart.
    pub multiplier: f64,
    /// `linear − greedy` ∈ [0, 1/e]: what rounding the relaxation down can have cost at most.
    pub gap: f64,
    /// Total variation distance between the mixture and the base distribution; at most `D`.
    pub tv_base: f64,
    /// Total variation distance between the mixture and the aligned distribution; at most `1 − D`.
    pub tv_aligned: f64,
    /// Probability that a draw of the aligned distribution is accepted as one of the mixture by
    /// speculative decoding, `Σ min(π, q*) = 1 − TV(π, q*)`.
    pub acceptance: f64,
    /// The mixture `π = (1 − d) p + q* D`, the distribution of the token.
    pub mixture: Distribution,
}

impl Certificate {
    /// The account of `deferral` over `base` and `aligned`, all three over the same vocabulary.
    ///
    /// `budget` is the rule's own, as KAD primal has one. A rule without one is held to the mass
    /// that it spent: how well was that placed? (The dual rule then always has `value = linear`: a
    /// threshold is optimal for what it spends.) A budget of 1 or more admits the whole
    /// distribution, whatever its sum rounds to; one that is negative or NaN counts as 0.
    ///
    /// Cost: expected `O(V)`, and a few buffers of that size.
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

    /// `max(0, linear − value)`: how far at most the decision is from the best one that spends the
    /// same budget, in nats.
    ///
    /// ```
    /// use kad_core::{Certificate, Distribution, deferral::{BaseRule, Deferral, RandomDeferral}};
    /// let base = Distribution::from_probs(vec![0.7, 0.2, 0.1])?;
    /// let mut decision = Deferral::default();
    /// RandomDeferral::new(0.3)?.decide(&base, &mut decision);
    /// // A coin hands over as much as the two unlikely tokens weigh, but likely ones as well.
    /// let told = Certificate::new(&base, &base, &decision, None);
    /// assert!(told.shortfall() > 0.3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shortfall(&self) -> f64 {
        (self.linear - self.value).max(0.0)
    }
}

/// `Σ min(p, q)`.
fn overlap(p: &Distribution, q: &Distribution) -> f64 {
    let (p, q) = (p.probs(), q.probs());
    sum_by(p.len().min(q.len()), |token| p[token].min(q[token]))
}

#[cfg(test)]
mod tests;
