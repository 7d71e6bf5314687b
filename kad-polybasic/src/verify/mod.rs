//! Verification of drafted tokens.
//!
//! Token verification (Leviathan et al., arXiv 2211.17192, algorithm 1; Chen et al., arXiv
//! 2302.01318): accept a drafted token, or replace it, so that what comes out has the target's
//! distribution. Pure: probabilities in, probabilities out, in `f64` or any other [`Number`].
//! [`BlockVerification`] looks at a whole draft instead. Several drafts of one token, the siblings of a tree,
//! are verified as a fixed list ([`verify_listed`]) or as draws from one distribution ([`verify_drawn`]);
//! [`optimal_acceptance_rate`] says what draws can achieve at best.
//!
//! For a deferral mixture drafted by its own aligned model there are closed forms
//! ([`deferred_acceptance`], [`deferred_residual`]) that never subtract the mixture from its part.

mod block;
mod siblings;
mod verifier;

pub use block::BlockVerification;
pub use siblings::{
    SiblingChoice, listed_acceptance_rate, listed_residual, multi_round_acceptance_rate,
    optimal_acceptance_rate, verify_drawn, verify_listed,
};
pub use verifier::{Verifier, lenient_acceptance};

use kad_core::{Distribution, Number, TokenId};

/// Probability `min(1, p(x) / q(x))` that `token`, drafted from `draft` = q, is accepted for
/// `target` = p.
///
/// A token the draft distribution gives probability 0 cannot have been drafted from it; it is never
/// accepted.
pub fn acceptance<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    token: TokenId,
) -> N {
    ratio_at_most_one(probability(target, token), probability(draft, token))
}

/// Probability `Σ min(p, q) = 1 − TV(p, q)` that a token drafted from `draft` is accepted.
pub fn acceptance_rate<N: Number>(target: &Distribution<N>, draft: &Distribution<N>) -> N {
    let mut sum = N::Sum::default();
    for (p, q) in target.probs().iter().zip(draft.probs()) {
        N::add_to(&mut sum, if p < q { p.clone() } else { q.clone() });
    }
    N::total(sum)
}

/// The distribution `(p − q)₊ / Σ (p − q)₊` to draw from after a rejection, into `out`.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::residual;
/// let target = Distribution::from_probs(vec![0.5, 0.5])?;
/// let draft = Distribution::from_probs(vec![0.75, 0.25])?;
/// let mut corrected = Distribution::default();
/// residual(&target, &draft, &mut corrected);
/// assert_eq!(corrected.probs(), [0.0, 1.0]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
///
/// Where no token has more mass in `target` than in `draft` the distributions are equal up to
/// rounding, and a rejection has a probability of that order: the residual is then `target` itself.
pub fn residual<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    out: &mut Distribution<N>,
) {
    let excess = target.probs().iter().zip(draft.probs()).map(|(p, q)| positive_part(p, q));
    if !out.set_proportional(excess) {
        out.set_proportional(target.probs().iter().cloned());
    }
}

/// Probability that `token`, drafted from the aligned distribution `q*`, is accepted for the
/// deferral mixture `π`: `min(1, D + (1 − d) p / q*)`, which is `D` for a token that is handed over
/// and `min(1, D + p/q*)` for one that is kept.
///
/// `weight` = d(token), `mass` = D, `base` = p(token), `aligned` = q*(token).
pub fn deferred_acceptance<N: Number>(weight: N, mass: N, base: N, aligned: N) -> N {
    if aligned > N::zero() {
        at_most_one(mass + (N::one() - weight) * base / aligned)
    } else {
        N::zero()
    }
}

/// The distribution to draw from when a token drafted from `aligned` = q* was rejected for the
/// mixture of it with `base` = p: `∝ ((1 − d) p − (1 − D) q*)₊`, into `out`.
///
/// Only tokens that are (in part) kept occur. `weights` = d, `mass` = D. Where the residual has no
/// mass, which is so up to rounding when everything is handed over, it is `aligned` itself: the
/// mixture then.
pub fn deferred_residual<N: Number>(
    base: &Distribution<N>,
    aligned: &Distribution<N>,
    weights: &[N],
    mass: N,
    out: &mut Distribution<N>,
) {
    let kept = base.probs().iter().zip(weights).map(|(p, d)| (N::one() - d.clone()) * p.clone());
    let excess = kept
        .zip(aligned.probs())
        .map(|(kept, q)| positive_part(&kept, &((N::one() - mass.clone()) * q.clone())));
    if !out.set_proportional(excess) {
        out.set_proportional(aligned.probs().iter().cloned());
    }
}

/// 0 outside the vocabulary.
fn probability<N: Number>(distribution: &Distribution<N>, token: TokenId) -> N {
    distribution.probs().get(token as usize).cloned().unwrap_or_else(N::zero)
}

fn ratio_at_most_one<N: Number>(numerator: N, denominator: N) -> N {
    if denominator > N::zero() { at_most_one(numerator / denominator) } else { N::zero() }
}

fn at_most_one<N: Number>(x: N) -> N {
    if x > N::one() { N::one() } else { x }
}

fn positive_part<N: Number>(a: &N, b: &N) -> N {
    if a > b { a.clone() - b.clone() } else { N::zero() }
}

#[cfg(test)]
mod tests;
