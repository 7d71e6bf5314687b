//! Reports: terminal tables, Markdown, CSV, and self-contained HTML pages with charts.

mod bench_page;
mod chain_section;
mod chart;
mod comparison_page;
mod examples;
mod files;
mod page;
mod repeat;
mod result_tables;
mod run_page;
#[cfg(test)]
pub(crate) mod sample_runs;
pub(crate) mod table;
mod task_section;
mod text_spans;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::stats::Interval;
use crate::run::record::Record;
use crate::speed::chain_ranking::RankedChain;
use crate::speed::profile::Profile;

pub(crate) use bench_page::bench_html;
use chart::pass_times::PassTimeCurves;
pub(crate) use comparison_page::{comparison, repetitions_table};
pub(crate) use files::{page, write};

/// Predictions of profiles for the decoders of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Predictions, by decoder.
    decoders: BTreeMap<String, Prediction>,
    /// Pass times by width, one entry per profile.
    widths: Vec<PassTimeCurves>,
}

impl Expected {
    /// Predicted seconds per token of `decoder`; none if no profile describes it.
    pub(crate) fn seconds_per_token(&self, decoder: &str) -> Option<f64> {
        self.decoders.get(decoder).map(|prediction| prediction.seconds)
    }

    /// Predictions for `decoders`, by name, and the profiles behind them.
    pub(crate) fn of(decoders: &BTreeMap<String, RankedChain>, profiles: &[Profile]) -> Self {
        let prediction =
            |(name, ranked): (&String, &RankedChain)| (name.clone(), Prediction::of(ranked));
        Self {
            decoders: decoders.iter().map(prediction).collect(),
            widths: profiles.iter().map(PassTimeCurves::of).collect(),
        }
    }
}

/// Predicted seconds per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Prediction {
    seconds: f64,
    /// 95 % interval.
    interval: Interval,
    /// Prediction of Lemma 3.1 of the polybasic paper (arXiv 2510.26527); `None` for plain
    /// decoding.
    lemma: Option<f64>,
}

impl Prediction {
    fn of(ranked: &RankedChain) -> Self {
        let seconds = |milliseconds: f64| 1e-3 * milliseconds;
        let (low, high) = (seconds(ranked.interval.low), seconds(ranked.interval.high));
        let lemma = seconds(ranked.lemma_milliseconds_per_token);
        Self {
            seconds: seconds(ranked.milliseconds_per_token),
            interval: Interval { low, high },
            lemma: (ranked.members.len() > 1).then_some(lemma),
        }
    }
}

/// One item, decoded by several decoders.
#[derive(Clone, Debug)]
struct Example {
    pick: examples::Pick,
    /// The prompt; none if it was not kept.
    prompt: Option<String>,
    records: Vec<Record>,
}
