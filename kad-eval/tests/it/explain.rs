//! `kad explain`: decisions against numbers computed in the test, and invalid input.

use serde_json::{Value, json};

use crate::kad::{Ran, Refusals, command, kad, kad_with_input};

const P: [f64; 3] = [0.5, 0.3, 0.2];
const Q: [f64; 3] = [0.2, 0.3, 0.5];

fn ask(input: &str) -> Ran {
    kad_with_input(&["explain", "--json", "-"], input)
}

fn request(p: &[f64], q: &[f64], rule: &Value) -> String {
    json!({ "p": p, "q": q, "rule": rule }).to_string()
}

fn answers(input: &str) -> Vec<Value> {
    ask(input).succeeds().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn answer(p: &[f64], q: &[f64], rule: &Value) -> Value {
    answers(&request(p, q, rule)).remove(0)
}

fn close(answer: &Value, key: &str, wanted: f64) {
    let found = answer[key].as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-12, "{key} is {found}, not {wanted}, in {answer}");
}

fn mixture(answer: &Value) -> Vec<f64> {
    answer["mixture"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn surprisal(p: f64) -> f64 {
    -p * p.ln()
}

fn distance(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
}

/// `π`, its distances and the acceptance from the deferred set, by the formulas.
fn check_distribution(answer: &Value, p: &[f64], q: &[f64], d: &[f64]) {
    let mass: f64 = p.iter().zip(d).map(|(p, d)| p * d).sum();
    let distribution: Vec<f64> = (0..p.len()).map(|y| (1.0 - d[y]) * p[y] + q[y] * mass).collect();
    close(answer, "mass", mass);
    close(answer, "value", p.iter().zip(d).map(|(&p, d)| d * surprisal(p)).sum());
    close(answer, "tv_base", distance(&distribution, p));
    close(answer, "tv_aligned", distance(&distribution, q));
    close(answer, "acceptance", distribution.iter().zip(q).map(|(a, b)| a.min(*b)).sum());
    let found = mixture(answer);
    assert!(
        found.iter().zip(&distribution).all(|(a, b)| (a - b).abs() < 1e-12),
        "{found:?} {distribution:?}"
    );
}

/// Worked out by hand. Primal at 0.3: token 2 (mass 0.2) fits, token 1 is critical, a third of it
/// fits. π = (.5 + .04, .3 + .06, .1).
#[test]
fn decisions_equal_numbers_by_hand() {
    let primal = answer(&P, &Q, &json!({ "kind": "kad-primal", "budget": 0.3 }));
    assert_eq!(primal["deferred"], json!([2]));
    assert!(primal.get("fractional").is_none(), "{primal}");
    check_distribution(&primal, &P, &Q, &[0.0, 0.0, 1.0]);
    let (greedy, rest) = (-0.2 * 0.2f64.ln(), -0.1 * 0.3f64.ln());
    close(&primal, "greedy", greedy);
    close(&primal, "lp", greedy + rest);
    close(&primal, "dual", greedy + rest);
    close(&primal, "gap", rest);
    close(&primal, "shortfall", rest);
    close(&primal, "budget", 0.3);
    assert_eq!(primal["budget_of"], "rule");
    close(&primal, "multiplier", -0.3f64.ln());
    close(&primal, "tv_base", 0.1);
    close(&primal, "tv_aligned", 0.4);
    assert!((mixture(&primal)[0] - 0.54).abs() < 1e-12);

    // Nudging defers everything, so its budget is 1. The budget of a random rule is its mass.
    let nudging = answer(&P, &Q, &json!({ "kind": "nudging", "threshold": 0.6 }));
    close(&nudging, "budget", 1.0);
    close(&nudging, "shortfall", 0.0);
    let random = answer(&P, &Q, &json!({ "kind": "random", "rate": 0.5 }));
    assert_eq!(random["budget_of"], "mass-spent");
    close(&random, "budget", 0.5);
    // The best half is tokens 2 and 1. The random rule defers half of each token's surprisal.
    close(&random, "gap", 0.0);
    let half = P.map(surprisal).iter().sum::<f64>() / 2.0;
    close(&random, "shortfall", surprisal(0.2) + surprisal(0.3) - half);

    let part = answer(&P, &Q, &json!({ "kind": "kad-fractional", "budget": 0.3 }));
    assert_eq!(part["fractional"][0]["id"], 1);
    assert!((part["fractional"][0]["weight"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    check_distribution(&part, &P, &Q, &[0.0, 1.0 / 3.0, 1.0]);

    let rules = [
        (json!({ "kind": "kad-dual", "threshold": 0.3 }), [0.0, 0.0, 1.0]),
        (json!({ "kind": "kad-dual", "threshold": 0.31 }), [0.0, 1.0, 1.0]),
        (json!({ "kind": "nudging", "threshold": 0.6 }), [1.0, 1.0, 1.0]),
        (json!({ "kind": "confidence-bet", "margin": 0.1 }), [0.0, 1.0, 1.0]),
        (json!({ "kind": "aligned-above", "margin": 0 }), [0.0, 0.0, 0.0]),
        (json!({ "kind": "random", "rate": 0.25 }), [0.25, 0.25, 0.25]),
        (json!({ "kind": "kad-pool", "budget": 0.1, "window": 3 }), [0.0, 0.0, 1.0]),
    ];
    for (rule, d) in rules {
        check_distribution(&answer(&P, &Q, &rule), &P, &Q, &d);
    }
}

/// The exact knapsack against all subsets, between its bounds.
#[test]
fn the_exact_knapsack_is_the_best_of_all_subsets() {
    let p = [0.26, 0.22, 0.17, 0.13, 0.1, 0.07, 0.05];
    let q = [0.1, 0.2, 0.1, 0.2, 0.1, 0.2, 0.1];
    for budget in [0.06, 0.15, 0.29, 0.41, 0.77] {
        let told = answer(&p, &q, &json!({ "kind": "knapsack-exact", "budget": budget }));
        let subsets = (0u32..1 << p.len()).map(|bits| {
            let taken = || (0..p.len()).filter(|i| bits >> i & 1 == 1).map(|i| p[i]);
            let fits = taken().sum::<f64>() <= budget * (1.0 + 1e-12);
            if fits { taken().map(surprisal).sum::<f64>() } else { 0.0 }
        });
        let best = subsets.fold(0.0, f64::max);
        close(&told, "value", best);
        let number = |key: &str| told[key].as_f64().unwrap();
        assert!(number("greedy") <= best + 1e-12 && best <= number("lp") + 1e-12, "{told}");
        assert!((number("lp") - number("dual")).abs() < 1e-12);
        assert!(number("mass") <= budget * (1.0 + 1e-9));
    }
}

/// A distribution whose sum is 1 up to rounding is used as given: 0.1 + 0.2 fits the budget 0.3, and a
/// tie with the threshold stays a tie. Other distributions are normalised.
#[test]
fn distributions_are_normalised_only_where_needed() {
    let refusals = Refusals::new();
    let p = [0.7 - 4e-10, 0.2, 0.1];
    let told = answer(&p, &Q, &json!({ "kind": "kad-primal", "budget": 0.3 }));
    assert_eq!(told["deferred"], json!([1, 2]));
    let told = answer(&p, &Q, &json!({ "kind": "kad-dual", "threshold": 0.2 }));
    assert_eq!(told["deferred"], json!([2]));
    let short = [0.5, 0.3, 0.1995];
    let told = answer(&short, &Q, &json!({ "kind": "never" }));
    assert!((mixture(&told)[0] - 0.5 / 0.9995).abs() < 1e-12);
    // Equally far above and below 1.
    for (last, sum) in [(0.199, 0.999), (0.201, 1.001)] {
        let told = answer(&[0.5, 0.3, last], &Q, &json!({ "kind": "never" }));
        assert!((mixture(&told)[0] - 0.5 / sum).abs() < 1e-12);
    }
    for last in [0.1989, 0.2011] {
        let refused = request(&[0.5, 0.3, last], &Q, &json!({ "kind": "never" }));
        ask(&refused).refused(2, &refusals);
    }
    insta::assert_snapshot!(refusals);
}

#[test]
fn requests_may_span_lines_and_come_from_a_file() {
    let one = request(&P, &Q, &json!({ "kind": "always" }));
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&one).unwrap());
    let input = format!("{one}\n\n{one}{}\n", pretty.unwrap());
    assert_eq!(answers(&input).len(), 3);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &one).unwrap();
    let read = kad(&["explain", "--json", file.path().to_str().unwrap()]).succeeds();
    assert_eq!(read, ask(&one).succeeds());
}

#[test]
fn wrong_entries_are_named() {
    let refusals = Refusals::new();
    let never = r#""rule":{"kind":"never"}"#;
    let p = |entries: &str| format!(r#"{{"p":[{entries}],"q":[0.2,0.3,0.5],{never}}}"#);
    for (entries, number) in [
        ("0.5,0.3,NaN", "line 1 column 15 "),
        ("Infinity,0,0", "line 1 column 7 "),
        ("0.5,-Infinity,0", "line 1 column 12 "),
        ("0.5,null,0.5", "p[1] "),
        ("0.5,\"a\",0.5", "p[1] "),
        ("0.5,[1],0.5", "p[1] "),
        ("1.5,-0.5,0", "p[1] "),
        ("0.5,0.3,0.3", " 1.1"),
        ("0.5,0.5", " 2 "),
        ("0.5,0.3,1e999", ""),
    ] {
        ask(&p(entries)).names(&[number]).refused(2, &refusals);
    }
    ask(&format!(r#"{{"p":[],"q":[],{never}}}"#)).refused(2, &refusals);
    let good = request(&P, &Q, &json!({ "kind": "never" }));
    let ran = ask(&format!("{good}\n{}", p("0.5,0.3,0.3")));
    assert_eq!(ran.stdout.lines().count(), 1, "the first answer is out before the mistake");
    ran.refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

#[test]
fn wrong_requests_are_refused() {
    let refusals = Refusals::new();
    let with = |rule: &str| format!(r#"{{"p":[1.0],"q":[1.0],"rule":{rule}}}"#);
    for rule in [
        r#"{"kind":"kad-daul","threshold":0.4}"#,
        r#"{"kind":"kad-dual"}"#,
        r#"{"kind":"kad-dual","threshold":1.5}"#,
        r#"{"kind":"kad-dual","budget":0.5}"#,
        r#"{"kind":"kad-dual","threshold":"x"}"#,
        r#"{"kind":"always","rate":0.5}"#,
        r#"{"threshold":0.5}"#,
        r#"{"kind":7}"#,
        r#""never""#,
        r#"["kind","never"]"#,
        r#"{"kind":"kad-dual","threshold":0.1,"threshold":0.9}"#,
        r#"{"kind":"never","kind":"always"}"#,
    ] {
        ask(&with(rule)).refused(2, &refusals);
    }
    ask(r#"{"p":[1.0],"q":[1.0],"rule":{"kind":"never"},"tau":1}"#).refused(2, &refusals);
    ask(r#"{"p":[1.0],"q":[1.0]}"#).refused(2, &refusals);
    ask("{\"p\":[1.0],\n]").refused(2, &refusals);
    ask("").refused(2, &refusals);
    ask(r#"[[1.0],[1.0],{"kind":"never"}]"#).refused(2, &refusals);
    ask(r#"{"p":[1.0],"p":[1.0],"q":[1.0],"rule":{"kind":"never"}}"#).refused(2, &refusals);
    kad(&["explain", "--json", "no-such.jsonl"]).refused(2, &refusals);
    kad(&["explain"]).refused(2, &refusals);
    for flag in [&["--top", "3"][..], &["--chat"], &["--dump"], &["--temperature", "1"], &["Hi"]] {
        kad(&[&["explain", "--json", "-"], flag].concat()).refused(2, &refusals);
    }
    kad(&["explain", "--json", "-", "--system", "x"]).refused(2, &refusals);
    insta::assert_snapshot!(refusals);
}

/// Three decisions over a vocabulary of 151,936 tokens.
#[test]
fn large_distributions_are_answered() {
    let vocab = 151_936;
    let total: f64 = (1..=vocab).map(f64::from).sum();
    let p: Vec<f64> = (1..=vocab).map(|rank| f64::from(rank) / total).collect();
    let q = vec![1.0 / f64::from(vocab); vocab as usize];
    let one = request(&p, &q, &json!({ "kind": "kad-primal", "budget": 0.25 }));
    let told = answers(&format!("{one}\n{one}\n{one}\n"));
    assert_eq!(told.len(), 3);
    // Mass rises with the square of the rank: a quarter of it is the lower half.
    let deferred = told[2]["deferred"].as_array().unwrap().len();
    assert!(deferred.abs_diff(vocab as usize / 2) <= 1, "{deferred}");
}

#[cfg(unix)]
#[test]
fn a_closed_output_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let one = request(&P, &Q, &json!({ "kind": "always" }));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), one).unwrap();
    let mut process = std::process::Command::new(command().get_program());
    process.args(["explain", "--json"]).arg(file.path()).stdout(writer);
    let ended = process.stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

const PAIR: [&str; 7] = [
    "explain",
    "--base",
    "nano:small-base",
    "--aligned",
    "nano:small-aligned",
    "--rule",
    "kad-primal=0.4",
];

#[test]
fn a_prompt_is_explained_and_its_dump_is_a_request() {
    let refusals = Refusals::new();
    let asked = |extra: &[&str]| kad(&[&PAIR[..], extra, &["34 + 27 ="]].concat());
    let text = asked(&["--top", "3"]).succeeds();
    for words in ["KAD primal, budget 0.4", "π", "deferral mass", "multiplier", "TV(π, q*)"] {
        assert!(text.contains(words), "{words:?} is not in: {text}");
    }
    let line = |text: &str, name: &str| {
        text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned()
    };
    let words = "largest deferral mass allowed";
    assert!(line(&text, "budget ").contains("0.400000") && line(&text, "budget ").contains(words));
    assert!(line(&text, "shortfall ").contains("the best decision with this budget"), "{text}");
    let dual = [&PAIR[..6], &["kad-dual=0.4", "34 + 27 ="]].concat();
    let dual = kad(&dual).succeeds();
    assert!(line(&dual, "budget ").contains("deferral mass spent"), "{dual}");
    let told = answers(&asked(&["--dump"]).succeeds()).remove(0);
    let line = text.lines().find(|line| line.starts_with("D ")).unwrap();
    let mass: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((mass - told["mass"].as_f64().unwrap()).abs() < 1e-6, "{line}");
    assert!((mixture(&told).iter().sum::<f64>() - 1.0).abs() < 1e-9);

    asked(&["--dump", "--temperature", "0.5"]).refused(2, &refusals);
    asked(&["--temperature", "-1"]).refused(2, &refusals);
    let apart = asked(&["--temperature", "0.5"]).succeeds();
    assert!(apart.contains("use the distributions at decision temperature 1"), "{apart}");
    kad(&[&PAIR[..], &[""]].concat()).refused(2, &refusals);
    kad(&[&PAIR[..], &["--chat", "Hi"]].concat()).succeeds();
    insta::assert_snapshot!(refusals);
}
