//! Draft, verify, correct: decoding with a target's law at a drafter's pace.

use std::num::NonZeroUsize;

use kad_core::decode::{Decoder, Emitted, Origin, Step};
use kad_core::{ChoiceSource, DecodeError, Law, TokenId};

use crate::draft::{Draft, Drafter};
use crate::target::{At, Target};

/// How much is drafted before it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drafting {
    /// Tokens drafted at a time.
    pub length: NonZeroUsize,
    /// Whether a draft that is accepted whole is followed by a token of the target's own, which its
    /// pass has paid for. Default: yes. (The code that accompanies arXiv 2510.27017 does not.)
    pub bonus: bool,
    /// Tokens that end a text: nothing is drafted, and no bonus drawn, after one of them.
    pub eos: Vec<TokenId>,
}

/// A draft of no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft length is 0: draft at least one token, or decode without a drafter")]
pub struct DraftingError;

impl Drafting {
    /// `length` ≥ 1 tokens at a time, with bonus tokens.
    ///
    /// # Errors
    /// If `length` is 0.
    pub fn of(length: usize) -> Result<Self, DraftingError> {
        let length = NonZeroUsize::new(length).ok_or(DraftingError)?;
        Ok(Self { length, bonus: true, eos: Vec::new() })
    }

    /// How many tokens to draft where `room` are wanted: a bonus token must fit.
    fn within(&self, room: usize) -> usize {
        self.length.get().min(room - usize::from(self.bonus))
    }
}

/// Speculative decoding with two levels. Its law is exactly the target's, whatever the drafter, the
/// draft length and the bonus: proved by enumeration in this crate's tests.
pub struct Speculative<D, T> {
    drafter: D,
    target: T,
    drafting: Drafting,
    draft: Draft,
    text: Vec<TokenId>,
    residual: Law,
}

impl<D: Drafter, T: Target> Speculative<D, T> {
    /// `drafter` and `target` share their vocabulary (whoever loads the models checks that).
    pub fn new(drafter: D, target: T, drafting: Drafting) -> Self {
        let (draft, text, residual) = (Draft::default(), Vec::new(), Law::default());
        Self { drafter, target, drafting, draft, text, residual }
    }

    /// Appends the tokens of the draft that are accepted, and the one that replaces the first
    /// rejected one. Returns how many were accepted.
    fn verify(
        &mut self,
        context: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<usize, DecodeError> {
        for (index, &token) in self.draft.tokens().iter().enumerate() {
            let at = At { text: &self.text, len: context + index, draft: self.draft.law(index) };
            let accepted = choices.accept(self.target.acceptance(at)?);
            let deferral_mass = self.target.deferral_mass();
            if accepted {
                out.push(Emitted { token, origin: Origin::Drafted, deferral_mass });
                continue;
            }
            self.target.residual(at, &mut self.residual)?;
            let token = choices.token(&self.residual);
            out.push(Emitted { token, origin: Origin::Corrected, deferral_mass });
            return Ok(index);
        }
        Ok(self.draft.tokens().len())
    }
}

impl<D: Drafter, T: Target> Decoder for Speculative<D, T> {
    fn begin(&mut self, prompt: usize) {
        self.drafter.begin(prompt);
        self.target.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.drafter.context_len().min(self.target.context_len())
    }

    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        let Drafting { bonus, ref eos, .. } = self.drafting;
        let length = self.drafting.within(room);
        self.draft.clear();
        self.drafter.draft(context, length, eos, choices, &mut self.draft)?;
        let drafted = self.draft.tokens().len();
        self.text.clear();
        self.text.extend_from_slice(context);
        self.text.extend_from_slice(self.draft.tokens());
        let ended = self.draft.tokens().last().is_some_and(|last| eos.contains(last));
        // A drafter that proposes nothing leaves the token to the target.
        let bonus = (bonus || drafted == 0) && !ended;
        // One pass: the law after each prefix that a drafted token follows, and after the last one.
        let verified = if bonus { self.text.len() } else { self.text.len() - 1 };
        let last = verified - context.len() + 1;
        self.target.follow(&self.text[..verified], last)?;

        let accepted = self.verify(context.len(), choices, out)?;
        if bonus && accepted == drafted {
            let drawn = self.target.draw(&self.text, choices)?;
            let origin = if drafted > 0 { Origin::Bonus } else { drawn.origin };
            out.push(Emitted { origin, ..drawn });
        }
        Ok(Step { drafted, accepted })
    }
}
