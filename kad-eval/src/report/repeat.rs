//! The data needed to repeat a run: command, plan, program, machine, models and items.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::table::DataTable;
use crate::numbers::{NONE, significant};
use crate::run::provenance::{ModelProvenance, TaskProvenance};
use crate::run::{ProvenanceEntry, RunFile, StoredRun};

/// Provenance and plan of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeat {
    sessions: Vec<ProvenanceEntry>,
    plan: Value,
}

impl Repeat {
    /// Reads both from the folder of a run; an error if a file cannot be read or has another form.
    pub(crate) fn of(run: &StoredRun) -> Result<Self> {
        Ok(Self { sessions: run.provenance()?, plan: run.read(RunFile::Plan)?.unwrap_or_default() })
    }

    /// The models with the most expensive forward passes: they read the most bytes.
    pub(super) fn largest(&self) -> Vec<&str> {
        let models: BTreeMap<&str, u64> = self
            .sessions
            .iter()
            .flat_map(|session| &session.models)
            .map(|(name, model)| (name.as_str(), model.bytes))
            .collect();
        let most = models.values().max().copied();
        models.into_iter().filter(|(_, size)| Some(*size) == most).map(|(name, _)| name).collect()
    }

    /// The variables of the template: terms with their values by session, tables, and the plan.
    pub(super) fn view(&self) -> Value {
        let last = self.sessions.last().into_iter();
        let tables = last.flat_map(|it| [("Models", models(it)), ("Data", tasks(it))]);
        let tables: Vec<_> = tables.filter(|(_, table)| !table.rows.is_empty()).collect();
        let terms: Vec<_> = self.sessions.iter().map(|session| self.terms(session)).collect();
        let plan = match &self.plan {
            Value::Null => String::new(),
            plan => format!("{plan:#}"),
        };
        json!({ "sessions": terms, "tables": tables, "plan": plan })
    }

    fn terms(&self, session: &ProvenanceEntry) -> Vec<(&'static str, String)> {
        let seed = self.plan.get("seed").map_or(String::new(), Value::to_string);
        let terms = [
            ("Command", session.command.clone()),
            ("Program", format!("kad {}, revision {}", session.version, session.revision)),
            ("Features", session.features.clone()),
            ("Libraries", session.libraries.clone()),
            ("Built for", session.target.clone()),
            ("Processor", session.cpu.clone()),
            ("Threads", session.threads.to_string()),
            ("Items at a time", session.jobs.to_string()),
            ("Seed", seed),
        ];
        terms.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

fn models(session: &ProvenanceEntry) -> DataTable {
    let millions = |n: u64| format!("{} M", significant(n as f64 / 1e6));
    let row = |(name, model): (&String, &ModelProvenance)| {
        let ModelProvenance { source, digest, family, parameters, backend, library, dtype, .. } =
            model;
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
    DataTable::plain(heads, session.models.iter().map(row))
}

fn tasks(session: &ProvenanceEntry) -> DataTable {
    let row = |(name, task): (&String, &TaskProvenance)| {
        [name.clone(), task.items.to_string(), task.digest.clone()]
    };
    DataTable::plain(["task", "items", "digest of the items"], session.tasks.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::provenance::sample;
    use serde_json::json;

    fn of(sessions: Vec<ProvenanceEntry>) -> Repeat {
        Repeat { sessions, plan: json!({ "seed": 7 }) }
    }

    #[test]
    fn the_largest_models_read_the_most_bytes() {
        let mut session = sample();
        let known = session.models["m"].clone();
        for (name, parameters, bytes) in
            [("a", 9, 36), ("quantised", 9, 6), ("b", 9, 36), ("small", 2, 8), ("m", 9, 9)]
        {
            let model = ModelProvenance { parameters: Some(parameters), bytes, ..known.clone() };
            session.models.insert(name.to_owned(), model);
        }
        assert_eq!(of(vec![session]).largest(), ["a", "b"]);
        assert!(Repeat::default().largest().is_empty());
    }

    #[test]
    fn empty_terms_are_left_out() {
        let mut session = ProvenanceEntry {
            command: String::new(),
            features: String::new(),
            libraries: String::new(),
            ..sample()
        };
        session.models.clear();
        session.tasks.clear();
        let view = of(vec![session]).view();
        let terms = view["sessions"][0].as_array().unwrap().iter().map(|term| &term[0]);
        let wanted = ["Program", "Built for", "Processor", "Threads", "Items at a time", "Seed"];
        assert_eq!(terms.collect::<Vec<_>>(), wanted);
        assert!(view["tables"] == json!([]) && view["plan"] == "{\n  \"seed\": 7\n}");
        assert_eq!(Repeat::default().view()["plan"], "");
    }
}
