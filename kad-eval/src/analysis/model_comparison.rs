//! Comparison of models: time per forward pass, memory, and agreement of logits and greedy texts
//! with the baseline. The measurements come from `speed/model_measurements`.

use std::collections::{BTreeMap, BTreeSet};

use kad_polybasic::theory::PassTime;
use serde::{Deserialize, Serialize};

use crate::analysis::equal_texts::EqualTexts;
use crate::analysis::stats::{Interval, ratio_bootstrap};
use crate::config::{DecoderKind, DecoderPlan, Experiment};
use crate::machine::Machine;
use crate::run::record::Record;

/// Measurements of every model before decoding: the file `passes.json` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassMeasurements {
    /// Times are valid on this machine only.
    pub(crate) machine: Machine,
    /// Tokens before a pass.
    pub(crate) context: usize,
    /// Tokens per pass.
    pub(crate) widths: Vec<usize>,
    /// Timed repetitions of each pass, without the first one, which fills caches.
    pub(crate) rounds: usize,
    pub(crate) models: BTreeMap<String, MeasuredModel>,
    /// Agreement of logits by model; none until all passes are measured. Reference models have no
    /// entry.
    pub(crate) agreement: Option<BTreeMap<String, LogitAgreement>>,
}

/// Measurements of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeasuredModel {
    pub(crate) source: String,
    pub(crate) backend: String,
    pub(crate) dtype: String,
    /// Seconds for fetching and loading; none for an early exit of another model.
    pub(crate) load_seconds: Option<f64>,
    /// Growth of the process during loading; none where the system does not report it.
    pub(crate) resident_bytes: Option<u64>,
    /// Bytes of the matrices in memory, or of the files where that is not known.
    pub(crate) weight_bytes: u64,
    /// Seconds of a forward pass with its next-token distributions, one entry per width.
    pub(crate) passes: Vec<PassTime>,
}

/// Logits of a model against those of a reference model after every token of the same prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogitAgreement {
    /// Name of the reference model.
    pub(crate) reference: String,
    /// Tokens compared.
    pub(crate) positions: u64,
    /// max |lᵢ − rᵢ| over all positions and tokens.
    pub(crate) worst: f64,
    /// Share of positions at which both models have the same most likely token.
    pub(crate) same_top: f64,
}

/// Sums over positions, of which a [`LogitAgreement`] is made.
#[derive(Default)]
pub(crate) struct LogitDifferences {
    positions: u64,
    worst: f64,
    same_top: u64,
}

impl LogitDifferences {
    /// Adds the logits of both models at one position.
    pub(crate) fn add(&mut self, logits: &[f32], reference: &[f32]) {
        self.positions += 1;
        self.same_top += u64::from(argmax(logits) == argmax(reference));
        for (a, b) in logits.iter().zip(reference) {
            // Two that are −∞ agree; NaN never comes this far.
            if a != b {
                self.worst = self.worst.max((f64::from(*a) - f64::from(*b)).abs());
            }
        }
    }

    /// The agreement with the model named `reference`.
    pub(crate) fn agreement(self, reference: &str) -> LogitAgreement {
        let Self { positions, worst, same_top } = self;
        let same_top = same_top as f64 / positions.max(1) as f64;
        LogitAgreement { reference: reference.to_owned(), positions, worst, same_top }
    }
}

/// The index of the largest; of several the first.
fn argmax(row: &[f32]) -> Option<usize> {
    (0..row.len()).reduce(|best, at| if row[at] > row[best] { at } else { best })
}

/// Best logits that are no further apart than this are a tie that rounding may turn: the likelier
/// token is likelier by a hundredth at most.
const TIE: f64 = 0.01;

/// Texts of a decoder that equal the baseline's, of the items that both have finished.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextAgreement {
    #[serde(flatten)]
    pub(crate) same: EqualTexts,
    /// Logit gaps at the first difference of greedy texts; `None` without a difference.
    pub(crate) gaps: Option<LogitGaps>,
}

/// Range of the gap between the two largest logits of the baseline's model at the first token in
/// which a text differs from the baseline's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogitGaps {
    pub(crate) smallest: f64,
    pub(crate) largest: f64,
}

impl LogitGaps {
    /// The range extended by `gap`.
    pub(crate) fn with(found: Option<Self>, gap: f64) -> Self {
        let Self { smallest, largest } = found.unwrap_or(Self { smallest: gap, largest: gap });
        Self { smallest: smallest.min(gap), largest: largest.max(gap) }
    }

    /// True if rounding explains every difference of texts: each gap is at most twice the largest
    /// difference of logits along the prompts, since both logits may be off by it. `None` if these
    /// differences are so large that they would excuse anything.
    pub(crate) fn explained(&self, agreement: &LogitAgreement) -> Option<bool> {
        let turned = 2.0 * agreement.worst;
        (turned <= TIE).then_some(self.largest <= turned)
    }
}

/// One row per decoder with its model, and per model that no decoder runs alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelComparison {
    /// Tokens before a pass.
    pub(crate) context: usize,
    /// Tokens per pass.
    pub(crate) widths: Vec<usize>,
    pub(crate) rounds: usize,
    /// Name of the baseline decoder.
    pub(crate) baseline: String,
    /// The baseline's model.
    pub(crate) reference: Option<String>,
    pub(crate) rows: Vec<ModelRow>,
}

/// A decoder, a model, or both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ModelRow {
    pub(crate) decoder: Option<String>,
    /// The decoder's model; `None` for a decoder of several models.
    pub(crate) model: Option<String>,
    pub(crate) measured: Option<MeasuredModel>,
    /// Agreement of logits with the reference model; `None` for reference models.
    pub(crate) agreement: Option<LogitAgreement>,
    pub(crate) speed: Option<DecoderSpeed>,
    /// Agreement of texts with the baseline; `None` for the baseline.
    pub(crate) texts: Option<TextAgreement>,
}

/// New tokens per second of wall-clock time over all tasks, prompts included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DecoderSpeed {
    pub(crate) tokens_per_second: f64,
    /// Bootstrap over items, 95 %.
    pub(crate) interval: Interval,
}

impl ModelComparison {
    /// Rows of the decoders in the order of the file, then of the models that no decoder runs
    /// alone. `texts` are by decoder.
    pub(crate) fn of(
        experiment: &Experiment,
        measured: PassMeasurements,
        mut texts: BTreeMap<String, TextAgreement>,
        records: &[Record],
    ) -> Self {
        let row = |plan: Option<&DecoderPlan>, model: Option<&str>, texts| ModelRow {
            decoder: plan.map(|plan| plan.name.clone()),
            model: model.map(str::to_owned),
            measured: model.and_then(|name| measured.models.get(name).cloned()),
            agreement: model.and_then(|name| measured.agreement.as_ref()?.get(name).cloned()),
            speed: plan.and_then(|plan| speed(&plan.name, records, experiment.seed)),
            texts,
        };
        let of_decoder = |plan: &DecoderPlan| match &plan.kind {
            DecoderKind::Single { model } => row(Some(plan), Some(model), texts.remove(&plan.name)),
            _ => row(Some(plan), None, texts.remove(&plan.name)),
        };
        let mut rows: Vec<ModelRow> = experiment.decoders.iter().map(of_decoder).collect();
        let shown: BTreeSet<String> = rows.iter().filter_map(|row| row.model.clone()).collect();
        let others = measured.models.keys().filter(|name| !shown.contains(*name));
        rows.extend(others.map(|name| row(None, Some(name), None)));
        let reference = baseline_model(experiment).map(str::to_owned);
        let (baseline, PassMeasurements { context, widths, rounds, .. }) =
            (experiment.baseline.clone(), measured);
        Self { context, widths, rounds, baseline, reference, rows }
    }
}

/// The model that the baseline's tokens come from; of a composed distribution its last one, which
/// renders the prompt.
pub(crate) fn baseline_model(experiment: &Experiment) -> Option<&str> {
    let plan = experiment.decoders.iter().find(|plan| plan.name == experiment.baseline)?;
    plan.kind.distribution().models().pop()
}

fn speed(decoder: &str, records: &[Record], seed: u64) -> Option<DecoderSpeed> {
    let own = records.iter().filter(|record| record.decoder == decoder);
    let pairs: Vec<(f64, f64)> = own.map(|r| (r.new_tokens as f64, r.seconds)).collect();
    let seconds: f64 = pairs.iter().map(|pair| pair.1).sum();
    (seconds > 0.0).then(|| DecoderSpeed {
        tokens_per_second: pairs.iter().map(|pair| pair.0).sum::<f64>() / seconds,
        interval: ratio_bootstrap(&pairs, seed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_by_hand() {
        let mut sums = LogitDifferences::default();
        sums.add(&[1.0, 3.0, f32::NEG_INFINITY], &[1.5, 2.0, f32::NEG_INFINITY]);
        sums.add(&[0.0, 0.0, -1.0], &[-0.25, 0.0, -1.0]);
        let found = sums.agreement("it");
        assert_eq!((found.positions, found.worst, found.same_top), (2, 1.0, 0.5));
        assert_eq!(argmax(&[2.0, 5.0, 5.0]), Some(1));
    }

    #[test]
    fn gaps_within_twice_the_logit_difference_are_ties() {
        let agreement = |worst: f64| LogitAgreement {
            reference: "r".to_owned(),
            positions: 9,
            worst,
            same_top: 1.0,
        };
        let gaps = LogitGaps::with(Some(LogitGaps::with(None, 3e-5)), 1e-6);
        assert_eq!(gaps, LogitGaps { smallest: 1e-6, largest: 3e-5 });
        assert_eq!(gaps.explained(&agreement(1.5e-5)), Some(true));
        assert_eq!(gaps.explained(&agreement(1.4e-5)), Some(false));
        assert_eq!(gaps.explained(&agreement(2.0)), None, "a rounded model, or another one");
        let wide = LogitGaps { smallest: 1e-6, largest: 0.4 };
        assert_eq!(wide.explained(&agreement(0.005)), Some(false));
    }
}
