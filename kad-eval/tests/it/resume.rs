//! A killed and resumed run equals an uninterrupted one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

#[cfg(unix)]
use crate::kad::interrupt;
use crate::kad::{Lab, Refusals, SMALL, kad};

pub(crate) fn experiment() -> String {
    SMALL.replace("items = 6", "items = 25")
}

/// Longer than any test waits.
fn long_experiment() -> String {
    SMALL.replace("items = 6", "items = 600").replace("nano:small-base", "nano:large-base")
}

/// Records without times.
pub(crate) fn records(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().remove("seconds");
        for passes in record["passes"].as_object_mut().unwrap().values_mut() {
            passes.as_object_mut().unwrap().remove("seconds");
        }
        record
    });
    lines.collect()
}

pub(crate) fn summary(lab: &Lab) -> Value {
    let text = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let mut summary: Value = serde_json::from_str(&text).unwrap();
    summary.as_object_mut().unwrap().remove("jobs");
    for result in summary["results"].as_array_mut().unwrap() {
        let result = result.as_object_mut().unwrap();
        result.remove("tokens_per_second");
        result.remove("tokens_per_second_interval");
        result.remove("time");
    }
    summary
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let uninterrupted = Lab::new(&experiment());
    uninterrupted.run(&[]).succeeds();
    let wanted = records(&uninterrupted);
    assert_eq!(wanted.len(), 75);

    let killed = Lab::new(&experiment());
    let mut kills = 0;
    // kill -9 after some new records, until a run finishes.
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
    assert_eq!(summary(&killed), summary(&uninterrupted));
    let keys: BTreeSet<String> =
        wanted.iter().map(|r| format!("{} {} {}", r["decoder"], r["task"], r["item"])).collect();
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

/// The threads that share a forward pass, not the processors of the machine.
#[test]
fn provenance_records_the_threads_that_were_set() {
    for threads in ["1", "3"] {
        let lab = Lab::new(&SMALL.replace("items = 6", "items = 1"));
        let mut command = crate::kad::command();
        command.args(lab.args()).env("RAYON_NUM_THREADS", threads).assert().success();
        let text = fs::read_to_string(lab.results().join("provenance.json")).unwrap();
        let sessions: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(sessions[0]["threads"].to_string(), threads);
    }
}

#[test]
fn two_processes_do_not_write_into_one_run() {
    let refusals = Refusals::new();
    let lab = Lab::new(&long_experiment());
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
    second.refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_finished_items_and_prints_how_to_resume() {
    let lab = Lab::new(&long_experiment());
    let stderr = interrupted(&lab, || lines(&lab) > 0);
    assert!(stderr.contains("the same command continues"), "{stderr}");
    assert!(!records(&lab).is_empty());
    assert_eq!(summary(&lab)["complete"], Value::Bool(false));
}

/// Messages of a run that is interrupted as soon as `ready` is true.
#[cfg(unix)]
fn interrupted(lab: &Lab, ready: impl Fn() -> bool) -> String {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(lab.args())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !ready() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    stderr
}

#[cfg(unix)]
#[test]
fn ctrl_c_after_failures_counts_as_an_interruption() {
    let model = crate::shards::failing_template("Tom");
    let lab =
        Lab::new(&long_experiment().replace("nano:small-aligned", model.path().to_str().unwrap()));
    let stderr = interrupted(&lab, || lines(&lab) > 20);
    for words in ["interrupted: ", " failed; the same command continues", "no Tom here"] {
        assert!(stderr.contains(words), "{words:?} is not in: {stderr}");
    }
}

/// A text whose likelihood takes minutes. The first Ctrl-C ends it, and the provenance is written
/// before the first record.
#[cfg(unix)]
#[test]
fn ctrl_c_interrupts_the_scoring_of_a_text() {
    let task = "kind = \"perplexity\"\nfile = \"long.txt\"\npiece_bytes = 1000000";
    let toml = SMALL
        .replace("kind = \"nano\"\nitems = 6", task)
        .replace("nano:small-base\"", "nano:large-base\"\nbackend = \"naive\"")
        .replace("nano:small-aligned\"", "nano:large-aligned\"\nbackend = \"naive\"");
    let lab = Lab::new(&toml);
    fs::write(lab.path().join("long.txt"), "Tom has 3 pens and 4 coins. ".repeat(30_000)).unwrap();
    let begun = std::cell::Cell::new(None);
    let stderr = interrupted(&lab, || {
        let runs = fs::read_dir(lab.path().join("results/small")).into_iter().flatten().flatten();
        let decodes = runs.into_iter().any(|run| run.path().join("provenance.json").exists());
        if decodes {
            // By then the text is being scored.
            std::thread::sleep(Duration::from_millis(500));
            begun.set(Some(std::time::Instant::now()));
        }
        decodes
    });
    assert!(begun.get().unwrap().elapsed() < Duration::from_secs(10));
    assert!(stderr.contains("interrupted: 0 of 3 items × decoders are done"), "{stderr}");
}

#[test]
fn a_changed_model_or_changed_data_is_another_run() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/models");
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(models.join("small-aligned")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let toml = SMALL.replace("nano:small-aligned", copy.path().to_str().unwrap());
    let lab = Lab::new(
        &toml.replace("kind = \"nano\"", "kind = \"gsm8k\"").replace("items = 6", "items = 1"),
    );
    let data = lab.path().join("data");
    fs::create_dir_all(data.join("gsm8k")).unwrap();
    let ask = |question: &str| {
        let line = format!("{{\"question\": \"{question}\", \"answer\": \"#### 2\"}}\n");
        fs::write(data.join("gsm8k/test.jsonl"), line).unwrap();
        lab.run(&["--data", data.to_str().unwrap()]).succeeds();
        fs::read_dir(lab.path().join("results/small")).unwrap().count()
    };
    assert_eq!((ask("1 + 1?"), ask("1 + 1?")), (1, 1));
    assert_eq!(ask("1 + 1 = ?"), 2, "other items");
    let config = copy.path().join("generation_config.json");
    fs::write(&config, fs::read_to_string(&config).unwrap() + "\n").unwrap();
    assert_eq!(ask("1 + 1 = ?"), 3, "another model file");
}

#[test]
fn records_of_another_plan_are_refused_with_their_line() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let path = lab.results().join("records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    for (spoilt, how) in [
        (format!("{text}{first}\n"), "line 19 repeats line 1"),
        (
            text.replacen("\"correct\":", "\"correct\":true,\"was\":", 1)
                .replace("\"correct\":false", "\"correct\":true"),
            "all are correct",
        ),
        (text.replace("validation-0000", "validation-9999"), "an unknown item"),
    ] {
        fs::write(&path, spoilt).unwrap();
        lab.run(&[]).about(how).refused(1, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

/// An item whose prompt does not fit has no answer; the others do.
#[test]
fn an_item_that_does_not_fit_does_not_stop_the_run() {
    let toml =
        SMALL.replace("kind = \"nano\"", "kind = \"gsm8k\"").replace("items = 6", "items = 2");
    let lab = Lab::new(&toml);
    let data = lab.path().join("data");
    fs::create_dir_all(data.join("gsm8k")).unwrap();
    let item =
        |question: &str| format!("{{\"question\": \"{question}\", \"answer\": \"#### 2\"}}\n");
    let text = item(&"word ".repeat(500)) + &item("1 + 1?");
    fs::write(data.join("gsm8k/test.jsonl"), text).unwrap();
    lab.run(&["--data", data.to_str().unwrap()]).succeeds();
    let records = records(&lab);
    let stops: Vec<&str> = records.iter().map(|r| r["stop"].as_str().unwrap()).collect();
    assert_eq!(stops[..3], ["prompt_too_long"; 3]);
    assert!(stops[3..].iter().all(|stop| *stop != "prompt_too_long"));
    assert_eq!(records[0]["correct"], Value::Bool(false));
}

/// An item whose prompt is too long does not change the deferral mass of the others.
#[test]
fn a_prompt_that_is_too_long_defers_nothing() {
    let toml = SMALL
        .replace("kind = \"nano\"", "kind = \"arc_challenge\"\nby = \"likelihood\"")
        .replace("items = 6", "items = 2");
    let lab = Lab::new(&toml);
    let data = lab.path().join("data");
    fs::create_dir_all(data.join("arc_challenge")).unwrap();
    let item = |id: &str, question: &str| {
        let choices = serde_json::json!({"label": ["A", "B"], "text": ["3 pens", "4 coins"]});
        serde_json::json!({"id": id, "question": question, "choices": choices, "answerKey": "B"})
    };
    let lines = format!("{}\n{}\n", item("a", &"word ".repeat(500)), item("b", "Which?"));
    fs::write(data.join("arc_challenge/test.jsonl"), lines).unwrap();
    lab.run(&["--data", data.to_str().unwrap()]).succeeds();
    let records = records(&lab);
    let of = |item: &str, decoder: &str| {
        records.iter().find(|r| r["item"] == item && r["decoder"] == decoder).unwrap()
    };
    let kad = "KAD dual, threshold 0.5";
    assert_eq!(of("a", kad)["stop"], "prompt_too_long");
    assert_eq!(of("a", kad)["deferral_mass"], 0.0);
    assert_eq!(of("a", "aligned alone")["deferral_mass"], Value::Null);
    let (mass, tokens) = (&of("b", kad)["deferral_mass"], &of("b", kad)["new_tokens"]);
    let wanted = mass.as_f64().unwrap() / tokens.as_f64().unwrap();
    let summary = summary(&lab);
    let results = summary["results"].as_array().unwrap();
    let result = results.iter().find(|result| result["decoder"] == kad).unwrap();
    assert!((result["deferral_mass"].as_f64().unwrap() - wanted).abs() < 1e-12, "{result}");
}

/// The disk fills in the middle of a line: whole lines are kept, and the run resumes once there is
/// space.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_and_the_run_can_be_resumed() {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let wanted = records(&plain);

    let lab = Lab::new(&experiment());
    let kad = [&[env!("CARGO_BIN_EXE_kad")], &lab.args()[..]].concat();
    // Limits files of the child to 40 blocks of 512 bytes. With the signal ignored, a larger file is
    // an error like that of a full disk.
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .args(kad)
        .env_remove("KAD_DATA")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for words in
        ["cannot write the record", "records.jsonl", "make room", "finished items are kept in"]
    {
        assert!(stderr.contains(words), "{words:?} is not in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    let text = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    assert!(!text.ends_with('\n'), "a line is torn: {} bytes", text.len());
    let kept = text.matches('\n').count();
    assert!(kept > 3 && kept < wanted.len(), "{kept} records");

    let ran = lab.run(&[]);
    assert!(
        ran.stderr.contains(&format!("continuing: {kept} of 75 items × decoders")),
        "{}",
        ran.stderr
    );
    ran.succeeds();
    assert_eq!(records(&lab), wanted);
    assert_eq!(summary(&lab), summary(&plain));
}
