//! TOML tables, read key by key; every mistake is shown at its place in the file.
//!
//! A [`Table`] remembers the keys it was asked for, so that [`Table::finish`] can refuse all others
//! and name the nearest known key. Modules above own their keys.

mod error;
mod parse;
mod table;
mod value;

pub use error::ConfigError;
pub(crate) use error::Place;
use error::Source;
pub(crate) use parse::parse;
pub(crate) use table::Table;
pub(crate) use value::Value;

/// The error is the first mistake, with its place.
pub(crate) type Result<T> = std::result::Result<T, ConfigError>;

/// The candidate most similar to `found`, if one is similar enough to be meant.
pub(crate) fn nearest<'c>(
    found: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    kad_backends::nearest(found, candidates, 1).pop()
}

/// Advice to the author of the unknown name `found`: the nearest of `known`, else `other`.
pub(crate) fn advice<'c>(
    found: &str,
    known: impl Iterator<Item = &'c str>,
    other: impl FnOnce() -> String,
) -> String {
    nearest(found, known).map_or_else(other, |near| format!("did you mean `{near}`?"))
}
