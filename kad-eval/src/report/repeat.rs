//! What is needed to repeat a run: what was asked, of which program, on which machine, of which
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::json;
use super::grid::{Cell, Grid, Line};
use crate::numbers::{NONE, significant};

/// What the folder of a run says about how it came about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeat {
    sessions: Vec<Session>,
    plan: Value,
}

/// A session of `provenance.json`; keys that versions before this one did not write are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Session {
    command: String,
    version: String,
    revision: String,
    features: String,
    libraries: String,
    target: String,
    cpu: String,
    threads: u64,
    jobs: u64,
    models: BTreeMap<String, ModelOf>,
    tasks: BTreeMap<String, TaskOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ModelOf {
    source: String,
    digest: String,
    family: String,
    parameters: Option<u64>,
    /// Of its matrices while it runs.
    bytes: Option<u64>,
    backend: String,
    library: Option<String>,
    dtype: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct TaskOf {
    items: u64,
    digest: String,
}

/// What the template knows.
#[derive(Clone, Debug, Serialize)]
pub(super) struct View {
    /// One for each session, with what is said of it.
    sessions: Vec<Vec<(&'static str, String)>>,
    tables: Vec<(&'static str, Grid)>,
    /// As JSON, defaults and sweeps written out.
    plan: String,
}

impl Repeat {
    /// From the folder of a run.
    ///
    /// # Errors
    /// If one of its files cannot be read or is something else.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        Ok(Self {
            sessions: json(folder, "provenance.json")?.unwrap_or_default(),
            plan: json(folder, "plan.json")?.unwrap_or_default(),
        })
    }

    /// The models whose passes take the most: those that read the most bytes, or where that was not
    /// kept, have the most parameters.
    pub(super) fn largest(&self) -> Vec<&str> {
        let models: BTreeMap<&str, u64> = self
            .sessions
            .iter()
            .flat_map(|session| &session.models)
            .filter_map(|(name, model)| Some((name.as_str(), model.bytes.or(model.parameters)?)))
            .collect();
        let most = models.values().max().copied();
        models.into_iter().filter(|(_, size)| Some(*size) == most).map(|(name, _)| name).collect()
    }

    pub(super) fn view(&self) -> View {
        let tables = self.sessions.last().map(|last| {
            let all = [("Models", models(last)), ("Data", tasks(last))];
            all.into_iter().filter(|(_, grid)| !grid.rows.is_empty()).collect()
        });
        View {
            sessions: self.sessions.iter().map(|session| self.terms(session)).collect(),
            tables: tables.unwrap_or_default(),
            plan: match &self.plan {
                Value::Null => String::new(),
                plan => serde_json::to_string_pretty(plan).unwrap_or_default(),
            },
        }
    }

    fn terms(&self, session: &Session) -> Vec<(&'static str, String)> {
        let seed = self.plan.get("seed").map_or(String::new(), Value::to_string);
        let revision = match session.revision.as_str() {
            "" => String::new(),
            revision => format!(", revision {revision}"),
        };
        let count = |count: u64| if count > 0 { count.to_string() } else { String::new() };
        let terms = [
            ("Command", session.command.clone()),
            ("Program", format!("kad {}{revision}", session.version)),
            ("Features", session.features.clone()),
            ("Libraries", session.libraries.clone()),
            ("Built for", session.target.clone()),
            ("Processor", session.cpu.clone()),
            ("Threads", count(session.threads)),
            ("Items at a time", count(session.jobs)),
            ("Seed", seed),
        ];
        terms.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// The sessions that made the run in `folder`, as they were written; none where they were not.
///
/// # Errors
/// If they cannot be read or are something else.
pub(crate) fn sessions(folder: &Path) -> Result<Vec<Value>> {
    Ok(json(folder, "provenance.json")?.unwrap_or_default())
}

/// How many items the sessions of the run in `folder` decoded at a time, each number once.
///
/// # Errors
/// As [`sessions`].
pub(crate) fn jobs(folder: &Path) -> Result<Vec<u64>> {
    let sessions = sessions(folder)?;
    let jobs = sessions.iter().filter_map(|session| session.get("jobs")?.as_u64());
    Ok(jobs.collect::<BTreeSet<u64>>().into_iter().collect())
}

fn grid<const N: usize>(heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> Grid {
    let cells = |row: [String; N]| row.into_iter().map(Cell::plain).collect();
    Grid {
        header: heads.map(Cell::plain).into(),
        rows: rows.map(|row| Line { cells: cells(row), ..Line::default() }).collect(),
    }
}

fn models(session: &Session) -> Grid {
    let millions = |n: u64| format!("{} M", significant(n as f64 / 1e6));
    let row = |(name, model): (&String, &ModelOf)| {
        let ModelOf { source, digest, family, parameters, backend, library, dtype, .. } = model;
        let library = library.as_ref().map_or(String::new(), |library| format!(", {library}"));
        [
            name.clone(),
            source.clone(),
            digest.clone(),
            family.clone(),
            parameters.map_or(NONE.to_owned(), millions),
            format!("{backend}{library}, {dtype}"),
        ]
    };
    let heads = ["model", "source", "digest", "family", "parameters", "runs on"];
    grid(heads, session.models.iter().map(row))
}

fn tasks(session: &Session) -> Grid {
    let row = |(name, task): (&String, &TaskOf)| {
        [name.clone(), task.items.to_string(), task.digest.clone()]
    };
    grid(["task", "items", "digest of the items"], session.tasks.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(models: Value) -> Repeat {
        let session = json!({ "command": "kad run x.toml", "version": "1", "models": models });
        Repeat {
            sessions: serde_json::from_value(json!([session])).unwrap(),
            plan: json!({ "seed": 7 }),
        }
    }

    #[test]
    fn the_largest_models_read_the_most_bytes() {
        let found = of(json!({
            "a": { "parameters": 9, "bytes": 36 },
            "quantised": { "parameters": 9, "bytes": 6 },
            "b": { "parameters": 9, "bytes": 36 },
            "small": { "parameters": 2, "bytes": 8 },
        }));
        assert_eq!(found.largest(), ["a", "b"]);
        let old = of(json!({ "a": { "parameters": 9 }, "b": { "parameters": 2 } }));
        assert_eq!(old.largest(), ["a"]);
        assert!(Repeat::default().largest().is_empty());
    }

    #[test]
    fn what_a_session_does_not_say_is_left_out() {
        let view = of(json!({})).view();
        let terms: Vec<&str> = view.sessions[0].iter().map(|(term, _)| *term).collect();
        assert_eq!(terms, ["Command", "Program", "Seed"]);
        assert!(view.tables.is_empty() && view.plan.contains("\"seed\": 7"));
        assert_eq!(Repeat::default().view().plan, "");
    }
}
