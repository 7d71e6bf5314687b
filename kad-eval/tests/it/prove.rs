//! `kad prove`: shipped proofs hold, a false claim fails, and invalid files are refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kad::{Ran, Refusals, kad};

fn prove(text: &str, extra: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claim.toml");
    fs::write(&file, text).unwrap();
    kad(&[&["prove", file.to_str().unwrap()], extra].concat())
}

/// A small, valid proof, which tests change in one place.
const SMALL: &str = r#"
name = "small"
prompt = [0]
length = 2
eos = [2]

[models.base]
rows = { "" = [0.5, 0.3, 0.2], "1" = ["1/3", "1/3", "1/3"], "0 1" = [0.1, 0.8, 0.1] }

[models.aligned]
random = { vocab = 3, order = 2, seed = 1 }

[[decoders]]
name = "alone"
kind = "single"
model = "base"

[[decoders]]
name = "dual"
kind = "deferral"
base = "base"
aligned = "aligned"
execution = "speculative"
draft_length = 2
rule = { kind = "kad-dual", threshold = [0.25, 0.4] }
"#;

fn broken(from: &str, to: &str) -> Ran {
    assert!(SMALL.contains(from), "{from} is not in the small proof");
    prove(&SMALL.replace(from, to), &[]).with_change(from, to)
}

fn objects(ran: Ran) -> Vec<Value> {
    ran.succeeds().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn shipped() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/prove");
    let files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|path| path.ends_with(".toml"))
        .collect();
    assert!(files.len() >= 6, "{files:?}");
    files
}

/// Texts must be longer than a draft and its bonus token. Otherwise no round follows a fully
/// accepted draft, and that case would remain unproved.
#[test]
fn shipped_proofs_have_texts_longer_than_their_longest_draft() {
    for file in shipped() {
        let text = fs::read_to_string(&file).unwrap();
        let numbers = |key: &str| -> Vec<u64> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(" = "));
            lines.map(|number| number.parse().unwrap()).collect()
        };
        let (length, mut drafts) = (numbers("length"), numbers("draft_length"));
        assert_eq!(text.matches("draft_length").count(), drafts.len());
        // The lowest level of a chain: the levels above take its drafts in several rounds.
        for level in text.split("levels = [").skip(1).filter_map(|rest| rest.split("\n]").next()) {
            let lowest = level.lines().last().unwrap();
            let number = |key: &str| {
                let digits = lowest.split(key).nth(1)?.trim_start_matches(" = ");
                digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            drafts.push(number(" length").or_else(|| number("depth")).unwrap());
        }
        assert_eq!(length.len(), 1, "{file}");
        assert!(!drafts.is_empty(), "{file}");
        assert!(drafts.iter().all(|draft| draft + 1 < length[0]), "{file}: {length:?} {drafts:?}");
    }
}

#[test]
fn every_shipped_proof_holds() {
    let files = shipped();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let verdicts = objects(kad(&[&["prove", "--json"], &files[..]].concat()));
    let mut rules: BTreeMap<String, usize> = BTreeMap::new();
    for verdict in &verdicts {
        assert_eq!(verdict["holds"], true, "{verdict}");
        assert_eq!(verdict["proved"], verdict["exact"], "{verdict}");
        let apart = verdict["total_variation"].as_f64().unwrap();
        // Distributions that are claimed to differ do so by more than rounding.
        let proved = verdict["proved"] == true;
        assert!(if proved { apart <= 1e-12 } else { apart > 1e-3 }, "{verdict}");
        assert!(verdict["texts"].as_u64().unwrap() >= 1);
        if verdict["proof"] == "rules" {
            let name = verdict["decoder"].as_str().unwrap();
            *rules.entry(name.split(',').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    // All rules in all executions: two token by token, and five draft lengths twice.
    let kinds: Vec<Value> = serde_json::from_str(&kad(&["rules", "--json"]).succeeds()).unwrap();
    for kind in kinds {
        let kind = kind["kind"].as_str().unwrap();
        assert!(rules.get(kind).is_some_and(|ways| *ways >= 12), "{kind}: {:?}", rules.get(kind));
    }
}

#[test]
fn the_small_proof_is_valid() {
    let verdicts = objects(prove(SMALL, &["--json"]));
    let names: Vec<&str> = verdicts.iter().map(|v| v["decoder"].as_str().unwrap()).collect();
    assert_eq!(names, ["alone", "dual, threshold 0.25", "dual, threshold 0.4"]);
    // Texts after 0: end at once, or 0 or 1 and one of three tokens more.
    assert_eq!(verdicts[0]["texts"], 7);
    let zero = objects(prove(&SMALL.replace("[0.25, 0.4]", "[-0.0, 0.4]"), &["--json"]));
    assert_eq!(zero[1]["decoder"], "dual, threshold 0", "zero has no sign");
    let table = prove(SMALL, &[]).succeeds();
    assert!(table.contains("proved") && !table.contains("NOT PROVED"), "{table}");
    assert!(table.contains("base deferring to aligned: KAD dual, threshold 0.4"), "{table}");
}

/// Must fail: the base model does not have the distribution of the pair. By hand: the base model
/// draws 2 with probability .25, the aligned model always, and everything is deferred.
#[test]
fn a_false_claim_is_refuted_with_the_text_and_both_probabilities() {
    let refusals = Refusals::new();
    let text = r#"
name = "false"
prompt = [0]
length = 1

[models.base]
rows = { "" = [0.5, 0.25, 0.25] }
[models.aligned]
rows = { "" = [0, 0, 1] }

[[decoders]]
name = "pair"
kind = "deferral"
base = "base"
aligned = "aligned"
rule = { kind = "always" }
[[decoders]]
name = "alone"
kind = "single"
model = "base"
claim = "pair"
"#;
    prove(text, &[]).names(&["[2]", "0.25"]).refused(1, &refusals);
    let ran = prove(text, &["--json"]);
    assert_eq!(ran.code, 1);
    let verdict: Value = serde_json::from_str(ran.stdout.lines().nth(1).unwrap()).unwrap();
    assert_eq!(verdict["proved"], false);
    // Logits are f32: eight digits.
    let close = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < 1e-6;
    assert!(close(&verdict["total_variation"], 0.75), "{verdict}");
    assert!(close(&verdict["worst"]["enumerated"], 0.25), "{verdict}");
    assert!(close(&verdict["worst"]["claimed"], 1.0), "{verdict}");
    assert!(prove(text, &[]).stdout.contains("NOT PROVED"));
    insta::assert_snapshot!(refusals);
}

#[test]
fn mistakes_in_models_are_shown_at_their_place() {
    let refusals = Refusals::new();
    broken("[0.1, 0.8, 0.1]", "[0.1, 0.9]").refused(2, &refusals);
    broken("[0.1, 0.8, 0.1]", "[0.1, 0.8, 0.2]").refused(2, &refusals);
    broken("[0.1, 0.8, 0.1]", "[-0.1, 1, 0.1]").refused(2, &refusals);
    broken("[0.1, 0.8, 0.1]", "[nan, 1, 0.1]").refused(2, &refusals);
    broken("\"0 1\"", "\"0 3\"").refused(2, &refusals);
    broken("\"0 1\"", "\" 1\"").refused(2, &refusals);
    broken("\"\" =", "\"2\" =").refused(2, &refusals);
    broken("\"1/3\", \"1/3\"", "\"1/3\", \"a third\"").refused(2, &refusals);
    broken("vocab = 3", "vocab = 4").refused(2, &refusals);
    broken("vocab = 3", "vocab = 0").refused(2, &refusals);
    broken("vocab = 3", "vocabulary = 3").refused(2, &refusals);
    broken("random = { vocab = 3, order = 2, seed = 1 }", "").refused(2, &refusals);
    broken("\"\" = [0.5, 0.3, 0.2]", "\"\" = []").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn mistakes_in_the_claim_are_shown_at_their_place() {
    let refusals = Refusals::new();
    broken("prompt = [0]", "prompt = [3]").refused(2, &refusals);
    broken("prompt = [0]", "prompt = []").refused(2, &refusals);
    broken("eos = [2]", "eos = [7]").refused(2, &refusals);
    broken("length = 2", "length = 0").refused(2, &refusals);
    broken("name = \"small\"", "name = \"\"").refused(2, &refusals);
    broken("name = \"alone\"", "name = \"\"").refused(2, &refusals);
    broken("length = 2", "lenght = 2").refused(2, &refusals);
    broken("model = \"base\"", "model = \"bass\"").refused(2, &refusals);
    broken("model = \"base\"", "model = \"base\"\nclaim = \"dua\"").refused(2, &refusals);
    broken("\"kad-dual\"", "\"kad-daul\"").refused(2, &refusals);
    broken("name = \"dual\"", "name = \"alone\"").refused(2, &refusals);
    kad(&["prove", "no-such.toml"]).refused(2, &refusals);
    kad(&["prove"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

const ALONE: &str = "model = \"base\"";
const RULE: &str = "rule = { kind = \"kad-dual\", threshold = [0.25, 0.4] }";

/// A claim that refers to itself, directly or through others, holds for any distribution.
#[test]
fn claims_that_prove_nothing_are_refused() {
    let refusals = Refusals::new();
    let of =
        |line: &str, decoder: &str| (line.to_owned(), format!("{line}\nclaim = \"{decoder}\""));
    let (from, to) = of(ALONE, "alone");
    broken(&from, &to).refused(2, &refusals);
    // One member of a sweep is the other's claim, and its own.
    let (from, to) = of(RULE, "dual, threshold 0.4");
    broken(&from, &to).refused(2, &refusals);
    // A circle of three claims, each of them valid alone.
    let (from, to) = of(ALONE, "dual");
    let single = SMALL.replace("[0.25, 0.4]", "0.4").replace(&from, &to);
    let (from, to) = of(&RULE.replace("[0.25, 0.4]", "0.4"), "third");
    let third = "[[decoders]]\nname = \"third\"\nkind = \"single\"\nmodel = \"base\"\n";
    let open = format!("{}\n{third}", single.replace(&from, &to));
    let claiming = |claim: &str| prove(&format!("{open}claim = \"{claim}\"\n"), &[]).about(claim);
    claiming("alone").refused(2, &refusals);
    // A claim whose references end in a circle is refused with the circle.
    claiming("dual").refused(2, &refusals);
    // A sequence of claims that ends is valid; here the distributions differ.
    prove(&open, &[]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn invalid_caps_of_implicit_reward_are_shown_at_their_place() {
    let refusals = Refusals::new();
    for bad in ["0", "-1", "nan", "inf"] {
        let reward = format!(
            "kind = \"implicit-reward\"\nbase = \"base\"\nsmall = \"base\"\naligned = \"aligned\"\n\
             cap_log_ratio = {bad}"
        );
        broken("kind = \"single\"\nmodel = \"base\"", &reward).refused(2, &refusals);
    }
    broken(ALONE, &format!("{ALONE}\ncap_log_ratio = 1")).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// By hand, with q = (.5, .5, 0), q* = (.5, .25, .25) and a cap of ln 2: the ratios 1, 1/2 and 2
/// (for ∞) move the base distribution (.2, .4, .4) to (.2, .2, .8)/1.2. Without a cap the last
/// token is impossible.
#[test]
fn a_capped_ratio_by_hand() {
    let text = r#"
name = "capped"
prompt = [0]
length = 1
[models.base]
rows = { "" = [0.2, 0.4, 0.4] }
[models.small]
rows = { "" = [0.5, 0.5, 0] }
[models.aligned]
rows = { "" = [0.5, 0.25, 0.25] }
[models.wanted]
rows = { "" = ["1/6", "1/6", "4/6"] }
[models.without]
rows = { "" = [0.5, 0.5, 0] }
[[decoders]]
name = "wanted"
kind = "single"
model = "wanted"
[[decoders]]
name = "without"
kind = "single"
model = "without"
[[decoders]]
name = "capped"
kind = "implicit-reward"
base = "base"
small = "small"
aligned = "aligned"
cap_log_ratio = 0.6931471805599453
claim = "wanted"
[[decoders]]
name = "excluding"
kind = "implicit-reward"
base = "base"
small = "small"
aligned = "aligned"
claim = "without"
"#;
    let ran = prove(text, &["--json"]);
    for line in ran.stdout.lines() {
        // Logits are f32: seven digits, not twelve.
        let verdict: Value = serde_json::from_str(line).unwrap();
        assert!(verdict["total_variation"].as_f64().unwrap() < 1e-7, "{verdict}");
    }
    assert_eq!(ran.stdout.lines().count(), 4);
}

/// Texts end at the file's length, or earlier at the decoder's own limit.
#[test]
fn texts_end_at_the_length_or_at_the_decoders_own_limit() {
    let refusals = Refusals::new();
    let text = r#"
name = "long"
prompt = [0]
length = 300
[models.only]
rows = { "" = [1] }
[[decoders]]
name = "to the end"
kind = "single"
model = "only"
[[decoders]]
name = "cut"
kind = "single"
model = "only"
sampling = { max_new_tokens = 3 }
claim = "to the end"
"#;
    let ran = prove(text, &["--json"]);
    ran.names(&["probability 0, claimed 1", "0, 0]"]).refused(1, &refusals);
    insta::assert_snapshot!(refusals);
}

const CHAIN: &str = r#"
name = "chain"
prompt = [0]
length = 3

[models.large]
rows = { "" = [0.5, 0.3, 0.2] }
[models.small]
rows = { "" = [0.2, 0.6, 0.2] }

[[decoders]]
name = "chain"
kind = "chain"
target = "large"
levels = [ { draft = "small", length = 1, verifier = "lenient", leniency = 0.25 } ]
"#;

/// One draft of a lenient chain by hand. Token 1 is drafted with 0.6 and accepted with 0.3/0.6/0.75:
/// it has probability 0.4 instead of 0.3. Tokens 0 and 2 are never rejected.
#[test]
fn a_lenient_chain_is_refuted_unless_the_file_claims_another_distribution() {
    let refusals = Refusals::new();
    let one = CHAIN.replace("length = 3", "length = 2").replace(" } ]", ", bonus = false } ]");
    let ran = prove(&one, &["--json"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let verdict: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    // π(1) = 0.6 · 2/3, π(0) = 0.2 + 0.6 · 1/3 by the residual, π(2) = 0.2; two tokens of it.
    let (pi, p) = ([0.4, 0.4, 0.2], [0.5, 0.3, 0.2]);
    let pairs = (0..9).map(|i| pi[i / 3] * pi[i % 3] - p[i / 3] * p[i % 3]);
    let wanted = pairs.map(f64::abs).sum::<f64>() / 2.0;
    let found = verdict["total_variation"].as_f64().unwrap();
    // Logits are f32: eight digits.
    assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    assert_eq!((&verdict["exact"], &verdict["holds"]), (&true.into(), &false.into()));

    let said = |toml: &str| prove(&format!("{toml}exact = false\n"), &[]);
    assert!(said(CHAIN).succeeds().contains("another distribution, as claimed"));
    let exact = CHAIN.replace("0.25", "0");
    assert!(prove(&exact, &[]).succeeds().contains("proved"));
    said(&exact).refused(1, &refusals);
    prove(&format!("{CHAIN}exact = 0\n"), &[]).about("exact = 0").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// The estimated paths of a chain grow with its levels and lengths.
#[test]
fn proofs_of_long_chains_are_refused() {
    let refusals = Refusals::new();
    let exact = CHAIN.replace(", verifier = \"lenient\", leniency = 0.25", "");
    prove(&exact, &[]).succeeds();
    prove(&exact.replace("length = 1", "length = 40"), &[]).succeeds();
    let long = exact.replace("length = 3", "length = 30");
    prove(&long, &[]).about("length = 30").refused(2, &refusals);
    let deep = |lowest: usize, surplus: &str| {
        let level = "{ draft = \"small\", length = 1 }";
        let levels = format!(
            "{{ draft = \"large\", length = 2, surplus = \"{surplus}\" }}, {{ draft = \"small\", length = {lowest} }}"
        );
        let toml = exact.replace(level, &levels).replace("length = 3", "length = 4");
        prove(&toml, &[])
    };
    deep(2, "flush").succeeds();
    deep(2, "keep").about("surplus = \"keep\"").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn proofs_with_too_many_paths_are_refused_with_numbers() {
    let refusals = Refusals::new();
    broken("length = 2", "length = 400").refused(2, &refusals);
    broken("length = 2", "length = 9223372036854775807").refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}
