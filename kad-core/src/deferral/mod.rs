//! Deferral rules: which tokens of the base model are handed to the aligned one.
//!
//! A rule assigns to each token `y` the probability `d(y) ∈ [0, 1]` that a draw `y` of the base
//! model is discarded and the aligned model draws instead (`d ∈ {0, 1}` in Hammal et al.,
//! arXiv 2510.27017; fractional values are the rejection distribution `μ` of arXiv 2604.16146).
//! The distribution that results is [`mixture::mix`](crate::mixture::mix).
//!
//! [`catalogue()`] lists every rule: formula, parameters, source, the name in the authors' code,
//! and how it behaves. The same list is printed by `kad rules` and stands in `docs/RULES.md`.
//!
//! Among tokens of equal probability the lower id counts as the more probable one: it is kept
//! longer. Comparisons are strict: what equals a threshold is kept, what fills a budget exactly
//! fits.

mod budget;
mod cascade;
mod catalogue;
mod constant;
mod history;
mod primal;
mod relative;
mod threshold;

use std::fmt;

pub use budget::{KadFallback, KadFractional, KnapsackExact};
pub use cascade::{CascadeTokenV2, CascadeTokenV3, Chow, Difference, OptimalCascade};
pub use catalogue::{GreedyLimit, Monotone, Parameter, RuleInfo, RuleInputs, catalogue, named};
pub use constant::{Always, Never, RandomDeferral};
pub(crate) use history::History;
pub use history::{HistoryRule, PooledBudget, SteeredDual};
pub use primal::KadPrimal;
pub use relative::{
    AggressiveBet, AlignedAbove, AlignedBelow, ArgmaxOnly, ConfidenceBet, TokenV2, TokenV3,
};
pub use threshold::{KadDual, Nudging};

use crate::distribution::Distribution;
use crate::knapsack::Items;
use crate::sum::dot;
use crate::vocab::TokenId;

/// A deferral rule. The type says what it has to see, so that a decoder can leave the aligned
/// model alone until a draw is deferred.
#[derive(Debug)]
pub enum Rule {
    /// Looks at the base distribution alone.
    Base(Box<dyn BaseRule>),
    /// Compares both distributions.
    Pair(Box<dyn PairRule>),
    /// Looks at the base distribution, and at what it has spent so far in this text.
    History(Box<dyn HistoryRule>),
}

impl Rule {
    /// A rule that looks at the base distribution alone.
    pub fn base(rule: impl BaseRule + 'static) -> Self {
        Rule::Base(Box::new(rule))
    }

    /// A rule that compares both distributions.
    pub fn pair(rule: impl PairRule + 'static) -> Self {
        Rule::Pair(Box::new(rule))
    }

    /// A rule that remembers what it spent.
    pub fn history(rule: impl HistoryRule + 'static) -> Self {
        Rule::History(Box::new(rule))
    }

    /// The decision of the rule for two distributions; a rule with a history is at its beginning.
    pub fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        match self {
            Rule::Base(rule) => rule.decide(base, out),
            Rule::Pair(rule) => rule.decide(base, aligned, out),
            Rule::History(rule) => rule.decide(rule.start(), base, out),
        }
    }

    /// The deferral mass it may spend on one token, if it has a budget of its own.
    pub fn budget(&self) -> Option<f64> {
        match self {
            Rule::Base(rule) => rule.budget(),
            Rule::Pair(rule) => rule.budget(),
            Rule::History(_) => None,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Base(rule) => rule.fmt(f),
            Rule::Pair(rule) => rule.fmt(f),
            Rule::History(rule) => rule.fmt(f),
        }
    }
}

/// A rule that decides from the base distribution. Its `Display` names it with its parameters.
pub trait BaseRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d` for every token of `base` into `out`.
    fn decide(&self, base: &Distribution, out: &mut Deferral);

    /// See [`Rule::budget`].
    fn budget(&self) -> Option<f64> {
        None
    }
}

/// A rule that decides from the base and the aligned distribution. Its `Display` names it.
pub trait PairRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d` for every token into `out`. The distributions have the same length.
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral);

    /// See [`Rule::budget`].
    fn budget(&self) -> Option<f64> {
        None
    }
}

/// A decision: `d(y)` for every token, `[vocab]`, each in [0, 1]. A reusable buffer.
#[derive(Clone, Debug, Default)]
pub struct Deferral {
    weights: Vec<f64>,
    // Room for what rules work out on the way, so that a decision allocates nothing per token; only
    // the exact knapsack does.
    pub(crate) order: Vec<TokenId>,
    items: Items,
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

    /// `d(y) = f(p(y))` for every token of `distribution`.
    pub fn fill_from(&mut self, distribution: &Distribution, f: impl Fn(f64) -> f64) {
        self.weights.clear();
        self.weights.extend(distribution.probs().iter().map(|&p| f(p)));
    }

    /// `d(y) = 1` where the probability of `y` satisfies `test`, else 0.
    pub fn defer_where(&mut self, distribution: &Distribution, test: impl Fn(f64) -> bool) {
        self.fill_from(distribution, |p| if test(p) { 1.0 } else { 0.0 });
    }

    /// `d ≡ 1` if `all`, else `d ≡ 0`, over the tokens of `distribution`.
    pub fn all_or_nothing(&mut self, distribution: &Distribution, all: bool) {
        self.fill(distribution.len(), if all { 1.0 } else { 0.0 });
    }

    /// Sets one token's `d`.
    ///
    /// # Panics
    /// If `token` is outside the vocabulary.
    pub fn set(&mut self, token: TokenId, weight: f64) {
        self.weights[token as usize] = weight;
    }

    /// Deferral mass `D = Σ d(y) p(y)`: the probability that a base draw is handed over.
    pub fn mass(&self, base: &Distribution) -> f64 {
        dot(&self.weights, base.probs()).min(1.0)
    }
}

/// A rule's parameter is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{parameter} = {found} of {rule} is out of range: {range}")]
pub struct RuleError {
    /// Which rule.
    pub rule: &'static str,
    /// Which parameter.
    pub parameter: &'static str,
    /// What was given.
    pub found: f64,
    /// What is allowed.
    pub range: &'static str,
}

/// Most parameters are probabilities or differences of them; NaN is refused.
fn probability(rule: &'static str, parameter: &'static str, found: f64) -> Result<f64, RuleError> {
    checked((0.0..=1.0).contains(&found), rule, parameter, found, "between 0 and 1")
}

fn checked(
    ok: bool,
    rule: &'static str,
    parameter: &'static str,
    found: f64,
    range: &'static str,
) -> Result<f64, RuleError> {
    if ok { Ok(found) } else { Err(RuleError { rule, parameter, found, range }) }
}

/// A rule with one parameter in [0, 1]: its type, its checked constructor and its name in words.
macro_rules! one_parameter_rule {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $words:literal, $parameter:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $parameter: f64,
        }

        impl $name {
            #[doc = concat!("Takes the `", stringify!($parameter), "` ∈ [0, 1].")]
            ///
            /// # Errors
            /// If it is out of range.
            pub fn new($parameter: f64) -> Result<Self, $crate::deferral::RuleError> {
                let name = stringify!($parameter);
                Ok(Self { $parameter: $crate::deferral::probability($kind, name, $parameter)? })
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($words, ", ", stringify!($parameter), " {}"), self.$parameter)
            }
        }
    };
}
use one_parameter_rule;

#[cfg(test)]
mod tests;
