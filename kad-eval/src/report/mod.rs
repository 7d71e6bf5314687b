//! What a reader sees of a run: one HTML page that needs nothing but itself.

mod axes;
mod bars;
mod bench;
mod chains;
mod comparison;
mod examples;
mod files;
#[cfg(test)]
pub(crate) mod fixtures;
mod forest;
#[cfg(test)]
mod gallery;
mod grid;
mod html;
mod labels;
mod lengths;
mod page;
mod plot;
mod predicted;
mod provenance;
mod repeat;
pub(crate) mod table;
mod tasks;
mod theme;
mod times;
mod tradeoff;
mod widths;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::stats::Interval;
use crate::analysis::summary::Summary;
use crate::run::record::Record;
use crate::speed::chain_ranking::RankedChain;
use crate::speed::profile::Profile;

pub(crate) use bench::{Bench, bench_html};
pub(crate) use comparison::comparison;
pub(crate) use files::{page, write};
use html::html;
use repeat::Repeat;
use widths::Widths;

/// What the page of a run is made of.
#[derive(Clone, Copy, Debug)]
struct Report<'a> {
    summary: &'a Summary,
    examples: &'a [Example],
    expected: &'a Expected,
    repeat: &'a Repeat,
}

/// What profiles say about the decoders of a run, where there are any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// By the decoder's name.
    decoders: BTreeMap<String, Prediction>,
    /// How passes grow with their width, for each profile.
    widths: Vec<Widths>,
}

impl Expected {
    /// Seconds per token of `decoder`, if a profile knows it.
    pub(crate) fn seconds_per_token(&self, decoder: &str) -> Option<f64> {
        self.decoders.get(decoder).map(|prediction| prediction.seconds)
    }

    /// `decoders` by their names, and the profiles they are from.
    pub(crate) fn of(decoders: &BTreeMap<String, RankedChain>, profiles: &[Profile]) -> Self {
        let prediction =
            |(name, ranked): (&String, &RankedChain)| (name.clone(), Prediction::of(ranked));
        Self {
            decoders: decoders.iter().map(prediction).collect(),
            widths: profiles.iter().map(Widths::of).collect(),
        }
    }
}

/// Seconds per token that a profile leads one to expect.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Prediction {
    seconds: f64,
    /// At 95 %.
    interval: Interval,
    /// By Lemma 3.1 of the polybasic paper; none for plain decoding, of which it says nothing.
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
    task: String,
    item: String,
    /// Why it is shown.
    why: String,
    /// Whom it is shown for, beside the baseline.
    about: Vec<String>,
    /// The text the models were given; none where it was not kept.
    prompt: Option<String>,
    records: Vec<Record>,
}

impl Example {
    /// One whose texts are still to be read.
    fn without_texts(pick: examples::Pick) -> Self {
        let examples::Pick { task, item, why, about } = pick;
        Self { task, item, why, about, prompt: None, records: Vec::new() }
    }
}
