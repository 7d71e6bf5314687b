//! From records to numbers: statistics, metrics, summaries of runs and comparisons between them.

pub(crate) mod compare;
pub(crate) mod metric;
pub(crate) mod model_comparison;
pub(crate) mod power;
pub(crate) mod stats;
pub(crate) mod summary;
