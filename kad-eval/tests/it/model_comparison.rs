//! Comparison of models: optional models, pass times, agreement of logits and texts.

use std::fs;

use kad_backends::Backend;
use serde_json::Value;

use crate::kad::{Lab, Ran, Refusals, kad};

/// One model twice, another model, and a missing one.
const MODELS: &str = r#"
name = "models"
seed = 3
baseline = "slow"

[models.slow]
source = "nano:draft"
backend = "naive"

[models.fast]
source = "nano:draft"

[models.other]
source = "nano:small-base"

[models.absent]
source = "no/such/model"
optional = true

[passes]
widths = [1, 4]
context = 16
rounds = 1

[sampling]
temperature = 0
max_new_tokens = 24
stop_at_end = false

[[decoders]]
name = "slow"
kind = "single"
model = "slow"

[[decoders]]
name = "fast"
kind = "single"
model = "fast"

[[decoders]]
name = "other"
kind = "single"
model = "other"

[[decoders]]
name = "absent"
kind = "single"
model = "absent"

[[decoders]]
name = "chain"
kind = "chain"
target = "fast"
levels = [{ draft = "absent", length = 2 }]

[[tasks]]
kind = "nano"
items = 4
"#;

fn changed(from: &str, to: &str) -> Lab {
    Lab::changed(MODELS, from, to)
}

fn run(from: &str, to: &str) -> Ran {
    changed(from, to).run(&[])
}

fn file(lab: &Lab, name: &str) -> String {
    fs::read_to_string(lab.results().join(name)).unwrap()
}

fn json(lab: &Lab, name: &str) -> Value {
    serde_json::from_str(&file(lab, name)).unwrap()
}

/// A backend that is not compiled in, if there is one.
fn not_compiled() -> Option<&'static str> {
    let all = ["candle", "burn", "tch", "ort"];
    all.into_iter().find(|name| Backend::compiled().all(|backend| backend.name() != *name))
}

#[test]
fn a_missing_optional_model_is_left_out_with_warnings() {
    let lab = Lab::new(MODELS);
    let ran = lab.run(&[]);
    let warning = "decoders `absent`, `chain` are left out: they need model `absent`: cannot load \
                   model `absent` from no/such/model: model files not found at no/such/model: give a \
                   folder with config.json";
    assert_eq!(ran.stderr.matches(warning).count(), 2, "{}", ran.stderr);
    ran.succeeds();
    for name in ["report.html", "models.md"] {
        assert!(file(&lab, name).contains("are left out: they need model"), "{name}");
    }
    let summary = json(&lab, "summary.json");
    assert_eq!(summary["results"].as_array().unwrap().len(), 3);
    assert_eq!(summary["left_out"].as_array().unwrap().len(), 1);
    assert!(json(&lab, "plan.json")["models"].get("absent").is_none());
}

#[test]
fn a_model_is_required_unless_it_is_optional() {
    let refusals = Refusals::new();
    run("optional = true", "optional = false").refused(2, &refusals);
    run("optional = true", "").refused(2, &refusals);
    run("optional = true", "optional = 1").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
    // The message depends on the backends of the build.
    let Some(backend) = not_compiled() else { return };
    let word = format!("rebuild with --features {backend}");
    let of = |optional| format!("source = \"nano:draft\"\nbackend = \"{backend}\"\n{optional}");
    let absent = "source = \"no/such/model\"\noptional = true";
    run(absent, &of("")).fails(2, &[&word]);
    let ran = run(absent, &of("optional = true"));
    assert_eq!(ran.stderr.matches(&word).count(), 2, "{}", ran.stderr);
    ran.succeeds();
}

/// An optional model may be missing, but not invalid.
#[test]
fn an_invalid_optional_model_is_refused() {
    let refusals = Refusals::new();
    run("no/such/model", "nano:darft").refused(2, &refusals);
    run("no/such/model", "hf:nobody").refused(2, &refusals);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{").unwrap();
    run("no/such/model", folder.path().to_str().unwrap()).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn the_run_fails_without_its_baseline_or_without_any_decoder() {
    let refusals = Refusals::new();
    run("baseline = \"slow\"", "baseline = \"chain\"").refused(2, &refusals);
    let lonely = MODELS.split("[[decoders]]").filter(|part| {
        ["\"slow\"\nkind", "\"fast\"\nkind", "\"other\"\nkind"]
            .iter()
            .all(|name| !part.contains(name))
    });
    let lonely = lonely.collect::<Vec<_>>().join("[[decoders]]");
    Lab::new(&lonely.replace("baseline = \"slow\"", "")).run(&[]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn an_early_exit_of_a_missing_model_is_missing() {
    let exit = "optional = true\n\n[models.first]\nearly_exit_of = \"absent\"\nlayers = 1\n";
    let toml = MODELS
        .replace("optional = true\n", exit)
        .replace("draft = \"absent\"", "draft = \"first\"");
    let lab = Lab::new(&toml);
    let ran = lab.run(&[]);
    assert!(
        ran.stderr.contains("decoder `chain` is left out: it needs model `first`"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("it is made of `absent`"), "{}", ran.stderr);
    ran.succeeds();
}

#[test]
fn profiles_and_benchmarks_leave_out_missing_models() {
    let refusals = Refusals::new();
    let lab = Lab::new(MODELS);
    let path = |name: &str| lab.path().join(name).to_str().unwrap().to_owned();
    let (toml, profile) = (path("experiment.toml"), path("profile.json"));
    let little = ["--prompts", "2", "--tokens", "8"];
    let options = ["--rounds", "1", "--draft-length", "2", "--out", &profile];
    let ran = kad(&[&["profile", &toml], &little[..], &options].concat());
    assert!(ran.stderr.contains("left out"), "{}", ran.stderr);
    ran.succeeds();
    let measured: Value = serde_json::from_str(&fs::read_to_string(&profile).unwrap()).unwrap();
    let names =
        measured["candidates"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&"fast") && !names.contains(&"absent"), "{names:?}");
    let bench = ["bench", &toml, "--reps", "1", "--decoders"];
    let ran = kad(&[&bench[..], &["slow,fast"], &little].concat());
    assert!(!ran.stderr.contains("left out"), "no missing model was requested: {}", ran.stderr);
    assert!(ran.succeeds().contains("fast"));
    kad(&[&bench[..], &["slow,absent"], &little].concat()).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn passes_are_measured_and_logits_and_texts_compared() {
    let lab = Lab::new(MODELS);
    let table = lab.run(&[]).succeeds();
    assert!(table.contains("comparison of models: passes after 16 tokens, 1 round"), "{table}");
    let passes = json(&lab, "passes.json");
    assert_eq!(passes["widths"], serde_json::json!([1, 4]));
    for name in ["fast", "other", "slow"] {
        let model = &passes["models"][name];
        let times = model["passes"].as_array().unwrap();
        assert_eq!(times.len(), 2);
        assert!(times.iter().all(|time| time["seconds"].as_f64().unwrap() > 0.0), "{model}");
        assert!(model["load_seconds"].as_f64().unwrap() > 0.0, "{model}");
        assert!(model["weight_bytes"].as_u64().unwrap() > 100_000, "{model}");
        assert_eq!(model["resident_bytes"].is_u64(), cfg!(target_os = "linux"), "{model}");
    }
    let (fast, other) = (&passes["agreement"]["fast"], &passes["agreement"]["other"]);
    assert!(passes["agreement"].get("slow").is_none(), "the reference is compared with nothing");
    assert_eq!((&fast["reference"], &other["reference"]), (&"slow".into(), &"slow".into()));
    let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
    // The same weights in f32 and f64: measured 6.7e-6.
    assert!((1e-9..3e-5).contains(&number(fast, "worst")), "{fast}");
    assert_eq!(number(fast, "same_top"), 1.0);
    // Measured: a worst difference of 13, 64 % equal best tokens, gaps from 7 to 8.
    assert!(number(other, "worst") > 1.0 && number(other, "same_top") < 0.9, "{other}");
    let summary = json(&lab, "summary.json");
    let rows = summary["model_comparison"]["rows"].as_array().unwrap();
    let texts = |row: usize| &rows[row]["texts"];
    assert_eq!((&rows[0]["decoder"], texts(0)), (&"slow".into(), &Value::Null));
    assert_eq!((&texts(1)["equal"], &texts(1)["of"]), (&4.into(), &4.into()));
    assert!(texts(2)["equal"].as_u64().unwrap() < 4, "{}", rows[2]);
    let gap = |which: &str| texts(2)["gaps"][which].as_f64().unwrap();
    assert!(0.0 < gap("smallest") && gap("smallest") <= gap("largest"), "{}", rows[2]);
    let page = file(&lab, "report.html").replace("&#x2f;", "/");
    for page in [&page, &file(&lab, "models.md"), &table] {
        for part in ["T(4)/T(1)", "4 of 4", "reference", "same best token 100.0 %"] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}

/// The key `stop_at_end = false`.
#[test]
fn texts_continue_beyond_end_tokens_on_request() {
    let toml =
        MODELS.replace("nano:draft", "nano:small-aligned").replace("tokens = 24", "tokens = 60");
    let stops = |toml: &str| {
        let lab = Lab::new(toml);
        lab.run(&[]).succeeds();
        let records = file(&lab, "records.jsonl");
        let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of = |record: Value| {
            let tokens = record["tokens"].as_array().unwrap().len() as u64;
            assert_eq!(Some(tokens), record["new_tokens"].as_u64());
            (record["stop"].as_str().unwrap().to_owned(), tokens)
        };
        records.map(of).collect::<Vec<_>>()
    };
    let on = stops(&toml);
    assert!(on.iter().all(|(stop, tokens)| stop == "max_tokens" && *tokens == 60), "{on:?}");
    let ended = stops(&toml.replace("stop_at_end = false", ""));
    assert!(ended.iter().any(|(stop, tokens)| stop == "eos" && *tokens < 60), "{ended:?}");
}

#[test]
fn kept_measurements_are_reused_and_missing_ones_made() {
    let refusals = Refusals::new();
    let lab = Lab::new(MODELS);
    lab.run(&[]).succeeds();
    let kept = file(&lab, "passes.json");
    let again = lab.run(&[]);
    assert!(again.stderr.contains("already complete"), "{}", again.stderr);
    assert_eq!(file(&lab, "passes.json"), kept);
    // State of a run that was killed between the two measurements.
    let mut half: Value = serde_json::from_str(&kept).unwrap();
    half["agreement"] = Value::Null;
    let path = lab.results().join("passes.json");
    fs::write(&path, half.to_string()).unwrap();
    lab.run(&[]).succeeds();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), json(&lab, "passes.json"));
    for (from, to) in [("\"rounds\"", "\"turns\""), ("\"context\": 16", "\"context\": 17")] {
        fs::write(&path, kept.replace(from, to)).unwrap();
        lab.run(&[]).with_change(from, to).refused(1, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn invalid_values_of_passes_are_shown_at_their_place() {
    let refusals = Refusals::new();
    for widths in ["[2, 4]", "[1, 1]", "[1, 4, 2]", "[]", "[0, 1]", "4"] {
        run("widths = [1, 4]", &format!("widths = {widths}")).refused(2, &refusals);
    }
    run("context = 16", "context = 0").refused(2, &refusals);
    run("rounds = 1", "rounds = 0").refused(2, &refusals);
    run("rounds = 1", "round = 1").refused(2, &refusals);
    run("context = 16", "context = 252").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}
