//! A run that is killed and started again is the run that was never killed.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::kad::{Lab, SMALL, kad};

fn experiment() -> String {
    SMALL.replace("items = 6", "items = 25")
}

/// Records without what the clock says.
fn records(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("seconds");
        record
    });
    lines.collect()
}

fn summary(lab: &Lab) -> Value {
    let text = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let mut summary: Value = serde_json::from_str(&text).unwrap();
    for arm in summary["arms"].as_array_mut().unwrap() {
        arm.as_object_mut().unwrap().remove("tokens_per_second");
    }
    summary
}

#[test]
fn killed_and_continued_equals_unbroken() {
    let unbroken = Lab::new(&experiment());
    unbroken.run(&[]).succeeds();
    let wanted = records(&unbroken);
    assert_eq!(wanted.len(), 75);

    let killed = Lab::new(&experiment());
    let mut kills = 0;
    // kill -9 as soon as some new records are there, until a run gets through.
    for _ in 0..3 {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
            .args(killed.args())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let before = lines(&killed);
        while child.try_wait().unwrap().is_none() && lines(&killed) < before + 10 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "the run was too fast to be killed");
    killed.run(&[]).succeeds();
    assert_eq!(records(&killed), wanted, "the same records in the same order");
    assert_eq!(summary(&killed), summary(&unbroken));
    let keys: BTreeSet<String> = wanted
        .iter()
        .map(|r| format!("{} {} {}", r["decoder"], r["task"], r["item"]))
        .collect();
    assert_eq!(keys.len(), wanted.len(), "no item twice");
}

fn lines(lab: &Lab) -> usize {
    let results = lab.path().join("results");
    if !results.exists() {
        return 0;
    }
    let glob = fs::read_dir(results.join("small")).into_iter().flatten().flatten();
    let texts = glob.filter_map(|run| fs::read_to_string(run.path().join("records.jsonl")).ok());
    texts.map(|text| text.lines().count()).sum()
}

#[test]
fn a_complete_run_is_not_repeated_and_a_changed_plan_is_another_run() {
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let again = lab.run(&[]);
    assert!(again.stderr.contains("already complete"), "{}", again.stderr);
    assert!(again.stdout.contains("KAD dual, threshold 0.5"), "the table is shown again");
    lab.run(&["--limit", "2"]).succeeds();
    let runs = fs::read_dir(lab.path().join("results/small")).unwrap().count();
    assert_eq!(runs, 2);
}

#[test]
fn two_processes_do_not_write_into_one_run() {
    let lab = Lab::new(&experiment());
    let args = lab.args();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while lines(&lab) == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = kad(&args);
    child.kill().unwrap();
    child.wait().unwrap();
    second.fails(1, &["another kad is running in"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_finished_and_says_how_to_go_on() {
    let lab = Lab::new(&experiment());
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(lab.args())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while lines(&lab) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("the same command continues"), "{stderr}");
    assert!(!records(&lab).is_empty());
    assert_eq!(summary(&lab)["complete"], Value::Bool(false));
}
