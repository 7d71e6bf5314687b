//! Acceptance and time of lookups over given texts, without verification: the text is its own
//! target.
//!
//! `cargo bench -p kad-polybasic --bench lookup` cuts guides and a source file of this repository
//! into words and signs. It prints the tokens per round (accepted ones and the one after them) for
//! drafts of 4 and 8 tokens and for trees of 16 nodes, the share of drafted tokens that is
//! accepted, and the time per token for drafts of 8.

// The bench prints a table.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::time::Instant;

use kad_core::{SampledChoices, TokenId};
use kad_polybasic::{
    DraftRequest, DraftTree, Lookup, LookupTree, NgramLookup, SuffixLookup, TreeDrafter, TreeLimits,
};

const TEXTS: [(&str, &str); 3] = [
    ("RULES.md", include_str!("../../docs/RULES.md")),
    ("GUIDE.md", include_str!("../../docs/GUIDE.md")),
    ("knapsack/core.rs", include_str!("../../kad-core/src/knapsack/core.rs")),
];

/// Words of up to five letters or digits (longer ones in pieces); every other sign is a token.
fn tokens(text: &str) -> Vec<TokenId> {
    let mut pieces = vec![String::new()];
    for letter in text.chars() {
        let goes_on = |word: &String| {
            let is_word = word.chars().all(char::is_alphanumeric) && letter.is_alphanumeric();
            is_word && word.chars().count() < 5
        };
        match pieces.last_mut() {
            Some(word) if goes_on(word) => word.push(letter),
            _ => pieces.push(letter.into()),
        }
    }
    let mut ids = HashMap::new();
    pieces
        .into_iter()
        .map(|piece| {
            let next = ids.len() as TokenId;
            *ids.entry(piece).or_insert(next)
        })
        .collect()
}

/// Tokens per round and share of accepted tokens over the whole text. `draft` returns the number of
/// tokens drafted after a prefix and the number of these that agree with the text.
fn rounds(text: &[TokenId], mut draft: impl FnMut(usize) -> (usize, usize)) -> (f64, f64) {
    let (mut at, mut rounds, mut drafted) = (1, 0, 0);
    while at < text.len() {
        let (proposed, right) = draft(at);
        (rounds, drafted, at) = (rounds + 1, drafted + proposed, at + right + 1);
    }
    let accepted = text.len() - 1 - rounds;
    (text.len() as f64 / f64::from(rounds as u32), accepted as f64 / drafted.max(1) as f64)
}

fn chain(text: &[TokenId], lookup: &mut impl Lookup, length: usize) -> (f64, f64) {
    let mut found = vec![];
    rounds(text, |at| {
        lookup.move_to(&text[..at]);
        found.clear();
        lookup.continuation(length, &mut found);
        let right = found.iter().zip(&text[at..]).take_while(|(a, b)| a == b).count();
        // The last round of a text may need fewer.
        (found.len(), right.min(text.len() - at - 1))
    })
}

fn tree(text: &[TokenId], lookup: impl Lookup, nodes: usize) -> f64 {
    let mut tree = DraftTree::default();
    let mut drafter = LookupTree::new(lookup, nodes).expect("positive");
    let per_round = rounds(text, |at| {
        tree.clear();
        let request = DraftRequest { context: &text[..at], wanted: 1, room: 9, level: 2, eos: &[] };
        let limits = TreeLimits { depth: 8, nodes };
        let choices = &mut SampledChoices::seeded(0);
        drafter.grow(request, limits, choices, &mut tree).expect("no model is asked");
        let right = tree.tokens().path_along(&text[at..]).len();
        (tree.tokens().len(), right.min(text.len() - at - 1))
    });
    per_round.0
}

fn row<L: Lookup>(text: &[TokenId], name: &str, lookup: impl Fn() -> L) {
    let four = chain(text, &mut lookup(), 4);
    let begin = Instant::now();
    let eight = chain(text, &mut lookup(), 8);
    let micros = begin.elapsed().as_secs_f64() * 1e6 / text.len() as f64;
    let sixteen = tree(text, lookup(), 16);
    println!(
        "{name:>22} | {:.2} | {:.2} | {:.2} | {:.2} | {sixteen:.2} | {micros:.2} µs",
        four.0, four.1, eight.0, eight.1
    );
}

fn main() {
    let ngram = |shortest, longest| NgramLookup::new(shortest, longest).expect("in order");
    let suffix = |shortest, longest| SuffixLookup::new(shortest, longest).expect("in order");
    for (name, text) in TEXTS {
        let text = tokens(text);
        println!("{name}: {} tokens", text.len());
        println!("{:>22} | K=4 | rate | K=8 | rate | tree | time", "");
        row(&text, "n-gram 1 to 3", || ngram(1, 3));
        row(&text, "n-gram 2 to 3", || ngram(2, 3));
        // The longest suffix with its latest next token.
        row(&text, "latest, 1 to 32", || ngram(1, 32));
        row(&text, "latest, 2 to 32", || ngram(2, 32));
        row(&text, "suffix, 1 to 32", || suffix(1, 32));
        row(&text, "suffix, 2 to 32", || suffix(2, 32));
        row(&text, "suffix, 3 to 32", || suffix(3, 32));
    }
}
