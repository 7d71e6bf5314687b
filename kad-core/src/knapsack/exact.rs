//! The exact optimum of the knapsack, within limits.

use super::core::Core;
use super::relax::{Relaxation, relax};
use super::{Items, capacity, positive_part};
use crate::sum::{prefix_sums, sum_by};

/// Limits of the search of [`exact`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExactLimits {
    /// Most states to examine in total; default 2^18. A state costs some 50 to 100 ns and at most
    /// 64 bytes.
    pub states: usize,
    /// Largest accepted gap between the bound and a proved solution, in the unit of the values
    /// (nats); default 1e-9. Negative or NaN counts as 0, which rounding alone can keep from being
    /// proved.
    pub tolerance: f64,
}

impl Default for ExactLimits {
    fn default() -> Self {
        Self { states: 1 << 18, tolerance: 1e-9 }
    }
}

/// The best solution found by [`exact`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exact {
    /// True for each item taken, `[items]`.
    pub taken: Vec<bool>,
    /// Weight of the items taken, `Σ w`.
    pub used: f64,
    /// Value of the items taken, `Σ v`; at least the greedy value.
    pub value: f64,
    /// An upper bound on the value of every solution; at most the value of the relaxation.
    pub bound: f64,
    /// True if `bound − value` is within the tolerance.
    pub proved: bool,
    /// Number of states examined.
    pub states: usize,
}

/// The optimum of the 0-1 knapsack: the most valuable set of items within `budget`, up to
/// `limits.tolerance`. If `limits.states` do not suffice, the best set found and a bound.
///
/// **Method.** The expanding-core dynamic program of Pisinger (MINKNAP, *Operations Research* 45,
/// 1997): start from the greedy solution and decide items one by one outwards from the critical
/// item; keep the undominated pairs (weight, value); of these, drop the pairs whose bound does not
/// exceed the best solution. Weights are `f64`, which rules out a table over weights but not this
/// method.
///
/// Departures from the paper:
/// 1. The bound of a state is the whole relaxation of the undecided items, found by bisection in
///    prefix sums of the sorted items. The paper uses the next density alone. Rounding the
///    relaxation to whole items gives a solution at each state; the two differ by less than the
///    value of one undecided item. This handles the tail of a next-token distribution: 10⁵ items of
///    weight 10⁻⁸ can fill almost any gap, so no single one can be ruled out; but once the core
///    reaches them, all states are settled to within 10⁻⁷ of their bounds, and all but the best few
///    are dropped.
/// 2. No items are fixed in advance; the same bounds fix them during the search.
/// 3. The items after the critical one are decided first, then the items before it, instead of
///    alternating: for distributions they are few, and fewer states were examined nearly
///    everywhere.
/// 4. If the search proves nothing, a bound from the largest possible number of items is tried
///    (compare Martello and Toth 1997). It settles uniform distributions, where all sets of one
///    size are alike.
///
/// **Measured** on softmax and Zipf-like distributions with budgets 0.05 to 0.7, release build, one
/// core of a shared machine, least to most busy (`cargo run --release -p kad-core --example
/// knapsack`):
/// * 1 to 3 nats of entropy over 1,000 tokens: all proved, most within 0.5 ms, the slowest in 6 to
///   10 ms. The greedy value was up to 0.05 nats short.
/// * The same entropies over 151,936 tokens: 12 to 40 ms, nearly all of it sorting and summing the
///   items; the greedy value was up to 0.11 nats short. With a budget of 0.05 or 0.2 and a heavy
///   tail the limit can be reached, in 30 to 100 ms, with `bound − value` below 1e-4.
/// * Distributions nearly flat over hundreds of tokens (5 nats and more) have too many near-optimal
///   sets: the limit is reached, in 10 to 30 ms at 1,000 tokens and 30 to 120 ms at 151,936, with
///   `bound − value` below 2e-3 nats.
///
/// Fit, weightless items and negative values: as in [`relax()`].
///
/// ```
/// use kad_core::knapsack::{ExactLimits, Items, exact, relax};
/// let items = Items::new(vec![1.0, 2.0, 4.0], vec![3.0, 4.0, 7.0])?;
/// assert_eq!(relax(&items, 5.0).value, 7.0);
/// let best = exact(&items, 5.0, &ExactLimits::default());
/// assert_eq!((best.taken, best.value, best.proved), (vec![true, false, true], 10.0, true));
/// # Ok::<(), kad_core::knapsack::KnapsackError>(())
/// ```
pub fn exact(items: &Items, budget: f64, limits: &ExactLimits) -> Exact {
    let relaxed = relax(items, budget);
    let tolerance = positive_part(limits.tolerance);
    let mut core = Core::new(items, &relaxed, capacity(budget), tolerance);
    core.grow(limits.states);

    let mut taken = relaxed.taken.clone();
    core.for_each_change_of_best(|item| taken[item] = !taken[item]);
    let (mut used, mut value) = items.totals(&taken);
    if value <= relaxed.value {
        // An apparent gain was rounding.
        taken.clone_from(&relaxed.taken);
        (used, value) = (relaxed.used, relaxed.value);
    }
    let mut bound = core.bound();
    if bound - value > tolerance {
        bound = bound.min(cardinality_bound(items, budget, &relaxed));
    }
    let bound = bound.max(value);
    let proved = bound - value <= tolerance;
    Exact { taken, used, value, bound, proved, states: core.examined() }
}

/// An upper bound from cardinality: only the `m` lightest items fit together, so no solution is
/// worth more than the `m` most valuable ones.
fn cardinality_bound(items: &Items, budget: f64, relaxed: &Relaxation) -> f64 {
    let sorted = |buffer: &[f64]| {
        let mut numbers: Vec<f64> = relaxed.order.iter().map(|&item| buffer[item]).collect();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers
    };
    let weights = prefix_sums(sorted(items.weights()).into_iter());
    let most = weights.partition_point(|&sum| sum <= capacity(budget)).saturating_sub(1);
    let values = sorted(items.values());
    sum_by(most, |k| values[values.len() - 1 - k])
}
