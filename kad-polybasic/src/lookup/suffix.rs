//! Lookup of the longest suffix that occurred before.

use std::collections::BinaryHeap;

use kad_core::TokenId;

use super::{Lookup, LookupError};
use crate::tree::{DraftTree, TreeLimits};

/// Finds the longest suffix of `shortest` to `longest` tokens that occurred before and proposes its
/// most frequent next token, the latest among equals. It repeats this for the text with that token,
/// and so on (in the manner of SuffixDecoding, arXiv 2411.04975).
///
/// The table shows tokens per round (accepted tokens and the one after them) and the share of
/// drafted tokens that is accepted, for drafts of 4 tokens over three texts of this repository
/// (`cargo bench -p kad-polybasic --bench lookup`). The most frequent next token is at least as
/// good as the latest one. Matches of one token find more, at a lower acceptance rate.
///
/// | | `docs/RULES.md` | `docs/GUIDE.md` | `knapsack/core.rs` |
/// |---|---|---|---|
/// | n-gram of 1 to 3 | 2.01, 0.32 | 1.63, 0.19 | 2.06, 0.30 |
/// | latest after 1 to 32 | 2.05, 0.33 | 1.58, 0.18 | 2.09, 0.31 |
/// | latest after 2 to 32 | 1.95, 0.45 | 1.47, 0.22 | 1.96, 0.36 |
/// | this, 1 to 32 | 2.13, 0.36 | 1.72, 0.22 | 2.13, 0.32 |
/// | this, 2 to 32 | 1.95, 0.45 | 1.55, 0.26 | 1.98, 0.37 |
///
/// A suffix automaton (Blumer et al., Theoretical Computer Science 40, 1985) that follows the text
/// as it grows and is undone step by step as it shrinks. A token costs up to `longest` steps for
/// counting, and the steps of the automaton, which are constant on average over a growing text.
///
/// ```
/// use kad_polybasic::{Lookup, SuffixLookup};
/// let mut lookup = SuffixLookup::new(2, 8)?;
/// lookup.move_to(&[1, 2, 3, 9, 1, 2, 3, 9, 1, 2, 4, 9, 1, 2]);
/// let mut found = vec![];
/// lookup.continuation(2, &mut found);
/// assert_eq!(found, [4, 9], "9 1 2 was followed by 3 and, later, by 4");
/// # Ok::<(), kad_polybasic::LookupError>(())
/// ```
pub struct SuffixLookup {
    shortest: usize,
    longest: usize,
    text: Vec<TokenId>,
    states: Vec<State>,
    /// The state of the whole text.
    whole: usize,
    /// The state of the last `longest + 1` tokens. Strings up to this length are counted: the
    /// longest match and one token after it.
    window: usize,
    /// The changes to undo, in order.
    edits: Vec<UndoStep>,
    checkpoints: Vec<Checkpoint>,
}

const ROOT: usize = 0;

/// A set of strings that end at the same positions of the text. One is the longest; the others are
/// its suffixes longer than the longest string of the link.
#[derive(Clone)]
struct State {
    longest: usize,
    /// The state of the longest suffix that ends at more positions.
    link: Option<usize>,
    /// The states of these strings followed by one token, sorted by token.
    next: Vec<(TokenId, usize)>,
    /// Number of positions at which the strings end. Kept for strings no longer than the window, as
    /// is `latest`.
    count: usize,
    /// The last of these positions.
    latest: usize,
}

/// A change to the automaton, with the previous value.
enum UndoStep {
    /// The transition of a state by a token.
    Next(usize, TokenId, Option<usize>),
    /// The link of a state.
    Link(usize, Option<usize>),
    /// A state was counted once more; the previous latest position.
    Counted(usize, usize),
}

/// The state of the lookup before a token was appended.
struct Checkpoint {
    edits: usize,
    states: usize,
    whole: usize,
    window: usize,
}

/// A string that ends the text and occurs in it: its state and its length.
#[derive(Clone, Copy)]
struct Match {
    state: usize,
    length: usize,
}

/// A token that followed a match.
#[derive(Clone, Copy)]
struct Successor {
    token: TokenId,
    state: usize,
    count: usize,
    latest: usize,
}

impl Default for SuffixLookup {
    /// Matches of 2 to 32 tokens.
    fn default() -> Self {
        Self::of(2, 32)
    }
}

impl SuffixLookup {
    /// Matches of `shortest` to `longest` tokens; 1 ≤ `shortest` ≤ `longest`.
    ///
    /// # Errors
    /// If `shortest` is 0 or more than `longest`.
    pub fn new(shortest: usize, longest: usize) -> Result<Self, LookupError> {
        LookupError::check(shortest, longest)?;
        Ok(Self::of(shortest, longest))
    }

    fn of(shortest: usize, longest: usize) -> Self {
        let root = State { longest: 0, link: None, next: vec![], count: 0, latest: 0 };
        let (text, states, edits, checkpoints) = (vec![], vec![root], vec![], vec![]);
        Self { shortest, longest, text, states, whole: ROOT, window: ROOT, edits, checkpoints }
    }

    fn next(&self, state: usize, token: TokenId) -> Option<usize> {
        let next = &self.states[state].next;
        next.binary_search_by_key(&token, |&(token, _)| token).ok().map(|at| next[at].1)
    }

    fn set_next(&mut self, state: usize, token: TokenId, to: usize) {
        let next = &mut self.states[state].next;
        let before = match next.binary_search_by_key(&token, |&(token, _)| token) {
            Ok(at) => Some(std::mem::replace(&mut next[at].1, to)),
            Err(at) => {
                next.insert(at, (token, to));
                None
            }
        };
        self.edits.push(UndoStep::Next(state, token, before));
    }

    fn set_link(&mut self, state: usize, to: usize) {
        let before = self.states[state].link.replace(to);
        self.edits.push(UndoStep::Link(state, before));
    }

    /// Length of the longest suffix of `state` that belongs to another state; 0 for the root.
    fn link_length(&self, state: usize) -> usize {
        self.states[state].link.map_or(0, |link| self.states[link].longest)
    }

    /// Goes up the suffixes of `from`, adds the missing transitions by `token`, and returns the
    /// first suffix that already has one.
    fn add_whole(&mut self, from: usize, token: TokenId, whole: usize) -> Option<usize> {
        let mut at = Some(from);
        while let Some(state) = at.filter(|&state| self.next(state, token).is_none()) {
            self.set_next(state, token, whole);
            at = self.states[state].link;
        }
        at
    }

    /// The state of the string `suffix` followed by `token`, whose transition leads to `target`.
    /// That is `target` if the string is its longest one; otherwise a part split off from it.
    fn split(&mut self, suffix: usize, token: TokenId, target: usize) -> usize {
        let longest = self.states[suffix].longest + 1;
        if longest == self.states[target].longest {
            return target;
        }
        let part = self.states.len();
        self.states.push(State { longest, ..self.states[target].clone() });
        self.set_link(target, part);
        let mut at = Some(suffix);
        while let Some(state) = at.filter(|&state| self.next(state, token) == Some(target)) {
            self.set_next(state, token, part);
            at = self.states[state].link;
        }
        part
    }

    /// Counts the new position for all suffixes of the window.
    fn count(&mut self, at: usize) {
        let mut state = self.window;
        while let Some(link) = self.states[state].link {
            let counted = &mut self.states[state];
            counted.count += 1;
            let before = std::mem::replace(&mut counted.latest, at);
            self.edits.push(UndoStep::Counted(state, before));
            state = link;
        }
    }

    /// The state of the suffix of `state` that has `length` tokens.
    fn shortened(&self, mut state: usize, length: usize) -> usize {
        while let Some(link) = self.states[state].link.filter(|_| self.link_length(state) >= length)
        {
            state = link;
        }
        state
    }

    /// The longest suffix of the text that occurred before.
    fn longest_match(&self) -> Option<Match> {
        let length = self.longest.min(self.text.len());
        self.with_successor(Match { state: self.shortened(self.window, length), length })
    }

    /// The longest suffix of `found` that some token follows.
    fn with_successor(&self, found: Match) -> Option<Match> {
        let State { link, next, .. } = &self.states[found.state];
        let found = match (next.is_empty(), link) {
            // It occurs only at the end of the text; its link occurs elsewhere too.
            (true, &Some(state)) => Match { state, length: self.states[state].longest },
            _ => found,
        };
        (found.length >= self.shortest).then_some(found)
    }

    /// The tokens that followed the match.
    fn successors(&self, found: Match) -> impl Iterator<Item = Successor> {
        self.states[found.state].next.iter().map(|&(token, state)| {
            let State { count, latest, .. } = self.states[state];
            Successor { token, state, count, latest }
        })
    }

    /// The match after appending that token.
    fn followed(&self, found: Match, by: Successor) -> Option<Match> {
        let length = (found.length + 1).min(self.longest);
        self.with_successor(Match { state: self.shortened(by.state, length), length })
    }
}

impl Lookup for SuffixLookup {
    fn tokens(&self) -> &[TokenId] {
        &self.text
    }

    fn push(&mut self, token: TokenId) {
        let Self { whole: from, window, .. } = *self;
        let (edits, states) = (self.edits.len(), self.states.len());
        self.checkpoints.push(Checkpoint { edits, states, whole: from, window });
        let held = self.text.len().min(self.longest + 1);
        self.text.push(token);
        self.whole = states;
        let longest = self.text.len();
        self.states.push(State { longest, link: Some(ROOT), next: vec![], count: 0, latest: 0 });
        if let Some(suffix) = self.add_whole(from, token, self.whole) {
            // The loop in `add_whole` ended because this transition exists.
            if let Some(target) = self.next(suffix, token) {
                let link = self.split(suffix, token, target);
                self.states[self.whole].link = Some(link);
            }
        }
        // If the window's state was just split, both parts lead to the same state.
        let grown = self.next(self.window, token).unwrap_or(self.whole);
        self.window = self.shortened(grown, (held + 1).min(self.longest + 1));
        self.count(longest - 1);
    }

    fn pop(&mut self) {
        if self.text.pop().is_none() {
            return;
        }
        let Some(Checkpoint { edits, states, whole, window }) = self.checkpoints.pop() else {
            return;
        };
        for edit in self.edits.drain(edits..).rev() {
            match edit {
                UndoStep::Next(state, token, before) => {
                    let next = &mut self.states[state].next;
                    if let Ok(at) = next.binary_search_by_key(&token, |&(token, _)| token) {
                        match before {
                            Some(to) => next[at].1 = to,
                            None => _ = next.remove(at),
                        }
                    }
                }
                UndoStep::Link(state, before) => self.states[state].link = before,
                UndoStep::Counted(state, before) => {
                    self.states[state].count -= 1;
                    self.states[state].latest = before;
                }
            }
        }
        self.states.truncate(states);
        (self.whole, self.window) = (whole, window);
    }

    fn continuation(&self, count: usize, out: &mut Vec<TokenId>) {
        let mut found = self.longest_match();
        for _ in 0..count {
            let best = |found| self.successors(found).max_by_key(|by| (by.count, by.latest));
            let Some((at, by)) = found.and_then(|at| Some((at, best(at)?))) else { return };
            out.push(by.token);
            found = self.followed(at, by);
        }
    }

    /// The most likely continuations by the shares of the next tokens, best first. A prefix is at
    /// least as likely as its continuation, so it is always in the tree before it.
    fn tree(&self, limits: TreeLimits, eos: &[TokenId], out: &mut DraftTree) {
        let mut open = BinaryHeap::new();
        let open_after = |open: &mut BinaryHeap<Branch>, found, parent, share: f64, depth| {
            let all: usize = self.successors(found).map(|by| by.count).sum();
            for by in self.successors(found) {
                let share = share * by.count as f64 / all as f64;
                open.push(Branch { share, latest: by.latest, parent, found, by, depth });
            }
        };
        if let (Some(found), true) = (self.longest_match(), limits.depth > 0) {
            open_after(&mut open, found, None, 1.0, 1);
        }
        while out.tokens().len() < limits.nodes {
            let Some(Branch { share, parent, found, by, depth, .. }) = open.pop() else { return };
            let node = out.list(parent, by.token);
            let goes_on = depth < limits.depth && !eos.contains(&by.token);
            if let Some(found) = self.followed(found, by).filter(|_| goes_on) {
                open_after(&mut open, found, Some(node), share, depth + 1);
            }
        }
    }
}

/// A continuation that may be added to the tree.
struct Branch {
    /// The product of the shares of its tokens.
    share: f64,
    latest: usize,
    parent: Option<usize>,
    found: Match,
    by: Successor,
    depth: usize,
}

impl Ord for Branch {
    /// The largest share first, then the latest occurrence, then the shortest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_share = self.share.total_cmp(&other.share);
        by_share.then(self.latest.cmp(&other.latest)).then(other.depth.cmp(&self.depth))
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Branch {}
