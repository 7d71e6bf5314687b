//! How far a prediction can be trusted, by what it was measured from.

use serde::{Deserialize, Serialize};

use super::bootstrap_rng::BootstrapRng;
use super::chain::Chain;
use super::error::TheoryError;
use super::predictor::{PredictionInputs, seconds_per_token};

/// The share of resamples between the ends of an [`BootstrapInterval`].
const CONFIDENCE: f64 = 0.95;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapInterval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// 95 % intervals of what is predicted for a chain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Of the seconds per token.
    pub seconds_per_token: BootstrapInterval,
    /// Of plain decoding's seconds per token over the chain's. Both share the target's pass times,
    /// so it is narrower than their two intervals suggest.
    pub speedup: BootstrapInterval,
}

impl Chain {
    /// A parametric bootstrap of [`Chain::predict`]: every hazard of the run lengths is drawn anew,
    /// from Beta(accepted + r, rejected + 1 − r) where r is the pair's rate over all positions
    /// (unlike resampled counts that is not certain of what never failed in a handful of trials,
    /// and unlike a flat prior it does not drag a long run of high hazards towards one half); every
    /// measured pass time from a normal distribution around its median, cut off at 0
    /// (`plain_seconds`, where given, are not drawn). Middle 95 % of `resamples` predictions; 1,000
    /// are enough for two digits. Rates given as [`Acceptance::Rate`](super::Acceptance::Rate),
    /// overheads and the times of what is no model count as known; so does that a drafter never
    /// seen to stop does not.
    ///
    /// What the interval covers is the noise of the measurement, not that a text differs from those
    /// measured on.
    ///
    /// # Errors
    /// Those of [`Chain::check`], and if `resamples` is 0.
    pub fn uncertainty(
        &self,
        context: usize,
        resamples: usize,
        seed: u64,
    ) -> Result<Uncertainty, TheoryError> {
        self.check()?;
        let mut draws = BootstrapRng::seeded(seed);
        let (mut seconds, mut speedups) = (Vec::new(), Vec::new());
        for _ in 0..resamples {
            let inputs = PredictionInputs::resampled(self, context, &mut draws);
            let found = seconds_per_token(self, &inputs);
            seconds.push(found);
            speedups.push(inputs.plain(self) / found);
        }
        let nothing = TheoryError::Zero { what: "number of resamples" };
        match (middle(seconds), middle(speedups)) {
            (Some(seconds_per_token), Some(speedup)) => {
                Ok(Uncertainty { seconds_per_token, speedup })
            }
            _ => Err(nothing),
        }
    }
}

/// The middle [`CONFIDENCE`] of `values`.
pub(super) fn middle(mut values: Vec<f64>) -> Option<BootstrapInterval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(last as f64 * share).round() as usize];
    Some(BootstrapInterval { low: at(0.5 - CONFIDENCE / 2.0), high: at(0.5 + CONFIDENCE / 2.0) })
}
