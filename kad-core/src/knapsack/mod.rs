//! The deferral knapsack: the best set of tokens to defer within a budget.
//!
//! ```text
//! maximise  Σ v_i d_i   subject to   Σ w_i d_i ≤ b,   d_i ∈ {0, 1}
//! ```
//!
//! For one position of a base distribution `p`, `w = p` is the probability of deferring token `i`
//! and `v = −p ln p` the loss that it saves (Hammal et al., arXiv 2510.27017). [`Items`] also holds
//! other values, and several positions at once.
//!
//! | solution | function | cost | quality |
//! |---|---|---|---|
//! | primal: fill by density | [`relax()`] | expected `O(n)` | `OPT − G ≤ v_c`, ≤ `1/e` for a distribution |
//! | linear relaxation, `d ∈ [0, 1]` | [`relax()`] | the same | `LP ≥ OPT` |
//! | dual: a price `μ` on weight | [`dual`] | `O(n)` | `L(μ) ≥ LP` for `μ ≥ 0`, equal at `μ*` |
//! | the optimum | [`exact()`] | see there | within a tolerance, or flagged as unproved |
//!
//! `G ≤ OPT ≤ LP = min_μ L(μ)` (Dantzig 1957). The ½-approximation is `max(G, v_c) ≥ OPT / 2` for a
//! critical item `c` that fits on its own.

mod core;
mod exact;
mod items;
mod relax;

pub use exact::{Exact, ExactLimits, exact};
pub use items::Items;
pub(crate) use items::cross_entropy;
pub use relax::{Relaxation, dual, relax, relax_into};

/// Relative slack of a budget: weights fit a budget `b` if their sum is at most
/// `b · (1 + BUDGET_SLACK)`.
///
/// Decimals that add up to `b`, as 0.1 + 0.2 to 0.3, may sum to slightly more in binary, and still
/// fit. The slack is far above the rounding error of the sums here (below 1e-14) and relative, so a
/// budget of 0 admits weightless items only. Bounds are computed for `b` itself; a value that uses
/// the slack may exceed a bound by a relative 1e-12.
pub const BUDGET_SLACK: f64 = 1e-12;

/// Numbers that do not form a knapsack.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KnapsackError {
    /// Buffers of different lengths.
    #[error("{weights} weights but {values} values: give one value for each weight")]
    Length {
        /// Number of weights.
        weights: usize,
        /// Number of values.
        values: usize,
    },
    /// A weight that is negative or not finite.
    #[error("weight of item {item} is {found}: give a finite number, 0 or more")]
    Weight {
        /// Index of the item.
        item: usize,
        /// Its weight.
        found: f64,
    },
    /// A value that is not finite.
    #[error("value of item {item} is {found}: give a finite number")]
    Value {
        /// Index of the item.
        item: usize,
        /// Its value.
        found: f64,
    },
    /// A weight so small that the density `v / w` overflows.
    #[error("item {item} gains {value} for a weight of {weight}: for a free item give weight 0")]
    Density {
        /// Index of the item.
        item: usize,
        /// Its weight.
        weight: f64,
        /// Its value.
        value: f64,
    },
    /// Weights or values whose sum overflows.
    #[error("weights or values add up to more than a number holds: scale them down")]
    Total,
}

/// Largest sum of weights that fits `budget`; a negative or NaN budget counts as 0.
fn capacity(budget: f64) -> f64 {
    positive_part(budget) * (1.0 + BUDGET_SLACK)
}

/// `max(0, x)`, and 0 for NaN.
fn positive_part(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

/// The budget for the items of a distribution: a budget of 1 or more admits the whole distribution,
/// whatever its sum rounds to.
pub(crate) fn effective_budget(budget: f64, items: &Items) -> f64 {
    if budget >= 1.0 { budget.max(items.total_weight()) } else { budget }
}

#[cfg(test)]
mod tests;
