//! Chains in experiment files: mistakes with their place in the file, and the records of a run.

use std::fs;

use serde_json::Value;

use crate::kad::{Lab, Ran, Refusals, kad};

/// A small, valid experiment with chains; each test breaks it in one place.
const CHAINS: &str = r#"
name = "chains"
seed = 3

[models.base]
source = "nano:small-base"

[models.aligned]
source = "nano:small-aligned"

[models.draft]
source = "nano:draft"

[models.first]
early_exit_of = "base"
layers = 1

[sampling]
temperature = 0.7
max_new_tokens = 24

[[decoders]]
name = "three"
kind = "chain"
target = "dual"
levels = [
    { draft = "aligned", length = 4 },
    { draft = "draft", length = 2 },
]

[[decoders]]
name = "dual"
kind = "deferral"
base = "base"
aligned = "aligned"
rule = { kind = "kad-dual", threshold = 0.4 }

[[decoders]]
name = "two"
kind = "chain"
target = "base"
levels = [ { draft = "first", length = [2, 3] } ]

[[tasks]]
kind = "nano"
items = 3
"#;

fn broken(from: &str, to: &str) -> Ran {
    Lab::changed(CHAINS, from, to).run(&[])
}

const LOWEST: &str = "{ draft = \"draft\", length = 2 }";

fn lowest(to: &str) -> Ran {
    broken(LOWEST, &format!("{{ {to} }}"))
}

#[test]
fn unknown_drafts_and_targets_are_refused_with_the_nearest_name() {
    let refusals = Refusals::new();
    broken("draft = \"aligned\"", "draft = \"alined\"").refused(2, &refusals);
    broken("target = \"dual\"", "target = \"duel\"").refused(2, &refusals);
    broken("early_exit_of = \"base\"", "early_exit_of = \"bass\"").refused(2, &refusals);
    let two_distributions = CHAINS
        .replace("name = \"dual\"", "name = \"aligned\"")
        .replace("target = \"dual\"", "target = \"aligned\"");
    let ran = Lab::new(&two_distributions).run(&[]);
    ran.about("a model and a decoder are called `aligned`").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn chains_of_chains_and_circles_are_refused() {
    let refusals = Refusals::new();
    broken("target = \"base\"", "target = \"three\"").refused(2, &refusals);
    broken("target = \"base\"", "target = \"two\"").refused(2, &refusals);
    let circle = CHAINS
        .replace("target = \"base\"", "target = \"three\"")
        .replace("draft = \"aligned\"", "draft = \"two\"");
    let ran = Lab::new(&circle).run(&[]);
    ran.about("a chain drafts for its own draft").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn lengths_and_numbers_out_of_range_are_refused() {
    let refusals = Refusals::new();
    lowest("draft = \"draft\", length = 0").refused(2, &refusals);
    broken("length = 4", "length = 0").refused(2, &refusals);
    broken("length = [2, 3]", "length = []").refused(2, &refusals);
    lowest("draft = \"draft\"").refused(2, &refusals);
    for bad in ["1.5", "-0.1", "nan"] {
        lowest(&format!("draft = \"draft\", length = 2, stop_below = {bad}")).refused(2, &refusals);
    }
    for bad in ["1", "-0.1", "nan"] {
        broken(
            "draft = \"aligned\", length = 4",
            &format!("draft = \"aligned\", length = 4, verifier = \"lenient\", leniency = {bad}"),
        )
        .refused(2, &refusals);
    }
    broken("levels = [ { draft = \"first\", length = [2, 3] } ]", "levels = []")
        .refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn settings_of_one_level_are_refused_at_another() {
    let refusals = Refusals::new();
    let lenient = "draft = \"draft\", length = 2, verifier = \"lenient\", leniency = 0.1";
    lowest(lenient).refused(2, &refusals);
    lowest("draft = \"draft\", length = 2, surplus = \"keep\"").refused(2, &refusals);
    let upper = |to: &str| broken("draft = \"aligned\", length = 4", to);
    upper("draft = \"aligned\", length = 4, stop_below = 0.3").refused(2, &refusals);
    upper("draft = { kind = \"n-gram\" }, length = 4").refused(2, &refusals);
    upper("draft = \"aligned\", tree = { top_k = 2, depth = 2, nodes = 3 }").refused(2, &refusals);
    upper("draft = \"aligned\", length = 4, verifier = \"same-uniform\"").refused(2, &refusals);
    upper("draft = \"aligned\", length = 4, verifier = \"blok\"").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn trees_have_a_depth_and_nodes_that_fit_the_context() {
    let refusals = Refusals::new();
    lowest("draft = \"draft\", length = 2, tree = { top_k = 2, depth = 2, nodes = 3 }")
        .refused(2, &refusals);
    lowest("draft = \"draft\", tree = { top_k = 2, depth = 2, nodes = 0 }").refused(2, &refusals);
    lowest("draft = \"draft\", tree = { top_k = 2, depth = 2, nodes = 100000 }")
        .refused(2, &refusals);
    lowest("draft = \"draft\", tree = { top_k = 2, depth = 2, nodes = 3 }, verifier = \"block\"")
        .refused(2, &refusals);
    lowest("draft = { kind = \"n-gram\" }, tree = { width = 2, depth = 2 }").refused(2, &refusals);
    lowest("draft = { kind = \"n-gram\", longest = 1, shortest = 2 }, length = 2")
        .refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn models_of_different_vocabularies_are_refused_at_their_level() {
    let refusals = Refusals::new();
    let folder = tempfile::tempdir().unwrap();
    let models =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/nano/models");
    for entry in fs::read_dir(models.join("draft")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let file = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let vocab = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let (a, b) = (vocab["a"].clone(), vocab["b"].clone());
    vocab.insert("a".to_owned(), b);
    vocab.insert("b".to_owned(), a);
    fs::write(&file, tokenizer.to_string()).unwrap();
    broken("nano:draft", folder.path().to_str().unwrap()).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn impossible_early_exits_are_refused() {
    let refusals = Refusals::new();
    broken("layers = 1", "layers = 0").refused(2, &refusals);
    broken("layers = 1", "layers = 99").refused(2, &refusals);
    broken("layers = 1", "layers = 1\ndtype = \"f32\"").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_planned_chain_needs_its_profile() {
    let refusals = Refusals::new();
    let planned = "levels = \"plan\"\nprofile = \"no-such.json\"";
    broken("levels = [ { draft = \"first\", length = [2, 3] } ]", planned).refused(2, &refusals);
    broken("levels = [ { draft = \"first\", length = [2, 3] } ]", "levels = \"plam\"")
        .refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

fn numbers(values: &Value) -> Vec<u64> {
    values.as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).collect()
}

/// Sums of the records and of the summary agree: tokens by origin add up to the text, drafts by
/// length to the accepted tokens, tokens emitted by the target to the text, times to the total.
#[test]
fn records_and_summary_of_chains_add_up() {
    let lab = Lab::new(CHAINS);
    let table = lab.run(&[]).succeeds();
    assert!(
        table.contains("1: dual verifies aligned") && table.contains("2: aligned verifies draft"),
        "{table}"
    );
    let read = |name: &str| fs::read_to_string(lab.results().join(name)).unwrap();
    let records: Vec<Value> =
        read("records.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 12);
    for record in records.iter().filter(|record| record["decoder"] != "dual") {
        let new_tokens = record["new_tokens"].as_u64().unwrap();
        let origins = record["origins"].as_array().unwrap();
        let made = |origin: &str| -> u64 {
            let own = origins.iter().filter(|count| count["origin"] == origin);
            own.map(|count| count["tokens"].as_u64().unwrap()).sum()
        };
        let all: u64 = origins.iter().map(|count| count["tokens"].as_u64().unwrap()).sum();
        assert_eq!(all, new_tokens);
        let levels = record["levels"].as_array().unwrap();
        assert_eq!(levels[0]["emitted"].as_u64().unwrap(), new_tokens, "{record}");
        for level in levels {
            let lengths = numbers(&level["lengths"]);
            let accepted: u64 = (0..).zip(&lengths).map(|(length, count)| length * count).sum();
            assert_eq!(accepted, level["accepted"].as_u64().unwrap(), "{level}");
            let rounds = level["rounds"].as_u64().unwrap();
            assert!(lengths.iter().sum::<u64>() <= rounds, "{level}");
        }
        // Each token that the target made itself ended one of its rounds.
        let own = new_tokens - levels[0]["accepted"].as_u64().unwrap();
        assert!(own <= levels[0]["rounds"].as_u64().unwrap(), "{record}");
        if record["decoder"] == "three" {
            assert_eq!(levels.len(), 2);
            assert!(record["deferral_mass"].as_f64().unwrap() > 0.0);
        } else {
            assert_eq!(made("drafted"), levels[0]["accepted"].as_u64().unwrap());
        }
        let passes = record["passes"].as_object().unwrap();
        let busy: f64 = passes.values().map(|done| done["seconds"].as_f64().unwrap()).sum();
        assert!(busy > 0.0 && busy <= record["seconds"].as_f64().unwrap(), "{record}");
    }
    let summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
    for result in summary["results"].as_array().unwrap() {
        let own: Vec<&Value> =
            records.iter().filter(|r| r["decoder"] == result["decoder"]).collect();
        let time = &result["time"];
        let parts: f64 =
            time["passes"].as_object().unwrap().values().map(|s| s.as_f64().unwrap()).sum();
        let total = time["total"].as_f64().unwrap();
        assert!((parts + time["overhead"].as_f64().unwrap() - total).abs() < 1e-9 * total);
        for (index, level) in result["levels"].as_array().unwrap().iter().enumerate() {
            let sum = |key: &str| -> u64 {
                own.iter().map(|record| record["levels"][index][key].as_u64().unwrap()).sum()
            };
            let rate = sum("accepted") as f64 / sum("drafted") as f64;
            assert!((level["acceptance_rate"].as_f64().unwrap() - rate).abs() < 1e-12);
            let waste = sum("emitted") as f64 / result["new_tokens"].as_f64().unwrap();
            assert!((level["waste"].as_f64().unwrap() - waste).abs() < 1e-12);
        }
    }
}

/// The aligned model is part of the mixture and drafts for it. It runs once per prefix: at most one
/// pass per drafted token and one per round.
#[test]
fn a_model_used_twice_has_one_session() {
    let f1 = CHAINS.replace("{ draft = \"aligned\", length = 4 },", "").replace(
        "{ draft = \"draft\", length = 2 },",
        "{ draft = \"aligned\", length = 4, verifier = \"block\" },",
    );
    let lab = Lab::new(&f1);
    lab.run(&[]).succeeds();
    let text = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if record["decoder"] == "three" {
            let level = &record["levels"][0];
            let (drafted, rounds) = (&level["drafted"], &level["rounds"]);
            let most = drafted.as_u64().unwrap() + rounds.as_u64().unwrap();
            let passes = record["passes"]["aligned"]["passes"].as_u64().unwrap();
            assert!(passes <= most, "{passes} passes, {drafted} drafted in {rounds} rounds");
            seen += 1;
        }
    }
    assert_eq!(seen, 3);
}

/// In the table, the summary and `kad generate`.
#[test]
fn a_lenient_chain_is_called_approximate_everywhere() {
    let lenient = "draft = \"first\", length = 3, verifier = \"lenient\", leniency = 0.25";
    let lab = Lab::new(&CHAINS.replace("draft = \"first\", length = [2, 3]", lenient));
    let words = "approximate: lenient verification 0.25 towards base at T = 0.7";
    let table = lab.run(&[]).succeeds();
    assert!(table.contains(&format!("two: {words}")), "{table}");
    let summary = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let results = summary["results"].as_array().unwrap();
    let distribution =
        |name: &str| results.iter().find(|result| result["decoder"] == name).unwrap();
    assert_eq!(
        (&distribution("two")["distribution"], &distribution("two")["exact"]),
        (&words.into(), &false.into())
    );
    assert!(
        distribution("three")["distribution"]
            .as_str()
            .unwrap()
            .starts_with("exactly the mixture of base")
    );
    assert_eq!(distribution("three")["exact"], true);
    let file = lab.path().join("experiment.toml");
    let args = ["generate", "--experiment", file.to_str().unwrap(), "--decoder", "two", "Tom"];
    let ran = kad(&[&args[..], &["--max-new-tokens", "5"]].concat());
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
    let json: Value =
        serde_json::from_str(&kad(&[&args[..], &["--json"]].concat()).succeeds()).unwrap();
    assert_eq!(json["distribution"], words);
}

/// With one uniform per position for drafting and verifying, the text equals that of plain decoding.
#[test]
fn the_same_uniforms_give_the_same_text() {
    let toml = CHAINS.replace(
        "levels = [ { draft = \"first\", length = [2, 3] } ]",
        "levels = [ { draft = \"first\", length = 3, verifier = \"same-uniform\" }, \
         { draft = \"draft\", length = 2, verifier = \"same-uniform\" } ]",
    );
    let plain = "[[decoders]]\nname = \"plain\"\nkind = \"single\"\nmodel = \"base\"\n\n[[tasks]]";
    let lab = Lab::new(&toml.replace("[[tasks]]", plain));
    let file = lab.path().join("experiment.toml");
    for seed in ["1", "2", "3", "4"] {
        let tokens = |name: &str| {
            let file = file.to_str().unwrap();
            let args =
                ["generate", "--experiment", file, "--decoder", name, "--seed", seed, "--json"];
            let made: Value =
                serde_json::from_str(&kad(&[&args[..], &["Tom has 12"]].concat()).succeeds())
                    .unwrap();
            made["tokens"].clone()
        };
        assert_eq!(tokens("two"), tokens("plain"), "seed {seed}");
    }
}

/// Spec-Bench has no right answers: nothing is graded.
#[test]
fn tasks_without_right_answers_are_not_graded() {
    let refusals = Refusals::new();
    let toml = CHAINS.replace("kind = \"nano\"\nitems = 3", "kind = \"spec_bench\"\nitems = 2");
    let lab = Lab::new(&toml);
    lab.run(&[]).refused(2, &refusals);
    let data = lab.path().join("data/spec_bench");
    fs::create_dir_all(&data).unwrap();
    let lines = [
        r#"{"question_id": 1, "category": "writing", "turns": ["Tom has 3 pens.", "And?"]}"#,
        r#"{"question_id": 2, "category": "qa", "turns": ["Amy sells 4 cards."]}"#,
    ];
    fs::write(data.join("question.jsonl"), lines.join("\n")).unwrap();
    let folder = lab.path().join("data");
    let table = lab.run(&["--data", folder.to_str().unwrap()]).succeeds();
    assert!(table.contains("spec_bench, 2 items") && table.contains("not graded"), "{table}");
    assert!(!table.contains("correct %") && !table.contains("answered"), "{table}");
    let summary = fs::read_to_string(lab.results().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    for result in summary["results"].as_array().unwrap() {
        assert_eq!((&result["accuracy"], &result["difference"]), (&Value::Null, &Value::Null));
        assert!(result["tokens_per_second"].as_f64().unwrap() > 0.0);
    }
    insta::assert_snapshot!(refusals);
}
