//! Provenance keys in which two runs differ: program, machine, models and data.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plan_changes::{KeyChange, LeafValues, differing, leaves};
use crate::run::ProvenanceEntry;

/// No number depends on the command itself: everything in it that matters has its own key.
const COMMAND: &str = "command";

/// The keys in which the sessions of two runs differ; empty if a run has no sessions.
pub(super) fn differences(first: &[ProvenanceEntry], second: &[ProvenanceEntry]) -> Vec<KeyChange> {
    if first.is_empty() || second.is_empty() {
        return Vec::new();
    }
    differing(&by_key(first), &by_key(second))
}

/// Every key with its value, or with all values if the sessions of the run differ.
pub(crate) fn by_key(sessions: &[ProvenanceEntry]) -> LeafValues {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for session in sessions {
        let session = serde_json::to_value(session).unwrap_or_default();
        for (key, value) in leaves(&session).into_iter().filter(|(key, _)| key != COMMAND) {
            let values = all.entry(key).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    let merged = |(key, mut values): (String, Vec<Value>)| match values.len() {
        1 => (key, values.remove(0)),
        _ => (key, several(values)),
    };
    all.into_iter().map(merged).collect()
}

/// Sorted, so that the order of the sessions does not matter.
fn several(mut values: Vec<Value>) -> Value {
    values.sort_by_key(Value::to_string);
    Value::Array(values)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::provenance::sample;

    fn session(jobs: usize, items: usize, command: &str) -> ProvenanceEntry {
        let mut session = ProvenanceEntry { command: command.to_owned(), jobs, ..sample() };
        session.tasks.values_mut().for_each(|task| task.items = items);
        session
    }

    #[test]
    fn every_key_but_the_command_is_compared() {
        let of = |first: &[ProvenanceEntry],
                  second: &[ProvenanceEntry]|
         -> Vec<(String, Option<Value>)> {
            let found = differences(first, second);
            found.into_iter().map(|change| (change.key, change.second)).collect()
        };
        let first = [session(1, 6, "a")];
        assert!(of(&first, &[session(1, 6, "b")]).is_empty());
        let jobs = ("jobs".to_owned(), Some(json!(2)));
        let items = ("tasks.nano.items".to_owned(), Some(json!(3)));
        assert_eq!(of(&first, &[session(2, 3, "a")]), [jobs, items]);
        // Two sessions of one run, in either order.
        let both = [session(2, 6, "a"), session(1, 6, "a")];
        assert_eq!(of(&first, &both), [("jobs".to_owned(), Some(json!([1, 2])))]);
        let turned = [both[1].clone(), both[0].clone()];
        assert!(of(&both, &turned).is_empty());
        let mut other = session(1, 6, "a");
        other.models.values_mut().for_each(|model| model.digest = "2".to_owned());
        assert_eq!(of(&first, &[other])[0].0, "models.m.digest");
        assert!(of(&first, &[]).is_empty(), "not known");
    }
}
