//! Block verification (Sun et al., arXiv 2403.10444): a draft is accepted up to a place that is
//! chosen by looking at all of it, never worse than token by token.

use kad_core::{ChoiceSource, Distribution, Number, TokenId};

use super::{at_most_one, positive_part, probability};

/// Block verification of one draft, which is told the target's distributions one after the other.
///
/// ```
/// use kad_core::{Distribution, oracle::{enumerate_exact, ratio}};
/// use kad_polybasic::verify::BlockVerification;
/// // The paper's example: both tokens drafted from (2/3, 1/3), towards (1/3, 2/3).
/// let distribution = |weights: [i64; 2]| Distribution::proportional(weights.map(|w| ratio(w, 3))).unwrap();
/// let (target, draft) = (vec![distribution([1, 2]); 2], vec![distribution([2, 1]); 2]);
/// let made = enumerate_exact(|choices| {
///     let mut block = BlockVerification::default();
///     for (p, q) in target.iter().zip(&draft) {
///         block.push(p, q, choices.token(q));
///     }
///     Ok::<_, ()>(block.decide(&target, &draft, choices))
/// });
/// let mean = made.unwrap().into_iter().map(|(n, p)| ratio(n as i64, 1) * p).sum();
/// assert_eq!(ratio(11, 9), mean); // token by token it is 10/9
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BlockVerification<N = f64> {
    /// `w_0 … w_i`, `w_0 = 1`, `w_i = min(1, w_{i−1} p(x_i) / q(x_i))`: how likely the draft up to
    /// there may still be kept. Those from the first 0 on, all of them 0, are left out.
    weights: Vec<N>,
    possible: bool,
}

impl<N: Number> Default for BlockVerification<N> {
    /// No token yet.
    fn default() -> Self {
        Self { weights: vec![N::one()], possible: true }
    }
}

impl<N: Number> BlockVerification<N> {
    /// The next `token` of the draft, drawn from `draft` = q, towards `target` = p. Returns whether
    /// it may be accepted: if not, nothing behind it may be either, and no distribution behind it
    /// is needed.
    ///
    /// Every distribution before that is: a weight that has fallen may rise again, so the longest
    /// length alone depends on the probability of each token.
    pub fn push(
        &mut self,
        target: &Distribution<N>,
        draft: &Distribution<N>,
        token: TokenId,
    ) -> bool {
        let (p, q) = (probability(target, token), probability(draft, token));
        self.possible = self.possible && p > N::zero() && q > N::zero();
        if self.possible {
            let before = self.weights[self.weights.len() - 1].clone();
            self.weights.push(at_most_one(before * p / q));
        }
        self.possible
    }

    /// How many tokens of the draft are accepted: the longest length `i` for which a choice of
    /// probability `h_i` turns out well, from the longest to the shortest; else none. `drafts` are
    /// the distributions of the whole draft, `targets` those that were told.
    ///
    /// `h_γ = w_γ` for the whole draft, else `h_i = S_i / (S_i + 1 − w_i)` with `S_i = Σ_y (w_i p(y
    /// | x_1…x_i) − q(y | x_1…x_i))₊`, made only when it is asked for. If all were accepted the
    /// next token is the target's own, else it is drawn from [`residual`](Self::residual).
    ///
    /// # Panics
    /// If there are fewer distributions than tokens were told.
    pub fn decide(
        &self,
        targets: &[Distribution<N>],
        drafts: &[Distribution<N>],
        choices: &mut dyn ChoiceSource<N>,
    ) -> usize {
        // A length of weight 0 is accepted with probability 0: it is not asked for.
        let longest = (1..self.weights.len()).rev().find(|&length| {
            let weight = &self.weights[length];
            choices.accept(match drafts.get(length) {
                None => weight.clone(),
                Some(draft) => acceptance(weight, &targets[length], draft),
            })
        });
        longest.unwrap_or(0)
    }

    /// The distribution `∝ (w_τ p − q)₊` to draw from after τ = `accepted` tokens of a draft that
    /// goes on, into `out`: `target` = p and `draft` = q after them. Without excess it is `target`.
    ///
    /// # Panics
    /// If more were accepted than may be.
    pub fn residual(
        &self,
        accepted: usize,
        target: &Distribution<N>,
        draft: &Distribution<N>,
        out: &mut Distribution<N>,
    ) {
        if !out.set_proportional(excess(&self.weights[accepted], target, draft)) {
            out.set_proportional(target.probs().iter().cloned());
        }
    }
}

/// `S / (S + 1 − w)` with `S = Σ (w p − q)₊`: the probability that exactly the tokens before
/// `target` = p and `draft` = q are accepted, given that no longer prefix is.
fn acceptance<N: Number>(weight: &N, target: &Distribution<N>, draft: &Distribution<N>) -> N {
    let missing = N::one() - weight.clone();
    // `S / S`, or no excess and nothing missing: 1 either way, without a pass over the vocabulary.
    if missing == N::zero() {
        return N::one();
    }
    let mut sum = N::Sum::default();
    excess(weight, target, draft).for_each(|more| N::add_to(&mut sum, more));
    let excess = N::total(sum);
    excess.clone() / (excess + missing)
}

/// `(w p − q)₊`, token by token.
fn excess<N: Number>(
    weight: &N,
    target: &Distribution<N>,
    draft: &Distribution<N>,
) -> impl Iterator<Item = N> {
    let pairs = target.probs().iter().zip(draft.probs());
    pairs.map(move |(p, q)| positive_part(&(weight.clone() * p.clone()), q))
}
