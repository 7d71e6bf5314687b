//! Verification of one drafted token: acceptance and residual.

use kad_core::{Distribution, Number, TokenId};

/// The probability `min(1, p(x) / q(x))` of accepting `token` = x, drafted from `draft` = q, for
/// `target` = p (arXiv 2211.17192, section 2.3).
///
/// A token with `q(x) = 0` cannot have been drafted from `draft` and is never accepted. Tokens
/// outside the vocabulary have probability 0.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::acceptance;
/// let target = Distribution::from_probs(vec![0.5, 0.5])?;
/// let draft = Distribution::from_probs(vec![0.75, 0.25])?;
/// assert_eq!(acceptance(&target, &draft, 0), 0.5 / 0.75);
/// assert_eq!(acceptance(&target, &draft, 1), 1.0);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn acceptance<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    token: TokenId,
) -> N {
    ratio_at_most_one(probability(target, token), probability(draft, token))
}

/// The acceptance rate `Σ min(p, q) = 1 − TV(p, q)` ∈ [0, 1]: the probability that a token drafted
/// from `draft` = q is accepted for `target` = p (arXiv 2211.17192, corollary 3.6).
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::acceptance_rate;
/// let target = Distribution::from_probs(vec![0.5, 0.5])?;
/// let draft = Distribution::from_probs(vec![0.75, 0.25])?;
/// assert_eq!(acceptance_rate(&target, &draft), 0.75);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn acceptance_rate<N: Number>(target: &Distribution<N>, draft: &Distribution<N>) -> N {
    let mut sum = N::Sum::default();
    for (p, q) in target.probs().iter().zip(draft.probs()) {
        N::add_to(&mut sum, if p < q { p.clone() } else { q.clone() });
    }
    N::total(sum)
}

/// Writes the residual `(p − q)₊ / Σ (p − q)₊`, the distribution to draw from after a rejection,
/// into `out`.
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
/// If no token has more mass in `target` than in `draft`, the distributions are equal up to
/// rounding and a rejection has a probability of that order. The residual is then `target`.
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

/// The probability of accepting a token that was drafted from the aligned distribution `q*`, for
/// the deferral mixture `π`: `min(1, D + (1 − d) p / q*)`. This is `D` for a deferred token (d = 1)
/// and `min(1, D + p / q*)` for a kept one (d = 0).
///
/// `weight` = d(x) ∈ [0, 1] is the token's deferral weight, `mass` = D the deferral mass, `base` =
/// p(x) and `aligned` = q*(x) its probabilities. Equals [`acceptance`] for `π = (1 − d) p + D q*`.
///
/// ```
/// use kad_polybasic::verify::deferred_acceptance;
/// assert_eq!(deferred_acceptance(1.0, 0.25, 0.5, 0.5), 0.25);
/// assert_eq!(deferred_acceptance(0.0, 0.25, 0.25, 0.5), 0.75);
/// ```
pub fn deferred_acceptance<N: Number>(weight: N, mass: N, base: N, aligned: N) -> N {
    if aligned > N::zero() {
        at_most_one(mass + (N::one() - weight) * base / aligned)
    } else {
        N::zero()
    }
}

/// Writes the residual of a token drafted from `aligned` = q* and rejected for its mixture with
/// `base` = p: `∝ ((1 − d) p − (1 − D) q*)₊`, into `out`.
///
/// Only tokens that are at least partly kept occur. `weights` = d, one per token; `mass` = D. If
/// the residual has no mass, which happens up to rounding when everything is deferred, it is
/// `aligned`, which the mixture then equals.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::deferred_residual;
/// let base = Distribution::from_probs(vec![0.5, 0.5])?;
/// let aligned = Distribution::from_probs(vec![0.75, 0.25])?;
/// let mut corrected = Distribution::default();
/// // Token 0 is deferred, token 1 kept.
/// deferred_residual(&base, &aligned, &[1.0, 0.0], 0.5, &mut corrected);
/// assert_eq!(corrected.probs(), [0.0, 1.0]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
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
pub(super) fn probability<N: Number>(distribution: &Distribution<N>, token: TokenId) -> N {
    distribution.probs().get(token as usize).cloned().unwrap_or_else(N::zero)
}

pub(super) fn ratio_at_most_one<N: Number>(numerator: N, denominator: N) -> N {
    if denominator > N::zero() { at_most_one(numerator / denominator) } else { N::zero() }
}

pub(super) fn at_most_one<N: Number>(x: N) -> N {
    if x > N::one() { N::one() } else { x }
}

pub(super) fn positive_part<N: Number>(a: &N, b: &N) -> N {
    if a > b { a.clone() - b.clone() } else { N::zero() }
}
