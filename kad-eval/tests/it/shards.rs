//! Shards and jobs: a split run has the records of a whole run.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::kad::{Lab, Refusals, SMALL};
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
fn shards_and_jobs_give_the_results_of_one_process() {
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
        assert!(
            output.status.success() && stderr.contains("items × decoders are done"),
            "{stderr}"
        );
    }
    assert!(sharded.shard_records("2-of-3").exists());
    let again = sharded.run(&["--shard", "1/3"]);
    assert!(again.stderr.contains("this shard was already complete"), "{}", again.stderr);
    let merged = sharded.run(&[]);
    assert!(merged.stderr.contains("this run was already complete"), "{}", merged.stderr);
    merged.succeeds();
    assert_eq!(records(&sharded), wanted);
    assert_eq!(summary(&sharded), summary(&plain));
    // A shard without work writes no file.
    sharded.run(&["--shard", "1/4"]).succeeds();
    assert!(!sharded.shard_records("1-of-4").exists());
    assert_eq!(files(&sharded), files(&plain), "shards leave no files");
}

/// Shards and whole runs continue each other, also where a shard was killed in the middle of a
/// line.
#[test]
fn finished_items_are_not_decoded_again() {
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let wanted = records(&plain);

    let lab = Lab::new(&experiment());
    lab.run(&["--shard", "1/2"]).succeeds();
    let first = lab.shard_records("1-of-2");
    let text = fs::read_to_string(&first).unwrap();
    assert_eq!(text.lines().count(), 13 * 3);
    fs::write(&first, &text[..text.len() / 2]).unwrap();
    // A shard of another split skips finished items.
    lab.run(&["--shard", "1/1"]).succeeds();
    let rest = fs::read_to_string(lab.shard_records("1-of-1")).unwrap();
    let whole = text[..text.len() / 2].matches('\n').count();
    assert_eq!(rest.lines().count(), wanted.len() - whole);
    lab.run(&[]).succeeds();
    assert_eq!(records(&lab), wanted);
}

#[test]
fn shards_that_do_not_exist_are_refused() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "3/2"]).refused(2, &refusals);
    lab.run(&["--shard", "2"]).refused(2, &refusals);
    lab.run(&["--jobs", "0"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// A shard's file in the folder of another run, as after a mistaken `rsync`.
#[test]
fn shards_of_another_plan_are_refused() {
    let refusals = Refusals::new();
    let (here, there) = (Lab::new(SMALL), Lab::new(SMALL));
    here.run(&["--shard", "1/2"]).succeeds();
    // Greedy: the same decoders, items, answers and seeds, other texts.
    there.run(&["--shard", "2/2", "--set", "sampling.temperature=0"]).succeeds();
    let strange = there.shard_records("2-of-2");
    let copy = here.results().join(strange.file_name().unwrap());
    fs::copy(&strange, &copy).unwrap();
    let (strange, own) = (there.results(), here.results());
    let [strange, own] =
        [&strange, &own].map(|run| run.file_name().unwrap().to_str().unwrap().to_owned());
    let runs = format!("{strange}, but this is run {own}");
    for extra in [&[][..], &["--shard", "2/2"], &["--dry-run"]] {
        here.run(extra).names(&[&runs]).refused(1, &refusals);
    }
    fs::remove_file(&copy).unwrap();
    here.run(&["--shard", "2/2"]).succeeds();
    here.run(&[]).succeeds();
    let plain = Lab::new(SMALL);
    plain.run(&[]).succeeds();
    assert_eq!(records(&here), records(&plain));
    insta::assert_snapshot!(refusals);
}

#[test]
fn changed_records_and_records_of_another_shard_are_refused() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let (first, second) = (lab.shard_records("1-of-2"), lab.shard_records("2-of-2"));
    fs::copy(&first, &second).unwrap();
    for extra in [&[][..], &["--shard", "2/2"], &["--shard", "1/2"]] {
        lab.run(extra).refused(1, &refusals);
        assert!(!lab.results().join("records.jsonl").exists(), "no records were merged");
    }
    fs::remove_file(&second).unwrap();
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replacen("validation-0000", "validation-9999", 1)).unwrap();
    lab.run(&[]).refused(1, &refusals);
    // Without the line, the other records are kept and this one is decoded again.
    fs::write(&first, text.split_once('\n').unwrap().1).unwrap();
    lab.run(&[]).succeeds();
    let plain = Lab::new(SMALL);
    plain.run(&[]).succeeds();
    assert_eq!(records(&lab), records(&plain));
    insta::assert_snapshot!(refusals);
}

/// They write the same plan to the same folder at the same time.
#[test]
fn shards_that_start_at_once_do_not_disturb_each_other() {
    let lab = Lab::new(&SMALL.replace("items = 6", "items = 1"));
    for _ in 0..3 {
        let shards: Vec<String> = (1..=8).map(|i| format!("{i}/8")).collect();
        let started: Vec<Child> = shards.iter().map(|it| start(&lab, &["--shard", it])).collect();
        for child in started {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// While a shard runs, other shards may and a whole run may not.
#[test]
fn a_whole_run_waits_for_shards() {
    let refusals = Refusals::new();
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let lock = |name: &str| fs::File::create(lab.results().join(name)).unwrap();
    let held = lock(".lock");
    held.lock_shared().unwrap();
    lab.run(&[]).refused(1, &refusals);
    lab.run(&["--shard", "2/2"]).succeeds();
    let same = lock(".shard-2-of-2.lock");
    same.lock().unwrap();
    lab.run(&["--shard", "2/2"]).refused(1, &refusals);
    drop((held, same));
    lab.run(&[]).succeeds();
    insta::assert_snapshot!(refusals);
}

/// A model whose chat template fails on prompts that contain `name`.
pub(crate) fn failing_template(name: &str) -> tempfile::TempDir {
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
fn a_failing_item_is_reported_and_the_others_are_decoded() {
    let refusals = Refusals::new();
    let plain = Lab::new(&experiment());
    plain.run(&[]).succeeds();
    let items = items();
    let first = items[4]["question"].as_str().unwrap();
    let name = first.split(' ').next().unwrap();
    let named = items.iter().filter(|q| q["question"].as_str().unwrap().contains(name)).count();

    let model = failing_template(name);
    let toml = experiment().replace("nano:small-aligned", model.path().to_str().unwrap());
    let lab = Lab::new(&toml);
    let refused = format!("no {name} here");
    let (failures, done) = (3 * named, 75 - 3 * named);
    let failed = format!("{failures} of 75 items × decoders failed, and {done} are done");
    lab.run(&["--fail-fast"]).names(&[&refused]).refused(1, &refusals);
    for _ in 0..2 {
        lab.run(&[]).names(&[&refused, &failed]).refused(1, &refusals);
    }
    let wanted: Vec<Value> = records(&plain)
        .into_iter()
        .filter(|record| {
            let question = items.iter().find(|q| q["id"] == record["item"]).unwrap();
            !question["question"].as_str().unwrap().contains(name)
        })
        .collect();
    assert_eq!(records(&lab), wanted);

    // Ten failures without a success stop the run.
    let model = failing_template(" ");
    let toml = experiment().replace("nano:small-aligned", model.path().to_str().unwrap());
    lab_fails_early(&toml);
    insta::assert_snapshot!(refusals);
}

/// The items of the experiment.
fn items() -> Vec<Value> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/data/validation.jsonl");
    let questions = fs::read_to_string(path).unwrap();
    questions.lines().take(25).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Ten failures stop a run only if no item has ever succeeded.
#[test]
fn many_failing_items_do_not_stop_the_others() {
    let refusals = Refusals::new();
    let items = items();
    let texts: Vec<&str> = items.iter().map(|item| item["question"].as_str().unwrap()).collect();
    let with = |word: &str| texts.iter().filter(|text| text.contains(word)).count();
    let word = texts.iter().flat_map(|text| text.split(' ')).find(|word| {
        (5..20).contains(&with(word)) && word.chars().all(char::is_alphabetic) && word.len() > 3
    });
    let word = word.unwrap();
    let model = failing_template(word);
    let lab = Lab::new(&experiment().replace("nano:small-aligned", model.path().to_str().unwrap()));
    let failed = format!("{} of 75 items × decoders failed", 3 * with(word));
    for _ in 0..2 {
        lab.run(&[]).names(&[&failed]).refused(1, &refusals);
    }
    assert_eq!(records(&lab).len(), 75 - 3 * with(word));
    // Merging tries the failed items again, and all fail again.
    lab.run(&["--shard", "1/1"]).names(&[&failed]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

/// Three jobs load each model three times and print its notes once; a finished run loads none.
#[test]
fn further_jobs_print_no_notes() {
    let unused = "[models.spare]\nsource = \"nano:draft\"\n\n[sampling]";
    let lab = Lab::new(&SMALL.replace("[sampling]", unused));
    for _ in 0..2 {
        let ran = lab.run(&["--jobs", "3"]);
        assert_eq!(
            ran.stderr.matches("`spare` is used by no decoder").count(),
            1,
            "{}",
            ran.stderr
        );
        ran.succeeds();
    }
}

fn lab_fails_early(toml: &str) {
    let lab = Lab::new(toml);
    let ran = lab.run(&[]);
    let sessions = fs::read_to_string(lab.results().join("provenance.json")).unwrap();
    let sessions: Vec<Value> = serde_json::from_str(&sessions).unwrap();
    assert_eq!(sessions.len(), 1, "a failed session is recorded");
    assert_eq!(ran.stderr.matches("failed: decoder").count(), 10, "{}", ran.stderr);
    ran.fails(1, &["gave up after 10 failures and no success; the first: decoder", "no   here"]);
}
