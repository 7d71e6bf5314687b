//! The items of a deferral knapsack: weights, values and densities.

use std::cmp::Ordering;

use super::KnapsackError;
use crate::distribution::Distribution;
use crate::sum::sum_by;
use crate::vocab::TokenId;

/// Items of a deferral knapsack: a weight `w ≥ 0` (the budget it spends) and a value `v` (its gain)
/// each, `[items]`. Item `i` of a distribution is token `i`.
///
/// A reusable buffer: [`Items::clear`] keeps its memory. The `extend_` functions append, so tokens
/// of several positions can share one budget. A window of positions with distributions `p₁ … p_K`
/// and one budget is a knapsack of `K · V` items. The multiplier of its relaxation is the same for
/// all positions, which no budget split in advance achieves:
///
/// ```
/// use kad_core::{Distribution, knapsack::{Items, relax}};
/// let sure = Distribution::from_probs(vec![0.9, 0.06, 0.04])?;
/// let unsure = Distribution::from_probs(vec![0.4, 0.3, 0.3])?;
/// let mut window = Items::default();
/// window.extend_surprisal(&sure);
/// window.extend_surprisal(&unsure);
/// let shared = relax(&window, 0.4);
/// // 0.04 + 0.06 at the first position and 0.3 at the second: the lower id is kept longer.
/// assert_eq!(shared.taken, [false, true, true, false, false, true]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items {
    weights: Vec<f64>,
    values: Vec<f64>,
    /// Density `v / w`, `+∞` for weight 0 and value ≥ 0. Stored, because `−ln p` is more accurate
    /// than the quotient of `−p ln p` and `p`, and the order of tokens depends on it.
    densities: Vec<f64>,
}

impl Items {
    /// Items with given weights and values, `[items]` each.
    ///
    /// # Errors
    /// * [`KnapsackError::Length`] if the numbers of weights and values differ.
    /// * [`KnapsackError::Weight`] if a weight is negative or not finite.
    /// * [`KnapsackError::Value`] if a value is not finite.
    /// * [`KnapsackError::Density`] if `v / w` overflows although `w > 0`.
    /// * [`KnapsackError::Total`] if the sum of all weights, or of all values, overflows.
    ///
    /// ```
    /// use kad_core::knapsack::{Items, KnapsackError};
    /// assert_eq!(Items::new(vec![1.0, 2.0], vec![3.0, 1.0])?.len(), 2);
    /// let error = Items::new(vec![1.0, -2.0], vec![3.0, 1.0]).unwrap_err();
    /// assert_eq!(error, KnapsackError::Weight { item: 1, found: -2.0 });
    /// # Ok::<(), KnapsackError>(())
    /// ```
    pub fn new(weights: Vec<f64>, values: Vec<f64>) -> Result<Self, KnapsackError> {
        if weights.len() != values.len() {
            let (weights, values) = (weights.len(), values.len());
            return Err(KnapsackError::Length { weights, values });
        }
        let mut densities = Vec::with_capacity(weights.len());
        for (item, (&weight, &value)) in weights.iter().zip(&values).enumerate() {
            densities.push(checked_density(item, weight, value)?);
        }
        let total = |buffer: &[f64]| sum_by(buffer.len(), |i| buffer[i].abs());
        if !(total(&weights).is_finite() && total(&values).is_finite()) {
            return Err(KnapsackError::Total);
        }
        Ok(Self { weights, values, densities })
    }

    /// The deferral knapsack of a base distribution `p`: `w = p`, `v = −p ln p` in nats, so the
    /// density is the surprisal `−ln p` (Hammal et al., arXiv 2510.27017, with the model's own
    /// distribution as the estimate of the true one).
    ///
    /// `v = 0` at `p = 0` (the limit), and if rounding left `p` above 1.
    ///
    /// ```
    /// use kad_core::{Distribution, knapsack::Items};
    /// let items = Items::surprisal(&Distribution::from_probs(vec![0.5, 0.5, 0.0])?);
    /// assert_eq!(items.weights(), [0.5, 0.5, 0.0]);
    /// assert_eq!(items.values(), [0.5 * 2f64.ln(), 0.5 * 2f64.ln(), 0.0]);
    /// # Ok::<(), kad_core::DistributionError>(())
    /// ```
    pub fn surprisal(base: &Distribution) -> Self {
        let mut items = Self::default();
        items.extend_surprisal(base);
        items
    }

    /// The knapsack that subtracts the aligned model's expected loss: `w = p`,
    /// `v = p · (−ln p − H(p, q*))` in nats. `H(p, q*) = −Σ p ln q*` is the expected loss of the
    /// aligned distribution `q*` under `p`.
    ///
    /// [`Items::surprisal`] takes that loss as 0. Here an item has a positive value only if `p` is
    /// below `e^(−H)`; items of negative value are never taken. If `q*` excludes a token that `p`
    /// allows, `H = ∞` and no deferral is worthwhile: every token with `p > 0` has value `−∞`, and
    /// tokens with `p = 0` have weight and value 0 as before. Tokens beyond the end of `aligned`
    /// count as `q* = 0`.
    ///
    /// ```
    /// use kad_core::{Distribution, knapsack::{Items, relax}};
    /// let base = Distribution::from_probs(vec![0.9, 0.1])?;
    /// let blind = Distribution::from_probs(vec![1.0, 0.0])?;
    /// assert_eq!(relax(&Items::with_fallback(&base, &blind), 1.0).taken, [false, false]);
    /// assert_eq!(relax(&Items::with_fallback(&base, &base), 1.0).taken, [false, true]);
    /// # Ok::<(), kad_core::DistributionError>(())
    /// ```
    pub fn with_fallback(base: &Distribution, aligned: &Distribution) -> Self {
        let mut items = Self::default();
        items.extend_with_fallback(base, aligned);
        items
    }

    /// Appends the items of [`Items::surprisal`].
    pub fn extend_surprisal(&mut self, base: &Distribution) {
        self.extend_by_density(base, |p| (-p.ln()).max(0.0));
    }

    /// Appends the items of [`Items::with_fallback`].
    pub fn extend_with_fallback(&mut self, base: &Distribution, aligned: &Distribution) {
        let loss = cross_entropy(base, aligned);
        self.extend_by_density(base, |p| -p.ln() - loss);
    }

    /// Appends `w = p`, `v = p · density(p)`; weight and value 0 at `p = 0`.
    fn extend_by_density(&mut self, base: &Distribution, density: impl Fn(f64) -> f64) {
        self.weights.extend_from_slice(base.probs());
        let possible = |p: f64| (p > 0.0).then(|| density(p));
        let densities = base.probs().iter().map(|&p| possible(p).unwrap_or(f64::INFINITY));
        self.densities.extend(densities);
        let fresh = self.densities[self.values.len()..].iter();
        let values = base.probs().iter().zip(fresh);
        self.values.extend(values.map(|(&p, &density)| if p > 0.0 { p * density } else { 0.0 }));
    }

    /// Appends all items of `other`: its item `i` becomes item `len + i`.
    pub fn append(&mut self, other: &Items) {
        self.weights.extend_from_slice(&other.weights);
        self.values.extend_from_slice(&other.values);
        self.densities.extend_from_slice(&other.densities);
    }

    /// Removes all items and keeps the memory.
    pub fn clear(&mut self) {
        self.weights.clear();
        self.values.clear();
        self.densities.clear();
    }

    /// Weights `w`, `[items]`: finite, ≥ 0.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Values `v`, `[items]`: finite, or `−∞` for items that are never taken.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// True if there are no items.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Total weight `Σ w`.
    pub fn total_weight(&self) -> f64 {
        sum_by(self.len(), |item| self.weights[item])
    }

    /// Weight and value of a set, `[items]`; summed by index, so that equal sets have equal sums.
    pub(super) fn totals(&self, taken: &[bool]) -> (f64, f64) {
        let of = |buffer: &[f64]| {
            sum_by(taken.len(), |item| if taken[item] { buffer[item] } else { 0.0 })
        };
        (of(&self.weights), of(&self.values))
    }

    /// Value per unit of weight; see the field.
    pub(super) fn density(&self, item: usize) -> f64 {
        self.densities[item]
    }

    /// The order in which the relaxation fills the knapsack: falling density; among equals the
    /// lighter item first (densities of close probabilities can round to one number), then the
    /// higher index.
    pub(super) fn fill_order(&self, a: usize, b: usize) -> Ordering {
        let by_density = self.densities[b].total_cmp(&self.densities[a]);
        by_density.then(self.weights[a].total_cmp(&self.weights[b])).then(b.cmp(&a))
    }
}

/// Density `v / w` of a caller's item, or the defect of the item.
fn checked_density(item: usize, weight: f64, value: f64) -> Result<f64, KnapsackError> {
    if !(weight >= 0.0 && weight.is_finite()) {
        return Err(KnapsackError::Weight { item, found: weight });
    }
    if !value.is_finite() {
        return Err(KnapsackError::Value { item, found: value });
    }
    if weight == 0.0 {
        return Ok(if value >= 0.0 { f64::INFINITY } else { f64::NEG_INFINITY });
    }
    let density = value / weight;
    let finite = density.is_finite();
    if finite { Ok(density) } else { Err(KnapsackError::Density { item, weight, value }) }
}

/// Cross entropy `H(p, q) = −Σ p ln q` in nats; ∞ if `q = 0` for some token with `p > 0`.
pub(crate) fn cross_entropy(p: &Distribution, q: &Distribution) -> f64 {
    sum_by(p.len(), |token| {
        let p = p.probs()[token];
        if p > 0.0 { -p * q.prob(token as TokenId).ln() } else { 0.0 }
    })
}
