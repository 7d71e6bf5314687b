//! Pages of runs and of benchmarks, both with chains.

use serde_json::Value;

use crate::kad::{Lab, Refusals, kad};

const CHAINS: &str = r#"
name = "pages"
seed = 3
baseline = "plain"

[models.large]
source = "nano:large-base"

[models.draft]
source = "nano:draft"

[sampling]
temperature = 0.7
max_new_tokens = 24

[[decoders]]
name = "plain"
kind = "single"
model = "large"

[[decoders]]
name = "drafted"
kind = "chain"
target = "large"
levels = [{ draft = "draft", length = 3 }, { draft = { kind = "n-gram" }, length = 2 }]

[[decoders]]
name = "by plan"
kind = "chain"
target = "large"
levels = "plan"
profile = "profile.json"
candidates = ["draft"]

[[tasks]]
kind = "nano"
items = 3
"#;

fn lab() -> (Lab, String, String) {
    let lab = Lab::new(CHAINS);
    let path = |name: &str| lab.path().join(name).to_str().unwrap().to_owned();
    let (file, profile) = (path("experiment.toml"), path("profile.json"));
    let little = ["--prompts", "2", "--tokens", "8", "--rounds", "2", "--draft-length", "4"];
    kad(&[&["profile", &file, "--out", &profile], &little[..]].concat()).succeeds();
    (lab, file, profile)
}

#[test]
fn a_benchmark_has_a_page_and_its_times_add_up() {
    let (lab, file, profile) = lab();
    let page = lab.path().join("page.html");
    let little = ["--prompts", "2", "--tokens", "8", "--reps", "2", "--json"];
    let names = ["--decoders", "plain,drafted", "--html", page.to_str().unwrap()];
    let bench = ["bench", &file, "--profile", &profile];
    let found = kad(&[&bench[..], &little, &names].concat()).succeeds();
    let found: Value = serde_json::from_str(&found).unwrap();
    for result in found["decoders"].as_array().unwrap() {
        let number = |key: &str| result[key].as_f64().unwrap();
        let passes: f64 =
            result["passes"].as_object().unwrap().values().map(|ms| ms.as_f64().unwrap()).sum();
        let total = number("milliseconds_per_token");
        let overhead = total * number("overhead_percent") / 100.0;
        assert!((passes + overhead - total).abs() < 1e-9 * total, "{result}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert_eq!(page.matches("<svg").count(), 3, "time, prediction, passes");
    for part in ["exactly large at T = 0.7", "overhead (outside passes)", "±10 %", " threads · "]
    {
        assert!(page.contains(part), "{part} is not in the page");
    }
}

#[test]
fn an_unwritable_page_is_refused_before_measuring() {
    let refusals = Refusals::new();
    let lab = Lab::new(CHAINS);
    let path = |name: &str| lab.path().join(name).to_str().unwrap().to_owned();
    let (file, page) = (path("experiment.toml"), path("no/such/page.html"));
    let ran = kad(&["bench", &file, "--decoders", "plain", "--html", &page]);
    ran.refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn a_planned_chain_is_reported_with_its_prediction() {
    let (lab, ..) = lab();
    lab.run(&[]).succeeds();
    let page = std::fs::read_to_string(lab.results().join("report.html")).unwrap();
    for part in [
        "large verifies draft",
        "draft verifies n-gram",
        "<h3>Levels</h3>",
        "<h2>Profile behind the planned chains</h2>",
        "predicted by Lemma 3.1",
        "title=\"drafted, level ",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    // The predictions are kept in the folder: the page does not need the profile.
    std::fs::remove_file(lab.path().join("profile.json")).unwrap();
    let again = lab.path().join("again.html");
    let folder = lab.results();
    let (folder, path) = (folder.to_str().unwrap(), again.to_str().unwrap());
    kad(&["report", folder, "--html", path]).succeeds();
    assert_eq!(std::fs::read_to_string(&again).unwrap(), page);
}
