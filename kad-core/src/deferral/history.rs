//! Rules whose decision depends on what they spent earlier in the text.
//!
//! What they remember is one number per position, a function of the text alone: the distribution
//! after a context stays well defined, and speculation can roll it back.

use std::fmt;

use super::{BaseRule, Deferral, KadPrimal, RuleError, checked, probability};
use crate::distribution::Distribution;
use crate::vocab::TokenId;

/// A rule that decides from the base distribution and one number, its state, which the masses spent
/// so far have made. Its `Display` names it.
pub trait HistoryRule: fmt::Debug + fmt::Display + Send + Sync {
    /// The state at the first token.
    fn start(&self) -> f64;

    /// Writes `d` for every token of `base` into `out`.
    fn decide(&self, state: f64, base: &Distribution, out: &mut Deferral);

    /// The state after token number `position` (from 0) was decided with deferral mass `mass`.
    fn next(&self, state: f64, mass: f64, position: usize) -> f64;
}

/// KAD dual whose multiplier is steered so that the mean deferral mass approaches a target.
///
/// `d_t(y) = 1[−log p_t(y) > μ_t]`, `μ_{t+1} = max(0, μ_t + η (D_t − target))`: dual ascent on the
/// constraint `mean D ≤ target`, with one multiplier shared by the whole text. Summing the updates
/// gives `|mean D − target| ≤ |μ_{T+1} − μ_1| / (η T)` as long as `μ` stays above 0: the mean meets
/// the target at rate `1/T`. Not in the papers.
#[derive(Clone, Copy, Debug)]
pub struct SteeredDual {
    target: f64,
    gain: f64,
    threshold: f64,
}

impl SteeredDual {
    /// Steers towards a mean mass `target` ∈ [0, 1] with `gain` = η > 0 (nats per unit of mass),
    /// starting at the threshold `threshold` = e^(−μ₁) ∈ (0, 1].
    ///
    /// # Errors
    /// If a parameter is out of range.
    pub fn new(target: f64, gain: f64, threshold: f64) -> Result<Self, RuleError> {
        let kind = "kad-steered";
        let positive = gain > 0.0 && gain.is_finite();
        let starts = threshold > 0.0 && threshold <= 1.0;
        Ok(Self {
            target: probability(kind, "target", target)?,
            gain: checked(positive, kind, "gain", gain, "above 0")?,
            threshold: checked(starts, kind, "threshold", threshold, "above 0, at most 1")?,
        })
    }
}

impl HistoryRule for SteeredDual {
    fn start(&self) -> f64 {
        -self.threshold.ln()
    }

    fn decide(&self, multiplier: f64, base: &Distribution, out: &mut Deferral) {
        // The threshold that was given, not what rounding makes of it on the way there and back.
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

/// One deferral budget for every `window` tokens, spent under one shared threshold.
///
/// A window may spend the mass `window · b`. Each of its tokens hands over, by rising probability,
/// what lies below the threshold `e^(−μ)`, the multiplier that the tokens of the window share, and
/// fits what is left; what earlier tokens saved, later ones may spend. A window as long as the text
/// is a budget for the sequence. It is the dual rule with a cap: at threshold 1 the first tokens of
/// a window are handed over whole until nothing is left. Which multiplier spends a budget exactly
/// is known only afterwards ([`relax`](crate::knapsack::relax) of the window's
/// [`Items`](crate::knapsack::Items) together); [`SteeredDual`] finds it on the way.
///
/// As for every rule, what fits is decided on the distribution the rule sees, and spent is the mass
/// of the distribution that tokens are drawn from. (The published code shares one *per-token*
/// budget among a window by accident; here it is the window's own.) Not in the papers.
#[derive(Clone, Copy, Debug)]
pub struct PooledBudget {
    budget: f64,
    window: usize,
    threshold: f64,
}

impl PooledBudget {
    /// A mean `budget` = b ∈ [0, 1] per token over `window` ≥ 1 tokens, for tokens of probability
    /// below `threshold` ∈ [0, 1] (1 for all but certain ones).
    ///
    /// # Errors
    /// If a parameter is out of range; `window` must be whole.
    pub fn new(budget: f64, window: f64, threshold: f64) -> Result<Self, RuleError> {
        let kind = "kad-pool";
        let whole = (1.0..=1e9).contains(&window) && window.fract() == 0.0;
        let window = checked(whole, kind, "window", window, "a whole number from 1 to 1e9")?;
        Ok(Self {
            budget: probability(kind, "budget", budget)?,
            window: window as usize,
            threshold: probability(kind, "threshold", threshold)?,
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

/// The states of a [`HistoryRule`] along a text, kept in step with it as a cache is.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// Prefix length of `states[0]`: where the rule begins.
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
    /// Begins after `prompt` tokens, forgetting what began elsewhere.
    pub(crate) fn begin(&mut self, prompt: usize) {
        if self.start != prompt {
            *self = Self { start: prompt.max(1), ..Self::default() };
        }
    }

    /// Moves to `text`, keeping the states of what it shares with the text before. Returns the
    /// prefix length from which decisions have to be made to reach `wanted`.
    pub(crate) fn follow(
        &mut self,
        rule: &dyn HistoryRule,
        text: &[TokenId],
        wanted: usize,
    ) -> usize {
        let shared = self.text.iter().zip(text).take_while(|(a, b)| a == b).count();
        // The state after n tokens was made by decisions after at most n − 1 of them.
        self.states.truncate((shared + 2).saturating_sub(self.start).max(1));
        if self.states.is_empty() {
            self.states.push(rule.start());
        }
        self.text.clear();
        self.text.extend_from_slice(text);
        wanted.min(self.start + self.states.len() - 1)
    }

    /// The state after the first `len` tokens; before the beginning, that of the beginning.
    pub(crate) fn at(&self, len: usize) -> f64 {
        self.states[len.saturating_sub(self.start)]
    }

    /// Notes the mass decided after the first `len` tokens.
    pub(crate) fn push(&mut self, rule: &dyn HistoryRule, len: usize, mass: f64) {
        let Some(position) = len.checked_sub(self.start) else {
            return;
        };
        if position + 1 == self.states.len() {
            self.states.push(rule.next(self.states[position], mass, position));
        }
    }
}
