//! Sets as their files have them, written by hand; the prompts, worked examples and orders that
//! follow.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::{By, Choosing, MmluPlan, Truth};

/// A data folder with one file.
fn folder(file: &str, text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), file, text);
    folder
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn plan(set: TaskSet) -> TaskPlan {
    TaskPlan::new(set, None)
}

fn loaded(plan: &TaskPlan, folder: &Path, seed: u64) -> Task {
    load(plan, Loading { data: Some(folder), seed, limit: None }).unwrap()
}

fn failed(plan: &TaskPlan, folder: &Path) -> String {
    let error = load(plan, Loading { data: Some(folder), ..Loading::default() }).unwrap_err();
    format!("{error:#}")
}

/// `role: content` of every message.
fn asked(task: &Task, item: usize) -> Vec<String> {
    let messages = task.conversation(&task.items[item], &[]).messages;
    messages.into_iter().map(|m| format!("{}: {}", m.role, m.content)).collect()
}

const WRITTEN: Choosing = Choosing { by: By::Answer, shuffle: false };
const SCORED: Choosing = Choosing { by: By::Likelihood, shuffle: false };

#[test]
fn every_set_of_the_catalogue_is_a_kind_of_task() {
    for entry in &CATALOGUE {
        match crate::config::default_task(entry.name) {
            Ok(plan) => {
                assert_eq!(plan.kind(), entry.name);
                let metric = format!("{:?}", plan.measure()).to_lowercase();
                assert!(entry.metric.contains(&metric), "{}: {metric}", entry.name);
            }
            Err(error) => assert!(error.to_string().contains("lacks `file`"), "{error}"),
        }
        assert!(entry.file.is_none_or(|file| file.starts_with(entry.name)), "{}", entry.name);
    }
}

#[test]
fn gsm8k_asks_step_by_step_and_shows_worked_steps() {
    let lines = [
        r#"{"question": "One and one?", "answer": "1+1=<<1+1=2>>2\n#### 2"}"#,
        r#"{"question": "Lots?", "answer": "It is 1,000.\n#### 1,000"}"#,
    ];
    let data = folder("gsm8k/test.jsonl", &lines.join("\n"));
    let task = loaded(&plan(TaskSet::Gsm8k), data.path(), 0);
    let system = "system: Answer the question by walking through the reasoning step by step.";
    assert_eq!(asked(&task, 0), [system, "user: One and one?"]);
    let golds: Vec<&str> = task.items.iter().map(|item| item.gold.as_str()).collect();
    assert_eq!(golds, ["2", "1000"]);
    // Without a training file one of the two becomes the example, and the other is asked.
    let few = TaskPlan { shots: 1, ..plan(TaskSet::Gsm8k) };
    let task = loaded(&few, data.path(), 0);
    assert_eq!(task.items.len(), 1);
    let shown = match task.items[0].id.as_str() {
        "test-0000" => ["user: Lots?", "assistant: It is 1,000.\nThe answer is 1000."],
        _ => ["user: One and one?", "assistant: 1+1=2\nThe answer is 2."],
    };
    assert_eq!(asked(&task, 0)[1..3], shown);
    // With one, its first items are.
    let line = r#"{"question": "Three?", "answer": "3\n#### 3"}"#;
    write(data.path(), "gsm8k/train.jsonl", line);
    let task = loaded(&few, data.path(), 0);
    assert_eq!(task.items.len(), 2);
    assert_eq!(asked(&task, 1)[1..3], ["user: Three?", "assistant: 3\nThe answer is 3."]);
    let many = TaskPlan { shots: 2, ..few };
    assert!(failed(&many, data.path()).contains("has 1 worked examples; ask for fewer"));
}

#[test]
fn which_items_become_examples_is_the_seeds_and_leaves_the_others() {
    let line = |i: usize| format!(r#"{{"question": "q{i}", "answer": "{i}\n#### {i}"}}"#);
    let lines: Vec<String> = (0..40).map(line).collect();
    let data = folder("gsm8k/test.jsonl", &lines.join("\n"));
    let few = TaskPlan { shots: 3, ..plan(TaskSet::Gsm8k) };
    let split = |seed| {
        let task = loaded(&few, data.path(), seed);
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
fn math500_wants_a_box() {
    let lines = [r#"{"problem": "Half?", "solution": "It is $\\boxed{\\frac12}$.", "level": 2}"#];
    let data = folder("math500/test.jsonl", &lines.join("\n"));
    let task = loaded(&plan(TaskSet::Math500), data.path(), 0);
    let form = "user: Half?\n\nPresent the answer in LaTex format: \\boxed{Your answer}";
    assert_eq!(asked(&task, 0)[1], form);
    let item = &task.items[0];
    assert_eq!((item.gold.as_str(), item.group.as_deref()), ("0.5", Some("level 2")));
    assert!(task.is_right(item, task.answer(item, r"so \boxed{0.50}").as_deref()));
    assert!(!task.is_right(item, task.answer(item, "so 0.5").as_deref()));
    // Neither no answer nor any answer is right where there is no gold answer.
    for answer in [None, Some(""), Some("0.5")] {
        assert!(!task.is_right(&Item::default(), answer), "{answer:?}");
    }
    write(data.path(), "math500/test.jsonl", r#"{"problem": "Half?", "solution": "0.5"}"#);
    let error = failed(&plan(TaskSet::Math500), data.path());
    assert!(error.contains("line 1: the solution has no \\boxed answer"), "{error}");
}

#[test]
fn svamp_joins_body_and_question() {
    let text = r#"[{"ID": "chal-1", "Body": "Tom has 3 pens.", "Question": "How many? ",
        "Equation": "( 3.0 - 0.5 )", "Answer": 2.5, "Type": "Subtraction"}]"#;
    let data = folder("svamp/SVAMP.json", text);
    let task = loaded(&plan(TaskSet::Svamp), data.path(), 0);
    assert_eq!(asked(&task, 0)[1], "user: Tom has 3 pens. How many?");
    assert_eq!(task.items[0].gold, "2.5");
    let set = svamp::load(Some(data.path())).unwrap();
    assert_eq!(set.problems[0].reply, "3 - 0.5 = 2.5. The answer is 2.5.");
    let entry = text.trim_matches(['[', ']']);
    write(data.path(), "svamp/SVAMP.json", &format!("[{entry}, {entry}]"));
    let error = failed(&plan(TaskSet::Svamp), data.path());
    assert!(error.contains("SVAMP.json entry 2 have the same id, chal-1"), "{error}");
    write(data.path(), "svamp/SVAMP.json", "[");
    assert!(failed(&plan(TaskSet::Svamp), data.path()).contains("SVAMP.json is malformed"));
}

/// The prompt of the published experiments, and letters for whatever labels the file has.
#[test]
fn choices_are_written_out_as_published() {
    let lines = [
        r#"{"id": "a", "question": "Which?", "choices": {"label": ["1", "2"], "text": ["x", "y"]},
            "answerKey": "2"}"#,
    ];
    let data = folder("arc_challenge/test.jsonl", &lines.join("\n").replace('\n', " "));
    let task = loaded(&plan(TaskSet::ArcChallenge(WRITTEN)), data.path(), 0);
    let prompt = "user: Choose the correct answer to the following multiple-choice question.\n\n\
                  Question: Which?\n\nA). x\nB). y\n\nProvide your reasoning about the answer and \
                  finish your answer with the letter corresponding to the correct option (e.g., A, \
                  B, C, or D).\n\n";
    assert_eq!(asked(&task, 0)[1], prompt);
    let item = &task.items[0];
    assert_eq!(item.gold, "B");
    assert!(task.is_right(item, task.answer(item, "The answer is B. I'm sure.").as_deref()));
    assert_eq!(task.answer(item, "The answer is C."), None, "there are two options");
    let scored = loaded(&plan(TaskSet::ArcChallenge(SCORED)), data.path(), 0);
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
        let data = folder("arc_challenge/test.jsonl", &line);
        let error = failed(&plan(TaskSet::ArcChallenge(WRITTEN)), data.path());
        assert!(error.contains("line 1: ") && error.contains(fault), "{error}");
    }
}

/// E3: whatever the order of the options, the same text is right.
#[test]
fn shuffling_moves_the_letter_and_keeps_the_answer() {
    let line = r#"{"id": "a", "question": "?", "choices": {"label": ["A", "B", "C", "D", "E"],
        "text": ["v", "w", "x", "y", "z"]}, "answerKey": "D"}"#;
    let data = folder("commonsense_qa/validation.jsonl", &line.replace('\n', " "));
    let choosing = Choosing { shuffle: true, ..WRITTEN };
    let mut golds = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let task = loaded(&plan(TaskSet::CommonsenseQa(choosing)), data.path(), seed);
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
    /// E3: another order is a permutation, the gold letter goes with its option, and what names an
    /// option's text is judged as it was.
    #[test]
    fn no_order_of_options_changes_a_grade(
        seed in any::<u64>(), id in "[a-z]{1,6}", count in 2usize..27, at in any::<prop::sample::Index>()
    ) {
        let right = at.index(count);
        let options: Vec<String> = (0..count).map(|i| format!("option {i}")).collect();
        let line = serde_json::json!({
            "id": id, "question": "?", "answerKey": letter(right),
            "choices": { "label": (0..count).map(letter).collect::<Vec<_>>(), "text": options },
        });
        let data = folder("arc_challenge/test.jsonl", &line.to_string());
        let [plain, moved] = [false, true].map(|shuffle| {
            let choosing = Choosing { shuffle, ..WRITTEN };
            loaded(&plan(TaskSet::ArcChallenge(choosing)), data.path(), seed)
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
    let data = folder("truthfulqa/mc_task.json", TRUTH);
    let task =
        |metric, by, seed| loaded(&plan(TaskSet::Truthfulqa { metric, by }), data.path(), seed);
    for (metric, by, places) in [
        (Truth::Mc1, By::Answer, 2),
        (Truth::Mc1, By::Likelihood, 2),
        (Truth::Mc2, By::Likelihood, 6),
    ] {
        let golds: std::collections::BTreeSet<String> =
            (0..60).map(|seed| task(metric, by, seed).items[0].gold.clone()).collect();
        assert_eq!(golds.len(), places, "{golds:?}");
    }
    let mc2 = task(Truth::Mc2, By::Likelihood, 3);
    assert_eq!(asked(&mc2, 0), ["user: Seeds?"]);
    let mut right: Vec<&str> =
        mc2.items[0].options.iter().filter(|o| o.right).map(|o| o.text.as_str()).collect();
    right.sort_unstable();
    assert_eq!(right, ["Nothing", "They pass"]);
    let primed = TaskPlan {
        shots: 6,
        format: Format::Plain,
        ..plan(TaskSet::Truthfulqa { metric: Truth::Mc1, by: By::Likelihood })
    };
    let task = loaded(&primed, data.path(), 0);
    let Form::Plain(frame) = task.form else { panic!("it is plain") };
    let text = frame.text(&task.conversation(&task.items[0], &[]).messages);
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
    let data = folder("mmlu/test.jsonl", &test.join("\n"));
    let dev = [line("high_school_physics", "dp", 3), line("virology", "dv", 0)];
    write(data.path(), "mmlu/dev.jsonl", &dev.join("\n"));
    let set = |subject: Option<&str>| {
        TaskSet::Mmlu(MmluPlan { subject: subject.map(str::to_owned), choosing: SCORED })
    };
    let task = loaded(&TaskPlan { shots: 1, ..plan(set(None)) }, data.path(), 0);
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
    let text = Frame::NONE.text(&task.conversation(&task.items[0], &[]).messages);
    let published = "The following are multiple choice questions (with answers) about high school \
                     physics.\n\ndp\nA. w\nB. x\nC. y\nD. z\nAnswer: D\n\np0\nA. w\nB. x\nC. y\nD. \
                     z\nAnswer:";
    assert_eq!(text, published);
    let task = loaded(&plan(set(Some("virology"))), data.path(), 0);
    assert_eq!(task.items.len(), 2);
    let error = failed(&plan(set(Some("anatomy"))), data.path());
    assert!(error.contains("no question about anatomy"), "{error}");
    write(data.path(), "mmlu/test.jsonl", &line("virology", "v", 4));
    let error = failed(&plan(set(None)), data.path());
    assert!(error.contains("line 1: the right option is number 5, of 4"), "{error}");
}

#[test]
fn conversations_go_on_with_the_replies() {
    let line = r#"{"question_id": 81, "category": "math", "turns": ["a", "b"]}"#;
    let data = folder("mt_bench/question.jsonl", line);
    let task = loaded(&plan(TaskSet::MtBench { category: None }), data.path(), 0);
    let messages = task.conversation(&task.items[0], &["said".to_owned()]).messages;
    let said: Vec<String> = messages.iter().map(|m| format!("{}: {}", m.role, m.content)).collect();
    assert_eq!(said, ["user: a", "assistant: said", "user: b"]);
    assert_eq!(task.answer(&task.items[0], "42"), None);
    assert!(!task.is_right(&task.items[0], Some("")));
}

#[test]
fn a_plain_reply_ends_where_the_model_asks_itself() {
    let form = Form::Plain(Frame::QUESTION);
    assert_eq!(form.cut(" It is 5.\n\nQuestion: And 6?\nAnswer: 7"), " It is 5.");
    assert_eq!(form.cut("no Question: 5"), "no Question: 5");
    assert_eq!(form.cut("5\n  Question: 6"), "5");
    assert_eq!(Form::Chat.cut("5\nQuestion: 6"), "5\nQuestion: 6");
    assert_eq!(Form::Plain(Frame::NONE).cut("5\nQuestion: 6"), "5\nQuestion: 6");
    // Replies are trimmed before they are read.
    for reply in ["Question: And 6?\nAnswer: 7", "\n\nQuestion: And 6?"] {
        assert_eq!(form.cut(reply), "", "{reply:?}");
    }
}

/// What is made up is not read as the answer, also where the prompt has its own head and where
/// nothing stands before it.
#[test]
fn the_answer_to_a_question_of_its_own_is_no_answer() {
    let line = serde_json::json!({"question": "1 + 1?", "answer": "#### 2"}).to_string();
    let data = folder("gsm8k/test.jsonl", &line);
    let plain = |set| TaskPlan { format: Format::Plain, ..plan(set) };
    let sums = loaded(&plain(TaskSet::Gsm8k), data.path(), 0);
    let read = |task: &Task, reply: &str| task.answer(&task.items[0], reply);
    assert_eq!(read(&sums, "Question: 2 + 5?\nAnswer: 7"), None);
    assert_eq!(read(&sums, "2\nQuestion: 2 + 5?\nAnswer: 7").as_deref(), Some("2"));
    let choices = serde_json::json!({"label": ["A", "B"], "text": ["3", "4"]});
    let line =
        serde_json::json!({"id": "a", "question": "Which?", "choices": choices, "answerKey": "B"});
    let data = folder("arc_challenge/test.jsonl", &line.to_string());
    let set = TaskSet::ArcChallenge(WRITTEN);
    let letters = loaded(&plain(set), data.path(), 0);
    let said = "The answer is B.\n\nQuestion: And now?\n\nThe answer is A.";
    assert_eq!(read(&letters, said).as_deref(), Some("B"));
}

#[test]
fn data_that_is_not_there_is_said_where_it_should_be() {
    let none = load(&plan(TaskSet::Gsm8k), Loading::default()).unwrap_err().to_string();
    for word in ["gsm8k/test.jsonl", "--data DIR", "KAD_DATA", "github.com/openai"] {
        assert!(none.contains(word), "{none}");
    }
    let empty = tempfile::tempdir().unwrap();
    let missing = failed(&plan(TaskSet::Svamp), empty.path());
    let place = empty.path().join("svamp/SVAMP.json").display().to_string();
    for word in [place.as_str(), "github.com/arkilpatel/SVAMP", "docs/TASKS.md"] {
        assert!(missing.contains(word), "{missing}");
    }
    write(empty.path(), "gsm8k/test.jsonl", "\n");
    assert!(failed(&plan(TaskSet::Gsm8k), empty.path()).contains("holds no items"));
}

mod faults;
mod tables;
