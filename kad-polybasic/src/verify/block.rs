//! Block verification (Sun et al., arXiv 2403.10444): the accepted prefix is chosen by looking at
//! the whole draft. On average at least as many tokens are accepted as token by token.

use kad_core::{ChoiceSource, Distribution, Number, TokenId};

use super::token::{at_most_one, positive_part, probability};

/// Block verification of one draft. The target's distributions are added one after the other.
///
/// ```
/// use kad_core::{Distribution, oracle::{enumerate_exact, ratio}};
/// use kad_polybasic::verify::BlockVerification;
/// // The paper's example: both tokens drafted from (2/3, 1/3), for the target (1/3, 2/3).
/// let distribution =
///     |weights: [i64; 2]| Distribution::proportional(weights.map(|w| ratio(w, 3))).unwrap();
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
    /// `w_0 … w_i` with `w_0 = 1`, `w_i = min(1, w_{i−1} p(x_i) / q(x_i))`: the probability weight
    /// of keeping the first i tokens. Weights from the first 0 on are left out; all of them are 0.
    weights: Vec<N>,
    possible: bool,
}

impl<N: Number> Default for BlockVerification<N> {
    /// An empty draft.
    fn default() -> Self {
        Self { weights: vec![N::one()], possible: true }
    }
}

impl<N: Number> BlockVerification<N> {
    /// Adds the next `token` of the draft, drawn from `draft` = q, against `target` = p. Returns
    /// whether the token may be accepted. If not, no later token may be, and no later distribution
    /// is needed.
    ///
    /// All earlier distributions are needed: a weight that has fallen may rise again.
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

    /// Draws the number of accepted tokens: the largest length `i`, from the longest down, whose
    /// choice of probability `h_i` succeeds, or else 0. `drafts` are the distributions of the whole
    /// draft, `targets` those that were added.
    ///
    /// `h_γ = w_γ` for the whole draft of γ tokens, else `h_i = S_i / (S_i + 1 − w_i)` with
    /// `S_i = Σ_y (w_i p(y | x_1…x_i) − q(y | x_1…x_i))₊`, computed only when needed. If all are
    /// accepted, the next token is the target's own; otherwise it is drawn from
    /// [`residual`](Self::residual).
    ///
    /// # Panics
    /// If there are fewer distributions than added tokens.
    pub fn decide(
        &self,
        targets: &[Distribution<N>],
        drafts: &[Distribution<N>],
        choices: &mut dyn ChoiceSource<N>,
    ) -> usize {
        // A length of weight 0 has no chance and is skipped.
        let longest = (1..self.weights.len()).rev().find(|&length| {
            let weight = &self.weights[length];
            choices.accept(match drafts.get(length) {
                None => weight.clone(),
                Some(draft) => acceptance(weight, &targets[length], draft),
            })
        });
        longest.unwrap_or(0)
    }

    /// Writes the residual `∝ (w_τ p − q)₊` after τ = `accepted` tokens of a longer draft into
    /// `out`; `target` = p and `draft` = q after these tokens. Without positive excess it is
    /// `target`.
    ///
    /// # Panics
    /// If `accepted` is larger than the number of tokens that may be accepted.
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
    // `S / S`, or no excess and nothing missing: 1 in both cases, without reading the vocabulary.
    if missing == N::zero() {
        return N::one();
    }
    let mut sum = N::Sum::default();
    excess(weight, target, draft).for_each(|more| N::add_to(&mut sum, more));
    let excess = N::total(sum);
    excess.clone() / (excess + missing)
}

/// `(w p − q)₊` of each token.
fn excess<N: Number>(
    weight: &N,
    target: &Distribution<N>,
    draft: &Distribution<N>,
) -> impl Iterator<Item = N> {
    let pairs = target.probs().iter().zip(draft.probs());
    pairs.map(move |(p, q)| positive_part(&(weight.clone() * p.clone()), q))
}
