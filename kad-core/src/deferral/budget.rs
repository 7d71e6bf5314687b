//! Variants of the primal rule: the same knapsack with another solver or another value.

use super::{BaseRule, Deferral, PairRule, one_parameter_rule};
use crate::distribution::Distribution;
use crate::knapsack::{ExactLimits, cross_entropy, effective_budget, exact};
use crate::vocab::TokenId;

one_parameter_rule! {
    /// [`KadPrimal`](super::KadPrimal) plus the fraction of the critical token `c` that fits:
    /// `d(c) = (b − U) / p(c)`, `b` = budget, `U` = mass of the tokens that fit whole.
    ///
    /// The solution of the linear relaxation: randomised, worth the value of the linear program,
    /// and it spends the whole budget, `D = b`. The primal rule spends between `b − p(c)` and `b`.
    /// Not in the papers. At temperature 0 it defers with probability `b`.
    KadFractional, "kad-fractional", "KAD fractional", budget
}

impl BaseRule for KadFractional {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        if let Some(end) = out.defer_tail(base, self.budget, |_| true) {
            // `spent` may exceed the budget by its slack.
            let fraction = ((self.budget - end.spent) / end.threshold).max(0.0);
            out.set(end.critical, fraction);
        }
    }

    fn budget(&self) -> Option<f64> {
        Some(self.budget)
    }
}

one_parameter_rule! {
    /// The optimum of the deferral knapsack, `max Σ −p ln p · d` subject to `Σ p d ≤ b`,
    /// `b` = budget. [`KadPrimal`](super::KadPrimal) misses it by at most `1/e` nats.
    ///
    /// Solved by [`knapsack::exact`](crate::knapsack::exact) within its default limits. Beyond the
    /// limits it is the best solution found, never worse than the primal rule. Decisions are not
    /// nested in `b`.
    KnapsackExact, "knapsack-exact", "knapsack exact", budget
}

impl BaseRule for KnapsackExact {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.items.clear();
        out.items.extend_surprisal(base);
        let budget = effective_budget(self.budget, &out.items);
        let mut best = exact(&out.items, budget, &ExactLimits::default());
        keep_lower_ids(base, &mut best.taken);
        out.weights.clear();
        out.weights.extend(best.taken.iter().map(|&taken| f64::from(u8::from(taken))));
    }

    fn budget(&self) -> Option<f64> {
        Some(self.budget)
    }
}

one_parameter_rule! {
    /// The primal rule with the aligned model's expected loss subtracted from a token's value.
    ///
    /// A deferral saves the base model's loss and costs the expected loss of the aligned model, so
    /// a token is worth `p(y) · (−ln p(y) − H(p, q*))` with the cross entropy `H(p, q*) = −Σ p ln
    /// q*`. Tokens are ordered as in [`KadPrimal`](super::KadPrimal), but only tokens of positive
    /// value are deferred: the smaller of the primal rule's set at `b` and the dual rule's set at
    /// `α = e^(−H)`. If `q*` excludes a token that `p` allows, nothing is deferred. Not in the
    /// papers.
    KadFallback, "kad-fallback", "KAD fallback", budget
}

impl PairRule for KadFallback {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let loss = cross_entropy(base, aligned);
        // Impossible tokens are deferred for free, as in the other rules.
        out.defer_tail(base, self.budget, |p| p == 0.0 || -p.ln() > loss);
    }

    fn budget(&self) -> Option<f64> {
        Some(self.budget)
    }
}

/// Among tokens of equal probability, moves deferrals to the highest ids. Weight and value of the
/// set stay the same.
fn keep_lower_ids(base: &Distribution, taken: &mut [bool]) {
    let prob = |token: &TokenId| base.prob(*token);
    let mut order: Vec<TokenId> = (0..taken.len() as TokenId).collect();
    order.sort_unstable_by(|a, b| prob(a).total_cmp(&prob(b)).then(b.cmp(a)));
    for equals in order.chunk_by(|a, b| prob(a) == prob(b)).filter(|equals| equals.len() > 1) {
        let count = equals.iter().filter(|token| taken[**token as usize]).count();
        for (place, token) in equals.iter().enumerate() {
            taken[*token as usize] = place < count;
        }
    }
}
