//! What a reader sees of a run: one HTML page that needs nothing but itself.

mod bars;
mod format;
mod html;
mod plot;
#[cfg(test)]
mod sample;
mod tradeoff;

use crate::record::Record;

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
