//! `kad rules`, and `docs/RULES.md` against its output.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kad::{Refusals, kad};

#[test]
fn the_document_equals_the_output() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RULES.md");
    let printed = kad(&["rules", "--markdown"]).succeeds();
    assert!(
        fs::read_to_string(path).unwrap() == printed,
        "docs/RULES.md is not what the code says: regenerate it with \
         `cargo run -- rules --markdown > docs/RULES.md`"
    );
}

#[test]
fn one_rule_or_all_are_printed_as_text_or_json() {
    let all: Vec<Value> = serde_json::from_str(&kad(&["rules", "--json"]).succeeds()).unwrap();
    let text = kad(&["rules"]).succeeds();
    assert!(all.len() >= 23);
    for rule in &all {
        let heading = format!("{}\n  d(y)        ", rule["kind"].as_str().unwrap());
        assert!(text.contains(&heading), "{heading}");
    }
    let one = kad(&["rules", "kad-pool", "--json"]).succeeds();
    let one: Vec<Value> = serde_json::from_str(&one).unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one[0]["parameters"][1]["name"], "window");
    assert_eq!(one[0]["parameters"][1]["default"], 16.0);
    assert_eq!(one[0]["parameters"][0]["default"], Value::Null);
    let dual = kad(&["rules", "kad-dual"]).succeeds();
    assert!(dual.contains("1[p(y) < threshold]") && dual.contains("token_wise"), "{dual}");
    assert!(!dual.contains("kad-primal"), "{dual}");
}

#[test]
fn an_unknown_rule_is_refused() {
    let refusals = Refusals::new();
    kad(&["rules", "kad-daul"]).refused(2, &refusals);
    kad(&["rules", "--json", "--markdown"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}
