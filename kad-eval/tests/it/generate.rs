//! `kad generate`: texts, marks, statistics and refused flags.

use serde_json::Value;

use crate::kad::{Refusals, command, kad, kad_with_input};

const QUESTION: &str = "Tom has 12 pens. Tom buys 30 more. How many pens does Tom have now?";
const PAIR: [&str; 8] = [
    "generate",
    "--base",
    "nano:small-base",
    "--aligned",
    "nano:small-aligned",
    "--rule",
    "kad-dual=0.5",
    "--chat",
];

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&kad(&[args, &["--json"]].concat()).succeeds()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    // At a high temperature, two seeds draw the same forty tokens with negligible probability.
    let at = |seed| {
        let hot = ["--temperature", "1.5", "--max-new-tokens", "40", "--seed", seed, "Tom"];
        json(&[&["generate", "--model", "nano:small-base"], &hot[..]].concat())
    };
    assert_eq!(at("1")["tokens"], at("1")["tokens"]);
    assert_ne!(at("1")["tokens"], at("2")["tokens"]);
}

#[test]
fn provenance_accounts_for_every_token() {
    let made = json(&[&PAIR[..], &[QUESTION]].concat());
    let tokens = made["tokens"].as_array().unwrap();
    let origins = made["origins"].as_array().unwrap();
    assert_eq!(tokens.len(), origins.len());
    let deferred = origins.iter().filter(|origin| *origin == "deferred").count();
    assert_eq!(made["passes"]["aligned"].as_u64(), Some(deferred as u64));
    assert_eq!(made["passes"]["base"].as_u64(), Some(tokens.len() as u64));
    assert!(
        made["deferral_mass"]
            .as_array()
            .unwrap()
            .iter()
            .all(|d| (0.0..=1.0).contains(&d.as_f64().unwrap()))
    );
}

#[test]
fn text_is_the_same_streamed_piped_and_in_json() {
    let args = ["generate", "--model", "nano:small-aligned", "--chat", "--seed", "4"];
    let streamed = kad(&[&args[..], &[QUESTION]].concat()).succeeds();
    let turns = kad_with_input(&args, QUESTION).succeeds();
    let object = json(&[&args[..], &[QUESTION]].concat());
    assert_eq!(streamed, turns);
    assert_eq!(
        streamed.trim_end_matches('\n'),
        object["text"].as_str().unwrap().trim_end_matches('\n')
    );
    assert!(!streamed.contains("<|"), "no end tokens in the text: {streamed}");
}

#[test]
fn a_conversation_remembers_its_turns() {
    let args =
        ["generate", "--model", "nano:small-aligned", "--chat", "--json", "--temperature", "0"];
    let two_turns = format!("{QUESTION}\n{QUESTION}\n");
    let output = kad_with_input(&args, &two_turns).succeeds();
    let answers: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    let lengths: Vec<usize> =
        answers.iter().map(|a| a["prompt_tokens"].as_array().unwrap().len()).collect();
    assert!(lengths[1] > 2 * lengths[0], "{lengths:?}");
}

#[test]
fn greedy_texts_are_equal_on_both_backends() {
    let with = |backend| {
        json(&[
            "generate",
            "--model",
            "nano:draft",
            "--backend",
            backend,
            "--temperature",
            "0",
            "--max-new-tokens",
            "60",
            QUESTION,
        ])
    };
    assert_eq!(with("candle")["tokens"], with("naive")["tokens"]);
}

/// `kad generate … | head -c 1`: the closed pipe causes no panic.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_panic() {
    let program = command().get_program().to_owned();
    let line = format!(
        "'{}' generate --model nano:small-base --max-new-tokens 200 'one two' | head -c 1 >/dev/null",
        program.to_string_lossy()
    );
    let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_piped_prompt_loses_its_final_line_break() {
    let args =
        ["generate", "--model", "nano:large-base", "--temperature", "0", "--max-new-tokens", "8"];
    let given = kad(&[&args[..], &["34 + 27 ="]].concat()).succeeds();
    assert_eq!(kad_with_input(&args, "34 + 27 =\n").succeeds(), given);
}

/// Deferred text is in brackets. Flags without effect are refused.
#[test]
fn provenance_without_colour_has_brackets() {
    let refusals = Refusals::new();
    let shown = kad(&[&PAIR[..], &["--show", "provenance", QUESTION]].concat()).succeeds();
    let plain = kad(&[&PAIR[..], &[QUESTION]].concat()).succeeds();
    assert!(shown.contains('['), "{shown}");
    assert_eq!(shown.replace(['[', ']'], ""), plain);
    for flag in [["--show", "provenance"], ["--decision-temperature", "0.5"]] {
        kad(&[&["generate", "--model", "nano:draft"], &flag[..], &["Hi"]].concat())
            .refused(2, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

const REWARD: [&str; 9] = [
    "generate",
    "--base",
    "nano:small-base",
    "--small",
    "nano:draft",
    "--aligned",
    "nano:small-aligned",
    "--max-new-tokens",
    "12",
];

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let refusals = Refusals::new();
    let pair = |extra: &[&str]| kad(&[&PAIR[..], extra, &["Hi"]].concat());
    for way in ["lazy", "autoregressive"] {
        for flag in [&["--draft-length", "3"][..], &["--no-bonus"]] {
            pair(&[&["--execution", way], flag].concat()).refused(2, &refusals);
        }
    }
    pair(&["--drafter", "aligned"]).refused(2, &refusals);
    for flag in [
        &["--draft-length", "3"][..],
        &["--no-bonus"],
        &["--drafter", "small"],
        &["--execution", "lazy"],
    ] {
        kad(&[&["generate", "--model", "nano:draft"], flag, &["Hi"]].concat())
            .refused(2, &refusals);
    }
    let reward = |extra: &[&str]| kad(&[&REWARD[..], extra, &["Hi"]].concat());
    reward(&["--execution", "lazy"]).refused(2, &refusals);
    reward(&["--execution", "autoregressive", "--drafter", "small"]).refused(2, &refusals);
    reward(&["--decision-temperature", "0.5"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn json_has_the_execution_and_the_counts_of_drafts() {
    let made = json(&[&PAIR[..], &["--max-new-tokens", "12", QUESTION]].concat());
    assert_eq!((&made["execution"], &made["acceptance"]), (&"lazy".into(), &Value::Null));
    let alone = json(&["generate", "--model", "nano:draft", "--max-new-tokens", "2", "Hi"]);
    assert_eq!((&alone["execution"], &alone["acceptance"]), (&Value::Null, &Value::Null));

    let length = ["--max-new-tokens", "12", "--draft-length", "3", "--no-bonus"];
    let made = json(&[&PAIR[..], &length, &[QUESTION]].concat());
    assert_eq!(made["execution"], "speculative, 3 drafted by aligned, no bonus");
    let origins = made["origins"].as_array().unwrap();
    let count = |name: &str| origins.iter().filter(|origin| *origin == name).count() as u64;
    let (drafted, accepted) = (&made["acceptance"]["drafted"], &made["acceptance"]["accepted"]);
    assert_eq!(accepted.as_u64(), Some(count("drafted")), "{made}");
    assert!(drafted.as_u64() >= accepted.as_u64() && drafted.as_u64() > Some(0), "{made}");
    assert_eq!(count("bonus"), 0, "{made}");
    assert_eq!(count("drafted") + count("corrected"), origins.len() as u64, "{made}");

    let made = json(&[&REWARD[..], &["--drafter", "small", "Hi"]].concat());
    assert_eq!(made["execution"], "speculative, 4 drafted by small");
    // The drafter makes one pass per drafted token.
    assert!(made["passes"]["small"].as_u64() >= made["acceptance"]["drafted"].as_u64(), "{made}");
}

/// Without colours, origins differ by their brackets.
#[test]
fn bonus_tokens_have_braces_without_colour() {
    let drafted = ["--draft-length", "2", "--show", "provenance", QUESTION];
    let ran = kad(&[&PAIR[..], &drafted].concat());
    let legend = ran.stderr.lines().find(|line| line.starts_with("legend")).unwrap().to_owned();
    assert!(legend.contains("(drafted and accepted)") && legend.contains("{bonus}"), "{legend}");
    assert!(ran.succeeds().contains('{'));
}

const CHAIN: [&str; 8] = [
    "generate",
    "--model",
    "nano:large-aligned",
    "--draft",
    "nano:small-aligned:5",
    "--draft",
    "nano:draft:2",
    "--chat",
];

/// Marks and legend number the levels; without the marks the text is unchanged.
#[test]
fn levels_of_a_chain_are_marked_and_named() {
    let ran = kad(&[&CHAIN[..], &["--show", "provenance", QUESTION]].concat());
    let legend = ran.stderr.lines().find(|line| line.starts_with("legend")).unwrap().to_owned();
    assert!(legend.contains("(drafted by level 3, nano:draft)₃"), "{legend}");
    assert!(legend.contains("{bonus of level 1, model}₁"), "{legend}");
    let shown = ran.succeeds();
    let marks = ['[', ']', '(', ')', '{', '}', '⟨', '⟩', '₁', '₂', '₃'];
    assert!(shown.contains(")₃"), "{shown}");
    assert_eq!(shown.replace(marks, ""), kad(&[&CHAIN[..], &[QUESTION]].concat()).succeeds());
}

#[test]
fn json_of_a_chain_has_origin_and_level_of_every_token() {
    let made = json(&[&CHAIN[..], &[QUESTION]].concat());
    assert_eq!(made["execution"], "3 levels: 5 by nano:small-aligned, 2 by nano:draft");
    assert_eq!(made["distribution"], "exactly model at T = 1");
    let (origins, levels) =
        (made["origins"].as_array().unwrap(), made["levels"].as_array().unwrap());
    assert_eq!(origins.len(), levels.len());
    for (origin, level) in origins.iter().zip(levels) {
        let level = level.as_u64().unwrap();
        assert!(
            (1..=3).contains(&level) && (origin != "drafted" || level == 3),
            "{origin} {level}"
        );
    }
    let rounds = made["rounds"].as_array().unwrap();
    assert_eq!(rounds[0]["emitted"].as_u64(), Some(levels.len() as u64), "{made}");
    assert_eq!(rounds.len(), 2);
    // The target makes one pass for the prompt and one per draft.
    assert_eq!(made["passes"]["model"], rounds[0]["rounds"]);
}

/// The aligned model of the pair is also the draft: one session.
#[test]
fn a_model_given_twice_is_loaded_once() {
    let drafted = ["--draft", "nano:small-aligned:3", "--max-new-tokens", "12", QUESTION];
    let made = json(&[&PAIR[..], &drafted].concat());
    let names: Vec<&str> = made["passes"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["aligned", "base"]);
    assert_eq!(made["execution"], "2 levels: 3 by aligned");
    assert!(
        made["distribution"]
            .as_str()
            .unwrap()
            .starts_with("exactly the mixture of base and aligned")
    );
}

#[test]
fn invalid_chains_on_the_command_line_are_refused() {
    let refusals = Refusals::new();
    let model = ["generate", "--model", "nano:draft"];
    let with = |flags: &[&str]| kad(&[&model[..], flags, &["Hi"]].concat());
    with(&["--draft", "nano:draft:0"]).refused(2, &refusals);
    with(&["--draft", "n-gram:3", "--draft", "nano:draft"]).refused(2, &refusals);
    with(&["--draft", "nano:drafty"]).refused(2, &refusals);
    with(&["--draft", "n-gram", "--draft-length", "3"]).refused(2, &refusals);
    with(&["--decoder", "x"]).refused(2, &refusals);
    let lab = crate::kad::Lab::new(crate::kad::SMALL);
    let file = lab.path().join("experiment.toml");
    let from = |extra: &[&str]| {
        let file = ["generate", "--experiment", file.to_str().unwrap()];
        kad(&[&file[..], extra, &["Hi"]].concat())
    };
    from(&[]).refused(2, &refusals);
    from(&["--decoder", "KAD"]).refused(2, &refusals);
    let alone = ["--decoder", "aligned alone"];
    from(&[&alone[..], &["--temperature", "1"]].concat()).refused(2, &refusals);
    from(&[&alone[..], &["--max-new-tokens", "3"]].concat()).succeeds();
    insta::assert_snapshot!(refusals);
}
