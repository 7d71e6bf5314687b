//! What differs between two plans, key by key.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A key that two plans do not agree on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// As `sampling.temperature` or `decoders.KAD dual.rule.threshold`.
    pub(crate) key: String,
    /// None where a plan has no such key.
    pub(crate) first: Option<Value>,
    pub(crate) second: Option<Value>,
}

/// The keys that differ, in alphabetical order. Entries of lists that have names go by them.
pub(crate) fn changes(first: &Value, second: &Value) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(first, String::new(), &mut before);
    flatten(second, String::new(), &mut after);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |key: &String| Change {
        key: key.clone(),
        first: before.get(key).cloned(),
        second: after.get(key).cloned(),
    };
    keys.into_iter().map(change).filter(|change| change.first != change.second).collect()
}

fn flatten(value: &Value, path: String, into: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            entries.iter().for_each(|(key, value)| flatten(value, below(key), into));
        }
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for (place, entry) in entries.iter().enumerate() {
                flatten(entry, below(&name(entry).unwrap_or(place.to_string())), into);
            }
        }
        leaf => _ = into.insert(path, leaf.clone()),
    }
}

/// What an entry of a list is called: decoders by name, tasks by kind.
fn name(entry: &Value) -> Option<String> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    text("name").or_else(|| text("kind"))
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
