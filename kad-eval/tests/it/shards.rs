//! However a run is split up, its records are those of a run in one piece.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::kad::{Lab, SMALL};
use crate::resume::{experiment, records, summary};

fn start(lab: &Lab, extra: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(lab.args())
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn files(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.results()).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[test]
fn shards_and_jobs_give_what_one_process_gives() {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let wanted = records(&plain);

    let jobs = Lab::new(&experiment());
    jobs.run(&["--jobs", "3"]).succeeds();
    assert_eq!(records(&jobs), wanted);
    assert_eq!(summary(&jobs), summary(&plain));

    // All shards at once, as under a scheduler; 25 items do not divide by 3.
    let sharded = Lab::new(&experiment());
    let shards = ["1/3", "2/3", "3/3"].map(|shard| start(&sharded, &["--shard", shard]));
    for child in shards {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && stderr.contains("items are done"), "{stderr}");
    }
    assert!(files(&sharded).contains(&"records.shard-2-of-3.jsonl".to_owned()));
    let merged = sharded.run(&[]);
    assert!(merged.stderr.contains("already complete"), "{}", merged.stderr);
    merged.succeeds();
    assert_eq!(records(&sharded), wanted);
    assert_eq!(summary(&sharded), summary(&plain));
    assert_eq!(files(&sharded), files(&plain), "nothing of the shards is left over");
}

/// Shards and whole runs continue each other, also where a shard was killed in the middle of a line.
#[test]
fn what_one_has_done_no_other_repeats() {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let wanted = records(&plain);

    let lab = Lab::new(&experiment());
    lab.run(&["--shard", "1/2"]).succeeds();
    let first = lab.results().join("records.shard-1-of-2.jsonl");
    let text = fs::read_to_string(&first).unwrap();
    assert_eq!(text.lines().count(), 13 * 3);
    fs::write(&first, &text[..text.len() / 2]).unwrap();
    // Of another split: what it finds done it leaves alone.
    lab.run(&["--shard", "1/1"]).succeeds();
    let rest = fs::read_to_string(lab.results().join("records.shard-1-of-1.jsonl")).unwrap();
    let whole = text[..text.len() / 2].matches('\n').count();
    assert_eq!(rest.lines().count(), wanted.len() - whole);
    lab.run(&[]).succeeds();
    assert_eq!(records(&lab), wanted);
}

#[test]
fn shards_of_another_plan_and_parts_that_do_not_exist_are_refused() {
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "3/2"]).fails(2, &["no part 3 of 2", "count from 1"]);
    lab.run(&["--shard", "2"]).fails(2, &["write I/N"]);
    lab.run(&["--jobs", "0"]).fails(2, &["--jobs"]);
    lab.run(&["--shard", "2/2"]).succeeds();
    let path = lab.results().join("records.shard-2-of-2.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("validation-0001", "validation-9999", 1)).unwrap();
    lab.run(&[]).fails(1, &["records.shard-2-of-2.jsonl cannot be continued", "line 1 "]);
}

/// While a shard runs, other shards may and a whole run may not.
#[test]
fn a_whole_run_waits_for_shards() {
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let lock = |name: &str| fs::File::create(lab.results().join(name)).unwrap();
    let held = lock(".lock");
    held.lock_shared().unwrap();
    lab.run(&[]).fails(1, &["another kad is running in"]);
    lab.run(&["--shard", "2/2"]).succeeds();
    let same = lock(".shard-2-of-2.lock");
    same.lock().unwrap();
    lab.run(&["--shard", "2/2"]).fails(1, &["another kad is running in"]);
    drop((held, same));
    lab.run(&[]).succeeds();
}

/// A model whose chat template refuses what mentions `name`.
fn squeamish(name: &str) -> tempfile::TempDir {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/models/small-aligned");
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let path = copy.path().join("tokenizer_config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let template = config["chat_template"].as_str().unwrap();
    let refuse = format!(
        "{{% if '{name}' in messages[-1]['content'] %}}{{{{ raise_exception('no {name} here') }}}}{{% endif %}}"
    );
    config["chat_template"] = Value::String(refuse + template);
    fs::write(path, config.to_string()).unwrap();
    copy
}

#[test]
fn an_item_that_fails_is_reported_and_the_rest_is_done() {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let questions = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/data/validation.jsonl"),
    )
    .unwrap();
    let asked: Vec<Value> =
        questions.lines().take(25).map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = asked[4]["question"].as_str().unwrap();
    let name = first.split(' ').next().unwrap();
    let named = asked.iter().filter(|q| q["question"].as_str().unwrap().contains(name)).count();

    let model = squeamish(name);
    let toml = experiment().replace("nano:small-aligned", model.path().to_str().unwrap());
    let lab = Lab::new(&toml);
    let refused = format!("no {name} here");
    let failed = format!("{} items failed and {} of 75 are done", 3 * named, 75 - 3 * named);
    lab.run(&["--fail-fast"]).fails(1, &[&refused, "finished items are kept"]);
    for _ in 0..2 {
        lab.run(&[]).fails(1, &[&refused, &failed, "tries the others again"]);
    }
    let wanted: Vec<Value> = records(&plain)
        .into_iter()
        .filter(|record| {
            let question = asked.iter().find(|q| q["id"] == record["item"]).unwrap();
            !question["question"].as_str().unwrap().contains(name)
        })
        .collect();
    assert_eq!(records(&lab), wanted);

    // Where nothing works, nobody waits for the end.
    let model = squeamish(" ");
    let toml = experiment().replace("nano:small-aligned", model.path().to_str().unwrap());
    lab_fails_early(&toml);
}

fn lab_fails_early(toml: &str) {
    let ran = Lab::new(toml).run(&[]);
    assert_eq!(ran.stderr.matches("failed: decoder").count(), 9, "{}", ran.stderr);
    ran.fails(1, &["no   here"]);
}
