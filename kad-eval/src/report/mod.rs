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
mod sample;
mod theme;
mod times;
mod tradeoff;
mod widths;

use crate::record::Record;

pub(crate) use bench::{Bench, bench_html};
pub(crate) use html::html;

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
