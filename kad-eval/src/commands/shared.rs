//! Helpers of several commands: checking an output file, prompts, tables of numbers.

use std::path::Path;

use anyhow::{Result, bail};
use comfy_table::{Cell, CellAlignment, Table, TableStyle};
use kad_backends::Message;
use kad_core::TokenId;

use crate::config::DecoderKind;
use crate::failure::WrongRequest;
use crate::models::{self, Models};

/// Refuses a file that cannot be written, before minutes of measuring. `flag` is the option that
/// names it.
pub(super) fn check_writable(path: &Path, what: &str, flag: &str) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_none_or(Path::is_dir) && !path.is_dir() {
        return Ok(());
    }
    let why = if path.is_dir() { "it is a folder" } else { "there is no such folder" };
    bail!(WrongRequest(format!(
        "cannot write the {what} {}: {why}; name a file in an existing folder with `{flag}`",
        path.display()
    )))
}

/// The messages of a prompt.
pub(super) fn opening(system: Option<&str>, prompt: &str) -> Vec<Message> {
    system.map(Message::system).into_iter().chain([Message::user(prompt)]).collect()
}

/// The tokens of a prompt: as one message of a chat if `chat` is set, with the message of the
/// system, else as it is.
pub(super) fn prompt_tokens(
    (kind, models): (&DecoderKind, &Models),
    (chat, system): (bool, Option<&str>),
    prompt: &str,
) -> Result<Vec<TokenId>> {
    if chat {
        return models::chat_prompt(kind, models, &opening(system, prompt));
    }
    Ok(models::speaker(kind, models).tokenizer.encode(prompt, true)?)
}

/// A table of rows made by [`number_row`].
pub(super) fn number_table(
    style: TableStyle,
    header: &[&str],
    rows: impl Iterator<Item = Vec<Cell>>,
) -> Table {
    let mut table = crate::report::table::empty(style);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    table
}

/// A row of a table: a name on the left, numbers on the right.
pub(super) fn number_row(name: &str, numbers: impl IntoIterator<Item = String>) -> Vec<Cell> {
    std::iter::once(Cell::new(name)).chain(numbers.into_iter().map(right)).collect()
}

pub(super) fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// Three significant digits or so.
pub(super) fn milliseconds(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        large if large >= 10.0 => 1,
        middle if middle >= 1.0 => 2,
        small if small >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

pub(super) fn factor(value: f64) -> String {
    format!("{value:.2}×")
}

/// `value [low, high]`, each as `number` writes it.
pub(super) fn with_interval(value: f64, low: f64, high: f64, number: fn(f64) -> String) -> String {
    format!("{} [{}, {}]", number(value), number(low), number(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        let found = [123.4, 12.34, 1.234, 0.1234, 0.01234].map(milliseconds);
        assert_eq!(found, ["123", "12.3", "1.23", "0.123", "0.0123"]);
    }
}
