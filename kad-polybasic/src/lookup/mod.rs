//! Drafts from earlier text, without a model (prompt lookup).
//!
//! A [`Lookup`] stores a text and finds earlier occurrences of its end. [`NgramLookup`] matches the
//! last few tokens, [`SuffixLookup`] the longest suffix that occurred before. [`LookupDrafter`]
//! drafts a chain of tokens; the proposal depends on the context alone, so its distribution is
//! certain of each token, and verification accepts a token with the probability that the target
//! gives it. [`LookupTree`](crate::LookupTree) drafts a tree.

mod ngram;
mod suffix;

pub use ngram::NgramLookup;
pub use suffix::SuffixLookup;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, TokenId};

use crate::draft::{Draft, DraftRequest, Drafter};
use crate::tree::{DraftTree, TreeLimits};

/// An index of a text that grows and shrinks at its end. All answers depend on the present text
/// alone.
///
/// ```
/// use kad_polybasic::{Lookup, NgramLookup};
/// let mut lookup = NgramLookup::default();
/// lookup.move_to(&[1, 2, 3, 1]);
/// let mut found = vec![];
/// lookup.continuation(2, &mut found);
/// assert_eq!(found, [2, 3]);
/// lookup.pop();
/// assert_eq!(lookup.tokens(), [1, 2, 3]);
/// ```
pub trait Lookup {
    /// The text.
    fn tokens(&self) -> &[TokenId];

    /// Appends a token.
    fn push(&mut self, token: TokenId);

    /// Removes the last token, if there is one.
    fn pop(&mut self);

    /// Appends the best continuation of the text to `out`, at most `count` tokens. Appends nothing
    /// if the end of the text has not occurred before.
    fn continuation(&self, count: usize, out: &mut Vec<TokenId>);

    /// Adds several continuations to `out` as lists of candidates, the best first, within `limits`.
    /// Nothing follows a token of `eos`.
    fn tree(&self, limits: TreeLimits, eos: &[TokenId], out: &mut DraftTree);

    /// Changes the text to `context`, in as many steps as there are tokens to remove and to append.
    fn move_to(&mut self, context: &[TokenId]) {
        let shared = self.tokens().iter().zip(context).take_while(|(a, b)| a == b).count();
        while self.tokens().len() > shared {
            self.pop();
        }
        context[shared..].iter().for_each(|&token| self.push(token));
    }
}

/// The error for impossible match lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "matches of {shortest} to {longest} tokens were asked for: the shortest must be at least 1 and \
     no longer than the longest"
)]
pub struct LookupError {
    /// The shortest match requested, in tokens.
    pub shortest: usize,
    /// The longest match requested, in tokens.
    pub longest: usize,
}

impl LookupError {
    fn check(shortest: usize, longest: usize) -> Result<(), Self> {
        let sensible = (1..=longest).contains(&shortest);
        if sensible { Ok(()) } else { Err(Self { shortest, longest }) }
    }
}

/// Drafts the best continuation of a [`Lookup`]. It needs no model and no randomness, so it fits
/// every verifier.
///
/// ```
/// use kad_core::SampledChoices;
/// use kad_polybasic::{DraftRequest, Draft, Drafter, LookupDrafter, NgramLookup};
/// let mut drafter = LookupDrafter::new(NgramLookup::default(), 10);
/// let mut draft = Draft::default();
/// let context = &[7, 1, 2, 3, 4, 1, 2];
/// let request = DraftRequest { context, wanted: 3, room: 3, level: 2, eos: &[] };
/// drafter.draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut vec![])?;
/// assert!(draft.tokens().iter().map(|made| made.token).eq([3, 4, 1]));
/// # Ok::<(), kad_core::DecodeError>(())
/// ```
pub struct LookupDrafter<L> {
    lookup: L,
    vocab: usize,
    found: Vec<TokenId>,
}

/// N-gram lookup: `LookupDrafter::new(NgramLookup::default(), vocab)`.
pub type NgramDrafter = LookupDrafter<NgramLookup>;

/// Suffix lookup: `LookupDrafter::new(SuffixLookup::default(), vocab)`.
pub type SuffixDrafter = LookupDrafter<SuffixLookup>;

impl<L: Lookup> LookupDrafter<L> {
    /// Drafts the continuations of `lookup` for models whose vocabulary has `vocab` tokens.
    pub fn new(lookup: L, vocab: usize) -> Self {
        Self { lookup, vocab, found: Vec::new() }
    }
}

impl<L: Lookup> Drafter for LookupDrafter<L> {
    /// Unlimited.
    fn context_len(&self) -> usize {
        usize::MAX
    }

    fn draft(
        &mut self,
        request: DraftRequest<'_>,
        _choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        _rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.lookup.move_to(request.context);
        self.found.clear();
        self.lookup.continuation(request.wanted, &mut self.found);
        // A token outside the vocabulary has no distribution. The target reports it when the
        // context contains it.
        let usable = self.found.iter().take_while(|&&token| (token as usize) < self.vocab);
        for &token in usable {
            let drafted = Emitted { origin: Origin::Drafted, ..Emitted::sampled(token) };
            out.push(Emitted { level: request.level, ..drafted }, |distribution| {
                distribution.set_one_hot(self.vocab, token);
                Ok::<_, DecodeError>(())
            })?;
            if request.eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}
