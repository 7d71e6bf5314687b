//! The ID of a run: a digest of everything that decides its numbers.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::{ChainPlan, DecoderKind, Experiment, Levels};
use crate::models::Models;
use crate::numbers::hex;
use crate::task::Task;

/// Everything that decides the numbers of a run.
///
/// Its ID is the SHA-256 digest of one JSON text, cut to 6 bytes, in hexadecimal. The text has these
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
#[derive(Clone, Debug, Serialize)]
pub(super) struct RunIdentity {
    plan: Value,
    version: String,
    libraries: String,
    models: BTreeMap<String, ModelIdentity>,
    tasks: Vec<TaskIdentity>,
    planned: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Serialize)]
struct ModelIdentity {
    digest: String,
    library: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TaskIdentity {
    name: String,
    digest: String,
}

/// The ID of a run of `experiment` by this program.
pub(crate) fn run_id(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Result<String> {
    RunIdentity::of(experiment, models, tasks)?.id()
}

impl RunIdentity {
    fn of(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Result<Self> {
        let mut planned = BTreeMap::new();
        for plan in &experiment.decoders {
            if let DecoderKind::Chain(ChainPlan {
                levels: Levels::Adapting { measured, .. }, ..
            }) = &plan.kind
            {
                planned.insert(plan.name.clone(), serde_json::to_value(measured)?);
            }
        }
        let models = models.iter().map(|(name, model)| {
            let (digest, library) = (model.digest.clone(), model.details.library.clone());
            (name.clone(), ModelIdentity { digest, library })
        });
        let tasks = tasks
            .iter()
            .map(|task| TaskIdentity { name: task.name.clone(), digest: task.digest() });
        Ok(Self {
            plan: serde_json::to_value(experiment)?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            libraries: env!("KAD_LIBRARIES").to_owned(),
            models: models.collect(),
            tasks: tasks.collect(),
            planned,
        })
    }

    fn id(&self) -> Result<String> {
        let mut text = String::new();
        canonical(&serde_json::to_value(self)?, &mut text);
        Ok(hex(&Sha256::digest(text)[..6]))
    }
}

/// Writes `value` as JSON without white space, the keys of objects sorted by their bytes.
fn canonical(value: &Value, text: &mut String) {
    let mut list = |open, close, parts: Vec<(Option<&String>, &Value)>| {
        text.push(open);
        for (place, (key, part)) in parts.into_iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            if let Some(key) = key {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
            }
            canonical(part, text);
        }
        text.push(close);
    };
    match value {
        Value::Object(entries) => {
            // Not in the order of the map, which a feature of serde_json changes.
            let sorted: BTreeMap<&String, &Value> = entries.iter().collect();
            list('{', '}', sorted.into_iter().map(|(key, part)| (Some(key), part)).collect());
        }
        Value::Array(parts) => list('[', ']', parts.iter().map(|part| (None, part)).collect()),
        leaf => text.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
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

    fn identity(toml: &str) -> RunIdentity {
        let model = |digest: &str| ModelIdentity { digest: digest.to_owned(), library: None };
        let experiment = crate::config::read("identity.toml", toml).unwrap();
        RunIdentity {
            plan: serde_json::to_value(experiment).unwrap(),
            version: "1.0.0".to_owned(),
            libraries: "candle-core 1.0.0".to_owned(),
            models: [("base", model("b0")), ("aligned", model("a0"))]
                .map(|(name, model)| (name.to_owned(), model))
                .into(),
            tasks: vec![TaskIdentity { name: "nano".to_owned(), digest: "t0".to_owned() }],
            planned: BTreeMap::new(),
        }
    }

    /// Pinned: a change here makes every run another run.
    #[test]
    fn the_id_of_a_fixed_experiment_is_pinned() {
        assert_eq!(identity(TOML).id().unwrap(), "067ffe6cad69");
    }

    #[test]
    fn every_input_changes_the_id() {
        let known = identity(TOML);
        let mut ids = vec![known.id().unwrap()];
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
            ids.push(identity(&TOML.replace(from, to)).id().unwrap());
        }
        let changes: [fn(&mut RunIdentity); 9] = [
            |it| it.version = "1.0.1".to_owned(),
            |it| it.libraries = "candle-core 1.0.1".to_owned(),
            |it| it.models.get_mut("base").unwrap().digest = "b1".to_owned(),
            |it| it.models.get_mut("base").unwrap().library = Some("ort 1.24".to_owned()),
            // An optional model that is absent.
            |it| drop(it.models.remove("aligned")),
            |it| it.tasks[0].digest = "t1".to_owned(),
            |it| it.tasks[0].name = "nano/test".to_owned(),
            |it| it.tasks.clear(),
            |it| drop(it.planned.insert("chain".to_owned(), json!({ "seconds": [0.5, 0.25] }))),
        ];
        for change in changes {
            let mut other = known.clone();
            change(&mut other);
            ids.push(other.id().unwrap());
        }
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn the_hashed_text_has_sorted_keys_and_no_white_space() {
        let mut text = String::new();
        let value = json!({ "b": [1, 0.1, null, { "d": true, "c\n": "x y" }], "a": {} });
        canonical(&value, &mut text);
        assert_eq!(text, r#"{"a":{},"b":[1,0.1,null,{"c\n":"x y","d":true}]}"#);
    }
}
