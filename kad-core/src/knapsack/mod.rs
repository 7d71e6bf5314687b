//! The knapsack behind deferral: which tokens to hand over, within a budget.
//!
//! ```text
//! maximise  Σ v_i d_i   subject to   Σ w_i d_i ≤ b,   d_i ∈ {0, 1}
//! ```
//!
//! For one position of a base distribution `p`, `w = p` is the probability of handing token `i`
//! over and `v = −p ln p` the loss that it saves (Hammal et al., arXiv 2510.27017); other values
//! and several positions at once go through the same [`Items`].
//!
//! | solution | function | cost | quality |
//! |---|---|---|---|
//! | primal: fill by density | [`relax()`] | expected `O(n)` | `OPT − G ≤ v_c`, ≤ `1/e` for a distribution |
//! | linear relaxation, `d ∈ [0, 1]` | [`relax()`] | the same | `LP ≥ OPT` |
//! | dual: a price `μ` on weight | [`dual`] | `O(n)` | `L(μ) ≥ LP` for `μ ≥ 0`, equal at `μ*` |
//! | the optimum | [`exact()`] | see there | within a tolerance, or says that it is not |
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

/// A set of weights fits a budget `b` if their sum is at most `b · (1 + BUDGET_SLACK)`.
///
/// Decimals that add up to `b` on paper, as 0.1 + 0.2 to 0.3, add up to a little more in binary;
/// they fit. The slack is far above the rounding of the sums here (below 1e-14) and relative, so
/// that a budget of 0 admits weightless items only. Bounds are computed for `b` itself, so a value
/// may lie above one by a relative 1e-12 where a set makes use of the slack.
pub const BUDGET_SLACK: f64 = 1e-12;

/// Numbers that are no knapsack.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KnapsackError {
    /// Buffers of different lengths.
    #[error("{weights} weights but {values} values: give one value for each weight")]
    Length {
        /// How many weights.
        weights: usize,
        /// How many values.
        values: usize,
    },
    /// A weight that is negative or not finite.
    #[error("weight of item {item} is {found}: give a finite number, 0 or more")]
    Weight {
        /// Where.
        item: usize,
        /// What was found there.
        found: f64,
    },
    /// A value that is not finite.
    #[error("value of item {item} is {found}: give a finite number")]
    Value {
        /// Where.
        item: usize,
        /// What was found there.
        found: f64,
    },
    /// A weight so small beside its value that `v / w` overflows.
    #[error("item {item} gains {value} for a weight of {weight}: for a free item give weight 0")]
    Density {
        /// Where.
        item: usize,
        /// Its weight.
        weight: f64,
        /// Its value.
        value: f64,
    },
    /// Weights, or values, whose sum overflows.
    #[error("weights or values add up to more than a number holds: scale them down")]
    Total,
}

/// What a set of weights may add up to; a budget that is negative or NaN counts as 0.
fn capacity(budget: f64) -> f64 {
    positive_part(budget) * (1.0 + BUDGET_SLACK)
}

/// `max(0, x)`, and 0 for NaN.
fn positive_part(x: f64) -> f64 {
    if x > 0.0 { x } else { 0.0 }
}

/// A budget for the items of a distribution: one of 1 or more admits the whole distribution,
/// whatever its sum rounds to.
pub(crate) fn effective_budget(budget: f64, items: &Items) -> f64 {
    if budget >= 1.0 { budget.max(items.total_weight()) } else { budget }
}

#[cfg(test)]
mod tests;
