//! Tasks: lists, prompts, a run of every kind, and scores against those of `kad score`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::kad::{Lab, Refusals, kad};

fn experiments() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/tasks")
}

fn experiment(name: &str) -> String {
    experiments().join(name).display().to_string()
}

/// The experiments that come with kad.
fn shipped() -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(experiments()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(found.len() >= 5, "{found:?}");
    found
}

/// A data folder with a few items of every set, in the published formats.
fn data() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, lines: &[Value]| {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        fs::write(path, lines.join("\n")).unwrap();
    };
    let question = |sum: &str| format!("Tom has {sum} pens. How many pens does Tom have now?");
    let math =
        |sum: &str, n: u32| json!({"question": question(sum), "answer": format!("#### {n}")});
    write("gsm8k/test.jsonl", &[math("2 and 3", 5), math("3 and 4", 7)]);
    let boxed = |n: u32| json!({"problem": question("5"), "solution": format!("$\\boxed{{{n}}}$"), "level": n});
    write("math500/test.jsonl", &[boxed(1), boxed(2)]);
    let svamp = |id: &str| {
        json!({"ID": id, "Body": "Tom has 3 pens.", "Question": "How many?",
            "Equation": "( 3.0 + 2.0 )", "Answer": 5.0, "Type": "Addition"})
    };
    write("svamp/SVAMP.json", &[json!([svamp("chal-1"), svamp("chal-2")])]);
    let choices = json!({"label": ["A", "B"], "text": ["3 pens", "4 coins"]});
    let choose =
        |id: &str| json!({"id": id, "question": "Which?", "choices": choices, "answerKey": "B"});
    write("arc_challenge/test.jsonl", &[choose("a"), choose("b")]);
    write("commonsense_qa/validation.jsonl", &[choose("a"), choose("b")]);
    let truth = json!({"question": "How many?",
        "mc1_targets": {"Tom has 5 pens": 1, "7": 0, "Amy has 12": 0},
        "mc2_targets": {"Tom has 5 pens": 1, "5": 1, "7": 0, "Amy has 12": 0}});
    write("truthfulqa/mc_task.json", &[json!([truth, truth])]);
    let mmlu = |subject: &str| json!({"question": "Sum?", "subject": subject, "choices": ["1", "2", "3", "4"], "answer": 2});
    write("mmlu/test.jsonl", &[mmlu("anatomy"), mmlu("virology")]);
    write("mmlu/dev.jsonl", &[mmlu("anatomy"), mmlu("virology")]);
    let turns = |id: u32, category: &str, turns: &[&str]| json!({"question_id": id, "category": category, "turns": turns});
    let conversation = turns(81, "writing", &["Tom has 3 pens.", "How many pens has he?"]);
    write("spec_bench/question.jsonl", &[conversation.clone(), turns(1, "qa", &["How many?"])]);
    write("mt_bench/question.jsonl", &[conversation, turns(82, "coding", &["Say.", "Again."])]);
    let head = |id: u32| json!({"task_id": format!("HumanEval/{id}"), "prompt": "def f(x):\n"});
    write("humaneval/HumanEval.jsonl", &[head(0), head(1)]);
    folder
}

/// The experiment of a task, with the models of Nano.
fn lab(decoders: &str, task: &str, temperature: f64) -> Lab {
    Lab::new(&format!(
        r#"
name = "tasks"
seed = 3

[models.base]
source = "nano:large-base"

[models.draft]
source = "nano:draft"

[models.aligned]
source = "nano:small-aligned"

[sampling]
temperature = {temperature:?}
max_new_tokens = 24

{decoders}

[[tasks]]
{task}
"#
    ))
}

const ALIGNED: &str = "[[decoders]]\nname = \"aligned\"\nkind = \"single\"\nmodel = \"aligned\"\n";

fn records(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.results().join("records.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summary(lab: &Lab) -> Value {
    serde_json::from_str(&fs::read_to_string(lab.results().join("summary.json")).unwrap()).unwrap()
}

#[test]
fn every_kind_of_task_runs() {
    let data = data();
    let data = data.path().to_str().unwrap();
    let lines = fs::read_to_string(experiments().join("own.jsonl")).unwrap();
    let readme = experiments().join("../nano/README.md").display().to_string();
    let mut seen = Vec::new();
    for path in shipped() {
        // The small data folder has two items of each set.
        let text = fs::read_to_string(&path).unwrap().replace("../nano/README.md", &readme);
        let kept = text.lines().filter(|line| !line.starts_with("items ="));
        let text: String = kept.map(|line| format!("{line}\n")).collect();
        let lab = Lab::new(&text);
        fs::write(lab.path().join("own.jsonl"), &lines).unwrap();
        lab.run(&["--limit", "1", "--data", data]).succeeds();
        let kinds = text.lines().filter_map(|line| line.strip_prefix("kind = \""));
        seen.extend(kinds.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    let listed: Value =
        serde_json::from_str(&kad(&["tasks", "list", "--json"]).succeeds()).unwrap();
    for task in listed.as_array().unwrap() {
        let name = task["name"].as_str().unwrap();
        assert!(seen.iter().any(|kind| kind == name), "no experiment has {name}");
    }
}

#[test]
fn shipped_experiments_have_no_more_items_than_their_data() {
    let listed: Value =
        serde_json::from_str(&kad(&["tasks", "list", "--json"]).succeeds()).unwrap();
    let listed = listed.as_array().unwrap();
    for path in shipped() {
        let file: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        for task in file["tasks"].as_array().unwrap() {
            let entry =
                listed.iter().find(|entry| entry["name"] == *task["kind"].as_str().unwrap());
            let held = entry.unwrap()["items"].as_u64().unwrap_or(0);
            let asked = task.get("items").map_or(0, |items| items.as_integer().unwrap());
            // 0: all items of the user's file.
            assert!(held == 0 || asked as u64 <= held, "{}: {task}", path.display());
        }
    }
}

#[test]
fn the_list_of_tasks_marks_missing_files_and_equals_the_document() {
    let data = data();
    fs::remove_file(data.path().join("svamp/SVAMP.json")).unwrap();
    let text = kad(&["tasks", "list", "--data", data.path().to_str().unwrap()]).succeeds();
    let row = |name: &str| {
        let start = text.find(&format!("│ {name} ")).unwrap_or_else(|| panic!("{name}: {text}"));
        &text[start..][..text[start..].find("\n│ ").unwrap_or(text.len() - start)]
    };
    assert!(row("svamp").contains("MISSING") && !row("gsm8k").contains("MISSING"), "{text}");
    let document = fs::read_to_string(experiments().join("../../docs/TASKS.md")).unwrap();
    let table = kad(&["tasks", "list", "--markdown"]).succeeds();
    assert!(document.contains(table.trim()), "docs/TASKS.md: kad tasks list --markdown");
}

#[test]
fn a_prompt_is_shown_as_the_model_reads_it() {
    let refusals = Refusals::new();
    let own = |model: &str| format!("{}:{model}", experiment("own.toml"));
    let show = |name: &str, model: &str| kad(&["tasks", "show", name, "--model", model]).succeeds();
    // The base model has no template of its own: the aligned one lends it.
    for model in ["aligned", "base"] {
        let text = show("nano, with two examples", &own(model));
        let part = "\nAnswer: The answer is ";
        assert_eq!(text.matches(part).count(), 2, "{text}");
        assert_eq!(text.matches("⟦<|endoftext|>⟧").count(), 2, "{text}");
        assert!(text.contains("Question: ") && text.contains("\nAnswer:\n"), "{text}");
    }
    let json = kad(&["tasks", "show", "nano", "--item", "2", "--model", &own("aligned"), "--json"]);
    let shown: Value = serde_json::from_str(&json.succeeds()).unwrap();
    let user = &shown["messages"].as_array().unwrap().last().unwrap()["content"];
    assert!(shown["prompt"].as_str().unwrap().contains(user.as_str().unwrap()), "{shown}");
    assert_eq!((shown["place"].as_u64(), shown["model"].as_str()), (Some(2), Some("aligned")));
    assert!(shown["tokens"].as_array().unwrap().len() > 10 && shown["gold"].is_string(), "{shown}");
    let text = show("own", &own("aligned"));
    assert!(text.contains("(1 of 4)") && text.contains("gold     42"), "{text}");
    let plain = kad(&["tasks", "show", "nano", "--item", "2"]).succeeds();
    assert!(plain.contains("[user]\nPat has 17 pens."), "{plain}");
    let data = data();
    let data = data.path().to_str().unwrap();
    let options = kad(&["tasks", "show", "truthfulqa", "--data", data]).succeeds();
    assert_eq!(options.matches("\n       * ").count(), 1, "{options}");
    kad(&["tasks", "show", "capitals"]).refused(2, &refusals);
    kad(&["tasks", "show", "mmlo"]).refused(2, &refusals);
    kad(&["tasks", "show", "jsonl"]).refused(2, &refusals);
    kad(&["tasks", "show", "nano", "--item", "601"]).refused(2, &refusals);
    kad(&["tasks", "show", "nano", "--model", &own("bse")]).refused(2, &refusals);
    kad(&["tasks", "show", "nano", "--model", "a.toml"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// −ln p of the tokens 2 … n by `kad score`, which works on logits.
fn nll(text: &str, model: &str) -> f64 {
    let json = kad(&["score", "--model", model, "--text", text, "--json"]).succeeds();
    serde_json::from_str::<Value>(&json).unwrap()["nll"].as_f64().unwrap()
}

/// Worst difference measured, over 176 options under two models: 1.5e-12. Passes of any width give
/// the same rows; only the order of summation in `f64` differs.
const NATS: f64 = 1e-11;

#[test]
fn scores_of_options_equal_those_of_kad_score() {
    let data = data();
    let chain = "[[decoders]]\nname = \"chain\"\nkind = \"chain\"\ntarget = \"aligned\"\n\
                 levels = [{ draft = \"draft\", length = 3 }]\n";
    let task = "kind = \"truthfulqa\"\nmetric = \"mc1\"\nformat = \"plain\"\nitems = 1";
    let lab = lab(&format!("{ALIGNED}{chain}"), task, 1.0);
    lab.run(&["--data", data.path().to_str().unwrap()]).succeeds();
    let records = records(&lab);
    // The seed decides the order; the record has the letter of its option.
    let shown = kad(&[
        "tasks",
        "show",
        "truthfulqa/mc1, by likelihood, plain",
        "--data",
        data.path().to_str().unwrap(),
        "--model",
        &format!("{}/experiment.toml:aligned", lab.path().display()),
    ]);
    let shown = shown.succeeds();
    let options: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("       "))
        .map(|line| line.split_once(": ").unwrap().1)
        .collect();
    assert_eq!(options.len(), 3);
    let prompt = "Q: How many?\nA:";
    let before = nll(prompt, "nano:small-aligned");
    let logs = records[0]["scored"]["log_probs"].as_array().unwrap();
    let mut best = (f64::NEG_INFINITY, 0);
    for (index, (option, found)) in options.iter().zip(logs).enumerate() {
        let wanted = before - nll(&format!("{prompt} {option}"), "nano:small-aligned");
        assert!((found.as_f64().unwrap() - wanted).abs() < NATS, "{option}: {found} {wanted}");
        best = if wanted > best.0 { (wanted, index) } else { best };
    }
    assert_eq!(records[0]["answer"], ["A", "B", "C"][best.1]);
    assert_eq!(records[0]["correct"], options[best.1] == "Tom has 5 pens");
    // A chain has its target's distribution, so its scores equal the target's.
    assert_eq!(records[1]["decoder"], "chain");
    assert_eq!(records[0]["scored"], records[1]["scored"]);
}

/// E3: another seed changes the order of the options and no probability.
#[test]
fn e3_the_order_of_options_changes_no_score() {
    let data = data();
    let by_value = |seed: u64| -> BTreeMap<String, u64> {
        let task = "kind = \"truthfulqa\"\nmetric = \"mc2\"\nitems = 1";
        let mixture = "[[decoders]]\nname = \"kad\"\nkind = \"deferral\"\nbase = \"base\"\n\
                       aligned = \"aligned\"\nrule = { kind = \"kad-dual\", threshold = 0.4 }\n";
        let lab = lab(mixture, task, 1.0);
        let file = lab.path().join("experiment.toml");
        let text =
            fs::read_to_string(&file).unwrap().replace("seed = 3", &format!("seed = {seed}"));
        fs::write(&file, text).unwrap();
        lab.run(&["--data", data.path().to_str().unwrap()]).succeeds();
        let record = &records(&lab)[0];
        let points = record["points"].as_f64().unwrap();
        let logs: Vec<f64> = record["scored"]["log_probs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log.as_f64().unwrap())
            .collect();
        let golds: Vec<usize> = record["gold"]
            .as_str()
            .unwrap()
            .split(", ")
            .map(|letter| usize::from(letter.as_bytes()[0] - b'A'))
            .collect();
        let mass = |of: &dyn Fn(usize) -> bool| -> f64 {
            logs.iter().enumerate().filter(|(i, _)| of(*i)).map(|(_, log)| log.exp()).sum()
        };
        let wanted = mass(&|i| golds.contains(&i)) / mass(&|_| true);
        assert!((points - wanted).abs() < 1e-12, "{points} {wanted}");
        let result = &summary(&lab)["results"][0];
        assert_eq!(result["accuracy"], record["points"]);
        assert!(record["deferral_mass"].as_f64().unwrap() > 0.0);
        // Far above the effect of the order of summation, far below that of a shifted token.
        let round = |x: f64| (x * 1e8).round() as i64;
        let mut values: Vec<i64> = logs.iter().map(|log| round(*log)).collect();
        values.sort_unstable();
        [(format!("{values:?} {}", round(points)), golds.iter().map(|g| 1 << g).sum())].into()
    };
    let (one, other) = (by_value(3), by_value(4));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert_ne!(one, other, "the seeds put the right options at the same places: take others");
}

#[test]
fn perplexity_equals_that_of_kad_score() {
    let text = "Tom has 12 pens. Tom buys 30 more. 12 + 30 = 42. The answer is 42.\n";
    let lab = lab(ALIGNED, "kind = \"perplexity\"\nfile = \"text.txt\"", 1.0);
    fs::write(lab.path().join("text.txt"), text).unwrap();
    let table = lab.run(&[]).succeeds();
    let record = &records(&lab)[0];
    let tokens = record["scored"]["tokens"].as_f64().unwrap();
    let wanted = nll(text, "nano:small-aligned");
    let found = -record["scored"]["log_probs"][0].as_f64().unwrap();
    assert!((found - wanted).abs() < NATS, "{found} {wanted}");
    let read = &summary(&lab)["results"][0]["likelihood"];
    let perplexity = (wanted / tokens).exp();
    assert!((read["perplexity"].as_f64().unwrap() - perplexity).abs() < NATS * perplexity);
    assert!(table.contains("perplexity") && table.contains(&format!("{perplexity:.3}")), "{table}");
    // Its first token has no context; every other byte of the text is counted.
    let bytes = record["scored"]["bytes"].as_u64().unwrap() as usize;
    assert!(bytes < text.len() && bytes + 8 > text.len(), "{bytes} of {}", text.len());
    let bits = wanted / std::f64::consts::LN_2 / bytes as f64;
    assert!((read["bits_per_byte"].as_f64().unwrap() - bits).abs() < NATS);
}

/// Both turns are answered; the second prompt has the first reply.
#[test]
fn conversations_are_held_turn_by_turn() {
    let data = data();
    let data = data.path().to_str().unwrap();
    let lab = lab(ALIGNED, "kind = \"mt_bench\"\ncategory = \"writing\"", 0.0);
    lab.run(&["--data", data]).succeeds();
    let record = &records(&lab)[0];
    let text: String =
        record["spans"].as_array().unwrap().iter().map(|s| s["text"].as_str().unwrap()).collect();
    // The same by hand, with another command: greedy, so draws do not matter.
    let generate = |prompt: &str| {
        let model = ["--model", "nano:small-aligned", "--temperature", "0", "--json"];
        let ran = kad(&[&["generate"], &model[..], &["--max-new-tokens", "24", prompt]].concat());
        let value: Value = serde_json::from_str(&ran.succeeds()).unwrap();
        value["text"].as_str().unwrap().replace("<|endoftext|>", "")
    };
    let first = "Question: Tom has 3 pens.\nAnswer:";
    let reply = generate(first);
    let next = "<|endoftext|>Question: How many pens has he?\nAnswer:";
    let second = generate(&format!("{first} {}{next}", reply.trim()));
    assert_eq!(text.replace("<|endoftext|>", ""), format!("{reply}{second}"));
    assert_eq!(record["group"], "writing");
}

#[test]
fn invalid_requests_are_refused() {
    let refusals = Refusals::new();
    let data = data();
    let data = data.path().to_str().unwrap();
    for (task, temperature) in [
        ("kind = \"gsm9k\"", 1.0),
        ("kind = \"mmlu\"\nsubject = \"anatomi\"", 1.0),
        ("kind = \"mmlu\"\nby = \"likelihood\"", 0.0),
        ("kind = \"mt_bench\"\nshots = 2", 1.0),
        ("kind = \"mmlu\"\nshots = 2", 1.0),
        ("kind = \"truthfulqa\"\nmetric = \"mc2\"\nby = \"answer\"", 1.0),
        ("kind = \"perplexity\"\nfile = \"none.txt\"", 1.0),
        ("kind = \"gsm8k\"\nitems = 3", 1.0),
    ] {
        let ran = lab(ALIGNED, task, temperature).run(&["--data", data]);
        ran.about(task).refused(2, &refusals);
    }
    lab(ALIGNED, "kind = \"svamp\"", 1.0).run(&["--data", "no/such/folder"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

fn own(task: &str, lines: &str) -> crate::kad::Ran {
    let head = "kind = \"jsonl\"\nfile = \"own.jsonl\"\n";
    let lab = lab(ALIGNED, &format!("{head}{task}"), 1.0);
    fs::write(lab.path().join("own.jsonl"), lines).unwrap();
    lab.run(&[]).about(task).about(lines)
}

#[test]
fn faults_in_a_users_file_are_shown_at_their_place() {
    let refusals = Refusals::new();
    let graded = "prompt = \"{{ q }}\"\nanswer = \"{{ a }}\"\nextractor = \"number\"\n";
    let good = "{\"q\": \"1 + 1\", \"a\": 2}\n";
    own(graded, &format!("{good}{{\"q\": 1")).refused(2, &refusals);
    own(graded, &format!("{good}\n{{\"q\": \"2\"}}")).refused(2, &refusals);
    own(graded, "{\"q\": \"2\", \"a\": \"two\"}").refused(2, &refusals);
    own(graded, "").refused(2, &refusals);
    own(graded, &format!("\u{feff}{good}")).succeeds();
    own(&format!("{graded}id = \"{{{{ q }}}}\""), &format!("{good}{good}")).refused(2, &refusals);
    own("prompt = \"{{ q \"", good).refused(2, &refusals);
    own("prompt = \"{{ q }}\"\nanswer = \"{{ a }}\"", good).refused(2, &refusals);
    let extractor = |written: &str| graded.replace("\"number\"", written);
    own(&extractor("\"nummer\""), good).refused(2, &refusals);
    own(&extractor("{ regex = \"(\" }"), good).refused(2, &refusals);
    own(&extractor("{ regx = \"a\" }"), good).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// A run whose extractor finds no answer warns and names the texts to check.
#[test]
fn a_task_without_any_answer_ends_with_a_warning() {
    let task = "prompt = \"{{ q }}\"\nanswer = \"{{ a }}\"\nextractor = \"boxed\"\n";
    let ran = own(task, "{\"q\": \"1 + 1\", \"a\": 2}\n{\"q\": \"1 + 2\", \"a\": 3}\n");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for part in ["texts without an answer that `boxed` can read: 2 of 2 (aligned)", "report.html"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let long = format!("{{\"q\": \"{}\", \"a\": 2}}\n", "1 + ".repeat(300));
    let ran = own(task, &long);
    assert!(
        ran.stderr.contains("jsonl/own: prompts too long for the context: 1 of 1"),
        "{}",
        ran.stderr
    );
}

/// One of three prompts has more words than the context has tokens. Dry run and run warn of it.
#[test]
fn prompts_that_do_not_fit_are_counted_before_decoding() {
    let decoders = format!("{ALIGNED}{}", ALIGNED.replace("\"aligned\"", "\"draft\""));
    let task = "kind = \"jsonl\"\nname = \"own\"\nfile = \"own.jsonl\"\nprompt = \"{{ q }}\"\n";
    let lab = lab(&decoders, task, 1.0);
    let long = "pens ".repeat(300);
    let lines = format!("{{\"q\": \"Hi\"}}\n{{\"q\": \"{long}\"}}\n{{\"q\": \"34\"}}\n");
    fs::write(lab.path().join("own.jsonl"), lines).unwrap();
    let said =
        "warning: own: prompts too long for the context: 1 of 3 (aligned, draft); these items";
    let dry = lab.run(&["--dry-run"]);
    assert!(dry.stderr.contains(said), "{}", dry.stderr);
    let ran = lab.run(&[]);
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let file = lab.path().join("experiment.toml").display().to_string();
    let show = |item: &str| {
        let model = format!("{file}:aligned");
        kad(&["tasks", "show", "own", "--model", &model, "--item", item]).succeeds()
    };
    assert!(show("2").contains(": more than the context length, 256"), "{}", show("2"));
    assert!(!show("1").contains("more than the context length"), "{}", show("1"));
}
