//! Kinds of tasks, and the sets of items that experiments make of them.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::data::{self, Records};
use super::{Grading, HubFiles, LoadOptions, PlainFormat, SolvedItem};
use crate::toml_table::{ConfigError, Table};

/// A kind of task: its documentation, its files and its keys.
#[derive(Debug)]
pub struct TaskKind {
    /// `kind` in experiment files; the folder of its files in a data folder.
    pub name: &'static str,
    /// The ability or the speed that it measures, in a phrase.
    pub measures: &'static str,
    /// The metric of its results.
    pub metric: &'static str,
    /// Items of the published file; 0 for files of the user.
    pub items: u64,
    /// The file of the items, in its own folder of a data folder; `None` if it needs no data folder.
    pub(super) file: Option<&'static str>,
    /// A file of worked examples, beside it.
    pub(super) examples: Option<&'static str>,
    /// Files on the hub; `None` if it has no form that kad reads.
    pub(super) hub: Option<HubFiles>,
    /// The licence of its data.
    pub licence: &'static str,
    /// Origin of its files, for messages.
    pub source: &'static str,
    /// Its own keys, besides `items`, `name`, `format` and `shots`.
    pub keys: &'static str,
    /// Reads its own keys. A list of parts or subjects makes several sets.
    pub(super) sets: fn(&Table<'_>) -> Result<Vec<TaskSet>, ConfigError>,
}

impl TaskKind {
    /// Its file in a data folder: `gsm8k/test.jsonl`.
    pub fn file(&self) -> Option<String> {
        self.file.map(|file| format!("{}/{file}", self.name))
    }

    /// Its repository, folder and splits on the hub: `openai/gsm8k/main: test, train`.
    pub fn hub(&self) -> Option<String> {
        self.hub.as_ref().map(ToString::to_string)
    }

    /// Reads the task's files. `solve` makes an item of a split (`test`, for worked examples
    /// `train`), an index and a row.
    ///
    /// # Errors
    /// Fails if the items are not found, and with the place of the first row that is malformed,
    /// that `solve` refuses, or whose item repeats an ID.
    pub(super) fn load<R: DeserializeOwned>(
        &self,
        options: LoadOptions<'_>,
        mut solve: impl FnMut(&str, usize, R) -> Result<SolvedItem>,
    ) -> Result<LoadedItems> {
        let items = solved(data::items(self, options.data)?, |at, row| solve("test", at, row))?;
        let examples = data::examples(self, options.data)?;
        let examples = examples.map(|rows| solved(rows, |at, row| solve("train", at, row)));
        Ok(LoadedItems { items, examples: examples.transpose()? })
    }
}

pub(super) fn solved<R>(
    rows: Records<R>,
    mut solve: impl FnMut(usize, R) -> Result<SolvedItem>,
) -> Result<Vec<SolvedItem>> {
    let mut made = Vec::with_capacity(rows.len());
    for (index, (at, row)) in rows.into_iter().enumerate() {
        made.push((solve(index, row).with_context(|| at.to_string())?, at));
    }
    data::check_distinct(made.iter().map(|(solved, at)| (solved.item.id.as_str(), at)))?;
    Ok(made.into_iter().map(|(solved, _)| solved).collect())
}

/// The items of a set, before worked examples are put before them.
pub(super) struct LoadedItems {
    pub(super) items: Vec<SolvedItem>,
    /// Items of another split, for worked examples.
    pub(super) examples: Option<Vec<SolvedItem>>,
}

/// The worked examples that a task offers.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shots {
    /// `None`: its items have no worked replies.
    None,
    Shared,
    OfGroup,
}

type Load = dyn Fn(LoadOptions<'_>) -> Result<LoadedItems> + Send + Sync;

/// A set of items that an experiment asks for: a kind of task with the values of its keys.
#[derive(Clone)]
pub(super) struct TaskSet {
    /// The part of the kind, for the name `kind/part`.
    pub(super) part: Option<String>,
    /// Departures from the usual way to ask, for the name.
    pub(super) variant: Vec<&'static str>,
    /// The values of its keys, for `plan.json`.
    pub(super) keys: Map<String, Value>,
    pub(super) grading: Grading,
    pub(super) shots: Shots,
    pub(super) plain: PlainFormat,
    pub(super) load: Arc<Load>,
}

impl TaskSet {
    /// The set that `load` loads with `keys`: the values of the kind's own keys, `()` if it has
    /// none.
    pub(super) fn new<K: Serialize + Send + Sync + 'static>(
        keys: K,
        grading: Grading,
        load: impl Fn(&K, LoadOptions<'_>) -> Result<LoadedItems> + Send + Sync + 'static,
    ) -> Self {
        let written = match serde_json::to_value(&keys) {
            Ok(Value::Object(written)) => written,
            _ => Map::new(),
        };
        Self {
            part: None,
            variant: Vec::new(),
            keys: written,
            shots: if grading.is_graded() { Shots::Shared } else { Shots::None },
            grading,
            plain: PlainFormat::QUESTION,
            load: Arc::new(move |options: LoadOptions<'_>| load(&keys, options)),
        }
    }
}

impl fmt::Debug for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskSet").field("part", &self.part).field("keys", &self.keys).finish()
    }
}
