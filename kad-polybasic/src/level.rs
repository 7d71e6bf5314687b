//! What decodes is a verified level; what drafts for the level above may be one too.

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::{ChoiceSource, DecodeError, TokenId};
use serde::{Deserialize, Serialize};

use crate::draft::{Draft, DraftRequest, Drafter};

/// A drafter and the distribution its drafts are verified towards: what comes out has that
/// distribution, so a level is a decoder ([`Speculative`]) and a drafter for the next one
/// ([`LevelDrafter`]).
pub trait Level {
    /// Says that a new text begins after `prompt` tokens.
    fn begin(&mut self, prompt: usize);

    /// The longest context there can be.
    fn context_len(&self) -> usize;

    /// Whether its tokens have exactly the distribution it states with them.
    fn is_exact(&self) -> bool;

    /// As [`Drafter::draws_by_position`]. Default: no.
    fn draws_by_position(&self) -> bool {
        false
    }

    /// One round: a draft, its verification, and what follows it. Appends at least one and at most
    /// `ask.room` tokens to `out`, nothing after an end token, and to `rounds` the verifications
    /// made, its own last. `ask.wanted` is not looked at.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn round(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError>;
}

impl<L: Level + ?Sized> Level for Box<L> {
    fn begin(&mut self, prompt: usize) {
        (**self).begin(prompt);
    }
    fn context_len(&self) -> usize {
        (**self).context_len()
    }
    fn is_exact(&self) -> bool {
        (**self).is_exact()
    }
    fn draws_by_position(&self) -> bool {
        (**self).draws_by_position()
    }
    fn round(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        (**self).round(ask, choices, out, rounds)
    }
}

/// Speculative decoding: the decoder whose target is the uppermost level of a chain. Its
/// distribution is exactly that level's, whatever is below: proved by enumeration in this crate's
/// tests.
pub struct Speculative<L> {
    level: L,
    eos: Vec<TokenId>,
    made: Draft,
    rounds: Vec<Round>,
}

impl<L: Level> Speculative<L> {
    /// Decodes with `level`; nothing is drafted after a token of `eos`. All models of a chain share
    /// their vocabulary (whoever loads them checks that).
    pub fn new(level: L, eos: &[TokenId]) -> Self {
        let (made, rounds) = (Draft::without_distributions(), Vec::new());
        Self { level, eos: eos.to_vec(), made, rounds }
    }

    /// Whether the distribution of the text is exactly the target's.
    pub fn is_exact(&self) -> bool {
        self.level.is_exact()
    }
}

impl<L: Level> Decoder for Speculative<L> {
    fn begin(&mut self, prompt: usize) {
        self.level.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.level.context_len()
    }

    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        self.made.clear();
        self.rounds.clear();
        let ask = DraftRequest { context, wanted: 1, room, level: 1, eos: &self.eos };
        self.level.round(ask, choices, &mut self.made, &mut self.rounds)?;
        out.extend_from_slice(self.made.tokens());
        let own = self.rounds.last().copied().unwrap_or_default();
        Ok(Step { drafted: own.drafted, accepted: own.accepted })
    }

    fn rounds(&self) -> &[Round] {
        &self.rounds
    }
}

/// What happens to tokens of a level beyond the threshold of the level above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// They are verified with the others: no token waits, a pass may be wider than the threshold.
    #[default]
    Flush,
    /// They wait, and are proposed next if everything before them was accepted. Whole texts keep
    /// their distribution; a single step, asked after a context of the caller's choice, depends on
    /// what waits.
    Keep,
}

/// A level that cannot say which distribution its tokens have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a level that is not exact drafts for another: its tokens do not have the distribution it would state, so \
     nothing above it could be exact; be lenient at the uppermost level or nowhere, and verify what is \
     drawn by place by shared uniforms"
)]
pub struct NotExact;

/// A level as the drafter of the one above: rounds are made until as many tokens are there as the
/// level above wants (its threshold), and handed up with this level's own distributions.
///
/// Exact for every exact level: each token has this level's distribution given those before it, and
/// whether there is another is decided before it is drawn (arXiv 2510.26527, algorithm 1, in the
/// reading that keeps the distribution: the distributions handed up are those of the verifying
/// model, never its drafter's).
pub struct LevelDrafter<L> {
    level: L,
    surplus: Surplus,
    /// Tokens not handed up yet.
    waiting: Draft,
    /// What they follow.
    after: Vec<TokenId>,
    /// The context of the round at hand.
    text: Vec<TokenId>,
}

impl<L: Level> LevelDrafter<L> {
    /// Drafts with `level`.
    ///
    /// # Errors
    /// [`NotExact`] if its verification is lenient, or not made for drafts drawn by place that it
    /// has.
    pub fn new(level: L, surplus: Surplus) -> Result<Self, NotExact> {
        if !level.is_exact() {
            return Err(NotExact);
        }
        let (waiting, after, text) = (Draft::default(), Vec::new(), Vec::new());
        Ok(Self { level, surplus, waiting, after, text })
    }

    /// Keeps of the waiting tokens those that still continue `context`. The context has grown by
    /// tokens of the level above only; where they agree with what waits, the rest is still a draft
    /// with the right distribution: it is independent of how its predecessors came to be accepted.
    fn resume(&mut self, context: &[TokenId]) {
        let continued = context.strip_prefix(self.after.as_slice());
        let waiting = self.waiting.tokens().iter().map(|made| made.token);
        match continued {
            Some(new) if waiting.clone().take(new.len()).eq(new.iter().copied()) => {
                self.waiting.drop_front(new.len());
            }
            _ => self.waiting.clear(),
        }
    }

    /// Rounds of the level until as many tokens wait as are wanted.
    fn gather(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        while self.waiting.len() < ask.wanted && !self.waiting.has_ended(ask.eos) {
            self.text.clear();
            self.text.extend_from_slice(ask.context);
            self.text.extend(self.waiting.tokens().iter().map(|made| made.token));
            let room = ask.room - self.waiting.len();
            let ask = DraftRequest { context: &self.text, room, ..ask };
            self.level.round(ask, choices, &mut self.waiting, rounds)?;
        }
        Ok(())
    }
}

impl<L: Level> Drafter for LevelDrafter<L> {
    fn begin(&mut self, prompt: usize) {
        self.waiting.clear();
        self.level.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.level.context_len()
    }

    fn draws_by_position(&self) -> bool {
        self.level.draws_by_position()
    }

    fn draft(
        &mut self,
        ask: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        if self.waiting.keeps_distributions() != out.keeps_distributions() {
            self.waiting = out.empty_like();
        }
        self.resume(ask.context);
        if let Err(error) = self.gather(ask, choices, rounds) {
            // Which pass fails depends on what was drawn, so what waits is no longer a fair draft.
            self.waiting.clear();
            return Err(error);
        }
        let count = match self.surplus {
            Surplus::Flush => self.waiting.len(),
            Surplus::Keep => ask.wanted.min(self.waiting.len()),
        };
        self.after.clear();
        self.after.extend_from_slice(ask.context);
        self.after.extend(self.waiting.tokens()[..count].iter().map(|made| made.token));
        self.waiting.hand_over(count, out);
        Ok(())
    }
}
