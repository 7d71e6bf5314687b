//! The ID of a run: a digest of everything that decides its numbers.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::{ChainPlan, DecoderKind, Experiment, Levels};
use crate::models::Models;
use crate::numbers::hex;
use crate::task::Task;

/// The ID of a run of `experiment` by this program: of everything that decides its numbers.
///
/// It is the SHA-256 digest of one JSON text, cut to 6 bytes, in hexadecimal. The text has these
/// keys, no white space, and the keys of every object sorted by their bytes:
///
/// | key | value |
/// |---|---|
/// | `plan` | the experiment as `plan.json` holds it: defaults written out, sweeps expanded, optional models that are absent left out with their decoders |
/// | `version` | version of kad |
/// | `libraries` | names and versions of the libraries that compute |
/// | `models` | by name: `digest` of the model's files, and `library` that runs it (null where the backend fixes it) |
/// | `tasks` | in order: `name`, and `digest` of its items |
/// | `planned` | by name of each chain whose levels a profile planned: the measured times by which it adapts |
///
/// Numbers stand as `serde_json` writes them: the shortest text that is read as the same number.
/// Neither the machine nor the revision of kad's source is part of it; both are in the provenance.
pub(crate) fn run_id(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Result<String> {
    let planned = experiment.decoders.iter().filter_map(|plan| match &plan.kind {
        DecoderKind::Chain(ChainPlan { levels: Levels::Listed { measured, .. }, .. }) => {
            Some((&plan.name, measured.as_ref()?))
        }
        _ => None,
    });
    let models = models.iter().map(|(name, model)| {
        (name, json!({ "digest": model.digest, "library": model.details.library }))
    });
    let tasks = tasks.iter().map(|task| json!({ "name": task.name, "digest": task.digest() }));
    id(&json!({
        "plan": serde_json::to_value(experiment)?,
        "version": env!("CARGO_PKG_VERSION"),
        "libraries": env!("KAD_LIBRARIES"),
        "models": models.collect::<BTreeMap<_, _>>(),
        "tasks": tasks.collect::<Vec<_>>(),
        "planned": serde_json::to_value(planned.collect::<BTreeMap<_, _>>())?,
    }))
}

fn id(identity: &Value) -> Result<String> {
    let text = serde_json::to_string(&Sorted::of(identity))?;
    Ok(hex(&Sha256::digest(text)[..6]))
}

/// A value with the keys of its objects sorted by their bytes, not in the order of the map, which a
/// feature of serde_json changes.
#[derive(Serialize)]
#[serde(untagged)]
enum Sorted<'v> {
    Object(BTreeMap<&'v String, Self>),
    Array(Vec<Self>),
    Leaf(&'v Value),
}

impl<'v> Sorted<'v> {
    fn of(value: &'v Value) -> Self {
        match value {
            Value::Object(entries) => {
                Sorted::Object(entries.iter().map(|(key, part)| (key, Self::of(part))).collect())
            }
            Value::Array(parts) => Sorted::Array(parts.iter().map(Self::of).collect()),
            leaf => Sorted::Leaf(leaf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const TOML: &str = r#"
name = "identity"
seed = 3

[models.base]
source = "nano:small-base"

[models.aligned]
source = "nano:small-aligned"

[[decoders]]
name = "base alone"
kind = "single"
model = "base"

[[decoders]]
name = "KAD dual"
kind = "deferral"
base = "base"
aligned = "aligned"
rule = { kind = "kad-dual", threshold = 0.5 }

[[tasks]]
kind = "nano"
items = 6
"#;

    fn identity(toml: &str) -> Value {
        let model = |digest: &str| json!({ "digest": digest, "library": null });
        json!({
            "plan": crate::config::read("identity.toml", toml).unwrap(),
            "version": "1.0.0",
            "libraries": "candle-core 1.0.0",
            "models": { "base": model("b0"), "aligned": model("a0") },
            "tasks": [{ "name": "nano", "digest": "t0" }],
            "planned": {},
        })
    }

    /// Pinned: a change here makes every run another run.
    #[test]
    fn the_id_of_a_fixed_experiment_is_pinned() {
        assert_eq!(id(&identity(TOML)).unwrap(), "067ffe6cad69");
    }

    #[test]
    fn every_input_changes_the_id() {
        let known = identity(TOML);
        let mut ids = vec![id(&known).unwrap()];
        for (from, to) in [
            ("seed = 3", "seed = 4"),
            ("name = \"identity\"", "name = \"other\""),
            ("nano:small-base", "nano:draft"),
            ("threshold = 0.5", "threshold = 0.25"),
            ("items = 6", "items = 7"),
            ("[[tasks]]", "[sampling]\ntemperature = 0.5\n\n[[tasks]]"),
            ("name = \"base alone\"", "name = \"base\""),
        ] {
            assert!(TOML.contains(from), "{from}");
            ids.push(id(&identity(&TOML.replace(from, to))).unwrap());
        }
        let changes: [fn(&mut Value); 9] = [
            |it| it["version"] = json!("1.0.1"),
            |it| it["libraries"] = json!("candle-core 1.0.1"),
            |it| it["models"]["base"]["digest"] = json!("b1"),
            |it| it["models"]["base"]["library"] = json!("ort 1.24"),
            // An optional model that is absent.
            |it| drop(it["models"].as_object_mut().unwrap().remove("aligned")),
            |it| it["tasks"][0]["digest"] = json!("t1"),
            |it| it["tasks"][0]["name"] = json!("nano/test"),
            |it| it["tasks"] = json!([]),
            |it| it["planned"]["chain"] = json!({ "seconds": [0.5, 0.25] }),
        ];
        for change in changes {
            let mut other = known.clone();
            change(&mut other);
            ids.push(id(&other).unwrap());
        }
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn the_hashed_text_has_sorted_keys_and_no_white_space() {
        let value = json!({ "b": [1, 0.1, null, { "d": true, "c\n": "x y" }], "a": {} });
        let text = serde_json::to_string(&Sorted::of(&value)).unwrap();
        assert_eq!(text, r#"{"a":{},"b":[1,0.1,null,{"c\n":"x y","d":true}]}"#);
    }
}
