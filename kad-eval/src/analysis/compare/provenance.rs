//! What differs in how two runs came about: program, machine, models and data.

use std::collections::BTreeMap;

use serde_json::Value;

use super::plans::{Change, Leaves, differing, leaves};
use crate::run::ProvenanceEntry;

/// What sessions say of themselves that no number depends on: what does, has a key of its own.
const COMMAND: &str = "command";

/// The keys on which the sessions of two runs do not agree; nothing where one of them has none.
pub(super) fn differences(first: &[ProvenanceEntry], second: &[ProvenanceEntry]) -> Vec<Change> {
    if first.is_empty() || second.is_empty() {
        return Vec::new();
    }
    differing(&by_key(first), &by_key(second))
}

/// Every key with its value; with all of them where sessions of one run differ.
pub(crate) fn by_key(sessions: &[ProvenanceEntry]) -> Leaves {
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

/// In an order that does not depend on that of the sessions.
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
    fn whatever_numbers_may_depend_on_is_named() {
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
        // Two sessions of one run, in whatever order.
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
