//! `kad profile`, `kad bench` and `levels = "plan"` on the small models.

use serde_json::Value;

use crate::kad::{Lab, Refusals, kad};

/// Three models, a deferral rule, and chains with a draft and with a token tree.
const SPEED: &str = r#"
name = "speed"
seed = 3

[models.large]
source = "nano:large-base"

[models.aligned]
source = "nano:small-aligned"

[models.draft]
source = "nano:draft"

[sampling]
temperature = 0.7
max_new_tokens = 40

[[decoders]]
name = "plain"
kind = "single"
model = "large"

[[decoders]]
name = "mixture"
kind = "deferral"
base = "large"
aligned = "aligned"
rule = { kind = "kad-dual", threshold = [0.2, 0.5] }

[[decoders]]
name = "drafted"
kind = "chain"
target = "large"
levels = [{ draft = "draft", length = 3 }]

[[decoders]]
name = "grown"
kind = "chain"
target = "large"
levels = [{ draft = "draft", tree = { top_k = 2, depth = 2, nodes = 4 } }]

[[tasks]]
kind = "nano"
items = 6
"#;

/// Arguments of the smallest profile.
const LITTLE: [&str; 8] =
    ["--prompts", "2", "--tokens", "8", "--rounds", "2", "--draft-length", "4"];

struct SpeedLab {
    lab: Lab,
}

impl SpeedLab {
    fn new(toml: &str) -> Self {
        Self { lab: Lab::new(toml) }
    }

    fn file(&self) -> String {
        self.lab.path().join("experiment.toml").to_str().unwrap().to_owned()
    }

    fn out(&self) -> String {
        self.lab.path().join("profile.json").to_str().unwrap().to_owned()
    }

    fn profile(&self, extra: &[&str]) -> Value {
        let (file, out) = (self.file(), self.out());
        kad(&[&["profile", &file, "--out", &out], &LITTLE[..], extra].concat()).succeeds();
        serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap()
    }
}

/// A profile is measured, chains are planned from it, and decoders are benchmarked against its
/// predictions.
#[test]
fn a_benchmark_is_compared_with_its_profile() {
    let bench = SpeedLab::new(SPEED);
    let profile = bench.profile(&["--models", "large, draft, mixture, threshold 0.5"]);
    check(&profile);
    let (file, out) = (bench.file(), bench.out());

    let plan = kad(&["plan", &out, "--target", "large", "--json"]).succeeds();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["plain"]["members"], serde_json::json!(["large"]));

    let little = ["--prompts", "2", "--tokens", "8", "--reps", "2"];
    let common = ["bench", &file, "--profile", &out];
    let found = kad(&[&common, &little[..], &["--target", "large", "--json"]].concat()).succeeds();
    let found: Value = serde_json::from_str(&found).unwrap();
    let decoders = found["decoders"].as_array().unwrap();
    assert_eq!((decoders.len(), decoders[0]["name"].as_str()), (3, Some("large, plain")));
    for decoder in decoders {
        let number = |key: &str| decoder[key].as_f64().unwrap();
        let ratio = decoder["predicted_over_measured"]["value"].as_f64().unwrap();
        let predicted = decoder["predicted"]["milliseconds_per_token"].as_f64().unwrap();
        assert!((ratio - predicted / number("milliseconds_per_token")).abs() < 1e-9, "{decoder}");
        assert!((0.0..100.0).contains(&number("overhead_percent")), "{decoder}");
        let passes = decoder["passes_per_token"]["large"].as_f64().unwrap();
        assert!(passes > 0.0 && passes <= 1.0, "{decoder}");
        assert_eq!(decoder["texts"].as_array().unwrap().len(), 2, "{decoder}");
    }
    assert!(decoders[0]["speedup"].is_null() && decoders[1]["speedup"]["value"].is_number());

    let named = ["--decoders", "drafted,mixture, threshold 0.5", "--markdown"];
    let table = kad(&[&common, &little[..], &named].concat()).succeeds();
    // A chain of `large` is compared with the mixture: its speed says nothing about plain decoding.
    for word in
        ["| drafted", "another distribution", "after the 2 of the profile", "baseline", "predicted"]
    {
        assert!(table.contains(word), "{word} is not in {table}");
    }
}

/// A token tree of the experiment is measured, planned with and predicted.
#[test]
fn trees_are_candidates() {
    let bench = SpeedLab::new(SPEED);
    let profile = bench.profile(&[]);
    assert_eq!(profile["target"], "large");
    let name = "draft, tree of 4, top 2, depth 2";
    let found = profile["candidates"].as_array().unwrap().iter().find(|c| c["name"] == name);
    let cost = &found.unwrap()["cost"];
    assert_eq!((cost["kind"].as_str(), cost["depth"].as_u64()), (Some("tree"), Some(2)));
    assert_eq!(cost["nodes"].as_f64(), Some(4.0));
    assert!(cost["draft_seconds"].as_f64().unwrap() > 0.0);
    let pairs = profile["pairs"].as_array().unwrap();
    let pair = pairs.iter().find(|p| p["drafter"] == name && p["verifier"] == "large").unwrap();
    let counts = pair["runs"]["counts"].as_array().unwrap();
    // All rounds are of depth 2.
    assert!(counts.len() == 3 && counts[..2].iter().all(|row| row.as_array().unwrap().is_empty()));

    let (file, out) = (bench.file(), bench.out());
    let plan = kad(&["plan", &out, "--chains", "40", "--json"]).succeeds();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["target"], "large");
    let with_tree = |chain: &&Value| chain["members"].as_array().unwrap().contains(&name.into());
    let chains = plan["chains"].as_array().unwrap();
    assert!(chains.iter().any(|chain| with_tree(&chain)), "{plan}");

    let little = ["--prompts", "2", "--tokens", "8", "--reps", "1", "--json"];
    let named = ["bench", &file, "--profile", &out, "--decoders", "grown,drafted"];
    let found = kad(&[&named[..], &little[..]].concat()).succeeds();
    let found: Value = serde_json::from_str(&found).unwrap();
    let grown =
        found["decoders"].as_array().unwrap().iter().find(|decoder| decoder["name"] == "grown");
    assert_eq!(grown.unwrap()["predicted"]["members"], serde_json::json!(["large", name]));
}

/// Conditions, settings, and three distributions with two lookups and a tree.
fn check(profile: &Value) {
    assert_eq!(
        (profile["version"].as_u64(), profile["experiment"].as_str()),
        (Some(4), Some("speed"))
    );
    let models = profile["conditions"]["models"].as_object().unwrap();
    assert!(models.keys().eq(["aligned", "draft", "large"]), "{models:?}");
    assert_eq!(models["draft"]["backend"], "candle");
    assert_eq!(profile["settings"]["rounds"], 2);
    let names: Vec<_> = profile["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    let distributions = ["draft", "large", "mixture, threshold 0.5", "n-gram", "suffix-automaton"];
    assert_eq!(names[..5], distributions);
    assert_eq!(names[5..], ["draft, tree of 4, top 2, depth 2"]);
    for distribution in &profile["candidates"].as_array().unwrap()[..3] {
        let cells = distribution["cost"]["times"]["cells"].as_array().unwrap();
        let seconds = cells.iter().flat_map(|row| row.as_array().unwrap());
        assert!(
            seconds.clone().all(|cell| cell["seconds"].as_f64().unwrap() > 0.0),
            "{distribution}"
        );
        assert!(seconds.count() >= 18, "two contexts, nine widths");
    }
    let pairs = profile["pairs"].as_array().unwrap();
    let pair = |verifier: &str, drafter: &str| {
        pairs.iter().find(|p| p["verifier"] == verifier && p["drafter"] == drafter)
    };
    // The draft model is the smallest by far; a lookup may draft for everything.
    for (verifier, drafter) in [("large", "draft"), ("mixture, threshold 0.5", "draft")] {
        let runs = &pair(verifier, drafter).unwrap()["runs"]["counts"];
        let rounds: u64 = runs
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap())
            .map(|count| count.as_u64().unwrap())
            .sum();
        // Two texts of eight tokens, up to five a round.
        assert!((4..=16).contains(&rounds), "{rounds} rounds");
    }
    assert!(pair("draft", "large").is_none(), "a slower model drafts for nobody");
    check_texts(profile);
    assert!(pair("draft", "n-gram").is_some());
}

/// Both texts of the baseline's distribution, with probabilities and drafts of every candidate at
/// every token.
fn check_texts(profile: &Value) {
    assert_eq!(profile["texts"]["target"], "large");
    let traces = profile["texts"]["traces"].as_array().unwrap();
    assert_eq!(traces.len(), 2);
    for trace in traces {
        let tokens = trace["tokens"].as_u64().unwrap() as usize;
        assert!((1..=8).contains(&tokens) && (tokens == 8 || trace["ended"] == true), "{trace}");
        assert!(trace["prompt"].as_u64().unwrap() > 1, "{trace}");
        let distributions = trace["distributions"].as_object().unwrap();
        assert!(distributions.keys().eq(["draft", "large", "mixture, threshold 0.5"]), "{trace}");
        for along in distributions.values() {
            let along: Vec<f64> =
                along.as_array().unwrap().iter().map(|log| log.as_f64().unwrap()).collect();
            assert_eq!(along.len(), tokens);
            assert!(along.iter().all(|log| (-1000.0..=0.0).contains(log)), "{along:?}");
        }
        // Its own tokens have no tiny probability.
        let own = distributions["large"].as_array().unwrap();
        assert!(own.iter().all(|log| log.as_f64().unwrap() > -30.0), "{own:?}");
        let drafts = trace["drafts"].as_object().unwrap();
        let names = ["draft, tree of 4, top 2, depth 2", "n-gram", "suffix-automaton"];
        assert!(drafts.keys().eq(names), "{trace}");
        let tree = &drafts[names[0]];
        assert_eq!(tree["proposed"].as_array().unwrap().len(), tokens);
        assert!(tree["proposed"].as_array().unwrap().iter().all(|depth| *depth == 2));
    }
}

/// Times for which drafting pays on any machine: a pass of the target takes 1 ms at any width,
/// everything else nearly nothing.
fn invent_times(profile: &mut Value) {
    let candidates = profile["candidates"].as_array_mut().unwrap();
    for candidate in
        candidates.iter_mut().filter(|candidate| candidate["cost"]["kind"] == "distribution")
    {
        let seconds = if candidate["name"] == "large" { 1e-3 } else { 1e-9 };
        let cost = &mut candidate["cost"];
        let widths = cost["times"]["cells"].as_array_mut().unwrap().iter_mut();
        for cell in widths.flat_map(|cells| cells.as_array_mut().unwrap()) {
            cell["seconds"] = seconds.into();
        }
        cost["distribution"]["seconds"] = 1e-9.into();
        cost["token_overhead"] = 1e-9.into();
    }
    for pair in profile["pairs"].as_array_mut().unwrap() {
        pair["round_overhead"] = serde_json::json!({ "round": 1e-9, "token": 1e-9 });
    }
}

/// A profile plans `levels = "plan"`, and is refused once its conditions or tasks differ.
#[test]
fn planned_levels_need_a_compatible_profile() {
    let refusals = Refusals::new();
    let toml = SPEED.replace(
        "levels = [{ draft = \"draft\", length = 3 }]",
        "levels = \"plan\"\nprofile = \"profile.json\"\ncandidates = [\"draft\"]",
    );
    let bench = SpeedLab::new(&toml);
    bench.lab.run(&["--limit", "1"]).refused(2, &refusals);
    let mut profile = bench.profile(&["--models", "large,draft"]);
    invent_times(&mut profile);
    let write = |profile: &Value| std::fs::write(bench.out(), profile.to_string()).unwrap();
    write(&profile);
    let dry = bench.lab.run(&["--limit", "1", "--dry-run", "--json"]).succeeds();
    let dry: Value = serde_json::from_str(&dry).unwrap();
    let drafted =
        dry["decoders"].as_array().unwrap().iter().find(|decoder| decoder["decoder"] == "drafted");
    assert_eq!(drafted.unwrap()["basis"], "profile", "{dry}");
    bench.lab.run(&["--limit", "1"]).succeeds();
    let plan = std::fs::read_to_string(bench.lab.results().join("plan.json")).unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let chain = plan["decoders"].as_array().unwrap().iter().find(|d| d["name"] == "drafted");
    // A planned chain adapts: the plan has its initial lengths.
    let levels = &chain.unwrap()["levels"];
    assert_eq!(chain.unwrap()["adapting"], true);
    assert_eq!(levels.as_array().unwrap().len(), 1, "{levels}");
    assert!(levels[0]["length"].as_u64().unwrap() >= 1, "{levels}");

    let threads = profile["conditions"]["machine"]["threads"].take();
    profile["conditions"]["machine"]["threads"] = 99.into();
    write(&profile);
    let words = ["threads: 99 then", "kad profile", "profile.json"];
    // The message names the threads of this machine.
    bench.lab.run(&["--limit", "1"]).fails(2, &words);
    let file = bench.file();
    let out = bench.out();
    kad(&["bench", &file, "--profile", &out, "--reps", "1"])
        .fails(2, &[&words[..], &["experiment.toml"]].concat());

    profile["conditions"]["machine"]["threads"] = threads;
    profile["settings"]["tasks"] = serde_json::json!(["gsm8k"]);
    write(&profile);
    bench.lab.run(&["--limit", "1"]).refused(2, &refusals);
    kad(&["bench", &file, "--profile", &out, "--reps", "1"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn mistakes_in_measurements_are_refused_with_a_reason() {
    let refusals = Refusals::new();
    let bench = SpeedLab::new(SPEED);
    let (file, out) = (bench.file(), bench.out());
    let profile = ["profile", &file, "--out", &out];
    kad(&[&profile[..], &["--models", "lrge"]].concat()).refused(2, &refusals);
    kad(&["profile", &file, "--out", "nowhere/profile.json"]).refused(2, &refusals);
    let folder = bench.lab.path().to_str().unwrap();
    kad(&["profile", &file, "--out", folder]).refused(2, &refusals);
    kad(&["bench", &file, "--decoders", "plain", "--html", folder]).refused(2, &refusals);
    kad(&[&profile[..], &["--prompts", "0"]].concat()).refused(2, &refusals);
    kad(&["bench", &file]).refused(2, &refusals);
    kad(&["bench", &file, "--decoders", "plan"]).refused(2, &refusals);

    let empty = SpeedLab::new(&SPEED.replace("kind = \"nano\"\nitems = 6", "kind = \"gsm8k\""));
    let data = empty.lab.path().join("gsm8k");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("test.jsonl"), "").unwrap();
    let data = empty.lab.path().to_str().unwrap();
    let (file, out) = (empty.file(), empty.out());
    kad(&["profile", &file, "--out", &out, "--data", data]).refused(1, &refusals);
    assert!(!std::path::Path::new(&out).exists(), "no half a profile");
    insta::assert_snapshot!(refusals);
}

/// Ctrl-C during a measurement: exit code 130, and no file but the experiment.
#[cfg(unix)]
#[test]
fn an_interrupted_profile_writes_nothing() {
    use std::io::{BufRead, BufReader};
    let bench = SpeedLab::new(SPEED);
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kad"))
        .args(["profile", &bench.file(), "--out", &bench.out(), "--rounds", "1000000"])
        .env_remove("KAD_NANO")
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let mut lines = stderr.lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("rounds of passes")), "the measurement has begun");
    crate::kad::interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(lines.any(|line| line.contains("interrupted: no profile was written")));
    let left = std::fs::read_dir(bench.lab.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.eq(["experiment.toml"]));
}
