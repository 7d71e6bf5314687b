//! Confidence intervals of predictions, by a parametric bootstrap of the measurements.

use serde::{Deserialize, Serialize};

use super::bootstrap_rng::BootstrapRng;
use super::chain::Chain;
use super::error::TheoryError;
use super::predictor::{PredictionInputs, seconds_per_token};

/// The share of resamples inside a [`BootstrapInterval`].
const CONFIDENCE: f64 = 0.95;

/// A 95 % bootstrap confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapInterval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// 95 % confidence intervals of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Of the seconds per token.
    pub seconds_per_token: BootstrapInterval,
    /// Of the speed-up: seconds per token of plain decoding over those of the chain. Both share the
    /// target's pass times, so this interval is narrower than the other one suggests.
    pub speedup: BootstrapInterval,
}

impl Chain {
    /// 95 % confidence intervals of [`Chain::predict`], by a parametric bootstrap. Each resample
    /// draws
    ///
    /// - every hazard of the run lengths from Beta(accepted + r, rejected + 1 − r), where r is the
    ///   pair's rate over all positions. Unlike resampled counts, this does not treat a position
    ///   without failures in a handful of trials as certain; unlike a flat prior, it does not pull
    ///   a long run of high hazards to one half;
    /// - every measured pass time from a normal distribution around its median, cut off at 0.
    ///
    /// The interval is the middle 95 % of `resamples` predictions; 1,000 are enough for two digits.
    /// Fixed: rates ([`Acceptance::Rate`](super::Acceptance::Rate)), overheads, `plain_seconds`,
    /// times of lookups and trees, and a drafter that was never seen to stop.
    ///
    /// The interval covers the noise of the measurement. It does not cover texts that differ from
    /// those measured.
    ///
    /// ```
    /// use kad_polybasic::theory::{Chain, PassTime, PassTimes, Proposer};
    /// let cell = PassTime { seconds: 0.02, standard_error: 0.001 };
    /// let times = PassTimes::new(vec![1], vec![0], vec![vec![cell]])?;
    /// let proposer = Proposer::Model { name: "large".into(), times, overhead: 0.0 };
    /// let chain = Chain { verifiers: vec![], proposer, plain_seconds: None };
    /// let interval = chain.uncertainty(0, 1000, 7)?.seconds_per_token;
    /// // About 0.02 ± 1.96 · 0.001.
    /// assert!(interval.low < 0.019 && 0.021 < interval.high);
    /// # Ok::<(), kad_polybasic::theory::TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// Errors of [`Chain::check`], and if `resamples` is 0.
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

/// The middle [`CONFIDENCE`] of `values`; `None` without values.
pub(super) fn middle(mut values: Vec<f64>) -> Option<BootstrapInterval> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(last as f64 * share).round() as usize];
    Some(BootstrapInterval { low: at(0.5 - CONFIDENCE / 2.0), high: at(0.5 + CONFIDENCE / 2.0) })
}
