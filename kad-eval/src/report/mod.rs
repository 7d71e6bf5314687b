//! What a reader sees of a run: one HTML page that needs nothing but itself.

mod bars;
mod bench;
mod chains;
mod format;
mod frame;
#[cfg(test)]
mod gallery;
mod html;
mod labels;
mod lengths;
mod page;
mod plot;
mod predicted;
mod provenance;
#[cfg(test)]
pub(crate) mod sample;
mod theme;
mod times;
mod tradeoff;
mod widths;

use std::collections::BTreeMap;

use crate::profile::{Profile, Ranked};
use crate::record::Record;

pub(crate) use bench::{Bench, bench_html};
pub(crate) use format::{NONE, fixed, milliseconds, significant};
pub(crate) use html::html;

/// What profiles say about the decoders of a run, where there are any.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// By the decoder's name.
    pub(crate) decoders: BTreeMap<String, Ranked>,
    /// The ones it is from.
    pub(crate) profiles: Vec<Profile>,
}

/// One item, decoded by several decoders.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) task: String,
    pub(crate) item: String,
    /// The text the models were given.
    pub(crate) prompt: String,
    pub(crate) gold: String,
    pub(crate) records: Vec<Record>,
}
