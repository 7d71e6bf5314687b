//! Inverse transform sampling never returns an impossible token.

use kad_core::Distribution;
use proptest::prelude::*;

use crate::hard_distributions::distributions;

/// Ten times 0.1 sums to 1 − 2⁻⁵³, the largest uniform that a generator draws: only the last possible
/// token is left for it.
#[test]
fn a_uniform_beyond_the_rounded_sum_gives_a_possible_token() {
    let distribution =
        Distribution::from_probs([&[0.0][..], &[0.1; 10], &[0.0, 0.0]].concat()).unwrap();
    assert_eq!(distribution.inverse_cdf(1.0 - f64::EPSILON / 2.0), 10);
    assert_eq!(distribution.inverse_cdf(0.0), 1);
}

proptest! {
    /// Every uniform, at the ends and at every border between tokens, gives a possible token.
    #[test]
    fn sampled_tokens_are_possible(distribution in distributions(), uniform in 0.0..1.0f64) {
        let mut cumulative = 0.0;
        let borders = distribution.probs().iter().map(|p| {
            cumulative += p;
            cumulative
        });
        let edges = borders.collect::<Vec<f64>>().into_iter().filter(|&u| u < 1.0);
        for u in edges.chain([0.0, uniform, 1.0 - f64::EPSILON / 2.0]) {
            prop_assert!(distribution.prob(distribution.inverse_cdf(u)) > 0.0, "{u}");
        }
    }
}
