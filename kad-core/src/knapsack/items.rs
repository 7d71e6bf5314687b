//! The items of a knapsack.

use std::cmp::Ordering;

use super::KnapsackError;
use crate::distribution::Distribution;
use crate::sum::sum_by;
use crate::vocab::TokenId;

/// Items of a deferral knapsack: for each a weight `w ≥ 0` (what taking it spends) and a value `v`
/// (what it gains), `[items]` each. Item `i` made from a distribution is token `i`.
///
/// A reusable buffer: [`Items::clear`] keeps its memory, and the `extend_` functions append, so
/// that the tokens of several positions can share one budget. A window of positions with
/// distributions `p₁ … p_K` and a common budget is one knapsack of `K · V` items; the multiplier of
/// its relaxation is then the same for all positions, which no split of the budget fixed beforehand
/// achieves:
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
    /// `v / w`, kept because `−ln p` is known more exactly than the quotient of `−p ln p` and `p`,
    /// and the order of tokens hangs on it. `+∞` at weight 0 and value ≥ 0.
    densities: Vec<f64>,
}

impl Items {
    /// Items of any weights and values, `[items]` each.
    ///
    /// # Errors
    /// * [`KnapsackError::Length`] if there are not as many values as weights.
    /// * [`KnapsackError::Weight`] if a weight is negative or not finite.
    /// * [`KnapsackError::Value`] if a value is not finite.
    /// * [`KnapsackError::Density`] if `v / w` is too large for a number though `w > 0`.
    /// * [`KnapsackError::Total`] if all weights, or all values, overflow a number in sum.
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

    /// The deferral knapsack of a base distribution `p`: `w = p`, `v = −p ln p` in nats, so that
    /// the density is the surprisal `−ln p` (Hammal et al., arXiv 2510.27017, with the distribution
    /// itself plugged in).
    ///
    /// `v = 0` at `p = 0` (the limit), and where rounding left `p` above 1.
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

    /// The knapsack that counts the fallback's own error: `w = p`,
    /// `v = p · (−ln p − H(p, q*))` with `H(p, q*) = −Σ p ln q*`, the loss to expect from the
    /// aligned distribution `q*` under `p`, in nats.
    ///
    /// [`Items::surprisal`] takes that loss for 0. Here an item is worth taking only if `p` is
    /// below `e^(−H)`: values can be negative, and such items are never taken. If `q*` finds
    /// impossible what `p` does not, `H = ∞`: handing over is never worth it, every token with
    /// `p > 0` has value `−∞`, and those with `p = 0` weigh and gain nothing as before. Tokens
    /// beyond the end of `aligned` count as `q* = 0`.
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

    /// Appends `w = p`, `v = p · density(p)`; at `p = 0` a weightless item of value 0.
    fn extend_by_density(&mut self, base: &Distribution, density: impl Fn(f64) -> f64) {
        self.weights.extend_from_slice(base.probs());
        let possible = |p: f64| (p > 0.0).then(|| density(p));
        let densities = base.probs().iter().map(|&p| possible(p).unwrap_or(f64::INFINITY));
        self.densities.extend(densities);
        let fresh = self.densities[self.values.len()..].iter();
        let values = base.probs().iter().zip(fresh);
        self.values.extend(values.map(|(&p, &density)| if p > 0.0 { p * density } else { 0.0 }));
    }

    /// Appends all items of `other`; item `i` there is item `len + i` here.
    pub fn append(&mut self, other: &Items) {
        self.weights.extend_from_slice(&other.weights);
        self.values.extend_from_slice(&other.values);
        self.densities.extend_from_slice(&other.densities);
    }

    /// Forgets the items and keeps the memory.
    pub fn clear(&mut self) {
        self.weights.clear();
        self.values.clear();
        self.densities.clear();
    }

    /// Weights `w`, `[items]`: finite, ≥ 0.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Values `v`, `[items]`: finite, or `−∞` for what is never to be taken.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// `Σ w`.
    pub fn total_weight(&self) -> f64 {
        sum_by(self.len(), |item| self.weights[item])
    }

    /// Weight and value of a set, `[items]`. Summed by index, so that a set has one of each.
    pub(super) fn totals(&self, taken: &[bool]) -> (f64, f64) {
        let of = |buffer: &[f64]| {
            sum_by(taken.len(), |item| if taken[item] { buffer[item] } else { 0.0 })
        };
        (of(&self.weights), of(&self.values))
    }

    /// What an item gains per unit of weight; see the field.
    pub(super) fn density(&self, item: usize) -> f64 {
        self.densities[item]
    }

    /// The order in which a relaxed knapsack is filled: density falling; among equals the lighter
    /// item first (densities of nearby probabilities can round to the same number), then the
    /// higher index.
    pub(super) fn fill_order(&self, a: usize, b: usize) -> Ordering {
        let by_density = self.densities[b].total_cmp(&self.densities[a]);
        by_density.then(self.weights[a].total_cmp(&self.weights[b])).then(b.cmp(&a))
    }
}

/// `v / w` of an item given from outside, or what is wrong with it.
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

/// `H(p, q) = −Σ p ln q` in nats; ∞ if `q = 0` somewhere that `p > 0`.
pub(crate) fn cross_entropy(p: &Distribution, q: &Distribution) -> f64 {
    sum_by(p.len(), |token| {
        let p = p.probs()[token];
        if p > 0.0 { -p * q.prob(token as TokenId).ln() } else { 0.0 }
    })
}
