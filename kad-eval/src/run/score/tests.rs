//! Scores against sums by hand.

use super::*;
use crate::task::{Choice, PlainFormat, PromptFormat};

/// After a token, the distribution of the next one: a chain with three states, and a mass at each.
struct Markov {
    context: usize,
    asked: Vec<usize>,
}

const NEXT: [[f64; 3]; 3] = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.0, 0.5, 0.5]];

impl Predictor for Markov {
    fn begin(&mut self, prompt: usize) {
        self.asked.push(prompt);
    }
    fn context_len(&self) -> usize {
        self.context
    }
    fn follow(&mut self, context: &[TokenId], last: usize) -> Result<(), kad_core::DecodeError> {
        assert!(context.len() <= self.context && last <= context.len().min(CHUNK));
        Ok(())
    }
    fn distribution(
        &mut self,
        context: &[TokenId],
        len: usize,
        out: &mut Distribution,
    ) -> Result<(), kad_core::DecodeError> {
        assert!(out.set_proportional(NEXT[context[len - 1] as usize]));
        Ok(())
    }
    fn deferral_mass(&self) -> Option<f64> {
        Some(0.5)
    }
}

fn markov(context: usize) -> Markov {
    Markov { context, asked: Vec::new() }
}

fn by_hand(text: &[TokenId], from: usize) -> f64 {
    (from..text.len()).map(|i| NEXT[text[i - 1] as usize][text[i] as usize].ln()).sum()
}

#[test]
fn options_are_sums_of_logarithms_behind_the_prompt() {
    let texts = vec![vec![0, 1, 1, 2], vec![0, 1, 0], vec![0, 1, 2, 0]];
    let wanted: Vec<f64> = texts.iter().map(|text| by_hand(text, 2)).collect();
    let mut distribution = markov(3);
    let continuations = Continuations { texts, shared: 2 };
    let score = options(&mut distribution, &continuations).unwrap().unwrap();
    for (found, wanted) in score.log_probs.iter().zip(&wanted) {
        assert!(found == wanted || (found - wanted).abs() < 1e-12, "{found} against {wanted}");
    }
    assert_eq!(wanted[2], f64::NEG_INFINITY, "2 is never followed by 0");
    assert_eq!((score.tokens, score.deferral_mass), (5, Some(2.5)));
    assert_eq!(distribution.asked, [2, 2, 2], "each option begins behind the prompt");
    // 0.75 · 0.125 against 0.125: the second.
    assert_eq!(score.likeliest().as_deref(), Some("B"));
    assert_eq!(score.record().log_probs[2], None, "JSON has no infinity");
    assert_eq!(options(&mut markov(2), &continuations).unwrap(), None, "it does not fit");
}

#[test]
fn long_texts_are_read_in_windows_that_share_a_token() {
    let tokens: Vec<TokenId> = (0..300).map(|i| [0, 1, 1, 2, 1, 0, 0][i % 7]).collect();
    let wanted = by_hand(&tokens, 1);
    for context in [2, 10, 65, 299, 300, 1000] {
        let mut distribution = markov(context);
        let found = in_windows(&mut distribution, &tokens).unwrap();
        // Sums in another order: worst error measured 1e-12 of 339 nats.
        assert!((found.log_probs[0] - wanted).abs() < 1e-11, "{:?} {wanted}", found.log_probs);
        assert_eq!((found.tokens, found.deferral_mass), (299, Some(149.5)), "each token once");
        assert_eq!(distribution.asked.len(), 299usize.div_ceil(context.max(2) - 1));
    }
    assert_eq!(in_windows(&mut markov(9), &tokens[..1]).unwrap().tokens, 0);
}

fn item(right: &[bool]) -> Item {
    let choice = |right: &bool| Choice { text: "x".to_owned(), right: *right };
    Item { options: right.iter().map(choice).collect(), ..Item::default() }
}

fn task(grading: Grading) -> Task {
    let format = PromptFormat::Plain(PlainFormat::NONE);
    Task { name: "t".to_owned(), items: Vec::new(), grading, format }
}

#[test]
fn points_are_the_share_of_the_right_options() {
    let score = |log_probs: &[f64]| Score { log_probs: log_probs.to_vec(), ..Score::default() };
    let mass = task(Grading::RightMass);
    let points = |nats: &[f64], right: &[bool]| score(nats).points(&mass, &item(right)).unwrap();
    let third = points(&[1f64.ln(), 2f64.ln(), 3f64.ln()], &[false, true, false]);
    assert!((third - 1.0 / 3.0).abs() < 1e-15, "{third}");
    // Far below what `exp` can hold: only differences count.
    let far = points(&[-5000.0, -5000.0 + 3f64.ln(), f64::NEG_INFINITY], &[true, false, true]);
    assert!((far - 0.25).abs() < 1e-12, "{far}");
    assert_eq!(points(&[f64::NEG_INFINITY; 2], &[true, false]), 0.0);
    assert_eq!(score(&[0.0]).points(&task(Grading::Options), &item(&[true])), None);
}

#[test]
fn the_first_of_equals_is_chosen_and_nothing_of_what_cannot_be() {
    let likeliest =
        |log_probs: &[f64]| Score { log_probs: log_probs.to_vec(), ..Score::default() }.likeliest();
    assert_eq!(likeliest(&[-2.0, -1.0, -1.0]).as_deref(), Some("B"));
    assert_eq!(likeliest(&[f64::NEG_INFINITY, -9.0]).as_deref(), Some("B"));
    assert_eq!(likeliest(&[f64::NEG_INFINITY; 3]), None);
    assert_eq!(likeliest(&[]), None);
}

/// A tokenizer with the words of a text of three letters, and `<s>` before every text if it is
/// asked for.
fn sentence_piece(begins: bool) -> Tokenizer {
    let words = ["<unk>", "<s>", "▁", "a", "b", "▁a", "▁b", "c"];
    let vocab: Vec<(&str, f64)> = words.iter().map(|word| (*word, -(word.len() as f64))).collect();
    let metaspace = serde_json::json!({
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true
    });
    let template = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    });
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": metaspace, "decoder": metaspace,
        "post_processor": if begins { template } else { serde_json::Value::Null },
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json.to_string()).unwrap();
    Tokenizer::from_file(file.path()).unwrap()
}

/// Bytes count neither SentencePiece's leading space nor unscored tokens.
#[test]
fn bytes_are_those_of_the_text_behind_what_is_not_scored() {
    let bytes = |text: &str, tokenizer: &Tokenizer| {
        scored_bytes(text, &tokenizer.encode(text, true).unwrap(), tokenizer).unwrap()
    };
    let (with, without) = (sentence_piece(true), sentence_piece(false));
    let tokens = with.encode("a b", true).unwrap();
    assert_eq!(tokens, [1, 5, 6], "<s> ▁a ▁b");
    assert_eq!((bytes("a b", &with), bytes("bcc a", &with)), (3, 5), "all of it");
    // ▁a | ▁b: the first letter is not scored. ▁ | c: no letter is in the first token.
    assert_eq!(without.encode("c", true).unwrap(), [2, 7]);
    assert_eq!((bytes("a b", &without), bytes("c", &without), bytes("", &without)), (2, 1, 0));
    // The first space is the tokenizer's, the second one the text's.
    assert_eq!(bytes(" a", &with), 2);
    let nano =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/nano/models/draft/tokenizer.json");
    let nano = Tokenizer::from_file(nano.as_ref()).unwrap();
    let text = "Tom has 3 pens.";
    let tokens = nano.encode(text, true).unwrap();
    let scored: usize = tokens[1..].iter().map(|id| nano.bytes(*id).len()).sum();
    assert_eq!(bytes(text, &nano), scored as u64, "tokens of bytes add up to the text");
}

/// With a deferral rule, an item that does not fit has deferral mass 0.
#[test]
fn nothing_scored_is_nothing_deferred() {
    assert_eq!(Score::nothing().deferral_mass, Some(0.0));
    assert_eq!(Score::nothing().likeliest(), None);
    // So has a text of one token, which nothing comes before.
    let alone = in_windows(&mut markov(3), &[1]).unwrap();
    assert_eq!((alone.deferral_mass, alone.tokens), (Some(0.0), 0));
}
