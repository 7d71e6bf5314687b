//! Keys in which two runs differ: of their plans, and of their provenance (program, machine, models
//! and data).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::run::ProvenanceEntry;

/// A key with different values in two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct KeyChange {
    /// Dotted key, for example `sampling.temperature` or `decoders.KAD dual.rule.threshold`.
    pub(crate) key: String,
    /// Number of places: a setting that decoders inherit is listed once.
    pub(crate) places: usize,
    /// The value in the first run; none if it lacks the key.
    pub(crate) first: Option<Value>,
    /// The value in the second run, likewise.
    pub(crate) second: Option<Value>,
}

/// The keys that differ, in alphabetical order; named entries of lists are matched by name.
pub(crate) fn changes(first: &Value, second: &Value) -> Vec<KeyChange> {
    without_inherited(differing(&leaves(first), &leaves(second)))
}

/// The names of a plan's decoders.
pub(super) fn decoders(plan: &Value) -> Vec<&str> {
    let all = plan.get(DECODERS).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(|decoder| decoder.get("name")?.as_str()).collect()
}

const DECODERS: &str = "decoders";

/// `plan` without the decoders of these names.
pub(super) fn without(plan: &Value, names: &[String]) -> Value {
    let mut plan = plan.clone();
    if let Some(all) = plan.get_mut(DECODERS).and_then(Value::as_array_mut) {
        let is_named = |decoder: &Value| {
            let name = decoder.get("name").and_then(Value::as_str);
            name.is_some_and(|name| names.iter().any(|it| it == name))
        };
        all.retain(|decoder| !is_named(decoder));
    }
    plan
}

/// Every leaf value of a plan, by its path.
pub(crate) fn leaves(plan: &Value) -> LeafValues {
    let mut leaves = LeafValues::new();
    flatten(plan, String::new(), &mut leaves);
    leaves
}

/// Values by path.
pub(crate) type LeafValues = BTreeMap<String, Value>;

/// The keys with different values.
fn differing(first: &LeafValues, second: &LeafValues) -> Vec<KeyChange> {
    let keys: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let change = |key: &String| KeyChange {
        key: key.clone(),
        places: 1,
        first: first.get(key).cloned(),
        second: second.get(key).cloned(),
    };
    keys.into_iter().map(change).filter(|change| change.first != change.second).collect()
}

/// Folds inherited changes into one: a change of `sampling.temperature` reappears under
/// `decoders.NAME.sampling.temperature`.
fn without_inherited(all: Vec<KeyChange>) -> Vec<KeyChange> {
    let says = |of: &KeyChange, other: &KeyChange| {
        other.key.ends_with(&format!(".{}", of.key))
            && (&of.first, &of.second) == (&other.first, &other.second)
    };
    let above = |change: &&KeyChange| !all.iter().any(|of| says(of, change));
    let count = |change: &KeyChange| KeyChange {
        places: 1 + all.iter().filter(|other| says(change, other)).count(),
        ..change.clone()
    };
    all.iter().filter(above).map(count).collect()
}

/// Adds every leaf of `value` below `path`.
fn flatten(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(key, value)| flatten(value, below(key), into));
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            let mut taken = BTreeSet::new();
            for (place, entry) in entries.iter().enumerate() {
                let mut name = name(entry).unwrap_or(place.to_string());
                if taken.contains(&name) {
                    name = format!("{name} [{place}]");
                }
                flatten(entry, below(&name), into);
                taken.insert(name);
            }
        }
        leaf => _ = into.insert(path, leaf.clone()),
    }
}

/// The name of a list entry: decoders have a name, tasks a kind.
fn name(entry: &Value) -> Option<String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    text("name").or_else(|| text("kind"))
}

/// No number depends on the command itself: everything in it that matters has its own key.
const COMMAND: &str = "command";

/// The keys in which the sessions of two runs differ; empty if a run has no sessions.
pub(super) fn between_sessions(
    first: &[ProvenanceEntry],
    second: &[ProvenanceEntry],
) -> Vec<KeyChange> {
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
    // Sorted, so that the order of the sessions does not matter.
    all.values_mut().for_each(|values| values.sort_by_key(Value::to_string));
    let merged = |(key, mut values): (String, Vec<Value>)| match values.len() {
        1 => (key, values.remove(0)),
        _ => (key, Value::Array(values)),
    };
    all.into_iter().map(merged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::provenance::sample;
    use serde_json::json;

    #[test]
    fn changes_are_found_by_name_wherever_they_stand() {
        let first = json!({
            "seed": 1,
            "sampling": { "temperature": 0.7, "top_k": null },
            "decoders": [{ "name": "a", "rule": { "threshold": 0.4 } }, { "name": "b" }],
        });
        let second = json!({
            "seed": 1,
            "sampling": { "temperature": 1.0, "top_k": null },
            "decoders": [{ "name": "c" }, { "name": "a", "rule": { "threshold": 0.5 } }],
            "tasks": [],
        });
        let found: Vec<(String, Option<Value>, Option<Value>)> =
            changes(&first, &second).into_iter().map(|c| (c.key, c.first, c.second)).collect();
        let some = |value: Value| Some(value);
        let wanted = [
            ("decoders.a.rule.threshold", some(json!(0.4)), some(json!(0.5))),
            ("decoders.b.name", some(json!("b")), None),
            ("decoders.c.name", None, some(json!("c"))),
            ("sampling.temperature", some(json!(0.7)), some(json!(1.0))),
            ("tasks", None, some(json!([]))),
        ];
        assert_eq!(found, wanted.map(|(key, a, b)| (key.to_owned(), a, b)));
        assert!(changes(&first, &first).is_empty());
    }

    /// Even if its name is the beginning of another name.
    #[test]
    fn a_plan_without_a_decoder_has_all_others() {
        let plan = |names: &[&str]| {
            let all: Vec<Value> =
                names.iter().map(|name| json!({ "name": name, "kind": "single" })).collect();
            json!({ "seed": 1, "decoders": all })
        };
        let both = plan(&["sweep 0", "sweep 0.5", "plain"]);
        assert_eq!(decoders(&both), ["sweep 0", "sweep 0.5", "plain"]);
        assert_eq!(without(&both, &["sweep 0".to_owned()]), plan(&["sweep 0.5", "plain"]));
        let none = json!({ "seed": 1 });
        assert_eq!((decoders(&none).len(), without(&none, &["a".to_owned()])), (0, none.clone()));
    }

    /// The second of two tasks of one kind, neither of them named.
    #[test]
    fn one_of_several_of_a_kind_does_not_hide_another() {
        let plan = |first: u64, second: u64| {
            let task = |items: u64| json!({ "kind": "nano", "items": items });
            json!({ "tasks": [task(first), task(second)] })
        };
        let of = |second: Value| -> Vec<(String, Option<Value>)> {
            let found = changes(&plan(6, 8), &second);
            found.into_iter().map(|change| (change.key, change.second)).collect()
        };
        assert_eq!(of(plan(5, 8)), [("tasks.nano.items".to_owned(), Some(json!(5)))]);
        assert_eq!(of(plan(6, 7)), [("tasks.nano [1].items".to_owned(), Some(json!(7)))]);
    }

    #[test]
    fn inherited_changes_are_listed_once() {
        let plan = |all: f64, own: f64| {
            json!({
                "sampling": { "temperature": all },
                "decoders": [
                    { "name": "a", "sampling": { "temperature": all } },
                    { "name": "b", "sampling": { "temperature": own } },
                ],
            })
        };
        let of = |first, second| -> Vec<(String, usize)> {
            changes(&first, &second).into_iter().map(|c| (c.key, c.places)).collect()
        };
        let one = |key: &str, places| (key.to_owned(), places);
        assert_eq!(of(plan(0.7, 0.7), plan(0.2, 0.2)), [one("sampling.temperature", 3)]);
        let apart = [one("decoders.b.sampling.temperature", 1), one("sampling.temperature", 2)];
        assert_eq!(of(plan(0.7, 0.5), plan(0.2, 0.3)), apart);
    }
    fn session(jobs: usize, items: usize, command: &str) -> ProvenanceEntry {
        let mut session = ProvenanceEntry { command: command.to_owned(), jobs, ..sample() };
        session.tasks.values_mut().for_each(|task| task.items = items);
        session
    }

    #[test]
    fn every_key_but_the_command_is_compared() {
        let of = |first: &[ProvenanceEntry], second: &[ProvenanceEntry]| {
            let found = between_sessions(first, second).into_iter();
            found.map(|change| (change.key, change.second)).collect::<Vec<_>>()
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
