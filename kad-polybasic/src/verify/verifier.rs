//! The verifiers of a stage.

/// The verification of a chain of drafted tokens. All variants but [`Lenient`](Self::Lenient) are
/// exact.
///
/// ```
/// use kad_polybasic::Verifier;
/// assert_eq!(Verifier::default(), Verifier::Token);
/// assert!(Verifier::Block.is_exact());
/// assert!(!Verifier::Lenient { leniency: 0.3 }.is_exact());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Verifier {
    /// Token by token, by [`acceptance`](super::acceptance) and [`residual`](super::residual)
    /// (arXiv 2211.17192). At temperature 0 this is greedy matching.
    #[default]
    Token,
    /// The whole draft at once, by [`BlockVerification`](super::BlockVerification) (arXiv
    /// 2403.10444). Never accepts fewer tokens on average.
    Block,
    /// Draws the drafted token and the target's token at the same uniform number, and accepts if
    /// they are equal. The acceptance rate is `Σ_y |I_p(y) ∩ I_q(y)|` over the quantile intervals
    /// of the two distributions, which is at most that of [`Token`](Self::Token).
    ///
    /// The text equals that of decoding the target token by token with the same seed, if passes
    /// over several tokens give the same bits as passes over one. (Lazily decoded deferral draws
    /// differently.)
    ///
    /// All levels above must use this verifier too: a position has one uniform number, and another
    /// verifier would meet it again after a rejection.
    SameUniform,
    /// Token by token with [`lenient_acceptance`]: **not exact**. Only the highest level of a chain
    /// may use it.
    Lenient {
        /// ℓ ∈ [0, 1): acceptance probabilities are divided by `1 − ℓ`. 0 is exact.
        leniency: f64,
    },
}

impl Verifier {
    /// True if the text has the target's distribution, exactly.
    pub fn is_exact(self) -> bool {
        match self {
            Verifier::Token | Verifier::Block | Verifier::SameUniform => true,
            Verifier::Lenient { leniency } => leniency == 0.0,
        }
    }
}

/// The acceptance probability `min(1, p / ((1 − ℓ) q))` of lossy speculative sampling (Leviathan et
/// al., arXiv 2211.17192, appendix A.5), from the exact `acceptance` = `min(1, p/q)` and ℓ =
/// `leniency` ∈ [0, 1). **Not exact**: tokens that the drafter overrates stay too likely.
///
/// ```
/// use kad_polybasic::verify::lenient_acceptance;
/// assert_eq!(lenient_acceptance(0.25, 0.5), 0.5);
/// ```
pub fn lenient_acceptance(acceptance: f64, leniency: f64) -> f64 {
    // An impossible token stays impossible, also for ℓ = 1.
    if acceptance > 0.0 { (acceptance / (1.0 - leniency)).min(1.0) } else { 0.0 }
}
