//! Rules that do not look: the two ends of the scale, and the control between them.

use std::fmt;

use super::{BaseRule, Deferral, one_parameter_rule};
use crate::distribution::Distribution;

/// `d ≡ 0`: the base model.
#[derive(Clone, Copy, Debug)]
pub struct Never;

/// `d ≡ 1`: the aligned model.
#[derive(Clone, Copy, Debug)]
pub struct Always;

one_parameter_rule! {
    /// `d ≡ r`, `r` = rate: a coin decides, whatever the distributions say. `π = (1 − r) p + r q*`.
    ///
    /// The control that tells whether *where* a rule defers matters, or only how much.
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
