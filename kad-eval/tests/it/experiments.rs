//! Shipped experiments, and the files of a run.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kad::{Lab, SMALL, kad};

/// Every shipped file is read and checked in full; a wrong output folder stops it before models
/// are loaded.
#[test]
fn every_shipped_experiment_is_valid() {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments");
    let file = tempfile::NamedTempFile::new().unwrap();
    let blocked = file.path().join("below-a-file");
    let folders = ["", "tasks", "papers"].map(|folder| fs::read_dir(experiments.join(folder)));
    let mut checked = 0;
    for entry in folders.into_iter().flat_map(Result::unwrap) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let args = ["run", path.to_str().unwrap(), "--out", blocked.to_str().unwrap()];
            kad(&args).fails(1, &["cannot write to the results folder"]);
            checked += 1;
        }
    }
    assert!(checked >= 18, "{checked} experiments");
}

#[test]
fn a_run_writes_records_summary_report_and_provenance() {
    let lab = Lab::new(SMALL);
    let table = lab.run(&[]).succeeds();
    assert!(
        table.contains("KAD dual, threshold 0.2")
            && table.contains("differences from `aligned alone`"),
        "{table}"
    );
    assert!(
        table.contains("executions of a rule (autoregressive, lazy, speculative) have the same")
    );
    let folder = lab.results();
    let json = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let summary = json("summary.json");
    let results = summary["results"].as_array().unwrap();
    assert_eq!((results.len(), &summary["complete"]), (3, &Value::Bool(true)));
    let records = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    let records: Vec<Value> = records.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(records.len(), 18);
    for result in results {
        let own: Vec<&Value> =
            records.iter().filter(|r| r["decoder"] == result["decoder"]).collect();
        let sum = |key: &str| own.iter().map(|r| r[key].as_f64().unwrap()).sum::<f64>();
        let correct = own.iter().filter(|r| r["correct"] == true).count() as u64;
        assert_eq!(result["correct"].as_u64(), Some(correct));
        if result["family"] == "KAD dual" {
            let mass = sum("deferral_mass") / sum("new_tokens");
            assert!((result["deferral_mass"].as_f64().unwrap() - mass).abs() < 1e-12);
            let passes: f64 =
                own.iter().map(|r| r["passes"]["aligned"]["passes"].as_f64().unwrap()).sum();
            // Lazy deferral: one aligned pass per deferred token.
            assert_eq!(passes, sum("deferred_tokens"));
            let text: String = own[0]["spans"]
                .as_array()
                .unwrap()
                .iter()
                .map(|span| span["text"].as_str().unwrap())
                .collect();
            assert!(!text.is_empty());
        }
    }
    let provenance = json("provenance.json");
    assert!(provenance[0]["libraries"].as_str().unwrap().contains("candle-core"));
    assert_eq!(provenance[0]["models"]["base"]["source"], "nano:small-base");
    let report = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("KAD dual"));
    assert_eq!(json("plan.json")["sampling"]["decision_temperature"], 1.0);
}

#[test]
fn models_are_listed_and_described_in_json() {
    let listed: Vec<String> =
        serde_json::from_str(&kad(&["models", "list", "--json"]).succeeds()).unwrap();
    assert!(listed.contains(&"nano:draft".to_owned()), "{listed:?}");
    let said = kad(&["models", "inspect", "nano:draft", "--json"]).succeeds();
    let model: serde_json::Value = serde_json::from_str(&said).unwrap();
    // From the model card.
    assert_eq!(model["parameters"], 106_816);
    assert_eq!(model["layers"], 2);
    assert_eq!(model["vocabulary"], 512);
    assert_eq!(model["context_len"], 256);
    // Stored as f16, computed as f32; the norms are no matrices.
    assert_eq!(model["weight_bytes"], 2 * 106_816);
    assert_eq!(model["has_chat_template"], true);
}
