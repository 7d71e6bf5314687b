//! `kad score` against its definition and against another backend.

use serde_json::Value;

use crate::kad::kad;

const TEXT: &str = "Tom has 12 pens. 12 + 30 = 42. The answer is 42.";

fn score(extra: &[&str]) -> Value {
    let args = ["score", "--model", "nano:small-base", "--json"];
    serde_json::from_str(&kad(&[&args[..], extra].concat()).succeeds()).unwrap()
}

#[test]
fn perplexity_is_the_exponential_of_the_mean() {
    let found = score(&["--text", TEXT]);
    let (nll, n) = (found["nll"].as_f64().unwrap(), found["tokens"].as_array().unwrap().len());
    let perplexity = (nll / (n - 1) as f64).exp();
    assert!((found["perplexity"].as_f64().unwrap() / perplexity - 1.0).abs() < 1e-12);
    assert!(found.get("next").is_none());
}

/// Chain rule: nll(text) − nll(text without its last token) = −log p(last token) of the list of next
/// tokens.
#[test]
fn nll_adds_up_token_by_token() {
    let whole = score(&["--text", TEXT]);
    let shorter = TEXT.strip_suffix('.').unwrap();
    let part = score(&["--text", shorter, "--top", "2000"]);
    let (tokens, prefix) =
        (whole["tokens"].as_array().unwrap(), part["tokens"].as_array().unwrap());
    assert_eq!(tokens[..tokens.len() - 1], prefix[..], "the last token is the full stop alone");
    let next = part["next"].as_array().unwrap();
    let last = next.iter().find(|n| n["id"] == tokens[tokens.len() - 1]).unwrap();
    let step = whole["nll"].as_f64().unwrap() - part["nll"].as_f64().unwrap();
    // Passes of different shapes round differently in f32.
    assert!((step + last["logprob"].as_f64().unwrap()).abs() < 1e-3, "{step}");
    let total: f64 = next.iter().map(|n| n["logprob"].as_f64().unwrap().exp()).sum();
    assert!((total - 1.0).abs() < 1e-6, "{total}");
    let sorted = next.windows(2).all(|w| w[0]["logprob"].as_f64() >= w[1]["logprob"].as_f64());
    assert!(sorted);
}

#[test]
fn backends_agree() {
    let nll = |backend| score(&["--text", TEXT, "--backend", backend])["nll"].as_f64().unwrap();
    assert!((nll("candle") - nll("naive")).abs() < 1e-3);
}
