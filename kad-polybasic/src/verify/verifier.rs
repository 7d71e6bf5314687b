//! How a chain of drafted tokens is verified.

/// A way to verify one chain of drafted tokens. All are exact but the lenient one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Verifier {
    /// Token by token, by [`acceptance`](super::acceptance) and [`residual`](super::residual).
    /// With a distribution that is certain (temperature 0) this is greedy matching.
    #[default]
    Token,
    /// All tokens at once, by [`Block`](super::BlockVerification): never accepts fewer on average.
    Block,
    /// Drafted and target token at the same uniform: accepted where they are equal. The text is the
    /// one that token-by-token decoding of the target's distribution gives for the same seed
    /// (deferral decoded lazily draws otherwise), token for token, wherever passes of several
    /// tokens give the bits of single ones. Accepts less often than [`Token`](Self::Token): `Σ_y
    /// |I_p(y) ∩ I_q(y)|` over the quantile intervals of the two distributions. Levels above verify
    /// so too: a place has one uniform, and another verifier would meet it again after a rejection.
    SharedUniform,
    /// Token by token with [`lenient_acceptance`]: **not exact**. For the uppermost level only.
    Lenient {
        /// How much more often than exact a token is accepted, in [0, 1); 0 is exact.
        leniency: f64,
    },
}

impl Verifier {
    /// Whether the distribution of the text is exactly the target's.
    pub fn is_exact(self) -> bool {
        match self {
            Verifier::Token | Verifier::Block | Verifier::SharedUniform => true,
            Verifier::Lenient { leniency } => leniency == 0.0,
        }
    }
}

/// Probability `min(1, p / ((1 − ℓ) q))` of lossy speculative sampling (Leviathan et al.,
/// arXiv 2211.17192, appendix A.5), from the exact `acceptance` = `min(1, p/q)` and ℓ = `leniency`
/// ∈ [0, 1). **Not exact**: tokens that the drafter likes too much stay too likely.
pub fn lenient_acceptance(acceptance: f64, leniency: f64) -> f64 {
    // What cannot be accepted stays so, even where nothing is left to divide by.
    if acceptance > 0.0 { (acceptance / (1.0 - leniency)).min(1.0) } else { 0.0 }
}
