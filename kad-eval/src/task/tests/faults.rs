//! Data that cannot be read: messages name the place, the fault and the remedy.

use std::fs;

use super::*;

#[test]
fn a_malformed_line_is_named_with_its_fault() {
    let good = r#"{"question": "1 + 1?", "answer": "2\n#### 2"}"#;
    for (line, fault) in [
        (r#"{"question": "2?"#, "EOF while parsing a string (column 16)"),
        (r#"{"question": "2?"}"#, "missing field `answer` (column 18)"),
        (r#"{"question": "2?", "answer": 2}"#, "invalid type: integer `2`, expected a string"),
        (r#"{"question": "2?", "answer": null}"#, "invalid type: null, expected a string"),
        ("[", "EOF while parsing a list"),
        (
            r#"{"question": "2?", "answer": NaN}"#,
            "JSON has no NaN (column 30): write null or a number",
        ),
        (r#"{"question": "2?", "n": -Infinity}"#, "JSON has no Infinity (column"),
    ] {
        let data = Data::new("gsm8k/test.jsonl", &format!("{good}\n\n{line}\n{good}\n"));
        let place = data.0.path().join("gsm8k/test.jsonl").display().to_string();
        let words = [&format!("{place} line 3 is malformed: {fault}"), "fix it, or fetch", "TASKS"];
        data.refuses("gsm8k", "", &words.map(|word| word as &str));
    }
    let data = Data::new("gsm8k/test.jsonl", r#"{"question": "2?", "answer": "two"}"#);
    data.refuses("gsm8k", "", &["line 1: the answer has no `#### number`"]);
    let data = Data::new("truthfulqa/mc_task.json", "[{\"question\": \"?\",\n\"mc1_targets\": 3}]");
    let words = ["mc_task.json is malformed", "neither options with 0 or 1", "line 2"];
    data.refuses("truthfulqa", "", &words);
    let data = Data::new("svamp/SVAMP.json", "[{\"ID\": \"a\",\n\"Answer\": NaN}]");
    data.refuses("svamp", "", &["JSON has no NaN (column", "fix it", "at line 2 column"]);
    for (labels, fault) in [
        ("1", "1 labels for 2 choices"),
        ("1, 2", "a label is 2"),
        ("0, 0", "no option is true"),
        ("1, 1", "mc1 needs one true option, but 2 are true"),
    ] {
        let targets = format!(r#"{{"choices": ["a", "b"], "labels": [{labels}]}}"#);
        let text =
            format!(r#"[{{"question": "?", "mc1_targets": {targets}, "mc2_targets": {{}}}}]"#);
        let data = Data::new("truthfulqa/mc_task.json", &text);
        data.refuses("truthfulqa", "", &["mc_task.json entry 1: ", fault]);
    }
    let data = Data::new(
        "svamp/SVAMP.json",
        r#"[{"ID": "a", "Body": "", "Question": "", "Equation": "",
        "Answer": "many", "Type": ""}]"#,
    );
    data.refuses("svamp", "", &["SVAMP.json entry 1: the answer \"many\" is not a number"]);
}

#[test]
fn an_unreadable_file_is_named_with_the_remedy() {
    for text in ["", "\n \n"] {
        let data = Data::new("gsm8k/test.jsonl", text);
        data.refuses("gsm8k", "", &["test.jsonl holds no items: fetch it again"]);
    }
    Data::new("svamp/SVAMP.json", "[]").refuses("svamp", "", &["SVAMP.json holds no items"]);
    for file in ["gsm8k/test.jsonl/a", "gsm8k/test.parquet/a"] {
        let words = ["cannot read the task file", "it is a folder: put the file there instead"];
        Data::new(file, "").refuses("gsm8k", "", &words);
    }
    let data = Data::new("gsm8k/test.jsonl", "");
    fs::write(data.0.path().join("gsm8k/test.jsonl"), b"{\"question\": \"\xff").unwrap();
    data.refuses("gsm8k", "", &["it is not text in UTF-8: fetch it again"]);
    // A file instead of the task's folder.
    Data::new("gsm8k", "").refuses("gsm8k", "", &["there is no task file", "test.parquet"]);
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let data = Data::new("gsm8k/test.jsonl", "{}");
    let path = data.0.path().join("gsm8k/test.jsonl");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        eprintln!("SKIPPED: this user may read everything");
        return;
    }
    data.refuses("gsm8k", "", &["cannot read the task file", "chmod +r", "ermission denied"]);
}

#[test]
fn items_with_one_id_are_named_by_their_lines() {
    let line = |id: &str| {
        let choices = r#"{"label": ["A", "B"], "text": ["x", "y"]}"#;
        format!(r#"{{"id": "{id}", "question": "?", "choices": {choices}, "answerKey": "B"}}"#)
    };
    let data = Data::new("arc_challenge/test.jsonl", &[line("a"), line("b"), line("a")].join("\n"));
    let words = ["test.jsonl line 1 and ", "test.jsonl line 3 have the same ID `a`: "];
    data.refuses("arc_challenge", "", &words);
    let line = r#"{"task_id": "f/0", "prompt": "def f():"}"#;
    let data = Data::new("humaneval/HumanEval.jsonl", &[line, line].join("\n"));
    data.refuses("humaneval", "", &["line 2 have the same ID `f/0`"]);
    let line = r#"{"question_id": 1, "category": "math", "turns": ["a"]}"#;
    let data = Data::new("mt_bench/question.jsonl", &[line, line].join("\n"));
    data.refuses("mt_bench", "", &["line 2 have the same ID `math-1`"]);
}

#[test]
fn a_wrong_place_and_a_task_without_a_hub_are_refused() {
    let words = ["`hf:` alone takes every task from its own repository"];
    refuses(Path::new("hf:openai/gsm8k"), "gsm8k", "", &words);
    let words =
        ["spec_bench is not on the hub", "Spec-Bench", "spec_bench/question.jsonl", "--data"];
    refuses(Path::new("hf:"), "spec_bench", "", &words);
}
