//! Cases of the benchmarks: distributions, vocabulary sizes and rules.

use kad_core::deferral::{BaseRule, Deferral, Rule, RuleError, catalogue};
use kad_core::{Distribution, TokenId};

/// Vocabulary sizes of Llama 2, GPT-2 and Qwen 2.5.
pub(crate) const SIZES: [usize; 3] = [32_000, 50_257, 151_936];

/// Makes the logits of a distribution over a vocabulary of this size.
type Logits = fn(usize) -> Vec<f32>;

/// Named shapes of distributions.
pub(crate) const SHAPES: [(&str, Logits); 3] = [("flat", flat), ("zipf", zipf), ("peaked", peaked)];

/// Uniform numbers in (0, 1]: xorshift64, the same at every call.
fn uniforms() -> impl Iterator<Item = f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    })
}

/// Logits of the uniform distribution with 10 % noise.
fn flat(vocab: usize) -> Vec<f32> {
    uniforms().take(vocab).map(|u| (1.0 + 0.1 * u).ln() as f32).collect()
}

/// Logits of `p ∝ 1 / rank`; the ranks are scattered over the ids.
fn zipf(vocab: usize) -> Vec<f32> {
    // 7919 is prime and divides none of the sizes.
    (0..vocab).map(|id| -((id * 7919 % vocab + 1) as f64).ln() as f32).collect()
}

/// Logits of a distribution with one token at 0.9 and noise on the others.
fn peaked(vocab: usize) -> Vec<f32> {
    let mut logits: Vec<f32> = uniforms().take(vocab).map(|u| u.ln() as f32).collect();
    let rest: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
    logits[vocab / 3] = (9.0 * rest).ln() as f32;
    logits
}

/// The rules to measure: the whole catalogue, with 0.4 for required parameters, and the primal rule
/// by sorting.
///
/// # Errors
/// If a parameter is out of range.
pub(crate) fn rules() -> Result<Vec<(&'static str, Rule)>, RuleError> {
    let known = catalogue().iter().map(|rule| Ok((rule.kind, rule.with(0.4)?)));
    let sorted = ("kad-primal by sorting", Rule::base(SortedPrimal { budget: 0.4 }));
    known.chain([Ok(sorted)]).collect()
}

/// The primal rule by its definition: sort all tokens, fill the budget. The baseline for selection.
#[derive(Debug)]
struct SortedPrimal {
    budget: f64,
}

impl BaseRule for SortedPrimal {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        let mut order: Vec<TokenId> = (0..base.len() as TokenId).collect();
        order.sort_unstable_by(|&a, &b| base.prob(a).total_cmp(&base.prob(b)).then(b.cmp(&a)));
        out.fill(base.len(), 0.0);
        let mut spent = 0.0;
        for token in order {
            spent += base.prob(token);
            if spent > self.budget {
                break;
            }
            out.set(token, 1.0);
        }
    }
}

impl std::fmt::Display for SortedPrimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KAD primal by sorting, budget {}", self.budget)
    }
}
