//! Published tables, against the same items as JSON: both written by another program
//! (`kad-eval/tests/tables/make.py`).

use std::fs;
use std::path::PathBuf;

use super::*;

fn written(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(kind)
}

/// Plans that read every column that is read of a set.
fn plans() -> Vec<TaskPlan> {
    let mmlu = MmluPlan { subject: None, choosing: SCORED };
    let truth = |metric, by| TaskSet::Truthfulqa { metric, by };
    let sets = [
        TaskSet::Svamp,
        TaskSet::ArcChallenge(WRITTEN),
        TaskSet::ArcChallenge(SCORED),
        truth(Truth::Mc1, By::Answer),
        truth(Truth::Mc1, By::Likelihood),
        truth(Truth::Mc2, By::Likelihood),
        TaskSet::MtBench { category: None },
        TaskSet::Humaneval,
    ];
    let few = [TaskSet::Gsm8k, TaskSet::Mmlu(mmlu)];
    let few = few.map(|set| TaskPlan { shots: 1, ..plan(set) });
    sets.map(plan).into_iter().chain(few).collect()
}

#[test]
fn tables_hold_the_items_of_the_authors_files() {
    for plan in plans() {
        for seed in [0, 5] {
            let [lines, tables] =
                ["lines", "tables"].map(|kind| loaded(&plan, &written(kind), seed));
            assert!(!lines.items.is_empty());
            let text = |task: &Task| format!("{:#?}", task.items);
            assert_eq!(text(&lines), text(&tables), "{}", plan.name());
            assert_eq!(lines.digest(), tables.digest());
        }
    }
    // So that both are not wrong in one way.
    let gsm8k = loaded(&plans()[8], &written("tables"), 0);
    let golds: Vec<&str> = gsm8k.items.iter().map(|item| item.gold.as_str()).collect();
    assert_eq!(golds, ["5", "1500"]);
    assert_eq!(gsm8k.items[0].prompt(), "Ann has 2 pens and buys “3” more.\nHow many?");
    assert!(gsm8k.items[0].opening.shots[0][0].starts_with("Ünal owes 7 €."));
    let svamp = loaded(&plan(TaskSet::Svamp), &written("tables"), 0);
    let ids: Vec<&str> = svamp.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["chal-1", "chal-2", "chal-10"]);
}

/// A data folder with one table of `tables/`, under another name.
fn with_table(from: &str, to: &str) -> (tempfile::TempDir, PathBuf) {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join(to);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(written("tables").join(from), &path).unwrap();
    (data, path)
}

#[test]
fn a_fault_of_a_table_is_named_with_file_and_row() {
    let wrong = |from: &str, to: &str, set: TaskSet, words: &[&str]| {
        let (data, path) = with_table(from, to);
        let error = failed(&plan(set), data.path());
        for word in words.iter().copied().chain([path.to_str().unwrap()]) {
            assert!(error.contains(word), "{word:?} is not in {error}");
        }
    };
    let mmlu = "mmlu/dev-00000-of-00001.parquet";
    let humaneval = "humaneval/test-00000-of-00001.parquet";
    wrong(
        mmlu,
        "arc_challenge/test.parquet",
        TaskSet::ArcChallenge(WRITTEN),
        &["row 1 is malformed: invalid type", "docs/TASKS.md"],
    );
    wrong(humaneval, "gsm8k/test.parquet", TaskSet::Gsm8k, &["row 1 is malformed: missing field"]);
    // `answer` is a number in one set and a text in the other.
    wrong(mmlu, "gsm8k/test.parquet", TaskSet::Gsm8k, &["row 1", "invalid type: integer `3`"]);
}

#[test]
fn parts_of_a_table_that_are_missing_are_named() {
    let part = "arc_challenge/test-00001-of-00002-0123456789abcdef.parquet";
    let (data, _path) = with_table(part, "arc_challenge/test-00001-of-00002.parquet");
    let error = failed(&plan(TaskSet::ArcChallenge(WRITTEN)), data.path());
    assert!(error.contains("arc_challenge: test-00000-of-00002.parquet is missing"), "{error}");
    let (data, _path) = with_table("svamp/test-00000-of-00001.parquet", "svamp/test.parquet");
    let error = failed(&plan(TaskSet::Svamp), data.path());
    assert!(error.contains("svamp: train-*.parquet (or train.parquet) is missing"), "{error}");
}

/// Whatever is cut off or changed, nothing panics, and what is cut off is said to be.
#[test]
fn a_damaged_table_is_an_error_or_other_items_but_never_a_panic() {
    let mut refused = 0;
    for (from, to, set) in [
        (
            "arc_challenge/test-00000-of-00002-0123456789abcdef.parquet",
            "arc_challenge/test.parquet",
            TaskSet::ArcChallenge(WRITTEN),
        ),
        ("gsm8k/test-00000-of-00001.parquet", "gsm8k/test.parquet", TaskSet::Gsm8k),
        ("gsm8k/train.parquet", "gsm8k/test.parquet", TaskSet::Gsm8k),
    ] {
        let (data, path) = with_table(from, to);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let error = failed(&plan(set.clone()), data.path());
            assert!(error.contains("cannot be read as a parquet table"), "{len}: {error}");
        }
        for at in 0..whole.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                fs::write(&path, &bytes).unwrap();
                let from = Loading { data: Some(data.path()), ..Loading::default() };
                refused += usize::from(load(&plan(set.clone()), from).is_err());
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}
