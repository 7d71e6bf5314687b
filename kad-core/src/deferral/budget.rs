//! Relatives of the primal rule: the same knapsack, solved or valued differently.

use super::{BaseRule, Deferral, PairRule, one_parameter_rule};
use crate::distribution::Distribution;
use crate::knapsack::{ExactLimits, cross_entropy, effective_budget, exact};
use crate::vocab::TokenId;

one_parameter_rule! {
    /// [`KadPrimal`](super::KadPrimal) that also hands over the part of the critical token that
    /// fits: `d(c) = (b − U) / p(c)`, `b` = budget, `U` the mass of what fits whole.
    ///
    /// The solution of the linear relaxation itself: randomised, worth exactly the LP value, and it
    /// meets the budget with equality, `D = b`, where the primal rule spends anything between
    /// `b − p(c)` and `b`. Not in the papers. At temperature 0 it is a coin with rate `b`.
    KadFractional, "kad-fractional", "KAD fractional", budget
}

impl BaseRule for KadFractional {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        if let Some(end) = out.defer_tail(base, self.budget, |_| true) {
            // Within the slack of the budget nothing may be left.
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
    /// `b` = budget, which [`KadPrimal`](super::KadPrimal) misses by at most `1/e`.
    ///
    /// Solved by [`knapsack::exact`](crate::knapsack::exact) within its default limits; beyond them
    /// it is the best found, never worse than the primal rule. Decisions are not nested in `b`.
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
    /// The primal rule for the value with fallback: hand over what the aligned model is expected to
    /// say better.
    ///
    /// A deferral saves the base model's loss and costs the aligned model's expected one, so a
    /// token is worth `p(y) · (−ln p(y) − H(p, q*))` with the cross entropy `H(p, q*) = −Σ p ln
    /// q*`. The order of tokens is that of [`KadPrimal`](super::KadPrimal), but only tokens of
    /// positive value are handed over: it is the primal rule at `b` and the dual rule at `α =
    /// e^(−H)`, whichever hands over less. Where `q*` excludes what `p` allows, nothing is handed
    /// over. Not in the papers.
    KadFallback, "kad-fallback", "KAD fallback", budget
}

impl PairRule for KadFallback {
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        let loss = cross_entropy(base, aligned);
        // What the base model holds for impossible costs nothing, as in the other rules.
        out.defer_tail(base, self.budget, |p| p == 0.0 || -p.ln() > loss);
    }

    fn budget(&self) -> Option<f64> {
        Some(self.budget)
    }
}

/// Moves what is handed over among equal tokens to the higher ids: it weighs and is worth the same.
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
