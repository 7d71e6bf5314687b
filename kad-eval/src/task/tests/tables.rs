//! Published tables, compared with the same items as JSON. Another program wrote both
//! (`kad-eval/tests/tables/make.py`).

use std::fs;
use std::path::PathBuf;

use super::*;

fn written(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(kind)
}

/// Kinds and keys that read every column that is read of a task.
const PLANS: [(&str, &str); 10] = [
    ("svamp", ""),
    ("arc_challenge", ""),
    ("arc_challenge", "by = 'likelihood'"),
    ("truthfulqa", "by = 'answer'"),
    ("truthfulqa", ""),
    ("truthfulqa", "metric = 'mc2'"),
    ("mt_bench", ""),
    ("humaneval", ""),
    ("gsm8k", "shots = 1"),
    ("mmlu", "by = 'likelihood'\nshots = 1"),
];

#[test]
fn tables_hold_the_items_of_the_authors_files() {
    for (kind, keys) in PLANS {
        for seed in [0, 5] {
            let [lines, tables] =
                ["lines", "tables"].map(|form| loaded(&written(form), kind, keys, seed));
            assert!(!lines.items.is_empty());
            let text = |task: &Task| format!("{:#?}", task.items);
            assert_eq!(text(&lines), text(&tables), "{kind} {keys}");
            assert_eq!(lines.digest(), tables.digest());
        }
    }
    // Both could be wrong in the same way.
    let gsm8k = loaded(&written("tables"), "gsm8k", "shots = 1", 0);
    let golds: Vec<&str> = gsm8k.items.iter().map(|item| item.gold.as_str()).collect();
    assert_eq!(golds, ["5", "1500"]);
    assert_eq!(gsm8k.items[0].prompt(), "Ann has 2 pens and buys “3” more.\nHow many?");
    assert!(gsm8k.items[0].opening.shots[0][0].starts_with("Ünal owes 7 €."));
    let svamp = loaded(&written("tables"), "svamp", "", 0);
    let ids: Vec<&str> = svamp.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["chal-1", "chal-2", "chal-10"]);
}

/// A data folder with one table of `tables/`, under another name.
fn with_table(from: &str, to: &str) -> (Data, PathBuf) {
    let data = Data::new(to, "");
    let path = data.0.path().join(to);
    fs::copy(written("tables").join(from), &path).unwrap();
    (data, path)
}

const ARC: &str = "arc_challenge/test.parquet";
const GSM8K: &str = "gsm8k/test.parquet";

#[test]
fn a_fault_of_a_table_is_named_with_file_and_row() {
    let mmlu = "mmlu/dev-00000-of-00001.parquet";
    let humaneval = "humaneval/test-00000-of-00001.parquet";
    for (from, to, words) in [
        (mmlu, ARC, ["row 1 is malformed: invalid type", "docs/TASKS.md"]),
        (humaneval, GSM8K, ["row 1 is malformed: missing field", ""]),
        // `answer` is a number in one table and a text in the other.
        (mmlu, GSM8K, ["row 1", "invalid type: integer `3`"]),
    ] {
        let (data, path) = with_table(from, to);
        let kind = to.split('/').next().unwrap();
        data.refuses(kind, "", &[words[0], words[1], path.to_str().unwrap()]);
    }
}

#[test]
fn missing_parts_of_a_table_are_named() {
    let part = "arc_challenge/test-00001-of-00002-0123456789abcdef.parquet";
    let (data, _) = with_table(part, "arc_challenge/test-00001-of-00002.parquet");
    let word = "arc_challenge: test-00000-of-00002.parquet is missing";
    data.refuses("arc_challenge", "", &[word]);
    let (data, _) = with_table("svamp/test-00000-of-00001.parquet", "svamp/test.parquet");
    data.refuses("svamp", "", &["svamp: train-*.parquet (or train.parquet) is missing"]);
}

/// A table that is cut off is refused; changed bytes give an error or other items, never a panic.
#[test]
fn a_damaged_table_is_an_error_or_other_items_but_never_a_panic() {
    let mut refused = 0;
    for (from, to) in [
        ("arc_challenge/test-00000-of-00002-0123456789abcdef.parquet", ARC),
        ("gsm8k/test-00000-of-00001.parquet", GSM8K),
        ("gsm8k/train.parquet", GSM8K),
    ] {
        let kind = to.split('/').next().unwrap();
        let plan = plan(kind, "");
        let (data, path) = with_table(from, to);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            data.refuses(kind, "", &["cannot be read as a parquet table"]);
        }
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                fs::write(&path, &bytes).unwrap();
                let options = LoadOptions { data: Some(data.0.path()), ..LoadOptions::default() };
                refused += usize::from(load(&plan, options).is_err());
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}
