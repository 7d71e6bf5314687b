//! The primal approximation of the deferral knapsack.

use std::cmp::Ordering;
use std::fmt;

use super::{BaseRule, Deferral, RuleError, probability};
use crate::law::Law;
use crate::vocab::TokenId;

/// Fills a deferral budget with the tokens the base model likes least (arXiv 2510.27017;
/// `budget_lr` in the authors' code).
///
/// The knapsack `max Σ −p log p · d` subject to `Σ p · d ≤ b` has density `−log p`, so its
/// linear relaxation takes tokens by rising `p` until one no longer fits; that one is rounded
/// down to 0 and so is everything after it. What is kept is the nucleus: the smallest top set of
/// mass at least `1 − b`. Tokens of probability 0 are always deferred, and `b = 1` defers all.
///
/// Cost: expected `O(V)` by repeated selection; the budget is compared with sums in `f64`.
/// At temperature 0, for `b < 1`, nothing of positive probability is deferred.
#[derive(Clone, Copy, Debug)]
pub struct KadPrimal {
    budget: f64,
}

impl KadPrimal {
    /// Defers at most the mass `budget` = b ∈ [0, 1] at each step.
    ///
    /// # Errors
    /// If `budget` is out of range.
    pub fn new(budget: f64) -> Result<Self, RuleError> {
        Ok(Self { budget: probability("kad-primal", "budget", budget)? })
    }
}

impl BaseRule for KadPrimal {
    fn decide(&self, base: &Law, out: &mut Deferral) {
        if self.budget >= 1.0 {
            // The law's sum may round to just above 1; the whole of it still fits.
            return out.fill(base.len(), 1.0);
        }
        out.fill(base.len(), 0.0);
        let mut order = std::mem::take(&mut out.order);
        order.clear();
        order.extend(0..base.len() as TokenId);
        let fitting = longest_fitting_prefix(&mut order, base, self.budget);
        order[..fitting].iter().for_each(|&token| out.set(token, 1.0));
        out.order = order;
    }
}

impl fmt::Display for KadPrimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KAD primal, budget {}", self.budget)
    }
}

/// Reorders `tokens` so that the longest prefix by rising probability whose mass fits `budget`
/// comes first, and returns its length.
///
/// Quickselect on the mass instead of the rank: halve the open window, keep the cheap half if all
/// of it fits, else look inside it.
fn longest_fitting_prefix(tokens: &mut [TokenId], law: &Law, budget: f64) -> usize {
    let cheaper = |a: &TokenId, b: &TokenId| cheaper_first(law, *a, *b);
    let (mut low, mut high) = (0, tokens.len());
    let mut spent = 0.0;
    while low < high {
        let middle = low + (high - low) / 2;
        tokens[low..high].select_nth_unstable_by(middle - low, cheaper);
        let half: f64 = tokens[low..=middle].iter().map(|&token| law.prob(token)).sum();
        if spent + half <= budget {
            spent += half;
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Rising probability; among equals the higher id is deferred first.
fn cheaper_first(law: &Law, a: TokenId, b: TokenId) -> Ordering {
    law.prob(a).total_cmp(&law.prob(b)).then(b.cmp(&a))
}
