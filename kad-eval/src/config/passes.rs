//! `[passes]`: forward passes that a run times before it decodes.

use std::num::NonZeroUsize;

use serde::Serialize;

use crate::toml_table::{Result, Value};

/// Tokens per forward pass, unless a file says otherwise.
const WIDTHS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Context length of a pass in tokens, unless a file says otherwise.
const CONTEXT: NonZeroUsize = NonZeroUsize::new(128).unwrap();

/// Forward passes to time, of every model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PassesPlan {
    /// Tokens per pass, increasing from 1.
    pub(crate) widths: Vec<usize>,
    /// Tokens in the KV cache before the pass.
    pub(crate) context: NonZeroUsize,
    /// Repetitions of each pass; by default as many as `kad profile` makes.
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
pub(super) fn passes(value: &Value<'_>) -> Result<PassesPlan> {
    let table = value.table("[passes]")?;
    let count = |key, help| table.get(key, |value| value.at_least_one(help));
    let plan = PassesPlan {
        widths: table.get("widths", widths)?.unwrap_or_else(|| WIDTHS.to_vec()),
        context: count("context", "a pass follows one token at least")?.unwrap_or(CONTEXT),
        rounds: count("rounds", "leave it out for as many as take some seconds")?,
    };
    table.finish()?;
    Ok(plan)
}

fn widths(value: &Value<'_>) -> Result<Vec<usize>> {
    let widths = value.list()?;
    let help = "give tokens per pass, at least 1";
    let widths = widths.iter().map(|width| Ok(width.at_least_one(help)?.get()));
    let widths = widths.collect::<Result<Vec<usize>>>()?;
    if widths.first() == Some(&1) && widths.is_sorted_by(|a, b| a < b) {
        return Ok(widths);
    }
    let help = "begin with 1, the width to compare with, and increase: [1, 2, 4, 8]";
    Err(value.error("widths must increase from 1").help(help))
}
