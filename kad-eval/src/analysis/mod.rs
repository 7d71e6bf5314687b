//! From records to numbers: statistics, metrics, summaries of runs and comparisons between them.

pub(crate) mod compare;
pub(crate) mod equal_texts;
pub(crate) mod metric;
pub(crate) mod model_comparison;
pub(crate) mod power;
#[cfg(test)]
pub(crate) mod sample_summary;
pub mod stats;
pub(crate) mod summary;

/// The values of `all`, each once, in order of first appearance.
pub(crate) fn unique<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    for value in all {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}
