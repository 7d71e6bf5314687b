//! Levels: a verified level decodes, or drafts for the level above.

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::{ChoiceSource, DecodeError, TokenId};
use serde::{Deserialize, Serialize};

use crate::draft::{Draft, DraftRequest, Drafter};

/// A drafter and the target that verifies its drafts. The output has the target's distribution, so
/// a level is a decoder ([`Speculative`]) and a drafter for the level above ([`LevelDrafter`]).
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_polybasic::{
///     Draft, DraftRequest, DraftSettings, Level, PredictorDrafter, PredictorTarget, Stage,
/// };
/// let [large, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let sampling = Sampling::at_temperature(1.0)?;
/// let model = |model| ModelPredictor::new(model, sampling);
/// let drafter = PredictorDrafter::new(model(&small)?);
/// let target = PredictorTarget::new(model(&large)?);
/// let mut level = Stage::new(drafter, target, DraftSettings::of(3)?);
/// let request = DraftRequest { context: &[1, 2], wanted: 1, room: 10, level: 1, eos: &[] };
/// let (mut out, mut rounds) = (Draft::default(), vec![]);
/// level.round(request, &mut SampledChoices::seeded(0), &mut out, &mut rounds)?;
/// // The accepted tokens and one of the target's own.
/// assert_eq!(rounds[0].drafted, 3);
/// assert_eq!(out.len(), rounds[0].accepted + 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Level {
    /// Starts a new text whose prompt has `prompt` tokens.
    fn begin(&mut self, prompt: usize);

    /// The longest context, in tokens.
    fn context_len(&self) -> usize;

    /// True if its tokens have the distributions it states with them, exactly.
    fn is_exact(&self) -> bool;

    /// As [`Drafter::draws_by_position`]. Default: false.
    fn draws_by_position(&self) -> bool {
        false
    }

    /// Makes one round: a draft, its verification, and a corrected or a bonus token. Appends
    /// between one and `request.room` tokens to `out`, none after an end token. Appends the
    /// verifications made to `rounds`, its own last. Ignores `request.wanted`.
    ///
    /// # Errors
    /// If a model fails or its logits are no distribution.
    fn round(
        &mut self,
        request: DraftRequest<'_>,
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
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        (**self).round(request, choices, out, rounds)
    }
}

/// The decoder whose target is the highest level of a chain. The text has that level's
/// distribution, whatever the levels below: the tests of this crate prove it by enumerating every
/// outcome.
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_core::decode::{Limits, generate};
/// use kad_polybasic::{DraftSettings, PredictorDrafter, PredictorTarget, Speculative, Stage};
/// let [large, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let sampling = Sampling::at_temperature(1.0)?;
/// let drafter = PredictorDrafter::new(ModelPredictor::new(&small, sampling)?);
/// let target = PredictorTarget::new(ModelPredictor::new(&large, sampling)?);
/// let mut decoder = Speculative::new(Stage::new(drafter, target, DraftSettings::of(4)?), &[]);
/// assert!(decoder.is_exact());
/// let limits = Limits { max_new_tokens: 20, eos: vec![] };
/// let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
/// let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
/// assert_eq!(made.tokens.len(), 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Speculative<L> {
    level: L,
    eos: Vec<TokenId>,
    made: Draft,
    rounds: Vec<Round>,
}

impl<L: Level> Speculative<L> {
    /// Decodes with `level`. Nothing is drafted after a token of `eos`. All models of a chain must
    /// share their vocabulary; the caller checks that.
    pub fn new(level: L, eos: &[TokenId]) -> Self {
        let (made, rounds) = (Draft::without_distributions(), Vec::new());
        Self { level, eos: eos.to_vec(), made, rounds }
    }

    /// True if the text has the target's distribution, exactly.
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
        let request = DraftRequest { context, wanted: 1, room, level: 1, eos: &self.eos };
        self.level.round(request, choices, &mut self.made, &mut self.rounds)?;
        out.extend_from_slice(self.made.tokens());
        let own = self.rounds.last().copied().unwrap_or_default();
        Ok(Step { drafted: own.drafted, accepted: own.accepted })
    }

    fn rounds(&self) -> &[Round] {
        &self.rounds
    }
}

/// Treatment of the *surplus*: the tokens that a level produced beyond the threshold of the level
/// above.
///
/// A round may emit several tokens, so a level that needs 5 tokens to reach the threshold may
/// produce 7. The surplus is then 2 tokens. The top level has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Surplus {
    /// Verifies the surplus together with the tokens up to the threshold. No token waits, and a
    /// pass may be wider than the threshold.
    #[default]
    Flush,
    /// Keeps the surplus for the next draft, if every token before it was accepted. Whole texts
    /// keep their distribution. The distribution of a single step, asked after an arbitrary
    /// context, depends on the tokens kept.
    Keep,
}

/// The error for a drafting level that is not exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a level that is not exact drafts for another level, so no level above it is exact: verify \
     leniently at the highest level only, and verify tokens drawn by position by the same uniforms"
)]
pub struct NotExact;

/// A level that drafts for the level above. It makes rounds until as many tokens wait as that level
/// wants (its threshold), and hands them up with its own target's distributions.
///
/// Exact for every exact level: each token has this level's distribution given its prefix, and the
/// decision to make one more round is made before its tokens are drawn. This is arXiv 2510.26527,
/// algorithm 1, in the reading that keeps the distribution: the distributions handed up are those
/// of the verifying model, never those of its drafter.
///
/// ```
/// use kad_core::{ModelPredictor, SampledChoices, Sampling, oracle::TableModel};
/// use kad_polybasic::{
///     Draft, DraftRequest, DraftSettings, Drafter, LevelDrafter, PredictorDrafter,
///     PredictorTarget, Stage, Surplus,
/// };
/// let [middle, small] = [1, 2].map(|seed| TableModel::random("table", 9, 2, seed));
/// let sampling = Sampling::at_temperature(1.0)?;
/// let drafter = PredictorDrafter::new(ModelPredictor::new(&small, sampling)?);
/// let target = PredictorTarget::new(ModelPredictor::new(&middle, sampling)?);
/// let level = Stage::new(drafter, target, DraftSettings::of(3)?);
/// let mut drafter = LevelDrafter::new(level, Surplus::Flush)?;
/// let (mut draft, mut rounds) = (Draft::default(), vec![]);
/// let request = DraftRequest { context: &[1, 2], wanted: 6, room: 20, level: 2, eos: &[] };
/// drafter.draft(request, &mut SampledChoices::seeded(0), &mut draft, &mut rounds)?;
/// assert!(draft.len() >= 6 && rounds.len() >= 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LevelDrafter<L> {
    level: L,
    surplus: Surplus,
    /// Tokens produced and not handed up yet.
    waiting: Draft,
    /// The text before the waiting tokens.
    after: Vec<TokenId>,
    /// Scratch memory: the context of the current round.
    text: Vec<TokenId>,
}

impl<L: Level> LevelDrafter<L> {
    /// Drafts with `level`.
    ///
    /// # Errors
    /// [`NotExact`] if verification is lenient, or if it is not by the same uniforms although tokens
    /// below are drawn by position.
    pub fn new(level: L, surplus: Surplus) -> Result<Self, NotExact> {
        if !level.is_exact() {
            return Err(NotExact);
        }
        let (waiting, after, text) = (Draft::default(), Vec::new(), Vec::new());
        Ok(Self { level, surplus, waiting, after, text })
    }

    /// Keeps those waiting tokens that still continue `context`. The context has grown by tokens of
    /// the level above only. Where these agree with the waiting tokens, the rest is still a draft
    /// with the right distribution: it does not depend on how its prefix came to be accepted.
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

    /// Makes rounds of the level until `request.wanted` tokens wait.
    fn gather(
        &mut self,
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        while self.waiting.len() < request.wanted && !self.waiting.has_ended(request.eos) {
            self.text.clear();
            self.text.extend_from_slice(request.context);
            self.text.extend(self.waiting.tokens().iter().map(|made| made.token));
            let room = request.room - self.waiting.len();
            let request = DraftRequest { context: &self.text, room, ..request };
            self.level.round(request, choices, &mut self.waiting, rounds)?;
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
        request: DraftRequest<'_>,
        choices: &mut dyn ChoiceSource,
        out: &mut Draft,
        rounds: &mut Vec<Round>,
    ) -> Result<(), DecodeError> {
        if self.waiting.keeps_distributions() != out.keeps_distributions() {
            self.waiting = out.empty_like();
        }
        self.resume(request.context);
        if let Err(error) = self.gather(request, choices, rounds) {
            // The pass that fails depends on the tokens drawn, so the waiting tokens are biased.
            self.waiting.clear();
            return Err(error);
        }
        let count = match self.surplus {
            Surplus::Flush => self.waiting.len(),
            Surplus::Keep => request.wanted.min(self.waiting.len()),
        };
        self.after.clear();
        self.after.extend_from_slice(request.context);
        self.after.extend(self.waiting.tokens()[..count].iter().map(|made| made.token));
        self.waiting.hand_over(count, out);
        Ok(())
    }
}
