//! Sampling settings: from logits to the distribution that tokens are sampled from.

use crate::distribution::Distribution;
use crate::error::DistributionError;
use crate::select::{Boundary, Count, boundary, tail_boundary};
use crate::softmax::{largest, softmax};
use crate::sum::sum;
use crate::vocab::TokenId;

/// Sampling settings as given by a user, unchecked; [`Sampling::new`] checks them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplingSettings {
    /// Divides the logits, ≥ 0. Default 1. At 0 decoding is greedy (lowest id among equal maxima).
    pub temperature: f64,
    /// Top-k: keeps the `k` ≥ 1 most probable tokens; lower ids first among equals. Default: all.
    pub top_k: Option<usize>,
    /// Top-p (nucleus): keeps the smallest set of most probable tokens with total probability at
    /// least `top_p` ∈ (0, 1]; lower ids first among equals. Cuts the tail that [`tail_boundary`]
    /// finds for the budget `1 − top_p`. Default: all.
    pub top_p: Option<f64>,
    /// Min-p: keeps tokens with at least `min_p` ∈ [0, 1] times the largest probability. Default:
    /// all.
    pub min_p: Option<f64>,
    /// Divides positive and multiplies negative logits of tokens in the context (prompt included),
    /// as in Hugging Face transformers; > 0. Default 1: no effect.
    pub repetition_penalty: f64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: None, min_p: None, repetition_penalty: 1.0 }
    }
}

/// Checked sampling settings: a function from logits to a next-token distribution.
///
/// Order of operations, as in Hugging Face transformers: repetition penalty, temperature, top-k,
/// top-p, min-p.
///
/// ```
/// use kad_core::{Distribution, Sampling, SamplingSettings};
/// let sampling = Sampling::new(SamplingSettings { top_k: Some(1), ..Default::default() })?;
/// let mut distribution = Distribution::default();
/// sampling.distribution(&[0.0, 3.0, 1.0], &[], &mut distribution)?;
/// assert_eq!(distribution.probs(), [0.0, 1.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling(SamplingSettings);

/// A sampling setting is out of range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{key} = {found} is out of range: {range}")]
pub struct SamplingError {
    /// Name of the setting.
    pub key: &'static str,
    /// The value given.
    pub found: f64,
    /// The allowed range, in words.
    pub range: &'static str,
}

impl Sampling {
    /// Checks the ranges stated at [`SamplingSettings`].
    ///
    /// # Errors
    /// [`SamplingError`] names the setting, its value and the range; NaN is out of every range.
    pub fn new(settings: SamplingSettings) -> Result<Self, SamplingError> {
        let check = |key, found, ok: bool, range| {
            if ok { Ok(()) } else { Err(SamplingError { key, found, range }) }
        };
        let s = settings;
        check(
            "temperature",
            s.temperature,
            s.temperature >= 0.0 && s.temperature.is_finite(),
            "0 (greedy) or above",
        )?;
        let top_k = s.top_k.unwrap_or(1);
        check("top_k", top_k as f64, top_k >= 1, "at least 1")?;
        let top_p = s.top_p.unwrap_or(1.0);
        check("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0, at most 1")?;
        let min_p = s.min_p.unwrap_or(0.0);
        check("min_p", min_p, (0.0..=1.0).contains(&min_p), "between 0 and 1")?;
        check(
            "repetition_penalty",
            s.repetition_penalty,
            s.repetition_penalty > 0.0 && s.repetition_penalty.is_finite(),
            "above 0",
        )?;
        Ok(Self(settings))
    }

    /// Sampling at `temperature` ≥ 0 without truncation or penalty.
    ///
    /// # Errors
    /// If the temperature is negative or not finite.
    pub fn at_temperature(temperature: f64) -> Result<Self, SamplingError> {
        Self::new(SamplingSettings { temperature, ..Default::default() })
    }

    /// The checked settings.
    pub fn settings(&self) -> &SamplingSettings {
        &self.0
    }

    /// Writes the next-token distribution after `context` into `out`:
    /// `softmax(penalised(logits) / temperature)`, truncated and renormalised.
    ///
    /// `logits` is `[vocab]`; only the repetition penalty reads `context`.
    ///
    /// # Errors
    /// [`DistributionError::NotFinite`] for NaN or `+inf`, [`DistributionError::Empty`] if every
    /// logit is `-inf`.
    pub fn distribution(
        &self,
        logits: &[f32],
        context: &[TokenId],
        out: &mut Distribution,
    ) -> Result<(), DistributionError> {
        let probs = out.probs_mut();
        probs.clear();
        probs.extend(logits.iter().map(|&l| f64::from(l)));
        self.finish(context, out)
    }

    /// [`distribution`](Self::distribution) for scores in `f64`, `[vocab]`.
    ///
    /// # Errors
    /// As [`distribution`](Self::distribution).
    pub fn distribution_of_scores(
        &self,
        scores: &[f64],
        context: &[TokenId],
        out: &mut Distribution,
    ) -> Result<(), DistributionError> {
        let probs = out.probs_mut();
        probs.clear();
        probs.extend_from_slice(scores);
        self.finish(context, out)
    }

    /// Turns the scores in `out` into their distribution.
    fn finish(&self, context: &[TokenId], out: &mut Distribution) -> Result<(), DistributionError> {
        let settings = &self.0;
        let (probs, scratch) = out.parts_mut();
        penalise(probs, context, settings.repetition_penalty, scratch);
        let largest = largest(probs)?;
        if settings.temperature == 0.0 {
            one_hot_at(probs, largest);
            return Ok(());
        }
        softmax(probs, largest, settings.temperature);
        truncate(probs, scratch, settings);
        Ok(())
    }
}

fn penalise(logits: &mut [f64], context: &[TokenId], penalty: f64, seen: &mut Vec<TokenId>) {
    if penalty == 1.0 {
        return;
    }
    seen.clear();
    seen.extend_from_slice(context);
    seen.sort_unstable();
    seen.dedup();
    for &token in seen.iter() {
        if let Some(logit) = logits.get_mut(token as usize) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }
}

/// Sets the first entry equal to `largest` to 1 and all others to 0.
fn one_hot_at(values: &mut [f64], largest: f64) {
    let best = values.iter().position(|&value| value == largest);
    values.fill(0.0);
    values[best.expect("the largest value is one of them")] = 1.0;
}

fn truncate(probs: &mut [f64], scratch: &mut Vec<TokenId>, settings: &SamplingSettings) {
    if let Some(k) = settings.top_k.filter(|&k| k < probs.len()) {
        let cut = (probs.len() - k) as f64;
        if let Some(boundary) = boundary::<Count>(probs, cut, scratch) {
            cut_cheap(probs, boundary);
        }
    }
    if let Some(top_p) = settings.top_p.filter(|&top_p| top_p < 1.0) {
        match tail_boundary(probs, 1.0 - top_p, scratch) {
            Some(boundary) => cut_cheap(probs, boundary),
            // The most probable token alone reaches `top_p`, and it may be very small.
            None => one_hot_at(probs, probs.iter().copied().fold(0.0, f64::max)),
        }
    }
    if let Some(min_p) = settings.min_p.filter(|&min_p| min_p > 0.0) {
        let floor = min_p * probs.iter().copied().fold(0.0, f64::max);
        probs.iter_mut().for_each(|p| *p = if *p < floor { 0.0 } else { *p });
        normalise(probs);
    }
}

/// Sets the probability of the tail to 0 and renormalises.
fn cut_cheap(probs: &mut [f64], boundary: Boundary) {
    for (p, token) in probs.iter_mut().zip(0..) {
        *p = if boundary.contains(token, *p) { 0.0 } else { *p };
    }
    normalise(probs);
}

fn normalise(probs: &mut [f64]) {
    let total = sum(probs);
    probs.iter_mut().for_each(|p| *p /= total);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(settings: SamplingSettings, logits: &[f32], context: &[TokenId]) -> Vec<f64> {
        let mut out = Distribution::default();
        Sampling::new(settings).unwrap().distribution(logits, context, &mut out).unwrap();
        out.probs().to_vec()
    }

    fn close(found: &[f64], wanted: &[f64]) {
        assert_eq!(found.len(), wanted.len());
        for (f, w) in found.iter().zip(wanted) {
            assert!((f - w).abs() < 1e-12, "{found:?} is not {wanted:?}");
        }
    }

    /// Logits of the probabilities (0.1, 0.4, 0.2, 0.3).
    fn logits() -> [f32; 4] {
        [1f32.ln(), 4f32.ln(), 2f32.ln(), 3f32.ln()]
    }

    #[test]
    fn each_setting_has_its_published_effect() {
        let plain = SamplingSettings::default();
        let near = |found: Vec<f64>, wanted: &[f64]| {
            // The logits are f32 logarithms, accurate to eight digits.
            found.iter().zip(wanted).for_each(|(f, w)| assert!((f - w).abs() < 1e-6));
        };
        near(distribution(plain, &logits(), &[]), &[0.1, 0.4, 0.2, 0.3]);
        let squared = SamplingSettings { temperature: 0.5, ..plain };
        near(distribution(squared, &logits(), &[]), &[1. / 30., 16. / 30., 4. / 30., 9. / 30.]);
        let top_k = SamplingSettings { top_k: Some(2), ..plain };
        near(distribution(top_k, &logits(), &[]), &[0.0, 4. / 7., 0.0, 3. / 7.]);
        let top_p = SamplingSettings { top_p: Some(0.75), ..plain };
        near(distribution(top_p, &logits(), &[]), &[0.0, 4. / 9., 2. / 9., 3. / 9.]);
        let min_p = SamplingSettings { min_p: Some(0.6), ..plain };
        near(distribution(min_p, &logits(), &[]), &[0.0, 4. / 7., 0.0, 3. / 7.]);
    }

    #[test]
    fn greedy_takes_the_lowest_id_among_equals_and_ignores_scale() {
        let greedy = SamplingSettings { temperature: 0.0, ..Default::default() };
        close(&distribution(greedy, &[1.0, 2.0, 2.0], &[]), &[0.0, 1.0, 0.0]);
        close(&distribution(greedy, &[1e38, -1e38, 0.0], &[]), &[1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_tiny_temperature_stays_a_distribution() {
        let cold = SamplingSettings { temperature: 1e-300, ..Default::default() };
        close(&distribution(cold, &[0.0, 5.0, f32::NEG_INFINITY], &[]), &[0.0, 1.0, 0.0]);
    }

    #[test]
    fn penalty_counts_a_repeated_token_once_and_lowers_both_signs() {
        let penalty =
            SamplingSettings { repetition_penalty: 2.0, temperature: 0.0, ..Default::default() };
        close(&distribution(penalty, &[4.0, 3.0], &[0, 0, 0]), &[0.0, 1.0]);
        // 4/2 = 2 beats 1: the penalty applies once, not three times.
        close(&distribution(penalty, &[4.0, 1.0], &[0, 0, 0]), &[1.0, 0.0]);
        close(&distribution(penalty, &[-1.0, -1.5], &[0]), &[0.0, 1.0]);
    }

    /// A penalty that overflows a logit gives an error instead of NaN.
    #[test]
    fn an_overflowing_penalty_is_refused() {
        let tiny = SamplingSettings { repetition_penalty: 1e-320, ..Default::default() };
        let error = Sampling::new(tiny).unwrap().distribution(
            &[1.0, 2.0],
            &[1],
            &mut Distribution::default(),
        );
        assert_eq!(error, Err(DistributionError::NotFinite { token: 1, value: f64::INFINITY }));
    }

    /// All truncations together, in the documented order. Expected values from transformers 5.23.0:
    /// TopKLogitsWarper(4), TopPLogitsWarper(0.8), MinPLogitsWarper(0.5) on the logarithms of the
    /// probabilities.
    #[test]
    fn cuts_are_applied_in_order_and_each_renormalises() {
        let logits: Vec<f32> =
            [0.05, 0.35, 0.1, 0.2, 0.12, 0.18].iter().map(|p: &f32| p.ln()).collect();
        let settings = SamplingSettings {
            top_k: Some(4),
            top_p: Some(0.8),
            min_p: Some(0.5),
            ..Default::default()
        };
        let found = distribution(settings, &logits, &[]);
        for (f, w) in found.iter().zip(COMBINED_CUTS) {
            assert!((f - w).abs() < 1e-6, "{found:?}");
        }
    }

    /// Token ids by falling probability, lower ids first among equals.
    fn ranked(probs: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..probs.len()).collect();
        order.sort_by(|&a, &b| probs[b].partial_cmp(&probs[a]).unwrap().then(a.cmp(&b)));
        order
    }

    /// Logits with few distinct values, as in half precision: there are ties at every cut.
    fn tied_logits() -> Vec<f32> {
        (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 27) as f32 / 8.0).collect()
    }

    #[test]
    fn cuts_of_a_large_distribution_equal_those_of_a_sort() {
        let (logits, plain) = (tied_logits(), SamplingSettings::default());
        let full = distribution(plain, &logits, &[]);
        let order = ranked(&full);
        let kept = |found: &[f64]| -> Vec<usize> {
            let mut kept = ranked(found);
            kept.retain(|&token| found[token] > 0.0);
            kept
        };
        for k in [1, 2, 50, 1000, 4999, 5000, 6000] {
            let found = distribution(SamplingSettings { top_k: Some(k), ..plain }, &logits, &[]);
            assert_eq!(kept(&found), order[..k.min(5000)], "top-k {k}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
        for top_p in [1e-300, 0.001, 0.5, 0.9, 0.999_999] {
            let found =
                distribution(SamplingSettings { top_p: Some(top_p), ..plain }, &logits, &[]);
            let mut mass = 0.0;
            let wanted = order.iter().take_while(|&&token| {
                let needed = mass < top_p;
                mass += full[token];
                needed
            });
            assert_eq!(kept(&found), order[..wanted.count()], "top-p {top_p}");
            assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    /// 0.3 + 0.1 exceeds 0.4 in `f64`; {0.6} still has the requested mass.
    #[test]
    fn a_top_p_reached_in_decimals_is_reached() {
        let mut probs = [0.6, 0.3, 0.1];
        truncate(
            &mut probs,
            &mut Vec::new(),
            &SamplingSettings { top_p: Some(0.6), ..Default::default() },
        );
        assert_eq!(probs, [1.0, 0.0, 0.0]);
    }

    const COMBINED_CUTS: [f64; 6] = [0.0, 0.479_452_055, 0.0, 0.273_972_586, 0.0, 0.246_575_359];

    #[test]
    fn ranges_are_enforced_and_nan_is_out_of_range() {
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            let error = Sampling::at_temperature(bad).unwrap_err();
            assert_eq!(error.key, "temperature");
        }
        let message = Sampling::at_temperature(-0.5).unwrap_err().to_string();
        assert_eq!(message, "temperature = -0.5 is out of range: 0 (greedy) or above");
        let plain = SamplingSettings::default();
        for bad in [
            SamplingSettings { top_k: Some(0), ..plain },
            SamplingSettings { top_p: Some(0.0), ..plain },
            SamplingSettings { top_p: Some(f64::NAN), ..plain },
            SamplingSettings { min_p: Some(1.1), ..plain },
            SamplingSettings { repetition_penalty: 0.0, ..plain },
        ] {
            assert!(Sampling::new(bad).is_err(), "{bad:?}");
        }
    }
}
