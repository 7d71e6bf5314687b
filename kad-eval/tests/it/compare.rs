//! `kad report` on runs that are there.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::kad::{Lab, SMALL, kad};

/// Two runs of one experiment, the second at another temperature and with a renamed decoder.
fn runs() -> (Lab, Lab, PathBuf, PathBuf) {
    let first = Lab::new(SMALL);
    first.run(&[]).succeeds();
    let changed = SMALL.replace("temperature = 0.7", "temperature = 0");
    let second = Lab::new(&changed.replace("aligned alone", "alone"));
    second.run(&[]).succeeds();
    let (a, b) = (first.results(), second.results());
    (first, second, a, b)
}

#[test]
fn runs_are_compared_and_the_plans_differences_are_named() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    let table = kad(&["report", a, b]).succeeds();
    for word in ["sampling.temperature", "0.7", "KAD dual, threshold 0.5", "B − A", "alone"] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
    assert!(kad(&["report", a, a]).succeeds().contains("their plans are the same"));

    let json = kad(&["report", a, b, "--json"]).succeeds();
    let found: Value = serde_json::from_str(&json).unwrap();
    assert!(found["repetitions"].is_null());
    let decoders = found["comparisons"][0]["decoders"].as_array().unwrap();
    let named = |name: &str| decoders.iter().find(|pair| pair["decoder"] == name).unwrap();
    let pair = named("KAD dual, threshold 0.5");
    // By hand, from both files of records.
    let right = |folder: &str| {
        let text = fs::read_to_string(format!("{folder}/records.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let own = records.filter(|r| r["decoder"] == "KAD dual, threshold 0.5");
        own.filter(|r| r["correct"] == true).count() as f64
    };
    let wanted = (right(b) - right(a)) / 6.0;
    assert!((pair["difference"]["mean"].as_f64().unwrap() - wanted).abs() < 1e-12, "{pair}");
    assert!(pair["speed"]["value"].as_f64().unwrap() > 0.0);
    assert!(named("alone")["first"].is_null() && named("aligned alone")["second"].is_null());
}

#[test]
fn a_run_is_shown_in_every_format() {
    let (_first, _second, a, b) = runs();
    let (a, b) = (a.to_str().unwrap(), b.to_str().unwrap());
    assert!(kad(&["report", a]).succeeds().contains("aligned alone"));
    let markdown = kad(&["report", a, "--markdown"]).succeeds();
    assert!(markdown.contains("| aligned alone") && markdown.contains("|---"), "{markdown}");
    let csv = kad(&["report", a, b, "--csv"]).succeeds();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 1 + 3 + 3, "{csv}");
    assert!(lines[0].starts_with("run,run_id,complete,task,decoder"), "{csv}");
    assert!(lines[0].ends_with("passes_per_token:aligned,passes_per_token:base"), "{csv}");
    assert!(lines[2].contains("\"KAD dual, threshold 0.2\""), "{csv}");
    let json = kad(&["report", a, "--json"]).succeeds();
    let wanted: Value =
        serde_json::from_str(&fs::read_to_string(format!("{a}/summary.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), wanted);
}

#[test]
fn what_is_no_run_says_what_it_is() {
    let lab = Lab::new(SMALL);
    lab.run(&["--shard", "1/2"]).succeeds();
    let folder = lab.results();
    kad(&["report", folder.to_str().unwrap()]).fails(2, &["shards", "without --shard"]);
    kad(&["report", "no/such/run"]).fails(2, &["no folder no/such/run"]);
    lab.run(&[]).succeeds();
    let above = folder.parent().unwrap();
    kad(&["report", above.to_str().unwrap()])
        .fails(2, &["is no run but holds some", folder.to_str().unwrap()]);
    kad(&["report"]).fails(2, &["FOLDER"]);
}

/// What `kad report` prints is also beside the records, and the page is made anew from its folder.
#[test]
fn a_run_leaves_its_tables_and_its_page_can_be_made_again() {
    let lab = Lab::new(SMALL);
    lab.run(&[]).succeeds();
    let folder = lab.results();
    let shown = folder.to_str().unwrap();
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(kad(&["report", shown, "--markdown"]).succeeds(), file("summary.md"));
    assert_eq!(kad(&["report", shown, "--csv"]).succeeds(), file("summary.csv"));
    let again = lab.path().join("again.html");
    let html = |path: &std::path::Path| {
        kad(&["report", shown, "--html", path.to_str().unwrap()]).succeeds()
    };
    assert_eq!(html(&again), "");
    assert_eq!(fs::read_to_string(&again).unwrap(), file("report.html"));
    let page = file("report.html");
    for part in ["Shown as the first item", "kad run experiment.toml", "nano:small-base", "seed"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert!(!page.contains(lab.path().to_str().unwrap()), "the folder of this machine");

    // A folder of a version that kept no prompts.
    fs::remove_file(folder.join("report.json")).unwrap();
    html(&again);
    assert!(fs::read_to_string(&again).unwrap().contains("What it asked was not kept"));
    let nowhere = lab.path().join("no/page.html");
    kad(&["report", shown, "--html", nowhere.to_str().unwrap()])
        .fails(2, &["--html", "no such folder"]);
}

#[test]
fn runs_are_compared_on_a_page() {
    let (first, _second, a, b) = runs();
    let page = first.path().join("page.html");
    kad(&["report", a.to_str().unwrap(), b.to_str().unwrap(), "--html", page.to_str().unwrap()])
        .succeeds();
    let page = fs::read_to_string(page).unwrap();
    for part in ["sampling.temperature", "B − A", "B ÷ A", "KAD dual, threshold 0.5", "alone"] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert_eq!(page.matches("<svg").count(), 2, "accuracy and speed");
    assert!(!page.contains("repetitions of one plan") && !page.contains("<script"));
}

/// Into three folders: the texts are the same, and the spread is of three speeds.
#[test]
fn repetitions_of_one_plan_show_their_spread() {
    let lab = Lab::new(SMALL);
    let file = lab.path().join("experiment.toml");
    let outs = ["r1", "r2", "r3"].map(|name| lab.path().join(name));
    let folders = outs.map(|out| {
        kad(&["run", file.to_str().unwrap(), "--out", out.to_str().unwrap()]).succeeds();
        let inside = |path: PathBuf| fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        inside(inside(out)).to_str().unwrap().to_owned()
    });
    let report = |more: &[&str]| {
        let all = folders.iter().map(String::as_str);
        kad(&["report"].into_iter().chain(all).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let table = report(&[]).succeeds();
    assert!(table.contains("3 repetitions of one plan: their 18 texts are the same"), "{table}");
    let json: Value = serde_json::from_str(&report(&["--json"]).succeeds()).unwrap();
    for arm in json["repetitions"]["arms"].as_array().unwrap() {
        let number = |key: &str| arm[key].as_f64().unwrap();
        let speed = |folder: &String| {
            let text = fs::read_to_string(format!("{folder}/summary.json")).unwrap();
            let summary: Value = serde_json::from_str(&text).unwrap();
            let arms = summary["arms"].as_array().unwrap().clone();
            let own = arms.into_iter().find(|it| it["decoder"] == arm["decoder"]).unwrap();
            own["tokens_per_second"].as_f64().unwrap()
        };
        let mut speeds: Vec<f64> = folders.iter().map(speed).collect();
        speeds.sort_by(f64::total_cmp);
        assert_eq!([number("min"), number("median"), number("max")], speeds[..]);
    }
    // One text that is otherwise.
    let records = format!("{}/records.jsonl", folders[1]);
    let text = fs::read_to_string(&records).unwrap();
    fs::write(&records, text.replacen("\"tokens\":[", "\"tokens\":[1,", 1)).unwrap();
    assert!(report(&[]).succeeds().contains("ONLY 17 of 18 texts"));
}
