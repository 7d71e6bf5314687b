//! `kad bench` of decoders whose texts must equal those of plain decoding.

use serde_json::Value;

use crate::kad::{Lab, kad};

const TEXTS: &str = r#"
name = "texts"
seed = 3

[models.large]
source = "nano:large-aligned"

[models.draft]
source = "nano:draft"

[sampling]
temperature = TEMPERATURE
max_new_tokens = 40

[[decoders]]
name = "by chance"
kind = "chain"
target = "large"
levels = [{ draft = "draft", length = 4 }]

[[decoders]]
name = "by place"
kind = "chain"
target = "large"
levels = [{ draft = "draft", length = 4, verifier = "same-uniform" }]

[[tasks]]
kind = "nano"
items = 6
"#;

/// `same_text` of each decoder, the baseline first.
fn compared(temperature: &str) -> Vec<Value> {
    let lab = Lab::new(&TEXTS.replace("TEMPERATURE", temperature));
    let file = lab.path().join("experiment.toml").to_str().unwrap().to_owned();
    let little = ["--prompts", "3", "--tokens", "24", "--reps", "2", "--json"];
    let found = kad(&[&["bench", &file, "--decoders", "by chance,by place"], &little[..]].concat());
    let found: Value = serde_json::from_str(&found.succeeds()).unwrap();
    found["decoders"].as_array().unwrap().iter().map(|result| result["same_text"].clone()).collect()
}

/// Greedy texts equal those of plain decoding with any verifier, sampled texts with the same uniforms
/// only; other decoders have no comparison of texts.
#[test]
fn texts_equal_those_of_plain_decoding_where_they_must() {
    let all = |same: &Value| {
        assert_eq!((same["equal"].as_u64(), same["of"].as_u64()), (Some(6), Some(6)), "{same}");
        assert!(same["first_difference"].is_null(), "{same}");
    };
    let greedy = compared("0");
    assert!(greedy[0].is_null());
    greedy[1..].iter().for_each(all);
    let sampled = compared("0.8");
    assert!(sampled[0].is_null() && sampled[1].is_null());
    all(&sampled[2]);
}
