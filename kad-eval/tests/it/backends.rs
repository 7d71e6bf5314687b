//! Experiments on every backend of this build, with nothing changed but `backend = …`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kad_backends::{Backend, Dtype, ModelRequest, Source};
use kad_core::TokenId;
use serde_json::Value;

use crate::kad::Lab;

/// Greedy, so that backends whose logits differ in the last digits write the same.
const SMALL: &str = r#"
name = "backends"
seed = 5

[models.base]
source = "FOLDER/small-base"
backend = "TARGET"

[models.aligned]
source = "FOLDER/small-aligned"
backend = "TARGET"

[models.draft]
source = "FOLDER/draft"
backend = "DRAFT"

[sampling]
temperature = 0
max_new_tokens = 32

[[decoders]]
name = "KAD"
kind = "deferral"
base = "base"
aligned = "aligned"
rule = { kind = "kad-dual", threshold = 0.4 }

[[decoders]]
name = "chain"
kind = "chain"
target = "base"
levels = [{ draft = "draft", length = 3 }]

[[decoders]]
name = "chain of a mixture"
kind = "chain"
target = "KAD"
levels = [{ draft = "aligned", length = 3 }, { draft = "draft", length = 2 }]

[[tasks]]
kind = "nano"
items = 4
"#;

const MODELS: [&str; 3] = ["small-base", "small-aligned", "draft"];

fn nano() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/models")
}

/// The backends of this build that can run here, and the folder of their models.
fn usable() -> &'static (PathBuf, Vec<Backend>) {
    static USABLE: OnceLock<(PathBuf, Vec<Backend>)> = OnceLock::new();
    USABLE.get_or_init(|| {
        let mut folder = nano();
        let mut backends: Vec<Backend> = Backend::compiled().collect();
        if backends.contains(&Backend::Ort) {
            match exported() {
                Ok(with_graphs) => folder = with_graphs,
                Err(why) => {
                    let required = std::env::var_os("KAD_REQUIRE_ORT").is_some();
                    assert!(!required, "KAD_REQUIRE_ORT is set, but {why}");
                    // The output of the macros is captured when a test passes.
                    _ = writeln!(
                        std::io::stderr(),
                        "SKIPPED the ort backend in experiments: {why}"
                    );
                    backends.retain(|backend| *backend != Backend::Ort);
                }
            }
        }
        (folder, backends)
    })
}

/// The models with an ONNX graph each, in a folder that is made anew by each run of the tests; or
/// why not.
fn exported() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("backends");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    for name in MODELS {
        let (from, to) = (nano().join(name), folder.join(name));
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
            }
        }
        export(&to)?;
    }
    let request = ModelRequest {
        name: "draft".to_owned(),
        source: Source::Path(folder.join("draft")),
        backend: Backend::Ort,
        dtype: Dtype::Auto,
    };
    kad_backends::load(&request, &|_| ()).map(|_| folder).map_err(|error| error.to_string())
}

fn export(model: &Path) -> Result<(), String> {
    let python = std::env::var("KAD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/export_onnx.py");
    let output = Command::new(&python).arg("-B").arg(script).arg(model).output();
    let output = output.map_err(|error| format!("{python}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let advice = "install scripts/export_onnx.requirements.txt and set KAD_PYTHON";
    output.status.success().then_some(()).ok_or_else(|| format!("{python}: {said}; {advice}"))
}

/// The tokens of every text, with decoder and item.
fn texts(target: Backend, draft: Backend) -> Vec<(String, Vec<TokenId>)> {
    let (folder, _) = usable();
    let toml = SMALL.replace("FOLDER", folder.to_str().unwrap());
    let toml = toml.replace("TARGET", target.name()).replace("DRAFT", draft.name());
    let lab = Lab::new(&toml);
    lab.run(&[]).succeeds();
    let records = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let record = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        let tokens: Vec<TokenId> = serde_json::from_value(record["tokens"].clone()).unwrap();
        if record["decoder"] == "chain" {
            let drafts = record["acceptance"]["drafted"].as_u64().unwrap();
            assert!(drafts > 0, "nothing was drafted: {record}");
        }
        (format!("{} {}", record["decoder"], record["item"]), tokens)
    };
    records.lines().map(record).collect()
}

#[test]
fn every_backend_writes_the_same_greedy_texts() {
    let wanted = texts(Backend::Naive, Backend::Naive);
    assert_eq!(wanted.len(), 12);
    assert!(wanted.iter().all(|(_, tokens)| !tokens.is_empty()));
    let different = |decoder: &str| wanted.iter().find(|(name, _)| name.starts_with(decoder));
    assert_ne!(different("\"KAD\"").unwrap().1, different("\"chain\"").unwrap().1);
    let (_, backends) = usable();
    for backend in backends.iter().filter(|backend| **backend != Backend::Naive) {
        assert_eq!(texts(*backend, *backend), wanted, "{backend}");
    }
}

/// Texts of a chain do not depend on the backend that drafts.
#[test]
fn levels_of_one_chain_may_run_on_different_backends() {
    let wanted = texts(Backend::Naive, Backend::Naive);
    let (_, backends) = usable();
    // Every backend drafts for its neighbour in the list, so each one drafts and is drafted for.
    for (at, target) in backends.iter().enumerate() {
        let draft = backends[(at + 1) % backends.len()];
        assert_eq!(texts(*target, draft), wanted, "{draft} for {target}");
    }
}
