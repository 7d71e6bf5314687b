//! Comparisons of small runs, by hand.

use super::*;
use crate::analysis::equal_texts::EqualTexts;
use crate::analysis::sample_summary as summaries;
use crate::run::provenance::sample as sample_entry;
use crate::run::record::sample;

/// A run of this plan, as its folder would hold it.
fn held(folder: &str, summary: Summary, records: Vec<Record>) -> LoadedRun {
    let mut texts = TextDigests::default();
    records.iter().for_each(|record| texts.add(record));
    let plan = serde_json::json!({ "seed": 1 });
    let stored = StoredRun::at(folder);
    LoadedRun { stored, summary, plan, sessions: Vec::new(), records, texts }
}

/// Items 0 to 5; the second run wins 4 and 5, loses none, and asks 0 otherwise.
#[test]
fn items_are_paired_by_question() {
    let run = |right: &dyn Fn(usize) -> bool, seconds: f64| -> Vec<Record> {
        let record = |i: usize| Record {
            seconds,
            task: "nano/test".to_owned(),
            ..sample("base", &i.to_string(), right(i))
        };
        (0..6).map(record).collect()
    };
    let (first, mut second) = (run(&|i| i < 4, 1.0), run(&|_| true, 0.5));
    second[0].gold = "another".to_owned();
    let mut summary = summaries::summary();
    summary.results.truncate(1);
    (summary.results[0].decoder, summary.results[0].task) = ("base".into(), "nano/test".into());
    let mut faster = summary.clone();
    faster.results[0].tokens_per_second *= 2.0;
    let mut other = faster.results[0].clone();
    other.decoder = "new".to_owned();
    faster.results.push(other);

    let runs = [held("a", summary, first), held("b", faster, second)];
    let found = pairs([&runs[0], &runs[1]]);
    assert_eq!(found.len(), 2);
    let difference = found[0].difference.unwrap();
    assert_eq!((difference.items, difference.mean), (5, 0.4));
    assert!((difference.p_adjusted - 0.5).abs() < 1e-12, "two wins, no loss: 2 · 1/4");
    let speed = found[0].speed.unwrap();
    assert!((speed.value - 2.0).abs() < 1e-12);
    // Every item took as long as every other.
    assert!((speed.interval.low - 2.0).abs() < 1e-9 && (speed.interval.high - 2.0).abs() < 1e-9);
    assert_eq!(found[1].decoder, "new");
    assert!(found[1].first.is_none() && found[1].difference.is_none() && found[1].speed.is_none());
}

/// A summary of more items than there are records.
#[test]
fn a_side_without_records_has_no_ratio_of_speeds() {
    let [first, mut second, _] = repeated([1.0; 3]);
    second.records.clear();
    for runs in [[&first, &second], [&second, &first]] {
        assert!(pairs(runs)[0].speed.is_none());
    }
}

/// Three runs of one decoder on three items, of which one is otherwise in the second run.
fn repeated(speeds: [f64; 3]) -> [LoadedRun; 3] {
    let run = |place: usize| {
        let mut summary = summaries::summary();
        summary.results.truncate(1);
        (summary.results[0].decoder, summary.results[0].task) = ("base".into(), "toy".into());
        summary.results[0].tokens_per_second = speeds[place];
        let mut records: Vec<Record> =
            (0..3).map(|item| sample("base", &item.to_string(), true)).collect();
        if place == 1 {
            records[2].tokens = vec![5, 1];
        }
        // Folders that are there: each stands for itself.
        held(["src", "tests", "."][place], summary, records)
    };
    [run(0), run(1), run(2)]
}

#[test]
fn repetitions_have_their_spread_and_say_whether_texts_are_the_same() {
    let runs = repeated([8.0, 12.0, 10.0]);
    let found = Repetitions::of(&runs).unwrap();
    let result = &found.results[0];
    assert_eq!((result.min, result.median, result.max), (8.0, 10.0, 12.0));
    assert!((result.width() - 0.4).abs() < 1e-12);
    assert_eq!(found.texts(), Some(EqualTexts { equal: 2, of: 3 }));
    assert!(found.words().contains("only 2 of 3"), "{}", found.words());
    assert!(!found.words().contains("differ"), "{}", found.words());
    let [mut one, mut other, _] = repeated([1.0; 3]);
    one.sessions = vec![ProvenanceEntry { jobs: 1, ..sample_entry() }];
    other.sessions = vec![ProvenanceEntry { jobs: 2, ..sample_entry() }];
    let apart = [one, other];
    assert!(Repetitions::of(&apart).unwrap().words().ends_with("not comparable: jobs differ"));
    let two = Repetitions::of(&runs[..2]).unwrap();
    assert_eq!(two.results[0].median, 10.0, "the mean of the middle two");
    let pair = &pairs([&runs[0], &runs[2]])[0];
    assert_eq!(pair.texts, Some(EqualTexts { equal: 3, of: 3 }));
}

#[test]
fn other_plans_other_models_and_one_folder_are_no_repetitions() {
    let mut runs = repeated([1.0, 1.0, 1.0]);
    runs[2].summary.run_id = "other".to_owned();
    assert!(Repetitions::of(&runs).is_none());
    let compared = RunComparison::of(&runs[0], &runs[2]);
    assert!(compared.same_plans().unwrap().ends_with("models, data or libraries differ"));
    let mut runs = repeated([1.0, 1.0, 1.0]);
    runs[1].plan = serde_json::json!({ "seed": 2 });
    assert!(Repetitions::of(&runs).is_none());
    assert_eq!(RunComparison::of(&runs[0], &runs[1]).same_plans(), None);
    let mut runs = repeated([1.0, 1.0, 1.0]);
    runs[1].stored = StoredRun::at("./src");
    assert!(Repetitions::of(&runs).is_none() && Repetitions::of(&runs[..1]).is_none());
}

/// A longer sweep, and a decoder that the other run has not decoded yet.
#[test]
fn decoders_that_one_run_has_are_named_once() {
    let plan = |names: &[&str]| {
        let all: Vec<Value> = names
            .iter()
            .map(|name| serde_json::json!({ "name": name, "kind": "single", "model": "m" }))
            .collect();
        serde_json::json!({ "seed": 1, "decoders": all })
    };
    let [mut first, mut second, _] = repeated([1.0; 3]);
    (first.plan, second.plan) = (plan(&["base", "new"]), plan(&["base", "new", "longer", "more"]));
    let mut result = second.summary.results[0].clone();
    result.decoder = "new".to_owned();
    second.summary.results.push(result);
    let found = RunComparison::of(&first, &second);
    assert!(found.plan.is_empty() && found.same_plans().is_none());
    assert!(found.only_in_first.is_empty());
    assert_eq!(found.only_in_second, ["longer", "more"]);
    assert_eq!(found.only_in_one("C").unwrap(), "only in C: `longer`, `more`");
    let turned = RunComparison::of(&second, &first);
    assert_eq!(turned.only_in_one("B").unwrap(), "only in A: `longer`, `more`");
    assert_eq!(RunComparison::of(&first, &first).only_in_one("B"), None);
    // A decoder of an earlier plan whose results are still in the summary.
    second.plan = plan(&["base"]);
    first.plan = plan(&["base"]);
    assert_eq!(RunComparison::of(&first, &second).only_in_second, ["new"]);
}

/// Points count, not grades.
#[test]
fn points_are_compared_where_there_are_points() {
    let [mut first, mut second, _] = repeated([1.0; 3]);
    for (place, record) in second.records.iter_mut().enumerate() {
        record.points = Some([0.5, 0.75, 1.0][place]);
    }
    first.records.iter_mut().for_each(|record| record.points = Some(0.25));
    let difference = pairs([&first, &second])[0].difference.unwrap();
    assert!((difference.mean - 0.5).abs() < 1e-12);
}
