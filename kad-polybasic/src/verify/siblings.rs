//! Several drafts of one token, and how often one of them can be accepted.

use kad_core::{Law, Number};

use super::{acceptance_rate, residual};

/// Probability that one of `drafts` independent tokens from `draft` = q is accepted by multi-round
/// verification: each is verified as a single token towards what the rejections before it have left,
/// `p_1 = p`, `p_{j+1} ∝ (p_j − q)₊` (SpecInfer, arXiv 2305.09781). `1 − Π_j (1 − Σ min(p_j, q))`.
///
/// Multi-round verification itself is [`acceptance`](super::acceptance) and [`residual`] in turn.
pub fn multi_round_rate<N: Number>(target: &Law<N>, draft: &Law<N>, drafts: usize) -> N {
    let (mut left, mut next) = (target.clone(), Law::default());
    let mut rejected = N::one();
    for _ in 0..drafts {
        rejected = rejected * (N::one() - acceptance_rate(&left, draft));
        residual(&left, draft, &mut next);
        std::mem::swap(&mut left, &mut next);
    }
    N::one() - rejected
}

/// The largest probability with which any exact verification can accept one of `drafts` independent
/// tokens from `draft` = q: `min_H P(H) + 1 − q(H)^k` over sets `H` of tokens (the optimal transport of
/// SpecTr, arXiv 2310.15141, by its minimum cut).
///
/// `−q(H)^k` is concave in `q(H)`, so a minimum lies among the sets of tokens with the smallest ratios
/// `p/q`: a sort and one pass instead of all subsets.
pub fn optimal_rate<N: Number>(target: &Law<N>, draft: &Law<N>, drafts: usize) -> N {
    let mut tokens: Vec<(&N, &N)> = target.probs().iter().zip(draft.probs()).collect();
    // p/q rising without dividing by 0; tokens of neither law are equal to all.
    tokens.retain(|(p, q)| **p > N::zero() || **q > N::zero());
    tokens.sort_by(|(p, q), (r, s)| {
        let (left, right) = ((*p).clone() * (*s).clone(), (*r).clone() * (*q).clone());
        left.partial_cmp(&right).unwrap_or(std::cmp::Ordering::Equal)
    });
    let (mut inside, mut drafted, mut least) = (N::zero(), N::zero(), N::one());
    for (p, q) in tokens {
        inside = inside + p.clone();
        drafted = drafted + q.clone();
        let none = (0..drafts).fold(N::one(), |power, _| power * drafted.clone());
        let cut = inside.clone() + N::one() - none;
        if cut < least {
            least = cut;
        }
    }
    least
}
