//! Deferral rules: the probability that a base token is deferred to the aligned model.
//!
//! A rule assigns to each token `y` the probability `d(y) ∈ [0, 1]` that a token `y` sampled from
//! the base model is discarded and the aligned model samples instead. Hammal et al. (arXiv
//! 2510.27017) use `d ∈ {0, 1}`; fractional values are the rejection distribution `μ` of arXiv
//! 2604.16146. [`mixture::mix`](crate::mixture::mix) computes the resulting distribution.
//!
//! [`catalogue()`] lists all rules with formula, parameters, source, the name in the authors' code
//! and properties. `kad rules` prints the same list, and `docs/RULES.md` is generated from it.
//!
//! Ties: among tokens of equal probability the lower id counts as the more probable one and is kept
//! longer. Comparisons are strict: a token equal to a threshold is kept, and tokens that fill a
//! budget exactly fit.

mod budget;
mod cascade;
mod catalogue;
mod constant;
mod dual;
mod history;
mod nudging;
mod parameter;
mod primal;
mod relative;

use std::fmt;

pub use budget::{KadFallback, KadFractional, KnapsackExact};
pub use cascade::{CascadeTokenV2, CascadeTokenV3, Chow, Difference, OptimalCascade};
pub use catalogue::{GreedyLimit, Monotone, RuleInfo, RuleInputs, catalogue, named};
pub use constant::{Always, Never, RandomDeferral};
pub use dual::KadDual;
pub(crate) use history::History;
pub use history::{HistoryRule, PooledBudget, SteeredDual};
pub use nudging::Nudging;
pub use parameter::{Parameter, ParameterRange, RuleError};
pub use primal::KadPrimal;
pub use relative::{
    AggressiveBet, AlignedAbove, AlignedBelow, ArgmaxOnly, ConfidenceBet, TokenV2, TokenV3,
};

use crate::distribution::Distribution;
use crate::knapsack::Items;
use crate::sum::dot;
use crate::vocab::TokenId;

/// A deferral rule. The variant states the rule's inputs, so a decoder runs the aligned model only
/// when it is needed.
///
/// ```
/// use kad_core::deferral::{Deferral, KadDual, Rule};
/// use kad_core::Distribution;
/// let rule = Rule::base(KadDual::new(0.4)?);
/// let base = Distribution::from_probs(vec![0.75, 0.25])?;
/// let mut d = Deferral::default();
/// rule.decide(&base, &base, &mut d);
/// assert_eq!((d.weights(), d.mass(&base)), (&[0.0, 1.0][..], 0.25));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Rule {
    /// Reads the base distribution alone.
    Base(Box<dyn BaseRule>),
    /// Compares both distributions.
    Pair(Box<dyn PairRule>),
    /// Reads the base distribution and the masses spent earlier in the text.
    History(Box<dyn HistoryRule>),
}

impl Rule {
    /// Wraps a rule that reads the base distribution alone.
    pub fn base(rule: impl BaseRule + 'static) -> Self {
        Rule::Base(Box::new(rule))
    }

    /// Wraps a rule that compares both distributions.
    pub fn pair(rule: impl PairRule + 'static) -> Self {
        Rule::Pair(Box::new(rule))
    }

    /// Wraps a rule that depends on the masses spent earlier.
    pub fn history(rule: impl HistoryRule + 'static) -> Self {
        Rule::History(Box::new(rule))
    }

    /// Writes the decision for two distributions into `out`. A rule with a history starts afresh.
    pub fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral) {
        match self {
            Rule::Base(rule) => rule.decide(base, out),
            Rule::Pair(rule) => rule.decide(base, aligned, out),
            Rule::History(rule) => rule.decide(rule.start(), base, out),
        }
    }

    /// Budget: the most deferral mass per token, in [0, 1]; `None` for rules without a budget.
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

/// A rule that reads the base distribution. `Display` gives its name and parameters.
///
/// ```
/// use kad_core::{Distribution, deferral::{BaseRule, Deferral, Rule}};
/// /// Defers all tokens but the most probable one.
/// #[derive(Debug)]
/// struct KeepBest;
/// impl std::fmt::Display for KeepBest {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("keep best")
///     }
/// }
/// impl BaseRule for KeepBest {
///     fn decide(&self, base: &Distribution, out: &mut Deferral) {
///         out.fill(base.len(), 1.0);
///         out.set(base.argmax(), 0.0);
///     }
/// }
/// assert_eq!(Rule::base(KeepBest).to_string(), "keep best");
/// ```
pub trait BaseRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d(y)` for every token of `base` into `out`.
    fn decide(&self, base: &Distribution, out: &mut Deferral);

    /// See [`Rule::budget`].
    fn budget(&self) -> Option<f64> {
        None
    }
}

/// A rule that reads both distributions. `Display` gives its name and parameters.
///
/// ```
/// use kad_core::{Distribution, deferral::{Deferral, Difference, PairRule}};
/// let base = Distribution::from_probs(vec![0.5, 0.5])?;
/// let aligned = Distribution::from_probs(vec![0.1, 0.9])?;
/// let mut d = Deferral::default();
/// Difference::new(0.2)?.decide(&base, &aligned, &mut d);
/// assert_eq!(d.weights(), [1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait PairRule: fmt::Debug + fmt::Display + Send + Sync {
    /// Writes `d(y)` for every token into `out`. Both distributions have the same length.
    fn decide(&self, base: &Distribution, aligned: &Distribution, out: &mut Deferral);

    /// See [`Rule::budget`].
    fn budget(&self) -> Option<f64> {
        None
    }
}

/// A decision: the deferral probabilities `d(y)` ∈ [0, 1], `[vocab]`. A reusable buffer.
#[derive(Clone, Debug, Default)]
pub struct Deferral {
    weights: Vec<f64>,
    // Scratch memory of the rules, so that only the exact knapsack allocates per token.
    pub(crate) order: Vec<TokenId>,
    items: Items,
}

impl Deferral {
    /// The deferral probabilities `d(y)`, `[vocab]`.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Sets `d ≡ weight` for a vocabulary of `vocab` tokens.
    pub fn fill(&mut self, vocab: usize, weight: f64) {
        self.weights.clear();
        self.weights.resize(vocab, weight);
    }

    /// Sets `d(y) = f(p(y))` for every token of `distribution`.
    pub fn fill_from(&mut self, distribution: &Distribution, f: impl Fn(f64) -> f64) {
        self.weights.clear();
        self.weights.extend(distribution.probs().iter().map(|&p| f(p)));
    }

    /// Sets `d(y) = 1` if the probability of `y` satisfies `test`, else 0.
    pub fn defer_where(&mut self, distribution: &Distribution, test: impl Fn(f64) -> bool) {
        self.fill_from(distribution, |p| if test(p) { 1.0 } else { 0.0 });
    }

    /// Sets `d ≡ 1` if `all`, else `d ≡ 0`.
    pub fn all_or_nothing(&mut self, distribution: &Distribution, all: bool) {
        self.fill(distribution.len(), if all { 1.0 } else { 0.0 });
    }

    /// Sets `d(token)`.
    ///
    /// # Panics
    /// If `token` is outside the vocabulary.
    pub fn set(&mut self, token: TokenId, weight: f64) {
        self.weights[token as usize] = weight;
    }

    /// Deferral mass `D = Σ d(y) p(y)` ∈ [0, 1]: the probability that a base token is deferred.
    pub fn mass(&self, base: &Distribution) -> f64 {
        dot(&self.weights, base.probs()).min(1.0)
    }
}

/// Defines a rule with one parameter in [0, 1]: the type, its checked constructor and `Display`.
macro_rules! one_parameter_rule {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $words:literal, $parameter:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            $parameter: f64,
        }

        impl $name {
            pub(super) const PARAMETERS: [$crate::deferral::Parameter; 1] =
                [$crate::deferral::Parameter::required(
                    stringify!($parameter),
                    $crate::deferral::ParameterRange::UNIT,
                )];

            #[doc = concat!("The rule with `", stringify!($parameter), "` ∈ [0, 1].")]
            ///
            /// # Errors
            /// [`RuleError`](crate::deferral::RuleError) if the value is out of range.
            ///
            /// ```
            #[doc = concat!("use kad_core::deferral::", stringify!($name), ";")]
            #[doc = concat!("let rule = ", stringify!($name), "::new(0.4)?;")]
            #[doc = concat!(
                "assert_eq!(rule.to_string(), \"", $words, ", ", stringify!($parameter), " 0.4\");"
            )]
            /// # Ok::<(), kad_core::deferral::RuleError>(())
            /// ```
            pub fn new($parameter: f64) -> Result<Self, $crate::deferral::RuleError> {
                Ok(Self { $parameter: Self::PARAMETERS[0].check($kind, $parameter)? })
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
