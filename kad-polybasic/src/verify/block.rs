//! Block verification (Sun et al., arXiv 2403.10444): a draft is accepted up to a place that is chosen
//! by looking at all of it, never worse than token by token.

use kad_core::{Law, Number, TokenId};

use super::{at_most_one, positive_part, probability};

/// What block verification makes of one draft of γ tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<N = f64> {
    /// `w_0 … w_γ`, `w_0 = 1`, `w_i = min(1, w_{i−1} p(x_i) / q(x_i))`: how likely the draft up to
    /// there may still be kept.
    pub weights: Vec<N>,
    /// `h_1 … h_γ`: the probability that exactly the first `i` tokens are accepted, given that no
    /// longer prefix is. Decide from the longest prefix to the shortest; if none is accepted, nothing
    /// is.
    pub acceptance: Vec<N>,
}

/// Verifies `tokens`, token `i` drawn from `drafts[i]` after the first `i`, towards `targets[i]`;
/// a law after the whole draft may follow, and is not looked at.
///
/// `h_γ = w_γ`, `h_i = S_i / (S_i + 1 − w_i)` with `S_i = Σ_y (w_i p(y | x_1…x_i) − q(y | x_1…x_i))₊`.
/// After `τ` accepted tokens the next one is drawn from [`block_residual`] with weight `w_τ`, or, if
/// all were accepted, from the target itself.
///
/// # Panics
/// If the numbers of laws and tokens do not fit each other.
pub fn block<N: Number>(targets: &[Law<N>], drafts: &[Law<N>], tokens: &[TokenId]) -> Block<N> {
    assert!(drafts.len() == tokens.len() && targets.len() >= tokens.len());
    let mut weights = vec![N::one()];
    for ((p, q), &token) in targets.iter().zip(drafts).zip(tokens) {
        let (p, q) = (probability(p, token), probability(q, token));
        let before = weights[weights.len() - 1].clone();
        weights.push(if q > N::zero() { at_most_one(before * p / q) } else { N::zero() });
    }
    let acceptance = (1..=tokens.len()).map(|i| {
        let weight = &weights[i];
        match drafts.get(i) {
            None => weight.clone(),
            Some(draft) => {
                let mut sum = N::Sum::default();
                excess(weight, &targets[i], draft).for_each(|more| N::add_to(&mut sum, more));
                let excess = N::total(sum);
                let missing = N::one() - weight.clone();
                let all = excess.clone() + missing;
                if all > N::zero() { excess / all } else { N::one() }
            }
        }
    });
    let acceptance = acceptance.collect();
    Block { weights, acceptance }
}

/// The law `∝ (w p − q)₊` to draw from after `τ` accepted tokens of a draft that goes on, into `out`:
/// `weight` = `w_τ`, `target` = p and `draft` = q after them. Without excess it is `target`.
pub fn block_residual<N: Number>(weight: &N, target: &Law<N>, draft: &Law<N>, out: &mut Law<N>) {
    if !out.set_proportional(excess(weight, target, draft)) {
        out.set_proportional(target.probs().iter().cloned());
    }
}

/// `(w p − q)₊`, token by token.
fn excess<N: Number>(weight: &N, target: &Law<N>, draft: &Law<N>) -> impl Iterator<Item = N> {
    let pairs = target.probs().iter().zip(draft.probs());
    pairs.map(move |(p, q)| positive_part(&(weight.clone() * p.clone()), q))
}
