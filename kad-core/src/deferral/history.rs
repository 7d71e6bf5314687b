//! Rules that depend on the deferral mass spent earlier in the text.
//!
//! Their state is one number per position and a function of the text alone. The distribution after
//! a context stays well defined, and speculative decoding can roll the state back.

use std::fmt;
use std::ops::Bound::Included;

use super::{BaseRule, Deferral, KadPrimal, Parameter, ParameterRange, RuleError};
use crate::distribution::Distribution;
use crate::vocab::TokenId;

/// A rule that reads the base distribution and one number, its state, which summarises the deferral
/// masses spent so far. `Display` gives its name and parameters.
///
/// ```
/// use kad_core::deferral::{Deferral, HistoryRule, PooledBudget};
/// use kad_core::Distribution;
/// let rule = PooledBudget::new(0.3, 2.0, 1.0)?; // 0.6 for every two tokens
/// let base = Distribution::from_probs(vec![0.75, 0.125, 0.125])?;
/// let mut d = Deferral::default();
/// rule.decide(rule.start(), &base, &mut d);
/// assert_eq!(d.weights(), [0.0, 1.0, 1.0]);
/// let left = rule.next(rule.start(), d.mass(&base), 0);
/// assert!((left - 0.35).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait HistoryRule: fmt::Debug + fmt::Display + Send + Sync {
    /// The state at the first token.
    fn start(&self) -> f64;

    /// Writes `d(y)` for every token of `base` into `out`.
    fn decide(&self, state: f64, base: &Distribution, out: &mut Deferral);

    /// The state after the token at `position` (from 0), whose decision had the deferral mass
    /// `mass`.
    fn next(&self, state: f64, mass: f64, position: usize) -> f64;
}

/// The dual rule with a multiplier that is adjusted after each token, so that the mean deferral
/// mass approaches a target.
///
/// `d_t(y) = 1[−log p_t(y) > μ_t]`, `μ_{t+1} = max(0, μ_t + η (D_t − target))`: dual ascent on the
/// constraint `mean D ≤ target` with one multiplier for the whole text. The sum of the updates
/// gives `|mean D − target| ≤ |μ_{T+1} − μ_1| / (η T)` while `μ` stays above 0, so the mean
/// converges to the target at rate `1/T`. Not in the papers.
#[derive(Clone, Copy, Debug)]
pub struct SteeredDual {
    target: f64,
    gain: f64,
    threshold: f64,
}

impl SteeredDual {
    pub(super) const PARAMETERS: [Parameter; 3] = [
        Parameter::required("target", ParameterRange::UNIT),
        Parameter::optional("gain", ParameterRange::POSITIVE, 0.5),
        Parameter::optional("threshold", ParameterRange::UNIT_ABOVE_ZERO, 0.5),
    ];

    /// Adjusts towards the mean deferral mass `target` ∈ [0, 1] with `gain` = η > 0 (nats per unit
    /// of mass), from the initial threshold `threshold` = e^(−μ₁) ∈ (0, 1].
    ///
    /// # Errors
    /// [`RuleError`] if a parameter is out of range.
    ///
    /// ```
    /// use kad_core::deferral::SteeredDual;
    /// let rule = SteeredDual::new(0.3, 0.5, 0.5)?;
    /// assert_eq!(rule.to_string(), "KAD steered, target 0.3, gain 0.5, threshold 0.5");
    /// # Ok::<(), kad_core::deferral::RuleError>(())
    /// ```
    pub fn new(target: f64, gain: f64, threshold: f64) -> Result<Self, RuleError> {
        let [of_target, of_gain, of_threshold] = Self::PARAMETERS;
        let kind = "kad-steered";
        Ok(Self {
            target: of_target.check(kind, target)?,
            gain: of_gain.check(kind, gain)?,
            threshold: of_threshold.check(kind, threshold)?,
        })
    }
}

impl HistoryRule for SteeredDual {
    fn start(&self) -> f64 {
        -self.threshold.ln()
    }

    fn decide(&self, multiplier: f64, base: &Distribution, out: &mut Deferral) {
        // The threshold as given: `e^(ln t)` is not `t` in `f64`.
        let threshold =
            if multiplier == self.start() { self.threshold } else { (-multiplier).exp() };
        out.defer_where(base, |p| p < threshold);
    }

    fn next(&self, multiplier: f64, mass: f64, _position: usize) -> f64 {
        (multiplier + self.gain * (mass - self.target)).max(0.0)
    }
}

impl fmt::Display for SteeredDual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, gain, threshold } = self;
        write!(f, "KAD steered, target {target}, gain {gain}, threshold {threshold}")
    }
}

/// The primal rule with one deferral budget per window of `window` tokens, under a threshold.
///
/// A window may spend the mass `window · b`. Each of its tokens defers, by rising probability, the
/// tokens below the threshold `e^(−μ)` that fit the remaining budget. Later tokens of the window
/// may spend what earlier ones saved. A window as long as the text is a budget for the sequence.
/// The rule equals the dual rule with a cap: at threshold 1 the first tokens of a window are
/// deferred whole until the budget is gone. The multiplier that spends a window's budget exactly is
/// known only afterwards (from [`relax`](crate::knapsack::relax) on the window's
/// [`Items`](crate::knapsack::Items)); [`SteeredDual`] approximates it online.
///
/// As with every rule, the fit is decided on the distribution that the rule sees, and the mass
/// spent is that of the sampled distribution. Not in the papers. The published code shares one
/// *per-token* budget among the tokens of a window by accident; here the budget belongs to the
/// window.
#[derive(Clone, Copy, Debug)]
pub struct PooledBudget {
    budget: f64,
    window: usize,
    threshold: f64,
}

impl PooledBudget {
    pub(super) const PARAMETERS: [Parameter; 3] = [
        Parameter::required("budget", ParameterRange::UNIT),
        Parameter::optional(
            "window",
            ParameterRange::whole_numbers(Included(1.0), Included(1e9)),
            16.0,
        ),
        Parameter::optional("threshold", ParameterRange::UNIT, 0.5),
    ];

    /// A mean `budget` = b ∈ [0, 1] per token over windows of `window` tokens (a whole number from
    /// 1 to 1e9), for tokens of probability below `threshold` ∈ [0, 1] (at 1, all but certain
    /// ones).
    ///
    /// # Errors
    /// [`RuleError`] if a parameter is out of range.
    ///
    /// ```
    /// use kad_core::deferral::PooledBudget;
    /// let rule = PooledBudget::new(0.3, 16.0, 0.5)?;
    /// assert_eq!(rule.to_string(), "KAD pool, budget 0.3, window 16, threshold 0.5");
    /// # Ok::<(), kad_core::deferral::RuleError>(())
    /// ```
    pub fn new(budget: f64, window: f64, threshold: f64) -> Result<Self, RuleError> {
        let [of_budget, of_window, of_threshold] = Self::PARAMETERS;
        let kind = "kad-pool";
        Ok(Self {
            budget: of_budget.check(kind, budget)?,
            window: of_window.check(kind, window)? as usize,
            threshold: of_threshold.check(kind, threshold)?,
        })
    }

    fn pool(&self) -> f64 {
        self.budget * self.window as f64
    }
}

impl HistoryRule for PooledBudget {
    fn start(&self) -> f64 {
        self.pool()
    }

    fn decide(&self, left: f64, base: &Distribution, out: &mut Deferral) {
        match KadPrimal::new(left.clamp(0.0, 1.0)) {
            Ok(fitting) => fitting.decide(base, out),
            // Only NaN, which no sum of masses is.
            Err(_) => out.fill(base.len(), 0.0),
        }
        for (token, &p) in (0..).zip(base.probs()) {
            if p >= self.threshold {
                out.set(token, 0.0);
            }
        }
    }

    fn next(&self, left: f64, mass: f64, position: usize) -> f64 {
        if (position + 1).is_multiple_of(self.window) {
            self.pool()
        } else {
            (left - mass).max(0.0)
        }
    }
}

impl fmt::Display for PooledBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, window, threshold } = self;
        write!(f, "KAD pool, budget {budget}, window {window}, threshold {threshold}")
    }
}

/// The states of a [`HistoryRule`] along a text, rolled back with it like a KV cache.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Prefix length of `states[0]`: the end of the prompt.
    start: usize,
    text: Vec<TokenId>,
    states: Vec<f64>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: 1, text: Vec::new(), states: Vec::new() }
    }
}

impl History {
    /// Starts after `prompt` tokens; forgets states that started elsewhere.
    pub(crate) fn begin(&mut self, prompt: usize) {
        if self.start != prompt {
            *self = Self { start: prompt.max(1), ..Self::default() };
        }
    }

    /// Moves to `text` and keeps the states of the shared prefix. Returns the prefix length of the
    /// first decision that is needed to reach `wanted`.
    pub(crate) fn follow(
        &mut self,
        rule: &dyn HistoryRule,
        text: &[TokenId],
        wanted: usize,
    ) -> usize {
        let shared = self.text.iter().zip(text).take_while(|(a, b)| a == b).count();
        // The state after n tokens depends on the decisions after at most n − 1 of them.
        self.states.truncate((shared + 2).saturating_sub(self.start).max(1));
        if self.states.is_empty() {
            self.states.push(rule.start());
        }
        self.text.clear();
        self.text.extend_from_slice(text);
        wanted.min(self.start + self.states.len() - 1)
    }

    /// The state after the first `len` tokens; before the start, the initial state.
    pub(crate) fn at(&self, len: usize) -> f64 {
        self.states[len.saturating_sub(self.start)]
    }

    /// Records the deferral mass of the decision after the first `len` tokens.
    pub(crate) fn push(&mut self, rule: &dyn HistoryRule, len: usize, mass: f64) {
        let Some(position) = len.checked_sub(self.start) else {
            return;
        };
        if position + 1 == self.states.len() {
            self.states.push(rule.next(self.states[position], mass, position));
        }
    }
}
