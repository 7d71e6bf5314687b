//! Everything that is known of models side by side, in numbers.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::agreement::of_baseline;
use super::texts::{self, SameTexts};
use super::{Agreement, Measured, OfModel};
use crate::analysis::stats::{Interval, ratio_bootstrap};
use crate::config::{DecoderKind, DecoderPlan, Experiment};
use crate::models::Models;
use crate::run::record::Record;
use crate::task::Task;

/// A row for each decoder with its model, and for each model that no decoder runs by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rows {
    /// Tokens before a pass.
    pub(crate) context: usize,
    /// Tokens per pass.
    pub(crate) widths: Vec<usize>,
    pub(crate) rounds: usize,
    /// The baseline's name.
    pub(crate) baseline: String,
    /// The model that its tokens come from.
    pub(crate) reference: Option<String>,
    pub(crate) rows: Vec<Row>,
}

/// A decoder, a model, or both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) decoder: Option<String>,
    /// The model by itself: a decoder that makes its tokens of several has none.
    pub(crate) model: Option<String>,
    pub(crate) measured: Option<OfModel>,
    /// None for those that others are compared with.
    pub(crate) agreement: Option<Agreement>,
    pub(crate) speed: Option<Speed>,
    /// None for the baseline.
    pub(crate) texts: Option<SameTexts>,
}

/// New tokens per second of wall clock over all tasks, prompts included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) tokens_per_second: f64,
    /// Bootstrap over items, 95 %.
    pub(crate) interval: Interval,
}

impl Rows {
    /// Of the decoders in the order of the file, then of the other models.
    ///
    /// # Errors
    /// If the baseline's model fails where texts part.
    pub(crate) fn of(
        experiment: &Experiment,
        models: &Models,
        tasks: &[Task],
        records: &[Record],
        measured: Measured,
    ) -> Result<Self> {
        let mut texts = texts::compare(experiment, models, tasks, records)?;
        let row = |plan: Option<&DecoderPlan>, model: Option<&str>, texts| Row {
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
        let mut rows: Vec<Row> = experiment.decoders.iter().map(of_decoder).collect();
        let shown: BTreeSet<String> = rows.iter().filter_map(|row| row.model.clone()).collect();
        let others = models.keys().filter(|name| !shown.contains(*name));
        rows.extend(others.map(|name| row(None, Some(name), None)));
        let reference = of_baseline(experiment).map(str::to_owned);
        let (baseline, Measured { context, widths, rounds, .. }) =
            (experiment.baseline.clone(), measured);
        Ok(Self { context, widths, rounds, baseline, reference, rows })
    }
}

fn speed(decoder: &str, records: &[Record], seed: u64) -> Option<Speed> {
    let own = records.iter().filter(|record| record.decoder == decoder);
    let pairs: Vec<(f64, f64)> = own.map(|r| (r.new_tokens as f64, r.seconds)).collect();
    let seconds: f64 = pairs.iter().map(|pair| pair.1).sum();
    (seconds > 0.0).then(|| Speed {
        tokens_per_second: pairs.iter().map(|pair| pair.0).sum::<f64>() / seconds,
        interval: ratio_bootstrap(&pairs, seed),
    })
}
