//! The linear relaxation of the knapsack, the greedy solution and the Lagrangian dual.

use super::{Items, capacity, positive_part};
use crate::sum::sum_by;

/// The greedy solution of a knapsack and its linear relaxation. A reusable buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Relaxation {
    /// True for each item of the greedy solution, `[items]`.
    pub taken: Vec<bool>,
    /// Weight of the greedy solution, `U = Σ w`.
    pub used: f64,
    /// Value of the greedy solution, `G = Σ v`.
    pub value: f64,
    /// The critical item `c`: the first that does not fit. `None` if all items of value ≥ 0 fit.
    pub critical: Option<usize>,
    /// Fraction of the critical item in the relaxation, `(b − U) / w_c` ∈ [0, 1]; 0 without one.
    pub fraction: f64,
    /// Value of the relaxation, `LP = G + (b − U) · v_c / w_c`: an upper bound on every solution.
    pub bound: f64,
    /// The optimal multiplier `μ* = v_c / w_c` ≥ 0: the gain of one more unit of budget; 0 if all
    /// fit.
    pub multiplier: f64,
    /// Scratch order; after [`relax_into`]: taken items, the critical item, others.
    pub(super) order: Vec<usize>,
}

/// Greedy solution: fills the budget by density `v / w` and stops at the first item that does not
/// fit.
///
/// Order: falling density; among equals the lighter item first, then the higher index (so that of
/// two tokens with equal probability the lower id is kept longer). For [`Items::surprisal`] this is
/// rising `p`, and the kept tokens are the nucleus: the smallest set of most probable tokens with
/// mass ≥ `1 − b`. Weightless items of value ≥ 0 are always taken, items of negative value never. A
/// set fits up to [`BUDGET_SLACK`](super::BUDGET_SLACK); a negative or NaN budget counts as 0.
///
/// Cost: expected `O(n)`, by selection instead of sorting. Sums are compensated, in `f64`.
///
/// ```
/// use kad_core::knapsack::{Items, dual, relax};
/// let items = Items::new(vec![1.0, 2.0, 4.0], vec![3.0, 4.0, 4.0])?;
/// let relaxed = relax(&items, 5.0);
/// assert_eq!(relaxed.taken, [true, true, false]);
/// assert_eq!((relaxed.used, relaxed.value), (3.0, 7.0));
/// assert_eq!((relaxed.critical, relaxed.fraction), (Some(2), 0.5));
/// assert_eq!((relaxed.bound, relaxed.multiplier), (9.0, 1.0));
/// assert_eq!(dual(&items, 5.0, relaxed.multiplier), 9.0);
/// # Ok::<(), kad_core::knapsack::KnapsackError>(())
/// ```
pub fn relax(items: &Items, budget: f64) -> Relaxation {
    let mut out = Relaxation::default();
    relax_into(items, budget, &mut out);
    out
}

/// [`relax`] into an existing buffer.
pub fn relax_into(items: &Items, budget: f64, out: &mut Relaxation) {
    let mut order = std::mem::take(&mut out.order);
    order.clear();
    order.extend((0..items.len()).filter(|&item| items.values()[item] >= 0.0));
    let fitting = longest_fitting_prefix(&mut order, items, capacity(budget));
    out.taken.clear();
    out.taken.resize(items.len(), false);
    order[..fitting].iter().for_each(|&item| out.taken[item] = true);
    (out.used, out.value) = items.totals(&out.taken);
    out.critical = order.get(fitting).copied();
    (out.fraction, out.bound, out.multiplier) = match out.critical {
        None => (0.0, out.value, 0.0),
        Some(item) => {
            // A critical item has weight > 0: weightless items fit every budget.
            let left = positive_part(positive_part(budget) - out.used);
            let fraction = (left / items.weights()[item]).min(1.0);
            (fraction, out.value + fraction * items.values()[item], items.density(item))
        }
    };
    out.order = order;
}

/// Reorders items so that the longest prefix in filling order with weight at most `capacity` comes
/// first, followed by the next item of that order. Returns the length of the prefix.
///
/// Quickselect on weight instead of rank: halves the open window, takes the denser half if all of
/// it fits, else continues inside it.
fn longest_fitting_prefix(order: &mut [usize], items: &Items, capacity: f64) -> usize {
    let (mut low, mut high) = (0, order.len());
    let mut spent = 0.0;
    while low < high {
        let middle = low + (high - low) / 2;
        let window = &mut order[low..high];
        window.select_nth_unstable_by(middle - low, |&a, &b| items.fill_order(a, b));
        let half = sum_by(middle + 1 - low, |k| items.weights()[window[k]]);
        if spent + half <= capacity {
            spent += half;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The Lagrangian dual `L(μ) = μ b + Σ max(0, v − μ w)` at `multiplier` = μ ≥ 0.
///
/// Convex in `μ`, and an upper bound on every solution within `budget` = b ≥ 0. Its minimum,
/// `min_μ L(μ) = LP`, is at [`Relaxation::multiplier`]. The items with `v / w > μ` are the exact
/// optimum for the budget that they use. A negative `μ` gives a number but no bound.
/// `0 · ∞` is 0 here.
///
/// Cost: `O(n)`.
pub fn dual(items: &Items, budget: f64, multiplier: f64) -> f64 {
    let priced = |weight: f64| match (weight, multiplier) {
        (0.0, _) | (_, 0.0) => 0.0,
        (weight, multiplier) => weight * multiplier,
    };
    let gain = |item: usize| items.values()[item] - priced(items.weights()[item]);
    priced(budget) + sum_by(items.len(), |item| positive_part(gain(item)))
}
