//! Deferral rules: which tokens of the base model are handed to the aligned one.
//!
//! A rule assigns to each token `y` the probability `d(y) ∈ [0, 1]` that a draw `y` of the base
//! model is discarded and the aligned model draws instead (`d ∈ {0, 1}` in Hammal et al.,
//! arXiv 2510.27017; fractional values are the rejection distribution `μ` of arXiv 2604.16146).
//! The law that results is [`mixture::mix`](crate::mixture::mix).
//!
//! | rule | `d(y)` | needs the aligned law | source |
//! |---|---|---|---|
//! | [`Never`] | 0 | no | the base model |
//! | [`Always`] | 1 | no | the aligned model |
//! | [`Nudging`] | `1[max p < γ]`, the same for all `y` | no | Fei et al. 2024, token level |
//! | [`KadPrimal`] | 1 on the cheapest tail of mass ≤ `b` | no | arXiv 2510.27017, primal |
//! | [`KadDual`] | `1[p(y) < α]` | no | arXiv 2510.27017, dual |
//! | [`RandomDeferral`] | `r`, the same for all `y` | no | control |
//!
//! Among tokens of equal probability the lower id counts as the more probable one: it is kept
//! longer.

mod constant;
mod primal;
mod threshold;

use std::fmt;

pub use constant::{Always, Never, RandomDeferral};
pub use primal::KadPrimal;
pub use threshold::{KadDual, Nudging};

use crate::law::Law;
use crate::sum::dot;
use crate::vocab::TokenId;

/// A deferral rule. The type says whether it has to see the aligned law, so that a decoder can
/// leave the aligned model alone until a draw is deferred.
#[derive(Debug)]
pub enum Rule {
    /// Looks at the base law alone.
    Base(Box<dyn BaseRule>),
    /// Compares both laws.
    Pair(Box<dyn PairRule>),
}

impl Rule {
    /// A rule that looks at the base law alone.
    pub fn base(rule: impl BaseRule + 'static) -> Self {
        Rule::Base(Box::new(rule))
    }

    /// A rule that compares both laws.
    pub fn pair(rule: impl PairRule + 'static) -> Self {
        Rule::Pair(Box::new(rule))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Base(rule) => rule.fmt(f),
            Rule::Pair(rule) => rule.fmt(f),
        }
    }
}

/// A rule that decides from the base law. Its `Display` names it with its parameters.
pub trait BaseRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d` for every token of `base` into `out`.
    fn decide(&self, base: &Law, out: &mut Deferral);
}

/// A rule that decides from the base and the aligned law. Its `Display` names it.
pub trait PairRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d` for every token into `out`. The laws have the same length.
    fn decide(&self, base: &Law, aligned: &Law, out: &mut Deferral);
}

/// A decision: `d(y)` for every token, `[vocab]`, each in [0, 1]. A reusable buffer.
#[derive(Clone, Debug, Default)]
pub struct Deferral {
    weights: Vec<f64>,
    pub(crate) order: Vec<TokenId>,
}

impl Deferral {
    /// `d(y)` of every token, `[vocab]`.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The same `d` for all of `vocab` tokens.
    pub fn fill(&mut self, vocab: usize, weight: f64) {
        self.weights.clear();
        self.weights.resize(vocab, weight);
    }

    /// `d(y) = f(p(y))` for every token of `law`.
    pub fn fill_from(&mut self, law: &Law, f: impl Fn(f64) -> f64) {
        self.weights.clear();
        self.weights.extend(law.probs().iter().map(|&p| f(p)));
    }

    /// Sets one token's `d`.
    ///
    /// # Panics
    /// If `token` is outside the vocabulary.
    pub fn set(&mut self, token: TokenId, weight: f64) {
        self.weights[token as usize] = weight;
    }

    /// Deferral mass `D = Σ d(y) p(y)`: the probability that a base draw is handed over.
    pub fn mass(&self, base: &Law) -> f64 {
        dot(&self.weights, base.probs()).min(1.0)
    }
}

/// A rule's parameter is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{parameter} = {found} of {rule} is out of range: between 0 and 1")]
pub struct RuleError {
    /// Which rule.
    pub rule: &'static str,
    /// Which parameter.
    pub parameter: &'static str,
    /// What was given.
    pub found: f64,
}

/// Parameters of all rules here are probabilities; NaN is refused.
fn probability(rule: &'static str, parameter: &'static str, found: f64) -> Result<f64, RuleError> {
    if (0.0..=1.0).contains(&found) { Ok(found) } else { Err(RuleError { rule, parameter, found }) }
}

#[cfg(test)]
mod tests;
