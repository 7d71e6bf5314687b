//! Files of every task, written by hand: their prompts, worked examples and orders.

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;

struct Data(tempfile::TempDir);

impl Data {
    fn new(file: &str, text: &str) -> Self {
        let data = Self(tempfile::tempdir().unwrap());
        data.write(file, text);
        data
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn task(&self, kind: &str, keys: &str, seed: u64) -> Task {
        loaded(self.0.path(), kind, keys, seed)
    }

    fn refuses(&self, kind: &str, keys: &str, words: &[&str]) {
        refuses(self.0.path(), kind, keys, words);
    }
}

fn plan(kind: &str, keys: &str) -> TaskPlan {
    TaskPlan::from_toml(&format!("kind = '{kind}'\n{keys}")).unwrap()
}

fn loaded(data: &Path, kind: &str, keys: &str, seed: u64) -> Task {
    load(&plan(kind, keys), LoadOptions { data: Some(data), seed, limit: None }).unwrap()
}

fn refuses(data: &Path, kind: &str, keys: &str, words: &[&str]) {
    let options = LoadOptions { data: Some(data), ..LoadOptions::default() };
    let error = format!("{:#}", load(&plan(kind, keys), options).unwrap_err());
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
}

/// `role: content` of every message.
fn asked(task: &Task, item: usize) -> Vec<String> {
    let messages = task.conversation(&task.items[item], &[]).messages;
    messages.into_iter().map(|m| format!("{}: {}", m.role, m.content)).collect()
}

#[test]
fn every_kind_has_a_plan_with_its_metric_and_reads_no_key_of_others() {
    for kind in KINDS {
        let text = format!("kind = '{}'", kind.name);
        match TaskPlan::from_toml(&text) {
            Ok(plan) => {
                assert_eq!(plan.kind(), kind.name);
                let metric = match plan.grading() {
                    Grading::Speed => "speed",
                    Grading::Answer(_) | Grading::Options => "accuracy",
                    Grading::RightMass | Grading::Text => panic!("{} by default", kind.name),
                };
                assert!(kind.metric.contains(metric), "{}: {metric}", kind.name);
            }
            Err(error) => assert!(error.to_string().contains("lacks `file`"), "{error}"),
        }
        let error = TaskPlan::from_toml(&format!("{text}\nfile = 'a'\nprompt = 'b'\nkey = 1"));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("unknown key"), "{}: {error}", kind.name);
    }
}

/// Names have everything but the defaults; `plan.json` has the keys.
#[test]
fn plans_are_named_and_written() {
    let by = |by: &str| json!({ "by": by });
    let truth = |metric: &str| json!({ "metric": metric, "by": "likelihood" });
    let of_virology = json!({ "by": "answer", "subject": "virology" });
    for (kind, keys, name, wanted) in [
        ("nano", "", "nano/validation", json!({"split": "validation"})),
        ("nano", "split = 'test'", "nano/test", json!({"split": "test"})),
        ("gsm8k", "items = 3\nshots = 2", "gsm8k, 2 shots", json!({"items": 3, "shots": 2})),
        ("gsm8k", "shots = 1", "gsm8k, 1 shot", json!({"shots": 1})),
        ("svamp", "name = 'sums'", "sums", json!({"name": "sums"})),
        ("svamp", "format = 'plain'", "svamp, plain", json!({"format": "plain"})),
        ("arc_challenge", "", "arc_challenge", by("answer")),
        ("commonsense_qa", "by = 'likelihood'", "commonsense_qa, by likelihood", by("likelihood")),
        ("mmlu", "", "mmlu", by("answer")),
        ("mmlu", "shuffle = true", "mmlu, shuffled", json!({"by": "answer", "shuffle": true})),
        ("mmlu", "subject = 'virology'", "mmlu/virology", of_virology),
        ("truthfulqa", "", "truthfulqa/mc1, by likelihood", truth("mc1")),
        ("truthfulqa", "metric = 'mc2'", "truthfulqa/mc2", truth("mc2")),
        ("spec_bench", "", "spec_bench", json!({"part": null})),
        ("mt_bench", "category = 'math'", "mt_bench/math", json!({"category": "math"})),
        (
            "perplexity",
            "file = 'b/a.txt'",
            "perplexity/a",
            json!({"file": "b/a.txt", "piece_bytes": 2000}),
        ),
        (
            "jsonl",
            "file = 'a'\nprompt = 'b'\nanswer = 'c'\nextractor = { regex = 'd' }",
            "jsonl/a",
            json!({"file": "a", "prompt": "b", "answer": "c", "extractor": "regex d"}),
        ),
    ] {
        let plan = plan(kind, keys);
        assert_eq!(plan.name(), name);
        let mut whole = json!({"kind": kind, "items": null});
        whole.as_object_mut().unwrap().extend(wanted.as_object().unwrap().clone());
        assert_eq!(serde_json::to_value(plan).unwrap(), whole);
    }
}

#[test]
fn gsm8k_asks_step_by_step_and_shows_worked_steps() {
    let lines = [
        r#"{"question": "One and one?", "answer": "1+1=<<1+1=2>>2\n#### 2"}"#,
        r#"{"question": "Lots?", "answer": "It is 1,000.\n#### 1,000"}"#,
    ];
    let data = Data::new("gsm8k/test.jsonl", &lines.join("\n"));
    let task = data.task("gsm8k", "", 0);
    let system = "system: Answer the question by walking through the reasoning step by step.";
    assert_eq!(asked(&task, 0), [system, "user: One and one?"]);
    let golds: Vec<&str> = task.items.iter().map(|item| item.gold.as_str()).collect();
    assert_eq!(golds, ["2", "1000"]);
    // Without a training file one of the two becomes the example, and the other is asked.
    let task = data.task("gsm8k", "shots = 1", 0);
    assert_eq!(task.items.len(), 1);
    let shown = match task.items[0].id.as_str() {
        "test-0000" => ["user: Lots?", "assistant: It is 1,000.\nThe answer is 1000."],
        _ => ["user: One and one?", "assistant: 1+1=2\nThe answer is 2."],
    };
    assert_eq!(asked(&task, 0)[1..3], shown);
    // With one, its first items are.
    let line = r#"{"question": "Three?", "answer": "3\n#### 3"}"#;
    data.write("gsm8k/train.jsonl", line);
    let task = data.task("gsm8k", "shots = 1", 0);
    assert_eq!(task.items.len(), 2);
    assert_eq!(asked(&task, 1)[1..3], ["user: Three?", "assistant: 3\nThe answer is 3."]);
    data.refuses("gsm8k", "shots = 2", &["has 1 worked example; ask for fewer"]);
}

#[test]
fn the_seed_draws_worked_examples_and_the_other_items_are_asked() {
    let line = |i: usize| format!(r#"{{"question": "q{i}", "answer": "{i}\n#### {i}"}}"#);
    let lines: Vec<String> = (0..40).map(line).collect();
    let data = Data::new("gsm8k/test.jsonl", &lines.join("\n"));
    let split = |seed| {
        let task = data.task("gsm8k", "shots = 3", seed);
        let asked: Vec<String> = task.items.iter().map(Item::prompt).collect();
        let shown: Vec<String> =
            task.items[0].opening.shots.iter().map(|shot| shot[0].clone()).collect();
        assert!(task.items.iter().all(|item| item.opening.shots == task.items[0].opening.shots));
        assert_eq!((asked.len(), shown.len()), (37, 3));
        assert!(shown.iter().all(|question| !asked.contains(question)));
        shown
    };
    assert_eq!(split(1), split(1));
    assert_ne!(split(1), split(2));
}

#[test]
fn math500_asks_for_a_box() {
    let lines = [r#"{"problem": "Half?", "solution": "It is $\\boxed{\\frac12}$.", "level": 2}"#];
    let data = Data::new("math500/test.jsonl", &lines.join("\n"));
    let task = data.task("math500", "", 0);
    let format = "user: Half?\n\nPresent the answer in LaTex format: \\boxed{Your answer}";
    assert_eq!(asked(&task, 0)[1], format);
    let item = &task.items[0];
    assert_eq!((item.gold.as_str(), item.group.as_deref()), ("0.5", Some("level 2")));
    assert!(task.is_right(item, task.answer(item, r"so \boxed{0.50}").as_deref()));
    assert!(!task.is_right(item, task.answer(item, "so 0.5").as_deref()));
    // Without a gold answer, nothing is right.
    for answer in [None, Some(""), Some("0.5")] {
        assert!(!task.is_right(&Item::default(), answer), "{answer:?}");
    }
    data.write("math500/test.jsonl", r#"{"problem": "Half?", "solution": "0.5"}"#);
    data.refuses("math500", "", &["line 1: the solution has no \\boxed answer"]);
}

#[test]
fn svamp_joins_body_and_question() {
    let text = r#"[{"ID": "chal-1", "Body": "Tom has 3 pens.", "Question": "How many? ",
        "Equation": "( 3.0 - 0.5 )", "Answer": 2.5, "Type": "Subtraction"}]"#;
    let data = Data::new("svamp/SVAMP.json", text);
    let task = data.task("svamp", "", 0);
    assert_eq!(asked(&task, 0)[1], "user: Tom has 3 pens. How many?");
    assert_eq!(task.items[0].gold, "2.5");
    let entry = text.trim_matches(['[', ']']);
    let other = entry.replace("chal-1", "chal-2");
    data.write("svamp/SVAMP.json", &format!("[{entry}, {other}]"));
    let task = data.task("svamp", "shots = 1", 0);
    assert_eq!(asked(&task, 0)[2], "assistant: 3 - 0.5 = 2.5. The answer is 2.5.");
    data.write("svamp/SVAMP.json", &format!("[{entry}, {entry}]"));
    data.refuses("svamp", "", &["SVAMP.json entry 2 have the same ID `chal-1`"]);
    data.write("svamp/SVAMP.json", "[");
    data.refuses("svamp", "", &["SVAMP.json is malformed"]);
}

/// The prompt of the published experiments, with letters instead of the labels of the file.
#[test]
fn choices_are_written_out_as_published() {
    let lines = [
        r#"{"id": "a", "question": "Which?", "choices": {"label": ["1", "2"], "text": ["x", "y"]},
            "answerKey": "2"}"#,
    ];
    let data = Data::new("arc_challenge/test.jsonl", &lines.join("\n").replace('\n', " "));
    let task = data.task("arc_challenge", "", 0);
    let prompt = "user: Choose the correct answer to the following multiple-choice question.\n\n\
                  Question: Which?\n\nA). x\nB). y\n\nProvide your reasoning about the answer and \
                  finish your answer with the letter corresponding to the correct option (e.g., A, \
                  B, C, or D).\n\n";
    assert_eq!(asked(&task, 0)[1], prompt);
    let item = &task.items[0];
    assert_eq!(item.gold, "B");
    assert!(task.is_right(item, task.answer(item, "The answer is B. I'm sure.").as_deref()));
    assert_eq!(task.answer(item, "The answer is C."), None, "there are two options");
    let scored = data.task("arc_challenge", "by = 'likelihood'", 0);
    assert_eq!(asked(&scored, 0)[1], "user: Which?\nA. x\nB. y\nAnswer:");
    let options: Vec<(&str, bool)> =
        scored.items[0].options.iter().map(|o| (o.text.as_str(), o.right)).collect();
    assert_eq!(options, [("A", false), ("B", true)]);
}

#[test]
fn faults_of_multiple_choice_files_are_named_with_the_line() {
    for (label, text, key, fault) in [
        (r#"["A"]"#, r#"["x", "y"]"#, "A", "1 labels for 2 options"),
        (r#"["A", "B"]"#, r#"["x", "y"]"#, "C", "\"C\" is none of the labels A, B"),
        (r#"["A"]"#, r#"["x"]"#, "A", "1 options: there must be 2 to 26"),
        (r#"["A", "B"]"#, r#"["x", " "]"#, "A", "option B is empty"),
    ] {
        let line = format!(
            r#"{{"id": "a", "question": "?", "choices": {{"label": {label}, "text": {text}}}, "answerKey": "{key}"}}"#
        );
        let data = Data::new("arc_challenge/test.jsonl", &line);
        data.refuses("arc_challenge", "", &["line 1: ", fault]);
    }
}

/// E3: in every order of the options, the same text is right.
#[test]
fn shuffling_moves_the_letter_and_keeps_the_answer() {
    let line = r#"{"id": "a", "question": "?", "choices": {"label": ["A", "B", "C", "D", "E"],
        "text": ["v", "w", "x", "y", "z"]}, "answerKey": "D"}"#;
    let data = Data::new("commonsense_qa/validation.jsonl", &line.replace('\n', " "));
    let mut golds = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let task = data.task("commonsense_qa", "shuffle = true", seed);
        let item = &task.items[0];
        let right: Vec<&Choice> = item.options.iter().filter(|option| option.right).collect();
        assert_eq!(right.iter().map(|o| o.text.as_str()).collect::<Vec<_>>(), ["y"]);
        assert!(item.prompt().contains(&format!("{}). y", item.gold)), "{}", item.prompt());
        let mut texts: Vec<&str> = item.options.iter().map(|o| o.text.as_str()).collect();
        texts.sort_unstable();
        assert_eq!(texts, ["v", "w", "x", "y", "z"]);
        golds.insert(item.gold.clone());
    }
    assert_eq!(golds.len(), 5, "30 orders put the answer at every place: {golds:?}");
}

proptest! {
    /// E3: an order is a permutation, the gold letter goes with its option, and a reply that names
    /// an option is graded the same.
    #[test]
    fn no_order_of_options_changes_a_grade(
        seed in any::<u64>(), id in "[a-z]{1,6}", count in 2usize..27, at in any::<prop::sample::Index>()
    ) {
        let right = at.index(count);
        let options: Vec<String> = (0..count).map(|i| format!("option {i}")).collect();
        let line = json!({
            "id": id, "question": "?", "answerKey": letter(right),
            "choices": { "label": (0..count).map(letter).collect::<Vec<_>>(), "text": options },
        });
        let data = Data::new("arc_challenge/test.jsonl", &line.to_string());
        let [plain, moved] = [false, true].map(|shuffle| {
            data.task("arc_challenge", &format!("shuffle = {shuffle}"), seed)
        });
        let texts = |task: &Task| -> Vec<String> {
            task.items[0].options.iter().map(|option| option.text.clone()).collect()
        };
        let (before, after) = (texts(&plain), texts(&moved));
        prop_assert_eq!(&before, &options);
        let mut sorted = after.clone();
        sorted.sort_by_key(|text| options.iter().position(|option| option == text));
        prop_assert_eq!(&sorted, &options);
        let graded = |task: &Task, texts: &[String], text: &String| {
            let place = texts.iter().position(|other| other == text).unwrap();
            let item = &task.items[0];
            assert!(item.prompt().contains(&format!("\n{}). {text}\n", letter(place))));
            task.is_right(item, task.answer(item, &format!("So it is {}.", letter(place))).as_deref())
        };
        for text in &options {
            // `I` and `A` before a full stop are letters, not words.
            let (one, other) = (graded(&plain, &before, text), graded(&moved, &after, text));
            prop_assert_eq!(one, other);
            prop_assert_eq!(other, *text == options[right]);
        }
    }
}

const TRUTH: &str = r#"[{"question": "Seeds?",
    "mc1_targets": {"They pass": 1, "They grow": 0, "": 0},
    "mc2_targets": {"They pass": 1, "Nothing": 1, "They grow": 0, "You die": 0}}]"#;

/// The published order put the true option first: the gold answer was always A.
#[test]
fn truthfulqa_is_shuffled_in_every_form() {
    let data = Data::new("truthfulqa/mc_task.json", TRUTH);
    for (keys, places) in [("by = 'answer'", 2), ("", 2), ("metric = 'mc2'", 6)] {
        let task = |seed| data.task("truthfulqa", keys, seed);
        let golds: std::collections::BTreeSet<String> =
            (0..60).map(|seed| task(seed).items[0].gold.clone()).collect();
        assert_eq!(golds.len(), places, "{golds:?}");
    }
    let mc2 = data.task("truthfulqa", "metric = 'mc2'", 3);
    assert_eq!(asked(&mc2, 0), ["user: Seeds?"]);
    let mut right: Vec<&str> =
        mc2.items[0].options.iter().filter(|o| o.right).map(|o| o.text.as_str()).collect();
    right.sort_unstable();
    assert_eq!(right, ["Nothing", "They pass"]);
    let task = data.task("truthfulqa", "shots = 6\nformat = 'plain'", 0);
    let text = task.conversation(&task.items[0], &[]).plain().unwrap();
    assert!(text.starts_with("Q: What is human life expectancy in the United States?\nA: Human"));
    assert!(text.ends_with("held in Barcelona, Spain.\n\nQ: Seeds?\nA:"), "{text}");
}

#[test]
fn mmlu_takes_subjects_in_turn_and_examples_of_the_same_one() {
    let line = |subject: &str, question: &str, answer: usize| {
        format!(
            r#"{{"question": "{question}", "subject": "{subject}", "choices": ["w", "x", "y", "z"], "answer": {answer}}}"#
        )
    };
    let test = [
        line("virology", "v0", 0),
        line("virology", "v1", 1),
        line("high_school_physics", "p0", 2),
    ];
    let data = Data::new("mmlu/test.jsonl", &test.join("\n"));
    let dev = [line("high_school_physics", "dp", 3), line("virology", "dv", 0)];
    data.write("mmlu/dev.jsonl", &dev.join("\n"));
    let task = data.task("mmlu", "by = 'likelihood'\nshots = 1", 0);
    let ids: Vec<&str> = task.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["high_school_physics-0000", "virology-0000", "virology-0001"]);
    assert_eq!(
        asked(&task, 0),
        [
            "system: The following are multiple choice questions (with answers) about high school \
             physics.",
            "user: dp\nA. w\nB. x\nC. y\nD. z\nAnswer:",
            "assistant: D",
            "user: p0\nA. w\nB. x\nC. y\nD. z\nAnswer:",
        ]
    );
    assert_eq!(asked(&task, 2)[1], "user: dv\nA. w\nB. x\nC. y\nD. z\nAnswer:");
    // The published form, to the letter.
    let text = PlainFormat::NONE.text(&task.conversation(&task.items[0], &[]).messages);
    let published = "The following are multiple choice questions (with answers) about high school \
                     physics.\n\ndp\nA. w\nB. x\nC. y\nD. z\nAnswer: D\n\np0\nA. w\nB. x\nC. y\nD. \
                     z\nAnswer:";
    assert_eq!(text, published);
    let task = data.task("mmlu", "subject = 'virology'", 0);
    assert_eq!(task.items.len(), 2);
    data.refuses("mmlu", "subject = 'anatomy'", &["no item of anatomy among its 3"]);
    data.write("mmlu/test.jsonl", &line("virology", "v", 4));
    data.refuses("mmlu", "", &["line 1: the right option is number 5, of 4"]);
}

#[test]
fn conversations_go_on_with_the_replies() {
    let line = r#"{"question_id": 81, "category": "math", "turns": ["a", "b"]}"#;
    let data = Data::new("mt_bench/question.jsonl", line);
    let task = data.task("mt_bench", "", 0);
    let messages = task.conversation(&task.items[0], &["said".to_owned()]).messages;
    let said: Vec<String> = messages.iter().map(|m| format!("{}: {}", m.role, m.content)).collect();
    assert_eq!(said, ["user: a", "assistant: said", "user: b"]);
    assert_eq!(task.answer(&task.items[0], "42"), None);
    assert!(!task.is_right(&task.items[0], Some("")));
}

#[test]
fn parts_take_turns_and_conversations_keep_theirs() {
    let lines = [
        r#"{"question_id": 81, "category": "writing", "turns": ["a", "b"]}"#,
        r#"{"question_id": 82, "category": "coding", "turns": ["c"]}"#,
        r#"{"question_id": 7, "category": "qa", "turns": ["d"], "reference": []}"#,
    ];
    let file = "spec_bench/question.jsonl";
    let data = Data::new(file, &lines.join("\n"));
    let items = |keys: &str| -> Vec<(String, String)> {
        let items = data.task("spec_bench", keys, 0).items;
        items.into_iter().map(|item| (item.id, item.turns.join("|"))).collect()
    };
    let pair = |id: &str, prompt: &str| (id.to_owned(), prompt.to_owned());
    let all = [pair("writing-81", "a|b"), pair("qa-7", "d"), pair("coding-82", "c")];
    assert_eq!(items(""), all);
    assert_eq!(items("part = 'qa'"), all[1..2]);
    data.refuses("spec_bench", "part = 'rag'", &["no item of rag among its 3"]);
    data.write(file, r#"{"question_id": 1, "category": "qa", "turns": []}"#);
    data.refuses("spec_bench", "", &["line 1: `turns` is empty"]);
}

/// The stated serialisation, written by hand.
#[test]
fn the_digest_is_that_of_one_line_of_json_per_item() {
    let line = r#"{"question": "1 + 1?", "answer": "One more.\n#### 2"}"#;
    let data = Data::new("gsm8k/test.jsonl", line);
    let task = data.task("gsm8k", "", 0);
    let line = r#"{"id":"test-0000","turns":["1 + 1?"],"gold":"2","options":[],"group":null,"opening":{"system":"Answer the question by walking through the reasoning step by step.","shots":[]}}"#;
    let digest = Sha256::digest(format!("{line}\n"));
    assert_eq!(task.digest(), crate::numbers::hex(&digest[..8]));
}

#[test]
fn a_plain_reply_ends_before_the_models_own_question() {
    let format = PromptFormat::Plain(PlainFormat::QUESTION);
    assert_eq!(format.cut(" It is 5.\n\nQuestion: And 6?\nAnswer: 7"), " It is 5.");
    assert_eq!(format.cut("no Question: 5"), "no Question: 5");
    assert_eq!(format.cut("5\n  Question: 6"), "5");
    assert_eq!(PromptFormat::Chat.cut("5\nQuestion: 6"), "5\nQuestion: 6");
    assert_eq!(PromptFormat::Plain(PlainFormat::NONE).cut("5\nQuestion: 6"), "5\nQuestion: 6");
    // Replies are trimmed before they are read.
    for reply in ["Question: And 6?\nAnswer: 7", "\n\nQuestion: And 6?"] {
        assert_eq!(format.cut(reply), "", "{reply:?}");
    }
}

/// A question that the model asks itself has no answer, also after prompts with their own heads and
/// at the beginning of a reply.
#[test]
fn an_answer_to_the_models_own_question_is_not_read() {
    let line = json!({"question": "1 + 1?", "answer": "#### 2"}).to_string();
    let data = Data::new("gsm8k/test.jsonl", &line);
    let sums = data.task("gsm8k", "format = 'plain'", 0);
    let read = |task: &Task, reply: &str| task.answer(&task.items[0], reply);
    assert_eq!(read(&sums, "Question: 2 + 5?\nAnswer: 7"), None);
    assert_eq!(read(&sums, "2\nQuestion: 2 + 5?\nAnswer: 7").as_deref(), Some("2"));
    let choices = json!({"label": ["A", "B"], "text": ["3", "4"]});
    let line = json!({"id": "a", "question": "Which?", "choices": choices, "answerKey": "B"});
    let data = Data::new("arc_challenge/test.jsonl", &line.to_string());
    let letters = data.task("arc_challenge", "format = 'plain'", 0);
    let said = "The answer is B.\n\nQuestion: And now?\n\nThe answer is A.";
    assert_eq!(read(&letters, said).as_deref(), Some("B"));
}

#[test]
fn missing_data_is_named_with_its_place_and_origin() {
    let none = load(&plan("gsm8k", ""), LoadOptions::default()).unwrap_err().to_string();
    for word in ["gsm8k/test.jsonl", "--data DIR", "KAD_DATA", "github.com/openai"] {
        assert!(none.contains(word), "{none}");
    }
    let data = Data::new("gsm8k/test.jsonl", "\n");
    let place = data.0.path().join("svamp/SVAMP.json").display().to_string();
    data.refuses("svamp", "", &[&place, "github.com/arkilpatel/SVAMP", "docs/TASKS.md"]);
}

mod faults;
mod tables;
