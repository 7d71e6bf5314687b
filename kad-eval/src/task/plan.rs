//! One entry of `[[tasks]]`: a set of items, and the way they are asked.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Grading, Item, KINDS, PromptFormat, Shots, Task, TaskKind, TaskSet, worked_examples};
use crate::failure::WrongRequest;
use crate::numbers::counted;
use crate::toml_table::{self, ConfigError, Table, Value};

/// A set of items, and the way they are asked: one entry of `[[tasks]]` in an experiment file.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    kind: &'static TaskKind,
    set: TaskSet,
    /// The name that the file gives it.
    name: Option<String>,
    /// The most items; `None` for all.
    items: Option<u64>,
    /// Worked examples before each item.
    shots: u64,
    /// Without a chat template.
    plain: bool,
}

impl TaskPlan {
    /// The tasks of one `[[tasks]]` entry; a list of parts or subjects makes several.
    pub(crate) fn read(table: &Table<'_>) -> Result<Vec<Self>, ConfigError> {
        let kind_value = table.required("kind")?;
        let items = table.get("items", Value::count)?;
        if items == Some(0) {
            return Err(table.error("`items = 0`: must be 1 or more"));
        }
        let shots = table.get("shots", Value::count)?.unwrap_or(0);
        let formats = [("chat", false), ("plain", true)];
        let plain = table.get("format", |value| value.one_of("format", &formats))?;
        let name = table.get("name", |value| value.visible("a task's name").map(str::to_owned))?;
        let kinds: Vec<_> = KINDS.iter().map(|kind| (kind.name, *kind)).collect();
        let kind = kind_value.one_of("task", &kinds)?;
        let sets = (kind.sets)(table)?;
        table.finish()?;
        if let Some(value) = table.optional("shots")
            && shots > 0
            && sets.iter().any(|set| set.shots == Shots::None)
        {
            let error = value.error(format!("{} takes no shots", kind.name));
            return Err(error.help("its items have no worked answers: leave `shots` out"));
        }
        if let (Some(name), true) = (&name, sets.len() > 1) {
            let error = table.error(format!("one name, `{name}`, for {} tasks", sets.len()));
            return Err(error.help("leave `name` out: each task is named after its part"));
        }
        let plain = plain.unwrap_or(false);
        let plan = |set| Self { kind, set, name: name.clone(), items, shots, plain };
        Ok(sets.into_iter().map(plan).collect())
    }

    /// The task of an entry that is written as TOML; of several tasks the first. `docs/TASKS.md`
    /// lists the kinds and their keys. Paths are relative to the current folder.
    ///
    /// ```
    /// use kad_eval::task::TaskPlan;
    ///
    /// let plan = TaskPlan::from_toml("kind = 'mmlu'\nsubject = 'virology'\nby = 'likelihood'")?;
    /// assert_eq!(plan.name(), "mmlu/virology, by likelihood");
    ///
    /// let error = TaskPlan::from_toml("kind = 'mmlu'\nsubject = 'virolgy'").unwrap_err();
    /// assert!(error.to_string().contains("did you mean `virology`?"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Fails if the kind is unknown, lacks a key or has a wrong one.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml_table::parse("the task", text, "[[tasks]]", |table| {
            let first = Self::read(table)?.into_iter().next();
            first.ok_or_else(|| table.error("no task"))
        })
    }

    /// Its name in tables and records.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let mut words = vec![match &self.set.part {
            Some(part) => format!("{}/{part}", self.kind.name),
            None => self.kind.name.to_owned(),
        }];
        words.extend(self.set.variant.iter().map(|word| (*word).to_owned()));
        if self.shots > 0 {
            words.push(counted(self.shots, "shot"));
        }
        words.extend(self.plain.then(|| "plain".to_owned()));
        words.join(", ")
    }

    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        self.kind.name
    }

    /// The most items that are asked; `None` for all.
    pub fn items(&self) -> Option<u64> {
        self.items
    }

    /// The way its items are graded.
    pub fn grading(&self) -> &Grading {
        &self.set.grading
    }
}

/// The form of `plan.json`: the kind, the values of its keys, and the keys of all tasks that are
/// not the default.
impl Serialize for TaskPlan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("kind", self.kind.name)?;
        for (key, value) in &self.set.keys {
            map.serialize_entry(key, value)?;
        }
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        map.serialize_entry("items", &self.items)?;
        if self.shots > 0 {
            map.serialize_entry("shots", &self.shots)?;
        }
        if self.plain {
            map.serialize_entry("format", "plain")?;
        }
        map.end()
    }
}

#[derive(Clone, Debug, serde::Serialize)]
#[serde(transparent)]
pub(super) struct UserFile {
    /// The path as the experiment writes it.
    written: String,
    /// The path from the folder of the experiment file.
    #[serde(skip)]
    pub(super) path: PathBuf,
}

impl UserFile {
    pub(super) fn read(value: &Value<'_>) -> Result<Self, ConfigError> {
        Ok(Self { written: value.string()?, path: value.path()? })
    }

    /// Its contents; `what` is its name in messages.
    pub(super) fn text(&self, what: &str) -> Result<String> {
        std::fs::read_to_string(&self.path).map_err(|error| {
            let help = match error.kind() {
                ErrorKind::InvalidData => "save it as UTF-8",
                _ => "paths are relative to the folder of the experiment file",
            };
            let path = self.path.display();
            WrongRequest(format!("cannot read the {what} {path}: {error}; {help}")).into()
        })
    }

    /// The file's name without its ending: the name of the task's part.
    pub(super) fn stem(&self) -> String {
        let stem = self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.unwrap_or_else(|| self.written.clone())
    }
}

/// The data and the seed that a task is loaded with. By default: no data folder, seed 0, all items.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions<'a> {
    /// The folder of benchmark files, or `hf:` for the hub, if the user named one.
    pub data: Option<&'a Path>,
    /// The experiment's seed: it decides the order of options and the items that become worked
    /// examples.
    pub seed: u64,
    /// The most items.
    pub limit: Option<u64>,
}

/// Loads a task's items.
///
/// # Errors
/// Fails if its file is missing, malformed (with the line) or has fewer items or worked examples
/// than are asked for.
pub fn load(plan: &TaskPlan, options: LoadOptions<'_>) -> Result<Task> {
    let (name, set) = (plan.name(), &plan.set);
    let loaded = (set.load)(options)?;
    let shots = usize::try_from(plan.shots).unwrap_or(usize::MAX);
    let solved = match shots {
        0 => loaded.items,
        _ => worked_examples::add(loaded, shots, set.shots, options, plan.kind)?,
    };
    let mut items: Vec<Item> = solved.into_iter().map(|solved| solved.item).collect();
    if let Some(most) = plan.items {
        if most > items.len() as u64 {
            let own = counted(items.len(), "item");
            bail!(WrongRequest(format!("{name} has {own}, but {most} were asked for")));
        }
        items.truncate(most as usize);
    }
    items.truncate(options.limit.map_or(usize::MAX, |limit| limit as usize));
    let plain = plan.plain || set.grading == Grading::Text;
    let format = if plain { PromptFormat::Plain(set.plain) } else { PromptFormat::Chat };
    Ok(Task { name, items, grading: set.grading.clone(), format })
}
