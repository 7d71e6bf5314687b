//! Drafts without a model: what followed when the text ended like this before.
//!
//! A [`Lookup`] remembers a text and finds earlier occurrences of its end. [`NgramLookup`] knows
//! the occurrences of its last few tokens (prompt lookup), [`SuffixLookup`] those of the longest
//! suffix there is. As a drafter of one chain ([`LookupDrafter`]) the distribution of a proposed
//! token is certainty: it depends on the context alone. Verification then accepts it with the
//! probability the target gives it. As a drafter of trees: [`LookupTree`](crate::LookupTree).

mod ngram;
mod suffix;

pub use ngram::NgramLookup;
pub use suffix::SuffixLookup;

use kad_core::decode::{Emitted, Origin, Round};
use kad_core::{ChoiceSource, DecodeError, TokenId};

use crate::draft::{Draft, DraftRequest, Drafter};
use crate::tree::{DraftTree, TreeLimits};

/// A text that grows and shrinks at its end, and what may follow it by what followed before. All
/// answers depend on the present text alone, not on how it came to be.
pub trait Lookup {
    /// The text.
    fn tokens(&self) -> &[TokenId];

    /// Appends a token.
    fn push(&mut self, token: TokenId);

    /// Forgets the last token, if there is one.
    fn pop(&mut self);

    /// Appends to `out` the most promising continuation of the text, `count` tokens or fewer;
    /// nothing if its end is new.
    fn continuation(&self, count: usize, out: &mut Vec<TokenId>);

    /// Adds several continuations to `out` as lists of candidates, the most promising first, within
    /// `limits`; nothing follows a token of `eos`.
    fn tree(&self, limits: TreeLimits, eos: &[TokenId], out: &mut DraftTree);

    /// Makes `context` the text; costs as many steps as there are tokens to forget and to append.
    fn move_to(&mut self, context: &[TokenId]) {
        let shared = self.tokens().iter().zip(context).take_while(|(a, b)| a == b).count();
        while self.tokens().len() > shared {
            self.pop();
        }
        context[shared..].iter().for_each(|&token| self.push(token));
    }
}

/// Which lengths of match make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "matches of {shortest} to {longest} tokens were asked for: the shortest must be at least 1 and \
     no longer than the longest"
)]
pub struct LookupError {
    /// The shortest match asked for.
    pub shortest: usize,
    /// The longest match asked for.
    pub longest: usize,
}

impl LookupError {
    fn check(shortest: usize, longest: usize) -> Result<(), Self> {
        let sensible = (1..=longest).contains(&shortest);
        if sensible { Ok(()) } else { Err(Self { shortest, longest }) }
    }
}

/// Drafts the most promising continuation of a [`Lookup`]. Needs no model and no randomness, so it
/// may draft for any verifier.
///
/// ```
/// use kad_core::SampledChoices;
/// use kad_polybasic::{DraftRequest, Draft, Drafter, LookupDrafter, NgramLookup};
/// let mut drafter = LookupDrafter::new(NgramLookup::default(), 10);
/// let mut draft = Draft::default();
/// let ask = DraftRequest { context: &[7, 1, 2, 3, 4, 1, 2], wanted: 3, room: 3, level: 2, eos: &[] };
/// drafter.draft(ask, &mut SampledChoices::seeded(0), &mut draft, &mut vec![])?;
/// assert!(draft.tokens().iter().map(|made| made.token).eq([3, 4, 1]));
/// # Ok::<(), kad_core::DecodeError>(())
/// ```
pub struct LookupDrafter<L> {
    lookup: L,
    vocab: usize,
    found: Vec<TokenId>,
}

/// Prompt lookup: `LookupDrafter::new(NgramLookup::default(), vocab)`.
pub type NgramDrafter = LookupDrafter<NgramLookup>;

/// Suffix lookup: `LookupDrafter::new(SuffixLookup::default(), vocab)`.
pub type SuffixDrafter = LookupDrafter<SuffixLookup>;

impl<L: Lookup> LookupDrafter<L> {
    /// Drafts what `lookup` finds, for models of `vocab` tokens.
    pub fn new(lookup: L, vocab: usize) -> Self {
        Self { lookup, vocab, found: Vec::new() }
    }
}

impl<L: Lookup> Drafter for LookupDrafter<L> {
    /// No limit of its own.
    fn context_len(&self) -> usize {
        usize::MAX
    }

    fn draft(
        &mut self,
        ask: DraftRequest<'_>,
        _choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        _rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        self.lookup.move_to(ask.context);
        self.found.clear();
        self.lookup.continuation(ask.wanted, &mut self.found);
        // A token outside the vocabulary has no distribution; the target will say so of the context
        // it is in.
        let usable = self.found.iter().take_while(|&&token| (token as usize) < self.vocab);
        for &token in usable {
            let drafted = Emitted { origin: Origin::Drafted, ..Emitted::sampled(token) };
            out.push(Emitted { level: ask.level, ..drafted }, |distribution| {
                distribution.set_one_hot(self.vocab, token);
                Ok::<_, DecodeError>(())
            })?;
            if ask.eos.contains(&token) {
                break;
            }
        }
        Ok(())
    }
}
