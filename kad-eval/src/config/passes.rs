//! `[passes]`: what a run measures of every model before it decodes.

use std::num::NonZeroUsize;

use serde::Serialize;

use super::ConfigError;
use super::table::Value;

type Result<T> = std::result::Result<T, ConfigError>;

/// Tokens per pass, unless a file says otherwise.
const WIDTHS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Tokens before a pass, unless a file says otherwise.
const CONTEXT: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// Passes of these widths after so many tokens.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PassesPlan {
    /// Tokens per pass: 1 and wider ones, rising.
    pub(crate) widths: Vec<usize>,
    /// Tokens before the pass.
    pub(crate) context: NonZeroUsize,
    /// How often each is measured; without it, as often as `kad profile` does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rounds: Option<NonZeroUsize>,
}

impl PassesPlan {
    /// The widest pass.
    pub(crate) fn widest(&self) -> usize {
        self.widths.last().copied().unwrap_or(1)
    }
}

/// The `[passes]` of a file.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn passes(value: &Value<'_>) -> Result<PassesPlan> {
    let table = value.table("[passes]")?;
    let widths = table.optional("widths").map_or(Ok(WIDTHS.to_vec()), |value| widths(&value))?;
    let context = table.optional("context");
    let context = context.map(|value| value.at_least_one("a pass follows one token at least"));
    let rounds = table.optional("rounds");
    let rounds =
        rounds.map(|value| value.at_least_one("leave it out for as many as take some seconds"));
    table.finish()?;
    let context = context.transpose()?.unwrap_or(CONTEXT);
    Ok(PassesPlan { widths, context, rounds: rounds.transpose()? })
}

fn widths(value: &Value<'_>) -> Result<Vec<usize>> {
    let widths = value.list()?;
    let help = "give tokens per pass, at least 1";
    let widths = widths.iter().map(|width| Ok(width.at_least_one(help)?.get()));
    let widths = widths.collect::<Result<Vec<usize>>>()?;
    if widths.first() == Some(&1) && widths.is_sorted_by(|a, b| a < b) {
        return Ok(widths);
    }
    let help = "begin with 1, which the others are compared with, and let them rise: [1, 2, 4, 8]";
    Err(value.error("these are no widths of passes", Some(help.to_owned())))
}
