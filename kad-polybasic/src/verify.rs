//! Token verification (Leviathan et al., arXiv 2211.17192, algorithm 1; Chen et al.,
//! arXiv 2302.01318): accept a drafted token, or replace it, so that what comes out has the
//! target's law. Pure: laws in, numbers out.

use kad_core::{Law, LawError, TokenId};

/// Probability `min(1, p(x) / q(x))` that `token`, drafted from `draft` = q, is accepted for
/// `target` = p.
///
/// A token the draft law gives probability 0 cannot have been drafted from it; it is never
/// accepted.
pub fn acceptance(target: &Law, draft: &Law, token: TokenId) -> f64 {
    let (p, q) = (target.prob(token), draft.prob(token));
    if q > 0.0 { (p / q).min(1.0) } else { 0.0 }
}

/// Probability `Σ min(p, q) = 1 − TV(p, q)` that a token drafted from `draft` is accepted.
pub fn acceptance_rate(target: &Law, draft: &Law) -> f64 {
    target.probs().iter().zip(draft.probs()).map(|(p, q)| p.min(*q)).sum()
}

/// The law `(p − q)₊ / Σ (p − q)₊` to draw from after a rejection.
///
/// ```
/// use kad_core::Law;
/// use kad_polybasic::verify::residual;
/// let target = Law::from_probs(vec![0.5, 0.5])?;
/// let draft = Law::from_probs(vec![0.75, 0.25])?;
/// assert_eq!(residual(&target, &draft)?.probs(), [0.0, 1.0]);
/// # Ok::<(), kad_core::LawError>(())
/// ```
///
/// Where no token has more mass in `target` than in `draft` the laws are equal up to rounding, and
/// a rejection has a probability of that order: the residual is then `target` itself.
///
/// # Errors
/// If the excess does not normalise to a law; it always does for laws.
pub fn residual(target: &Law, draft: &Law) -> Result<Law, LawError> {
    let excess: Vec<f64> =
        target.probs().iter().zip(draft.probs()).map(|(p, q)| (p - q).max(0.0)).collect();
    let total: f64 = excess.iter().sum();
    if total > 0.0 {
        Law::from_probs(excess.iter().map(|x| x / total).collect())
    } else {
        Ok(target.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kad_core::{ChoiceSource, oracle::enumerate};
    use proptest::prelude::*;

    fn law(weights: Vec<f64>) -> Law {
        let total: f64 = weights.iter().sum();
        Law::from_probs(weights.iter().map(|w| w / total).collect()).unwrap()
    }

    fn pairs() -> impl Strategy<Value = (Law, Law)> {
        let weight = || prop_oneof![1 => Just(0.0), 4 => 0.001..1.0f64];
        proptest::collection::vec((weight(), weight()), 2..8)
            .prop_filter("both laws possible", |pairs| {
                pairs.iter().any(|(p, _)| *p > 0.0) && pairs.iter().any(|(_, q)| *q > 0.0)
            })
            .prop_map(|pairs| {
                let (p, q): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
                (law(p), law(q))
            })
    }

    /// Draft, verify, correct: one token.
    fn verified(
        target: &Law,
        draft: &Law,
        choices: &mut dyn ChoiceSource,
    ) -> Result<TokenId, LawError> {
        let drafted = choices.token(draft);
        if choices.accept(acceptance(target, draft, drafted)) {
            return Ok(drafted);
        }
        Ok(choices.token(&residual(target, draft)?))
    }

    proptest! {
        /// S1 for one token, and S2, by exact enumeration.
        #[test]
        fn a_verified_token_has_the_targets_law((target, draft) in pairs()) {
            let made = enumerate(|choices| verified(&target, &draft, choices)).unwrap();
            for token in 0..target.len() as TokenId {
                let found = made.get(&token).copied().unwrap_or(0.0);
                prop_assert!((found - target.prob(token)).abs() < 1e-12);
            }
            let accepted: f64 = (0..target.len() as TokenId)
                .map(|token| draft.prob(token) * acceptance(&target, &draft, token))
                .sum();
            prop_assert!((accepted - acceptance_rate(&target, &draft)).abs() < 1e-12);
            prop_assert!((accepted - (1.0 - target.total_variation(&draft))).abs() < 1e-12);
        }
    }

    #[test]
    fn equal_laws_leave_the_target() {
        let flat = law(vec![1.0; 3]);
        assert_eq!(acceptance_rate(&flat, &flat), 1.0);
        assert_eq!(residual(&flat, &flat).unwrap(), flat);
    }
}
