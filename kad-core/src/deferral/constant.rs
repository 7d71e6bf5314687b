//! Rules that ignore the distributions: never, always, and at random.

use std::fmt;

use super::{BaseRule, Deferral, one_parameter_rule};
use crate::distribution::Distribution;

/// `d ≡ 0`: the base model.
///
/// ```
/// use kad_core::{Distribution, deferral::{BaseRule, Deferral, Never}};
/// let mut d = Deferral::default();
/// Never.decide(&Distribution::from_probs(vec![0.5, 0.5])?, &mut d);
/// assert_eq!(d.weights(), [0.0, 0.0]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Never;

/// `d ≡ 1`: the aligned model.
///
/// ```
/// use kad_core::{Distribution, deferral::{Always, BaseRule, Deferral}};
/// let mut d = Deferral::default();
/// Always.decide(&Distribution::from_probs(vec![0.5, 0.5])?, &mut d);
/// assert_eq!(d.weights(), [1.0, 1.0]);
/// # Ok::<(), kad_core::DistributionError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Always;

one_parameter_rule! {
    /// `d ≡ r`, `r` = rate: defers at random with one probability for all tokens.
    /// `π = (1 − r) p + r q*`.
    ///
    /// A control: it separates the effect of *where* a rule defers from the effect of how much.
    RandomDeferral, "random", "random", rate
}

impl BaseRule for Never {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.fill(base.len(), 0.0);
    }
}

impl BaseRule for Always {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.fill(base.len(), 1.0);
    }
}

impl BaseRule for RandomDeferral {
    fn decide(&self, base: &Distribution, out: &mut Deferral) {
        out.fill(base.len(), self.rate);
    }
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never")
    }
}

impl fmt::Display for Always {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("always")
    }
}
