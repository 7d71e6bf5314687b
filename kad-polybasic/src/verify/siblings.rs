//! Verification of several candidates for one position (siblings in a token tree), and their
//! acceptance rates.

use kad_core::{ChoiceSource, Distribution, Number, TokenId};

use super::token::{acceptance, acceptance_rate, probability, ratio_at_most_one, residual};

/// The outcome of verifying several candidates for one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SiblingChoice {
    /// The candidate at this index is accepted.
    Accepted(usize),
    /// All candidates are rejected; this token replaces them.
    Replaced(TokenId),
}

/// Verifies a list of distinct `candidates`, fixed beforehand, against `target` = p. Candidate
/// `c_j` is accepted with probability `p(c_j) / (1 − Σ_{i<j} p(c_i))`. After all of them a token is
/// drawn from the rest ([`listed_residual`]). `left` is scratch memory.
///
/// One candidate is accepted with probability [`listed_acceptance_rate`]. No exact verification of
/// a fixed list can accept more often: the target emits a candidate exactly that often.
///
/// ```
/// use kad_core::{Distribution, oracle::{enumerate_exact, ratio}};
/// use kad_polybasic::verify::{SiblingChoice, verify_listed};
/// let target = Distribution::proportional([1, 2, 3].map(|weight| ratio(weight, 6))).unwrap();
/// let made = enumerate_exact(|choices| {
///     Ok::<_, ()>(match verify_listed(&target, &[2, 0], choices, &mut Distribution::default()) {
///         SiblingChoice::Accepted(index) => [2, 0][index],
///         SiblingChoice::Replaced(token) => token,
///     })
/// });
/// assert_eq!(made.unwrap(), (0..).zip(target.probs().to_vec()).collect());
/// ```
pub fn verify_listed<N: Number>(
    target: &Distribution<N>,
    candidates: &[TokenId],
    choices: &mut dyn ChoiceSource<N>,
    left: &mut Distribution<N>,
) -> SiblingChoice {
    let mut remaining = N::one();
    for (index, &token) in candidates.iter().enumerate() {
        let prob = probability(target, token);
        if choices.accept(ratio_at_most_one(prob.clone(), remaining.clone())) {
            return SiblingChoice::Accepted(index);
        }
        remaining = remaining - prob;
    }
    listed_residual(target, candidates, left);
    SiblingChoice::Replaced(choices.token(left))
}

/// The probability `Σ p(c)` that [`verify_listed`] accepts one of the distinct `candidates`.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::listed_acceptance_rate;
/// let target = Distribution::from_probs(vec![0.5, 0.25, 0.25])?;
/// assert_eq!(listed_acceptance_rate(&target, &[2, 0]), 0.75);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn listed_acceptance_rate<N: Number>(target: &Distribution<N>, candidates: &[TokenId]) -> N {
    let mut sum = N::Sum::default();
    candidates.iter().for_each(|&token| N::add_to(&mut sum, probability(target, token)));
    N::total(sum)
}

/// Writes the residual `∝ p(y) 1[y ∉ candidates]` after all of a list was rejected, into `out`. If
/// the list has all the mass, a rejection has a probability of the order of rounding, and the
/// residual is `target`.
pub fn listed_residual<N: Number>(
    target: &Distribution<N>,
    candidates: &[TokenId],
    out: &mut Distribution<N>,
) {
    let probs = || target.probs().iter().cloned();
    let mut rejected = candidates.to_vec();
    rejected.sort_unstable();
    let mut rejected = rejected.into_iter().peekable();
    let left = (0..).zip(probs()).map(|(token, prob)| {
        let mut is_rejected = false;
        while rejected.next_if_eq(&token).is_some() {
            is_rejected = true;
        }
        if is_rejected { N::zero() } else { prob }
    });
    if !out.set_proportional(left) {
        out.set_proportional(probs());
    }
}

/// Multi-round verification of `drafts`, independent draws from `draft` = q, against `target` = p
/// (SpecInfer, arXiv 2305.09781). Each draw is verified as a single token against the residual of
/// the rejections before it: `p_1 = p`, `p_{j+1} ∝ (p_j − q)₊`. After all of them a token is drawn
/// from the last residual. `left` is scratch memory.
///
/// A token that was drawn twice is verified twice; skipping its second draw gives another
/// distribution. One draw is accepted with probability [`multi_round_acceptance_rate`].
///
/// ```
/// use kad_core::{ChoiceSource, Distribution, oracle::{enumerate_exact, ratio}};
/// use kad_polybasic::verify::{SiblingChoice, verify_drawn};
/// let distribution =
///     |weights: [i64; 2]| Distribution::proportional(weights.map(|w| ratio(w, 3))).unwrap();
/// let (target, draft) = (distribution([1, 2]), distribution([2, 1]));
/// let made = enumerate_exact(|choices| {
///     let draws = [choices.token(&draft), choices.token(&draft)];
///     Ok::<_, ()>(match verify_drawn(&target, &draft, &draws, choices, &mut Default::default()) {
///         SiblingChoice::Accepted(index) => draws[index],
///         SiblingChoice::Replaced(token) => token,
///     })
/// });
/// assert_eq!(made.unwrap(), (0..).zip(target.probs().to_vec()).collect());
/// ```
pub fn verify_drawn<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    drafts: &[TokenId],
    choices: &mut dyn ChoiceSource<N>,
    left: &mut [Distribution<N>; 2],
) -> SiblingChoice {
    let [now, next] = left;
    let mut rejected = false;
    for (index, &token) in drafts.iter().enumerate() {
        let target = if rejected { &*now } else { target };
        if choices.accept(acceptance(target, draft, token)) {
            return SiblingChoice::Accepted(index);
        }
        residual(target, draft, next);
        std::mem::swap(now, next);
        rejected = true;
    }
    SiblingChoice::Replaced(choices.token(if rejected { now } else { target }))
}

/// The probability `1 − Π_j (1 − Σ min(p_j, q))` that [`verify_drawn`] accepts one of `drafts`
/// independent draws from `draft` = q.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::{acceptance_rate, multi_round_acceptance_rate};
/// let target = Distribution::from_probs(vec![0.5, 0.5])?;
/// let draft = Distribution::from_probs(vec![0.75, 0.25])?;
/// let [one, two] = [1, 2].map(|drafts| multi_round_acceptance_rate(&target, &draft, drafts));
/// assert!(one == acceptance_rate(&target, &draft) && one < two);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn multi_round_acceptance_rate<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    drafts: usize,
) -> N {
    let (mut left, mut next) = (target.clone(), Distribution::default());
    let mut rejected = N::one();
    for _ in 0..drafts {
        rejected = rejected * (N::one() - acceptance_rate(&left, draft));
        residual(&left, draft, &mut next);
        std::mem::swap(&mut left, &mut next);
    }
    N::one() - rejected
}

/// The largest probability with which any exact verification can accept one of `drafts` = k
/// independent draws from `draft` = q: `min_H P(H) + 1 − q(H)^k` over sets `H` of tokens (the
/// optimal transport of SpecTr, arXiv 2310.15141, by its minimum cut).
///
/// `−q(H)^k` is concave in `q(H)`, so a minimum lies among the sets of tokens with the smallest
/// ratios `p/q`. One sort and one pass replace all subsets.
///
/// ```
/// use kad_core::Distribution;
/// use kad_polybasic::verify::{acceptance_rate, optimal_acceptance_rate};
/// let target = Distribution::from_probs(vec![0.5, 0.5])?;
/// let draft = Distribution::from_probs(vec![0.75, 0.25])?;
/// // For a single draw, token verification is optimal.
/// assert_eq!(optimal_acceptance_rate(&target, &draft, 1), acceptance_rate(&target, &draft));
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
pub fn optimal_acceptance_rate<N: Number>(
    target: &Distribution<N>,
    draft: &Distribution<N>,
    drafts: usize,
) -> N {
    let mut tokens: Vec<(&N, &N)> = target.probs().iter().zip(draft.probs()).collect();
    // Order by p/q without dividing by 0; tokens with p = q = 0 are equal to all.
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
