//! `kad plan` on made-up profiles.

use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kad::{Refusals, kad};

/// A distribution whose forward passes take `seconds` at any width.
fn distribution(name: &str, seconds: f64) -> Value {
    let cell = json!({ "seconds": seconds, "standard_error": 0.001 * seconds });
    json!({
        "name": name,
        "models": [name],
        "cost": {
            "kind": "distribution",
            "times": { "widths": [1], "contexts": [64], "cells": [[cell]] },
            "distribution": { "seconds": 0.0, "standard_error": 0.0 },
            "token_overhead": 0.0,
        },
    })
}

/// A million rounds of 16 drafted tokens, each accepted with probability `rate`.
fn pair(verifier: &str, drafter: &str, rate: f64) -> Value {
    let mut counts = vec![Vec::new(); 16];
    let rounds = |k: i32| 1e6 * rate.powi(k) * if k < 16 { 1.0 - rate } else { 1.0 };
    counts.push((0..=16).map(|k| rounds(k).round() as u64).collect());
    json!({
        "verifier": verifier,
        "drafter": drafter,
        "runs": { "counts": counts, "stopped": [] },
        "round_overhead": { "round": 0.0, "token": 0.0 },
    })
}

fn profile(candidates: &[Value], pairs: &[Value]) -> Value {
    json!({
        "version": 4,
        "experiment": "toy",
        "conditions": {
            "kad": "0.0.0",
            "machine": { "cpu": "Abacus 1", "threads": 2, "target": "wood" },
            "sampling": {
                "temperature": 1.0,
                "top_k": null,
                "top_p": null,
                "min_p": null,
                "repetition_penalty": 1.0,
                "max_new_tokens": 16,
                "decision_temperature": 1.0,
            },
            "models": {},
        },
        "settings": {
            "tasks": ["toy"], "prompts": 1, "tokens": 1, "rounds": 1, "draft_length": 16, "seed": 1,
        },
        "context": 64,
        "candidates": candidates,
        "pairs": pairs,
    })
}

struct StoredProfile {
    _folder: TempDir,
    path: PathBuf,
}

impl StoredProfile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.json");
        std::fs::write(&path, text).unwrap();
        Self { _folder: folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

fn helpful() -> StoredProfile {
    let candidates = [distribution("large", 0.02), distribution("small", 0.001)];
    StoredProfile::new(&profile(&candidates, &[pair("large", "small", 0.8)]).to_string())
}

fn hopeless() -> StoredProfile {
    let candidates = [distribution("large", 0.02), distribution("small", 0.018)];
    StoredProfile::new(&profile(&candidates, &[pair("large", "small", 0.3)]).to_string())
}

/// The minimum over K of `(T_1 + K T_2) (1 − a) / (1 − a^(K+1))`, the closed form for independent
/// acceptances.
#[test]
fn the_best_length_is_that_of_the_closed_form() {
    let seconds = |k: i32| (0.02 + 0.001 * f64::from(k)) * 0.2 / (1.0 - 0.8f64.powi(k + 1));
    let best = (1..=16).min_by(|a, b| seconds(*a).total_cmp(&seconds(*b))).unwrap();
    let out = kad(&["plan", helpful().path(), "--json"]).succeeds();
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(plan["recommendation"], "speculate");
    assert_eq!(plan["target"], "large");
    let first = &plan["chains"][0];
    assert_eq!(first["members"], json!(["large", "small"]));
    assert_eq!(first["lengths"], json!([best]));
    let found = first["milliseconds_per_token"].as_f64().unwrap();
    // Counts are whole numbers of a million rounds.
    assert!((found / (1e3 * seconds(best)) - 1.0).abs() < 1e-4, "{found}");
    let speedup = first["speedup"].as_f64().unwrap();
    assert!((speedup - 20.0 / found).abs() < 1e-9, "{speedup}");
    // Widths and contexts do not matter here: the published lemma is exact for two levels.
    let lemma = first["lemma_milliseconds_per_token"].as_f64().unwrap();
    assert!((lemma - found).abs() < 1e-9, "{lemma} {found}");
    let text = kad(&["plan", helpful().path()]).succeeds();
    assert!(text.contains(&format!("fastest: large ← {best} small")), "{text}");
    assert!(text.contains("large, plain"), "{text}");
}

#[test]
fn plain_decoding_is_recommended_where_it_is_fastest() {
    let stored = hopeless();
    let text = kad(&["plan", stored.path()]).succeeds();
    assert!(text.contains("plain decoding is fastest"), "{text}");
    // The only possible insertion: its cost ratio, 0.9, is at least its gain.
    assert!(text.contains("small as level 2") && text.contains("leave"), "{text}");
    let entry = kad(&["plan", stored.path(), "--toml"]).succeeds();
    assert!(entry.contains("kind = \"single\"") && entry.contains("model = \"large\""), "{entry}");
}

/// The texts of `large` have probability 1 under `small` and 0 under `other`. By the run lengths,
/// `other` is the better drafter.
fn with_texts() -> StoredProfile {
    let candidates =
        [distribution("large", 0.02), distribution("small", 0.001), distribution("other", 0.001)];
    let pairs = [pair("large", "small", 0.1), pair("large", "other", 0.9)];
    let mut profile = profile(&candidates, &pairs);
    let (small, other) = ([0.0; 6], [-1000.0; 6]);
    let large = [0.0, -0.5, 0.0, 0.0, 0.0, -0.5];
    let distributions = json!({ "large": large, "small": small, "other": other });
    let text = json!({ "prompt": 9, "limit": 12, "tokens": 6, "ended": true, "distributions": distributions });
    profile["texts"] = json!({ "target": "large", "traces": [text] });
    StoredProfile::new(&profile.to_string())
}

/// Replay along texts takes precedence over run lengths.
#[test]
fn chains_are_ranked_by_replay_along_texts() {
    let stored = with_texts();
    let out = kad(&["plan", stored.path(), "--json"]).succeeds();
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (plan["texts"].as_u64(), plan["recommendation"].as_str()),
        (Some(1), Some("speculate"))
    );
    let first = &plan["chains"][0];
    assert_eq!(first["members"], json!(["large", "small"]), "{plan}");
    assert_eq!(first["replayed"], true);
    // The length is planned from the run lengths.
    let length = first["lengths"][0].as_f64().unwrap();
    let rounds = (6.0 / (length + 1.0)).ceil();
    let drafted = 6.0 - (6.0 / (length + 1.0)).floor();
    let wanted = (20.0 * rounds + drafted) / 6.0;
    let found = first["milliseconds_per_token"].as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
    assert!((first["speedup"].as_f64().unwrap() - 20.0 / wanted).abs() < 1e-9);
    let last = plan["chains"].as_array().unwrap().last().unwrap();
    assert_eq!(last["members"], json!(["large", "other"]), "{plan}");
    let text = kad(&["plan", stored.path()]).succeeds();
    assert!(text.contains("along 1 text of the profile"), "{text}");
    let text = kad(&["plan", helpful().path()]).succeeds();
    assert!(text.contains("times from run lengths: the profile has no texts of `large`"), "{text}");
    let text = kad(&["plan", stored.path(), "--target", "other"]).succeeds();
    assert!(text.contains("no texts of `other`"), "{text}");
}

/// `--toml` prints a decoder that an experiment accepts.
#[test]
fn the_planned_decoder_is_printed_as_toml() {
    let entry = kad(&["plan", helpful().path(), "--toml"]).succeeds();
    let parsed: toml::Table = toml::from_str(&entry).unwrap();
    let decoder = &parsed["decoders"][0];
    assert_eq!(decoder["target"].as_str(), Some("large"));
    assert_eq!(decoder["levels"][0]["draft"].as_str(), Some("small"));
}

#[test]
fn another_machine_is_noted() {
    let ran = kad(&["plan", helpful().path()]);
    assert!(ran.stderr.contains("processor: Abacus 1 then"), "{}", ran.stderr);
}

#[test]
fn mistakes_in_plans_are_refused_with_a_remedy() {
    let refusals = Refusals::new();
    let stored = helpful();
    kad(&["plan", stored.path(), "--target", "larg"]).refused(2, &refusals);
    kad(&["plan", "nowhere.json"]).refused(2, &refusals);
    let broken = StoredProfile::new("{\"version\": 1, \"exper");
    kad(&["plan", broken.path()]).refused(2, &refusals);
    let future = StoredProfile::new("{\"version\": 9}");
    kad(&["plan", future.path()]).refused(2, &refusals);
    let empty = StoredProfile::new(&profile(&[], &[]).to_string());
    kad(&["plan", empty.path()]).refused(2, &refusals);
    kad(&["plan", stored.path(), "--max-levels", "0"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}
