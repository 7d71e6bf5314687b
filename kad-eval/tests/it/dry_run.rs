//! `kad run --dry-run`, remaining times, warnings, and sweeps that are too large.

use std::fs;
use std::io::{BufRead, BufReader};

use serde_json::Value;

#[cfg(unix)]
use crate::kad::interrupt;
use crate::kad::{Lab, Ran, Refusals, SMALL};

fn dry(lab: &Lab, extra: &[&str]) -> Value {
    let text = lab.run(&[&["--dry-run", "--json"], extra].concat()).succeeds();
    serde_json::from_str(&text).unwrap()
}

fn sum(value: &Value, key: &str) -> f64 {
    value["decoders"].as_array().unwrap().iter().map(|decoder| decoder[key].as_f64().unwrap()).sum()
}

#[test]
fn a_dry_run_shows_the_run_and_touches_nothing() {
    let lab = Lab::new(SMALL);
    let text = lab.run(&["--dry-run"]).succeeds();
    for word in [
        "does not exist yet",
        "nano:small-aligned",
        "candle",
        "KAD dual, threshold 0.5",
        "18 items × decoders left: ",
        "passes, all models: ",
        "memory: at most about",
        "minimum detectable difference on 6 items of nano/validation (80 % power, α = 0.05/2 for 2",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    let found = dry(&lab, &[]);
    assert!((found["power"][0]["level"].as_f64().unwrap() - 0.025).abs() < 1e-12);
    assert!(!lab.path().join("results").exists(), "nothing is made");
    assert_eq!((&found["items"], &found["done"]), (&18.into(), &0.into()));
    let bases = bases(&found);
    assert_eq!(bases, ["passes", "all-models", "all-models"]);
    assert!((sum(&found, "seconds_left") - found["seconds_left"].as_f64().unwrap()).abs() < 1e-9);
    assert!(found["seconds_left"].as_f64().unwrap() > 0.0);

    // The run has the run ID of the dry run.
    lab.run(&[]).succeeds();
    assert!(lab.results().ends_with(found["run_id"].as_str().unwrap()));
    let before = listing(&lab);
    let after = dry(&lab, &[]);
    assert_eq!((&after["done"], &after["seconds_left"]), (&18.into(), &0.0.into()));
    assert!(lab.run(&["--dry-run"]).succeeds().contains("nothing is left to do"));
    assert_eq!(listing(&lab), before, "a dry run of a run that is there leaves it alone");
}

fn listing(lab: &Lab) -> Vec<(String, std::time::SystemTime, u64)> {
    let entries = fs::read_dir(lab.results()).unwrap().map(Result::unwrap);
    let mut found: Vec<_> = entries
        .map(|entry| {
            let about = entry.metadata().unwrap();
            (entry.file_name().into_string().unwrap(), about.modified().unwrap(), about.len())
        })
        .collect();
    found.sort();
    found
}

/// The estimate is the mean time of the finished items, by their records.
#[test]
fn finished_items_give_the_estimate() {
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let records = fs::read_to_string(lab.shard_records("1-of-2")).unwrap();
    let records: Vec<Value> = records.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for (extra, done, items) in [(&[][..], 3, 6), (&["--shard", "2/2"], 0, 3)] {
        let found = dry(&lab, extra);
        for decoder in found["decoders"].as_array().unwrap() {
            assert_eq!(
                (&decoder["done"], &decoder["items"]),
                (&done.into(), &items.into()),
                "{decoder}"
            );
            assert_eq!(decoder["basis"], "items");
            let own = records.iter().filter(|record| record["decoder"] == decoder["decoder"]);
            let took: Vec<f64> = own.map(|record| record["seconds"].as_f64().unwrap()).collect();
            let mean = took.iter().sum::<f64>() / took.len() as f64;
            assert!((decoder["seconds_per_item"].as_f64().unwrap() - mean).abs() < 1e-9 * mean);
            let left = f64::from(items - done) * mean;
            assert!((decoder["seconds_left"].as_f64().unwrap() - left).abs() < 1e-9 * left);
        }
    }
    let finished = dry(&lab, &["--shard", "1/2"]);
    assert_eq!((&finished["done"], &finished["shard"]), (&9.into(), &"1/2".into()));
}

/// Every text reaches its limit, so that the estimate is of the work of the run. The bounds are wide
/// because the speed of a busy machine varies.
#[test]
fn estimated_times_are_of_the_right_size() {
    let toml = SMALL
        .replace("max_new_tokens = 40", "max_new_tokens = 64\nstop_at_end = false")
        .replace("items = 6", "items = 12");
    let lab = Lab::new(&toml);
    let estimated = dry(&lab, &[]);
    lab.run(&[]).succeeds();
    let records = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let took: f64 = records
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["decoder"] == "aligned alone")
        .map(|record| record["seconds"].as_f64().unwrap())
        .sum();
    let said = estimated["decoders"][0]["seconds_left"].as_f64().unwrap();
    assert!(said / took > 0.2 && said / took < 5.0, "estimated {said}, took {took}");
}

/// KV caches of two nano models by hand, in `f32`; every job has its own.
#[test]
fn memory_is_the_sum_of_models_and_caches() {
    let lab = Lab::new(SMALL);
    let one = dry(&lab, &[])["memory"].clone();
    let three = dry(&lab, &["--jobs", "3"])["memory"].clone();
    let of = |memory: &Value, key: &str| memory[key].as_u64().unwrap();
    let peak = |memory: &Value, jobs: u64| {
        of(memory, "resident_bytes")
            + (jobs - 1) * of(memory, "models_bytes")
            + jobs * of(memory, "caches_bytes")
    };
    assert_eq!(of(&one, "peak_bytes"), peak(&one, 1));
    assert_eq!(of(&three, "peak_bytes"), peak(&three, 3));
    let found = dry(&lab, &[]);
    let per_token: u64 = ["base", "aligned"]
        .iter()
        .map(|model| found["models"][model]["cache_bytes_per_token"].as_u64().unwrap())
        .sum();
    let config = |name: &str| -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/nano/models");
        let text = fs::read_to_string(format!("{folder}/{name}/config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let by_hand = |name: &str| {
        let config = config(name);
        let number = |key: &str| config[key].as_u64().unwrap();
        let head = number("hidden_size") / number("num_attention_heads");
        2 * 4 * number("num_hidden_layers") * number("num_key_value_heads") * head
    };
    assert_eq!(per_token, by_hand("small-base") + by_hand("small-aligned"));
    let longest = of(&one, "longest_text");
    assert_eq!(of(&one, "caches_bytes"), longest * per_token);
    lab.run(&[]).succeeds();
    let records = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let prompts = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let prompts = prompts.map(|record| record["prompt_tokens"].as_u64().unwrap());
    assert_eq!(longest, prompts.max().unwrap() + 40, "the longest prompt and 40 new tokens");
}

/// Chains are estimated as their target alone, scores by their known tokens.
#[test]
fn the_basis_of_an_estimate_is_named() {
    let chain = "[[decoders]]\nname = \"chain\"\nkind = \"chain\"\ntarget = \"aligned\"\n\
                 levels = [{ draft = \"base\", length = 3 }]\n\n[[tasks]]";
    let text = "[[tasks]]\nkind = \"perplexity\"\nfile = \"experiment.toml\"\n";
    let lab = Lab::new(&(SMALL.replace("[[tasks]]", chain) + text));
    let found = dry(&lab, &[]);
    let bases = bases(&found);
    assert_eq!(bases[..4], ["passes", "all-models", "all-models", "target-alone"]);
    assert_eq!(bases[4..], ["scored"; 4]);
    let text = lab.run(&["--dry-run", "--limit", "1"]).succeeds();
    assert!(text.contains("as if the target decoded alone"), "{text}");
}

#[test]
fn a_dry_run_refuses_invalid_requests() {
    let refusals = Refusals::new();
    let with = |from: &str, to: &str| Lab::changed(SMALL, from, to).run(&["--dry-run"]);
    with("nano:small-base", "no/such/model").refused(2, &refusals);
    with("kind = \"nano\"", "kind = \"gsm8k\"").refused(2, &refusals);
    let lab = Lab::new(SMALL);
    lab.run(&["--dry-run", "--shard", "3/2"]).refused(2, &refusals);
    // Records of another plan are found before decoding.
    lab.run(&[]).succeeds();
    let path = lab.results().join("records.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("validation-0000", "validation-9999", 1)).unwrap();
    lab.run(&["--dry-run"]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_dry_run_with_nothing_written() {
    // The oracle in f64 with long texts: timing its passes takes long enough to be interrupted.
    let slow = "source = \"nano:large-base\"\nbackend = \"naive\"";
    let toml = SMALL
        .replace("source = \"nano:small-base\"", slow)
        .replace("max_new_tokens = 40", "max_new_tokens = 4000");
    let lab = Lab::new(&toml);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(lab.args())
        .arg("--dry-run")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let line = first_line(&mut child, "timing passes");
    assert_eq!(line.as_deref(), Some("timing passes of 2 sets of models"));
    interrupt(&child);
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(!lab.path().join("results").exists());
}

/// The basis of each estimate.
fn bases(found: &Value) -> Vec<&str> {
    found["decoders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decoder| decoder["basis"].as_str().unwrap())
        .collect()
}

/// The first line on stderr with these words.
fn first_line(child: &mut std::process::Child, words: &str) -> Option<String> {
    let stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.lines().map(Result::unwrap).find(|line| line.contains(words))
}

/// A run longer than a minute prints its remaining time after its first items.
#[test]
fn only_a_long_run_prints_its_remaining_time() {
    let short = Lab::new(SMALL).run(&[]);
    assert!(!short.stderr.contains("decoders left"), "{}", short.stderr);
    short.succeeds();
    // The oracle in f64 with texts of full length takes minutes; the test waits for the first items.
    let toml = SMALL
        .replace("items = 6", "items = 600")
        .replace(
            "source = \"nano:small-base\"",
            "source = \"nano:large-base\"\nbackend = \"naive\"",
        )
        .replace("max_new_tokens = 40", "max_new_tokens = 100\nstop_at_end = false");
    let lab = Lab::new(&toml);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(lab.args())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let line = first_line(&mut child, " left: ");
    child.kill().unwrap();
    child.wait().unwrap();
    let line = line.unwrap();
    for word in
        ["1797 items × decoders left: about", "at most about", "memory", "--dry-run", "--shard"]
    {
        assert!(line.contains(word), "{word:?} is not in: {line}");
    }
    let records = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    assert!(records.lines().count() >= 3, "an item of every decoder");
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).collect()
}

#[test]
fn warnings_stand_together_at_the_end_and_in_the_summary() {
    let toml = SMALL.replace("max_new_tokens = 40", "max_new_tokens = 2");
    let lab = Lab::new(&toml);
    let ran = lab.run(&[]);
    let said: Vec<String> = warnings(&ran).into_iter().map(str::to_owned).collect();
    assert!(said.iter().any(|line| line.contains("texts cut off at `max_new_tokens`")), "{said:?}");
    assert!(said.iter().any(|line| line.contains("can read: 6 of 6")));
    let last = ran.stderr.lines().last().unwrap();
    assert!(last.starts_with("warning: "), "a block at the end: {}", ran.stderr);
    let summary = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(summary["warnings"], serde_json::to_value(&said).unwrap());
    let quiet = lab.run(&["--quiet"]);
    assert_eq!(warnings(&quiet), said, "warnings are never dropped");
    assert_eq!(quiet.stderr.lines().count(), said.len(), "nothing else is said");
}

#[test]
fn the_closing_summary_is_json_on_request() {
    let lab = Lab::new(SMALL);
    let part: Value =
        serde_json::from_str(&lab.run(&["--json", "--shard", "2/2"]).succeeds()).unwrap();
    assert_eq!(
        (&part["done"], &part["items"], &part["shard"]),
        (&9.into(), &9.into(), &"2/2".into())
    );
    let whole: Value = serde_json::from_str(&lab.run(&["--json"]).succeeds()).unwrap();
    assert_eq!((&whole["new_items"], &whole["done"]), (&9.into(), &18.into()));
    assert_eq!(whole["folder"], lab.results().to_str().unwrap());
    let summary = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    for (key, value) in summary.as_object().unwrap() {
        assert_eq!(&whole[key], value, "{key}");
    }
}

#[test]
fn a_very_large_sweep_is_refused_without_yes() {
    let refusals = Refusals::new();
    let values: Vec<String> = (0..1000).map(|i| format!("0.{i:03}")).collect();
    let toml = SMALL.replace("[0.2, 0.5]", &format!("[{}]", values.join(", ")));
    let lab = Lab::new(&toml);
    lab.run(&[]).names(&["1001", "6006"]).refused(2, &refusals);
    lab.run(&["--limit", "1"]).names(&["1001 results"]).refused(2, &refusals);
    assert_eq!(dry(&lab, &["--limit", "1"])["items"], 1001);
    // A typing error is found before it takes memory.
    let values: Vec<String> = (1..=400_000).map(|i| format!("{i}e-7")).collect();
    let toml = SMALL.replace("[0.2, 0.5]", &format!("[{}]", values.join(", ")));
    Lab::new(&toml).run(&["--yes"]).names(&["400000"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn yes_lets_a_large_sweep_run() {
    let values: Vec<String> = (0..1000).map(|i| format!("0.{i:03}")).collect();
    let toml = SMALL
        .replace("[0.2, 0.5]", &format!("[{}]", values.join(", ")))
        .replace("max_new_tokens = 40", "max_new_tokens = 1")
        .replace("items = 6", "items = 1");
    let lab = Lab::new(&toml);
    lab.run(&["--yes", "--shard", "1/1"]).succeeds();
    let records = fs::read_to_string(lab.shard_records("1-of-1")).unwrap();
    assert_eq!(records.lines().count(), 1001);
}
