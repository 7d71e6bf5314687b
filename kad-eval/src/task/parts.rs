//! Tasks with parts: subjects, categories, kinds of prompts.

use anyhow::{Result, bail};

use super::SolvedItem;
use crate::toml_table::{ConfigError, Table, Value};

/// The parts that the key `key` names: one, several, or, without the key, all as one set (None).
pub(super) fn read(
    table: &Table<'_>,
    key: &'static str,
    names: &[&str],
) -> Result<Vec<Option<String>>, ConfigError> {
    let Some(value) = table.optional(key) else { return Ok(vec![None]) };
    let part = |value: &Value<'_>| Ok(Some(value.known(key, names.iter().copied())?.to_owned()));
    value.sweep()?.iter().map(part).collect()
}

/// The items of `part`, by their groups; without, those of all parts in turn, each part in its own
/// order, so that the first few are of every part.
pub(super) fn select(
    task: &str,
    mut items: Vec<SolvedItem>,
    part: Option<&str>,
    names: &[&str],
) -> Result<Vec<SolvedItem>> {
    let count = items.len();
    if let Some(part) = part {
        items.retain(|solved| solved.item.group.as_deref() == Some(part));
        if items.is_empty() {
            bail!("{task} has no item of {part} among its {count}: fetch the whole dataset");
        }
    }
    let mut seen = vec![0_usize; names.len() + 1];
    let mut placed = Vec::with_capacity(items.len());
    for solved in items {
        let own = solved.item.group.as_deref();
        let part = names.iter().position(|name| Some(*name) == own).unwrap_or(names.len());
        seen[part] += 1;
        placed.push(((seen[part], part), solved));
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, solved)| solved).collect())
}
