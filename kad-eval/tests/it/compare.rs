//! `kad report` on runs that are there.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::kad::{Lab, SMALL, kad};

/// Two runs of one experiment, the second at another temperature and with a renamed decoder.
fn runs() -> (Lab, Lab, PathBuf, PathBuf) {
    let first = Lab::new(SMALL);
    first.run(&[]).succeeds();
    let changed = SMALL.replace("temperature = 0.7", "temperature = 0");
    let second = Lab::new(&changed.replace("aligned alone", "alone"));
    second.run(&[]).succeeds();
    let (a, b) = (first.results(), second.results());
    (first, second, a, b)
}

#[test]
fn runs_are_compared_and_the_plans_differences_are_named() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let table = kad(&["report", a, b]).succeeds();
    for word in ["sampling.temperature", "0.7", "KAD dual, threshold 0.5", "B − A", "alone"] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    assert!(kad(&["report", a, a]).succeeds().contains("their plans are the same"));

    let json = kad(&["report", a, b, "--json"]).succeeds();
    let found: Value = serde_json::from_str(&json).unwrap();
    let decoders = found[0]["decoders"].as_array().unwrap();
    let named = |name: &str| decoders.iter().find(|pair| pair["decoder"] == name).unwrap();
    let pair = named("KAD dual, threshold 0.5");
    // By hand, from both files of records.
    let right = |folder: &str| {
        let text = fs::read_to_string(format!("{folder}/records.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = records.filter(|r| r["decoder"] == "KAD dual, threshold 0.5");
        own.filter(|r| r["correct"] == true).count() as f64
    };
    let wanted = (right(b) - right(a)) / 6.0;
    assert!((pair["difference"]["mean"].as_f64().unwrap() - wanted).abs() < 1e-12, "{pair}");
    assert!(pair["speed"]["value"].as_f64().unwrap() > 0.0);
    assert!(named("alone")["first"].is_null() && named("aligned alone")["second"].is_null());
}

#[test]
fn a_run_is_shown_in_every_format() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    assert!(kad(&["report", a]).succeeds().contains("aligned alone"));
    let markdown = kad(&["report", a, "--markdown"]).succeeds();
    assert!(markdown.contains("| aligned alone") && markdown.contains("|---"), "{markdown}");
    let csv = kad(&["report", a, b, "--csv"]).succeeds();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 + 3, "{csv}");
    assert!(lines[0].starts_with("run,run_id,complete,task,decoder"), "{csv}");
    assert!(lines[0].ends_with("passes_per_token:aligned,passes_per_token:base"), "{csv}");
    assert!(lines[2].contains("\"KAD dual, threshold 0.2\""), "{csv}");
    let json = kad(&["report", a, "--json"]).succeeds();
    let wanted: Value =
        serde_json::from_str(&fs::read_to_string(format!("{a}/summary.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), wanted);
}

#[test]
fn what_is_no_run_says_what_it_is() {
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let folder = lab.results();
    kad(&["report", folder.to_str().unwrap()]).fails(2, &["shards", "without --shard"]);
    kad(&["report", "no/such/run"]).fails(2, &["no folder no/such/run"]);
    lab.run(&[]).succeeds();
    let above = folder.parent().unwrap();
    kad(&["report", above.to_str().unwrap()])
        .fails(2, &["is no run but holds some", folder.to_str().unwrap()]);
    kad(&["report"]).fails(2, &["FOLDER"]);
}
