//! The summary compared with an independent script that recomputes it from the records.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::kad::{Lab, SMALL};

fn python(lab: &Lab) -> Option<(bool, String)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recompute.py");
    let Ok(output) = Command::new("python3").arg(script).arg(lab.results()).output() else {
        eprintln!("SKIPPED: no python3");
        return None;
    };
    Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// The script agrees with the run of `lab`, in more than `least` numbers.
fn agrees(lab: &Lab, least: usize) {
    let Some((agree, text)) = python(lab) else { return };
    assert!(agree, "{text}");
    let numbers: usize = text.split(' ').next().unwrap().parse().unwrap();
    assert!(numbers > least, "{text}");
}

/// Replaces the number at `keys` in the summary by `value`; the script reports this number alone,
/// with `word`.
fn finds(lab: &Lab, keys: &str, value: f64, word: &str) {
    let path = lab.results().join("summary.json");
    let kept = fs::read_to_string(&path).unwrap();
    let mut summary: Value = serde_json::from_str(&kept).unwrap();
    *summary.pointer_mut(keys).unwrap() = value.into();
    // The CSV still agrees with the records.
    fs::rename(lab.results().join("summary.csv"), lab.path().join("kept.csv")).unwrap();
    fs::write(&path, summary.to_string()).unwrap();
    if let Some((agree, text)) = python(lab) {
        assert!(!agree && text.contains(word) && text.contains(", 1 do not"), "{keys}: {text}");
    }
    fs::write(&path, kept).unwrap();
    fs::rename(lab.path().join("kept.csv"), lab.results().join("summary.csv")).unwrap();
}

/// Three graded decoders; then changed numbers are found.
#[test]
fn an_independent_script_finds_the_same_numbers() {
    let lab = Lab::new(&SMALL.replace("items = 6", "items = 40"));
    lab.run(&[]).succeeds();
    agrees(&lab, 200);
    for (keys, word) in [
        ("/results/1/difference/p_adjusted", "Holm"),
        ("/results/1/difference/detectable", "detectable"),
        ("/results/2/difference/interval/low", "Tango, low"),
        ("/results/2/difference/interval/high", "Tango, high"),
        ("/results/1/difference/wins", "wins"),
        ("/results/1/deferral_mass", "deferral_mass"),
        ("/results/0/accuracy_interval/low", "Wilson"),
        ("/results/0/time/overhead", "the rest of them"),
    ] {
        finds(&lab, keys, 0.123, word);
    }
    let csv = lab.results().join("summary.csv");
    let text = fs::read_to_string(&csv).unwrap();
    fs::write(&csv, text.replacen(",40,", ",41,", 1)).unwrap();
    if let Some((agree, text)) = python(&lab) {
        assert!(!agree && text.contains("summary.csv"), "{text}");
    }
}

const CHAIN: &str = r#"
[models.draft]
source = "nano:draft"

[[decoders]]
name = "three levels"
kind = "chain"
target = "aligned"
levels = [{ draft = "draft", length = 4 }, { draft = { kind = "n-gram" }, length = 2 }]
"#;

/// Acceptance and waste of every level, with histograms (E1).
#[test]
fn levels_of_a_chain_are_recomputed() {
    let lab = Lab::new(&format!("{SMALL}{CHAIN}"));
    lab.run(&[]).succeeds();
    agrees(&lab, 150);
    for (keys, word) in [
        ("/results/3/drafting/acceptance_rate", "acceptance rate"),
        ("/results/3/levels/0/acceptance_length_deviation", "level 1: deviation"),
        ("/results/3/levels/1/waste", "level 2: handed on"),
        ("/results/3/levels/1/drafted_per_token", "level 2: drafted per token"),
    ] {
        finds(&lab, keys, 0.123, word);
    }
}

/// Questions in the form of TruthfulQA: the first of the true options is the best one.
const TRUTHFUL: &str = r#"[
{"question": "How many legs has a cat?",
 "mc1_targets": {"Four.": 1, "Two.": 0, "Six.": 0},
 "mc2_targets": {"Four.": 1, "As many as a dog.": 1, "Two.": 0, "Six.": 0}},
{"question": "What is 2 + 2?",
 "mc1_targets": {"4": 1, "5": 0},
 "mc2_targets": {"4": 1, "The same as 1 + 3.": 1, "5": 0}},
{"question": "Which is larger, 10 or 9?",
 "mc1_targets": {"10": 1, "9": 0},
 "mc2_targets": {"10": 1, "9": 0}}
]"#;

/// Options by likelihood, points, groups, and given texts.
#[test]
fn likelihoods_points_and_groups_are_recomputed() {
    let tasks = r#"
[[tasks]]
kind = "truthfulqa"
metric = "mc1"
by = "likelihood"

[[tasks]]
kind = "truthfulqa"
metric = "mc2"

[[tasks]]
kind = "mmlu"
by = "likelihood"

[[tasks]]
kind = "perplexity"
file = "text.txt"
piece_bytes = 60
"#;
    let toml = SMALL.replace("temperature = 0.7", "temperature = 1.0");
    let lab = Lab::new(&format!("{toml}{tasks}"));
    let data = lab.path().join("data");
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // Enough items for the permutation test to draw signs.
    let more = |n: u64| {
        let wrong = format!("\"{}\": 0, \"{}\": 0", n + 3, n + 5);
        format!(
            "{{\"question\": \"What is {n} + 2?\", \"mc1_targets\": {{\"{0}\": 1, {wrong}}}, \
             \"mc2_targets\": {{\"{0}\": 1, \"{n} + 2\": 1, {wrong}}}}},",
            n + 2
        )
    };
    let more: String = (3..23).map(more).collect();
    write("truthfulqa/mc_task.json", &TRUTHFUL.replacen('[', &format!("[{more}"), 1));
    let question = |subject: &str, answer: u64| {
        let text = r#""question": "What is 3 + 4?", "choices": ["7", "8", "34", "1"]"#;
        format!("{{{text}, \"subject\": \"{subject}\", \"answer\": {answer}}}\n")
    };
    let items = [("anatomy", 0), ("virology", 1), ("anatomy", 2)];
    let lines: String = items.iter().map(|(subject, answer)| question(subject, *answer)).collect();
    write("mmlu/test.jsonl", &lines);
    let text = "Tom has 4 pens. Tom buys 3 pens.\nNow Tom has 7 pens. ".repeat(4);
    fs::write(lab.path().join("text.txt"), text).unwrap();
    lab.run(&["--data", data.to_str().unwrap()]).succeeds();
    agrees(&lab, 400);
    let summary = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let place = |test: &dyn Fn(&Value) -> bool| {
        summary["results"].as_array().unwrap().iter().position(test).unwrap()
    };
    let mc2 = place(&|result| result["task"] == "truthfulqa/mc2");
    let other = place(&|result| result["difference"]["method"] == "points");
    assert_eq!(summary["results"][other]["task"], "truthfulqa/mc2");
    let differ =
        ["wins", "losses"].map(|key| summary["results"][other]["difference"][key].as_u64());
    assert!(differ.iter().map(|it| it.unwrap()).sum::<u64>() > 12, "{differ:?}");
    let read = place(&|result| result["likelihood"].is_object());
    let grouped = place(&|result| result["groups"].is_array());
    // Within its interval, which the script checks too.
    finds(&lab, &format!("/results/{mc2}/accuracy"), 0.6, "accuracy");
    for (keys, word) in [
        (format!("/results/{other}/difference/detectable"), "detectable"),
        (format!("/results/{other}/difference/deviation"), "deviation"),
        (format!("/results/{read}/likelihood/perplexity"), "perplexity"),
        (format!("/results/{read}/likelihood/bits_per_byte"), "bits per byte"),
        (format!("/results/{grouped}/groups/1/accuracy"), "virology"),
    ] {
        finds(&lab, &keys, 0.123, word);
    }
}
