//! Ten thousand items: time and memory beyond the forward passes.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::kad::Lab;

/// One token of the smallest model for each item.
const EXPERIMENT: &str = r#"
name = "many"
seed = 3

[models.draft]
source = "nano:draft"

[sampling]
max_new_tokens = 1

[[decoders]]
name = "draft"
kind = "single"
model = "draft"

[[tasks]]
kind = "jsonl"
file = "items.jsonl"
prompt = "{{ text }}"
format = "plain"
"#;

/// Runs the program and prints its processor time in seconds and its peak memory in bytes.
const MEASURED: &str = "
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
";

struct Measured {
    /// Processor time beyond the forward passes, in seconds.
    overhead: f64,
    peak_bytes: f64,
}

fn measured(lab: &Lab, items: usize) -> Option<Measured> {
    let out = lab.path().join(items.to_string());
    let mut python = Command::new("python3");
    python.args(["-c", MEASURED, env!("CARGO_BIN_EXE_kad"), "--quiet", "run"]);
    python.arg(lab.path().join("experiment.toml")).args(["--limit", &items.to_string()]);
    // On one thread, the wall-clock time of passes is at least their processor time.
    python.arg("--out").arg(&out).env("RAYON_NUM_THREADS", "1");
    let Ok(output) = python.output() else {
        eprintln!("SKIPPED: no python3");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut numbers = said.split_whitespace().map(|word| word.parse::<f64>().unwrap());
    let (processor, peak_bytes) = (numbers.next().unwrap(), numbers.next().unwrap());
    let overhead = processor - in_passes(&out.join("many"), items);
    Some(Measured { overhead, peak_bytes })
}

/// Time of the forward passes by the records, in seconds.
fn in_passes(runs: &Path, items: usize) -> f64 {
    let run = fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();
    let records = fs::read_to_string(run.join("records.jsonl")).unwrap();
    assert_eq!(records.lines().count(), items);
    let of = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["passes"]["draft"]["seconds"].as_f64().unwrap()
    };
    records.lines().map(of).sum()
}

/// Measured per item: 0.02 to 0.06 ms of processor time beyond the passes, and 1.1 kB of its record in
/// memory. Bounds: the required time; three times the measured memory.
#[test]
fn ten_thousand_items_cost_little_time_and_memory() {
    let lab = Lab::new(EXPERIMENT);
    let line = |i: usize| format!("{{\"text\": \"{} + {} =\"}}\n", i % 90, i % 7);
    let lines: String = (0..10_000).map(line).collect();
    fs::write(lab.path().join("items.jsonl"), lines).unwrap();
    let Some(few) = measured(&lab, 1_000) else { return };
    let many = measured(&lab, 10_000).unwrap();
    let milliseconds = 1e3 * (many.overhead - few.overhead) / 9_000.0;
    let bytes = (many.peak_bytes - few.peak_bytes) / 9_000.0;
    eprintln!("{milliseconds:.3} ms and {bytes:.0} bytes for an item");
    assert!(milliseconds < 1.0, "{milliseconds} ms for an item");
    assert!(bytes < 3_500.0, "{bytes} bytes for an item");
}
