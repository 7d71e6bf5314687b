//! Data that cannot be read: what is wrong, where, and what to do.

use std::fs;

use super::*;

fn fails(data: &tempfile::TempDir, set: TaskSet, words: &[&str]) {
    let error = failed(&plan(set), data.path());
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
}

#[test]
fn a_malformed_line_is_named_with_what_is_wrong_in_it() {
    let good = r#"{"question": "1 + 1?", "answer": "2\n#### 2"}"#;
    for (line, fault) in [
        (r#"{"question": "2?"#, "EOF while parsing a string (column 16)"),
        (r#"{"question": "2?"}"#, "missing field `answer` (column 18)"),
        (r#"{"question": "2?", "answer": 2}"#, "invalid type: integer `2`, expected a string"),
        (r#"{"question": "2?", "answer": null}"#, "invalid type: null, expected a string"),
        ("[", "EOF while parsing a list"),
    ] {
        let data = folder("gsm8k/test.jsonl", &format!("{good}\n\n{line}\n{good}\n"));
        let place = data.path().join("gsm8k/test.jsonl").display().to_string();
        let words =
            [&format!("{place} line 3 is malformed: {fault}"), "mend it, or fetch", "TASKS"];
        fails(&data, TaskSet::Gsm8k, &words.map(|word| word as &str));
    }
    let data = folder("gsm8k/test.jsonl", r#"{"question": "2?", "answer": "two"}"#);
    fails(&data, TaskSet::Gsm8k, &["line 1: the answer has no `#### number`"]);
    let data = folder("truthfulqa/mc_task.json", "[{\"question\": \"?\",\n\"mc1_targets\": 3}]");
    let truth = || TaskSet::Truthfulqa { metric: Truth::Mc1, by: By::Answer };
    fails(&data, truth(), &["mc_task.json is malformed", "neither options with 0 or 1", "line 2"]);
    for (labels, fault) in [
        ("1", "1 labels for 2 choices"),
        ("1, 2", "a label is 2"),
        ("0, 0", "no option is true"),
        ("1, 1", "mc1 has one true option, here are 2"),
    ] {
        let targets = format!(r#"{{"choices": ["a", "b"], "labels": [{labels}]}}"#);
        let text =
            format!(r#"[{{"question": "?", "mc1_targets": {targets}, "mc2_targets": {{}}}}]"#);
        fails(
            &folder("truthfulqa/mc_task.json", &text),
            truth(),
            &["mc_task.json entry 1: ", fault],
        );
    }
    let data = folder(
        "svamp/SVAMP.json",
        r#"[{"ID": "a", "Body": "", "Question": "", "Equation": "",
        "Answer": "many", "Type": ""}]"#,
    );
    fails(&data, TaskSet::Svamp, &["SVAMP.json entry 1: the answer \"many\" is no number"]);
}

#[test]
fn a_file_that_cannot_be_read_says_why_and_what_to_do() {
    for text in ["", "\n \n"] {
        let data = folder("gsm8k/test.jsonl", text);
        fails(&data, TaskSet::Gsm8k, &["test.jsonl holds no items: fetch it again"]);
    }
    fails(&folder("svamp/SVAMP.json", "[]"), TaskSet::Svamp, &["SVAMP.json holds no items"]);
    for file in ["gsm8k/test.jsonl/a", "gsm8k/test.parquet/a"] {
        let words = ["cannot read the task file", "it is a folder: put the file there instead"];
        fails(&folder(file, ""), TaskSet::Gsm8k, &words);
    }
    let data = folder("gsm8k/test.jsonl", "");
    fs::write(data.path().join("gsm8k/test.jsonl"), b"{\"question\": \"\xff").unwrap();
    fails(&data, TaskSet::Gsm8k, &["it is no text in UTF-8: fetch it again"]);
    // A file where the set's folder should be.
    fails(&folder("gsm8k", ""), TaskSet::Gsm8k, &["there is no task file", "test.parquet"]);
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let data = folder("gsm8k/test.jsonl", "{}");
    let path = data.path().join("gsm8k/test.jsonl");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        eprintln!("SKIPPED: this user may read everything");
        return;
    }
    fails(&data, TaskSet::Gsm8k, &["cannot read the task file", "chmod +r", "ermission denied"]);
}

#[test]
fn items_with_one_id_are_named_by_their_lines() {
    let line = |id: &str| {
        let choices = r#"{"label": ["A", "B"], "text": ["x", "y"]}"#;
        format!(r#"{{"id": "{id}", "question": "?", "choices": {choices}, "answerKey": "B"}}"#)
    };
    let data = folder("arc_challenge/test.jsonl", &[line("a"), line("b"), line("a")].join("\n"));
    let words = ["test.jsonl line 1 and ", "test.jsonl line 3 have the same id, a: "];
    fails(&data, TaskSet::ArcChallenge(WRITTEN), &words);
    let line = r#"{"task_id": "f/0", "prompt": "def f():"}"#;
    let data = folder("humaneval/HumanEval.jsonl", &[line, line].join("\n"));
    fails(&data, TaskSet::Humaneval, &["line 2 have the same id, f/0"]);
    let line = r#"{"question_id": 1, "category": "math", "turns": ["a"]}"#;
    let data = folder("mt_bench/question.jsonl", &[line, line].join("\n"));
    fails(&data, TaskSet::MtBench { category: None }, &["line 2 have the same id, math-1"]);
}

#[test]
fn what_is_no_place_and_what_the_hub_has_not_is_said() {
    let on = |data: &str, set: TaskSet| {
        let from = Loading { data: Some(Path::new(data)), ..Loading::default() };
        format!("{:#}", load(&plan(set), from).unwrap_err())
    };
    let error = on("hf:openai/gsm8k", TaskSet::Gsm8k);
    assert!(error.contains("`hf:` alone takes every set from its own repository"), "{error}");
    let error = on("hf:", TaskSet::SpecBench { part: None });
    for word in
        ["spec_bench is not on the hub", "Spec-Bench", "spec_bench/question.jsonl", "--data"]
    {
        assert!(error.contains(word), "{error}");
    }
}
