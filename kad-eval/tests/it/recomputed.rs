//! The summary against a script that computes it from the records on its own.

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

/// Three decoders, graded and not; then a number that was tampered with is found.
#[test]
fn a_script_of_its_own_finds_the_same_numbers() {
    let lab = Lab::new(&SMALL.replace("items = 6", "items = 40"));
    lab.run(&[]).succeeds();
    let Some((agree, text)) = python(&lab) else { return };
    assert!(agree, "{text}");
    let numbers: usize = text.split(' ').next().unwrap().parse().unwrap();
    assert!(numbers > 40, "{text}");

    let path = lab.results().join("summary.json");
    let mut summary: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    summary["arms"][1]["difference"]["p_adjusted"] = 0.123.into();
    fs::write(&path, summary.to_string()).unwrap();
    let (agree, text) = python(&lab).unwrap();
    assert!(!agree && text.contains("Holm") && text.contains("1 do not"), "{text}");
}
