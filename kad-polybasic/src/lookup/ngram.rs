//! Lookup of the last few tokens.

use std::collections::HashMap;

use kad_core::TokenId;

use super::{Lookup, LookupError};
use crate::tree::{DraftTree, TreeLimits};

/// The most occurrences of an n-gram that a tree uses. Most occurrences of a frequent token lead to
/// continuations that are already in the tree.
const MOST_OCCURRENCES: usize = 64;

/// Finds the longest n-gram of `shortest` to `longest` tokens at the end of the text that occurred
/// before, and proposes the tokens after its latest occurrence (prompt lookup decoding: Saxena
/// 2023; arXiv 2304.04487). If the occurrence reaches to the end of the text, the proposal
/// continues with itself, so a repeating text goes on repeating.
///
/// Appending or removing a token costs `longest` hash-table look-ups.
///
/// ```
/// use kad_polybasic::{Lookup, NgramLookup};
/// let mut lookup = NgramLookup::new(1, 2)?;
/// lookup.move_to(&[5, 6, 7, 5, 6, 8, 6]);
/// let mut found = vec![];
/// lookup.continuation(4, &mut found);
/// assert_eq!(found, [8, 6, 8, 6]);
/// # Ok::<(), kad_polybasic::LookupError>(())
/// ```
pub struct NgramLookup {
    shortest: usize,
    longest: usize,
    text: Vec<TokenId>,
    /// The n-gram that results from an n-gram and the next token. Number 0 is the empty n-gram.
    longer: HashMap<(usize, TokenId), usize>,
    /// The latest position at which each n-gram ended, as an index of the text.
    latest: Vec<Option<usize>>,
    /// For each token of the text, the n-grams of 1 to `longest` tokens that end with it.
    ends: Vec<NgramEnd>,
}

/// An n-gram that ends at one position of the text.
#[derive(Clone, Copy)]
struct NgramEnd {
    ngram: usize,
    /// The previous position at which it ended.
    before: Option<usize>,
}

impl Default for NgramLookup {
    /// Matches of 1 to 3 tokens.
    fn default() -> Self {
        Self::of(1, 3)
    }
}

impl NgramLookup {
    /// Matches the last `longest` tokens, then fewer, down to `shortest`; 1 ≤ `shortest` ≤
    /// `longest`.
    ///
    /// # Errors
    /// If `shortest` is 0 or more than `longest`.
    pub fn new(shortest: usize, longest: usize) -> Result<Self, LookupError> {
        LookupError::check(shortest, longest)?;
        Ok(Self::of(shortest, longest))
    }

    fn of(shortest: usize, longest: usize) -> Self {
        let (text, longer, latest, ends) = (vec![], HashMap::new(), vec![None], vec![]);
        Self { shortest, longest, text, longer, latest, ends }
    }

    /// The n-gram of `length` tokens that ends at token `at`, if the text has that many tokens.
    fn end(&self, at: usize, length: usize) -> Option<NgramEnd> {
        (length <= at + 1).then(|| self.ends[at * self.longest + length - 1])
    }

    /// The earlier positions of the end of the text: the longest match first, the latest among
    /// equals.
    fn occurrences(&self) -> impl Iterator<Item = usize> {
        let last = self.text.len().checked_sub(1);
        (self.shortest..=self.longest).rev().flat_map(move |length| {
            let before = move |at| self.end(at, length).and_then(|end| end.before);
            std::iter::successors(last.and_then(before), move |&at| before(at))
                .take(MOST_OCCURRENCES)
        })
    }

    /// The tokens after token `at`, continued with themselves beyond the end of the text.
    fn after(&self, at: usize) -> impl Iterator<Item = TokenId> {
        self.text[at + 1..].iter().copied().cycle()
    }
}

impl Lookup for NgramLookup {
    fn tokens(&self) -> &[TokenId] {
        &self.text
    }

    fn push(&mut self, token: TokenId) {
        let at = self.text.len();
        self.text.push(token);
        let mut shorter = at.checked_sub(1).map(|before| before * self.longest);
        let mut prefix = Some(0);
        for _ in 0..self.longest {
            // No n-gram reaches beyond the beginning of the text.
            let Some(start) = prefix else {
                self.ends.push(NgramEnd { ngram: 0, before: None });
                continue;
            };
            let fresh = self.latest.len();
            let ngram = *self.longer.entry((start, token)).or_insert(fresh);
            if ngram == fresh {
                self.latest.push(None);
            }
            self.ends.push(NgramEnd { ngram, before: self.latest[ngram].replace(at) });
            prefix = shorter.map(|index| self.ends[index].ngram).filter(|&ngram| ngram > 0);
            shorter = shorter.map(|index| index + 1);
        }
    }

    fn pop(&mut self) {
        if self.text.pop().is_some() {
            for end in self.ends.drain(self.text.len() * self.longest..) {
                if end.ngram > 0 {
                    self.latest[end.ngram] = end.before;
                }
            }
        }
    }

    fn continuation(&self, count: usize, out: &mut Vec<TokenId>) {
        if let Some(at) = self.occurrences().next() {
            out.extend(self.after(at).take(count));
        }
    }

    fn tree(&self, limits: TreeLimits, eos: &[TokenId], out: &mut DraftTree) {
        for at in self.occurrences() {
            let mut parent = None;
            for token in self.after(at).take(limits.depth) {
                let known = out.tokens().child_with(parent, token);
                if known.is_none() && out.tokens().len() >= limits.nodes {
                    return;
                }
                parent = Some(out.list(parent, token));
                if eos.contains(&token) {
                    break;
                }
            }
        }
    }
}
