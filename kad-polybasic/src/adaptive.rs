//! A decoder that adapts: draft lengths follow the acceptance seen, and the target decodes alone
//! where speculation is slower.

use std::collections::VecDeque;
use std::fmt;

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::{ChoiceSource, DecodeError, TokenId};

use crate::level::{Level, Speculative, Surplus};
use crate::stage::SharedLength;
use crate::theory::{Acceptance, Chain, RunLengths, TheoryError};

/// Settings of an [`AdaptiveDecoder`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// Rounds of the target between two decisions; together they are a *window*. Default: 8.
    pub rounds_per_decision: usize,
    /// Windows remembered, the latest ones. Default: 16.
    pub max_windows: usize,
    /// Weight of the measured acceptance, in rounds, against the rounds seen while decoding.
    /// Default: 8.
    pub prior_rounds: u64,
    /// The smallest gain that makes speculation worth while, as a share of the seconds per token of
    /// plain decoding. Default: 0.02.
    pub min_gain: f64,
    /// Tokens that the target decodes alone before speculation is tried again. Doubled each time
    /// speculation loses again. Default: 64.
    pub plain_tokens: usize,
    /// The largest draft length or threshold, in tokens. Default: 16.
    pub max_length: usize,
}

impl Default for AdaptiveSettings {
    fn default() -> Self {
        Self {
            rounds_per_decision: 8,
            max_windows: 16,
            prior_rounds: 8,
            min_gain: 0.02,
            plain_tokens: 64,
            max_length: 16,
        }
    }
}

/// A change of the lengths.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthChange {
    /// Tokens of the text at the change, prompt included.
    pub at: usize,
    /// The new lengths, target first; empty for plain decoding.
    pub lengths: Vec<usize>,
    /// Predicted seconds per token with the new lengths.
    pub seconds_per_token: f64,
    /// Predicted seconds per token of plain decoding.
    pub plain_seconds_per_token: f64,
}

impl LengthChange {
    /// Words of a change to plain decoding, and of no other change.
    pub const TO_PLAIN: &str = "no chain is faster";
}

impl fmt::Display for LengthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lengths, seconds_per_token, plain_seconds_per_token: plain } = self;
        let [expected, plain] = [seconds_per_token, plain].map(|seconds| seconds * 1e3);
        if lengths.is_empty() {
            write!(
                f,
                "from token {at} on: plain decoding, {plain:.2} ms per token; {}",
                Self::TO_PLAIN
            )
        } else {
            let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            let lengths = lengths.join(", ");
            write!(
                f,
                "from token {at} on: lengths {lengths}, {expected:.2} ms per token expected; \
                 plain decoding takes {plain:.2} ms"
            )
        }
    }
}

/// A chain whose lengths adapt while it decodes. The text has the target's distribution, exactly: a
/// length is chosen from finished rounds, before any token of the next round is drawn.
///
/// This needs levels that flush their surplus. Kept tokens ([`Surplus::Keep`]) are drawn already,
/// and the rounds below reveal something about them. A length chosen from those rounds would select
/// among known tokens.
///
/// The decision uses a measured chain (pass times and run lengths, as a profile states them) and
/// the decoder's own latest rounds. Each text starts with the lengths of the measured chain, so a
/// text does not depend on earlier texts. If the rounds do not fit the measured chain, the lengths
/// stay fixed for the rest of the text, and a [remark](Decoder::remarks) gives the reason.
///
/// ```
/// use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
/// use kad_core::oracle::TableModel;
/// use kad_polybasic::theory::{Acceptance, Chain, PassTimes, Proposer, RunLengths, VerifyingLevel};
/// use kad_polybasic::{
///     AdaptiveDecoder, AdaptiveSettings, DraftSettings, PredictorDrafter, PredictorTarget,
///     Speculative, Stage, Surplus,
/// };
/// // Passes of 10 ms and 1 ms; half of the drafts of one token were accepted.
/// let mut runs = RunLengths::default();
/// for accepted in [0, 1] {
///     runs.record(1, 1, accepted)?;
/// }
/// let measured = Chain {
///     verifiers: vec![VerifyingLevel {
///         name: "large".into(),
///         times: PassTimes::constant(10e-3)?,
///         acceptance: Acceptance::Runs(runs),
///         length: 2,
///         bonus: true,
///         surplus: Surplus::Flush,
///         overhead: 0.0,
///         token_overhead: 0.0,
///     }],
///     proposer: Proposer::Model {
///         name: "small".into(),
///         times: PassTimes::constant(1e-3)?,
///         overhead: 0.0,
///     },
///     plain_seconds: None,
/// };
/// // Two equal models: everything is accepted, so drafts grow.
/// let table = TableModel::random("table", 3, 2, 5);
/// let sampling = Sampling::at_temperature(1.0)?;
/// let model = || ModelPredictor::new(&table, sampling);
/// let drafter = PredictorDrafter::new(model()?);
/// let stage = Stage::new(drafter, PredictorTarget::new(model()?), DraftSettings::of(2)?);
/// let lengths = vec![stage.length()];
/// let decoder = Speculative::new(stage, &[]);
/// let mut decoder =
///     AdaptiveDecoder::new(decoder, lengths, measured, AdaptiveSettings::default())?;
/// let limits = Limits { max_new_tokens: 400, eos: vec![] };
/// let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
/// generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
/// assert!(decoder.changes().last().is_some_and(|change| change.lengths[0] > 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AdaptiveDecoder<L> {
    decoder: Speculative<L>,
    lengths: Vec<SharedLength>,
    measured: Chain,
    settings: AdaptiveSettings,
    /// The latest rounds of each verifier, one entry per window. The last window is being filled.
    seen: Vec<VecDeque<RunLengths>>,
    /// Rounds of the target since the last decision.
    rounds: usize,
    /// Tokens left to decode plainly; `None` while speculating.
    plain: Option<usize>,
    patience: usize,
    changes: Vec<LengthChange>,
    /// The reason that the lengths of this text no longer adapt.
    stuck: Option<TheoryError>,
}

impl<L: Level> AdaptiveDecoder<L> {
    /// Adapts `decoder`, the chain that `measured` describes. `lengths` are the lengths of its
    /// stages ([`Stage::length`](crate::Stage::length)), target first.
    ///
    /// # Errors
    /// If `measured` is no valid chain ([`Chain::check`]) or has another number of levels; if a
    /// level keeps its surplus; if an acceptance is a rate, which counted rounds cannot update.
    pub fn new(
        decoder: Speculative<L>,
        lengths: Vec<SharedLength>,
        measured: Chain,
        settings: AdaptiveSettings,
    ) -> Result<Self, TheoryError> {
        measured.check()?;
        if lengths.len() != measured.verifiers.len() || lengths.is_empty() {
            let (found, expected) = (lengths.len(), measured.verifiers.len());
            return Err(TheoryError::LevelMismatch { found, expected });
        }
        for verifier in &measured.verifiers {
            let name = || verifier.name.clone();
            if verifier.surplus == Surplus::Keep {
                return Err(TheoryError::KeptSurplus { name: name() });
            }
            if matches!(verifier.acceptance, Acceptance::Rate(_)) {
                return Err(TheoryError::FixedRate { name: name() });
            }
        }
        let seen = lengths.iter().map(|_| VecDeque::from([RunLengths::default()])).collect();
        let patience = settings.plain_tokens;
        let (rounds, plain, changes, stuck) = (0, None, Vec::new(), None);
        Ok(Self {
            decoder,
            lengths,
            measured,
            settings,
            seen,
            rounds,
            plain,
            patience,
            changes,
            stuck,
        })
    }

    /// The changes since the text began, in order.
    pub fn changes(&self) -> &[LengthChange] {
        &self.changes
    }

    fn use_lengths(&self, lengths: &[usize]) {
        for (shared, &length) in self.lengths.iter().zip(lengths) {
            shared.set(length);
        }
    }

    /// Counts the rounds of the last step.
    fn watch(&mut self) -> Result<(), TheoryError> {
        for round in self.decoder.rounds().iter().filter(|round| round.drafted > 0 || round.stopped)
        {
            let proposed = round.depth;
            let requested = proposed + usize::from(round.stopped);
            let expected = self.seen.len();
            let seen = round.level.checked_sub(1).and_then(|level| self.seen.get_mut(level));
            let seen = seen.ok_or(TheoryError::LevelMismatch { found: round.level, expected })?;
            if let Some(window) = seen.back_mut() {
                window.record(requested, proposed, round.accepted)?;
            }
        }
        Ok(())
    }

    /// The measured chain, updated with the rounds seen.
    fn current(&self) -> Chain {
        let mut chain = self.measured.clone();
        for (verifier, windows) in chain.verifiers.iter_mut().zip(&self.seen) {
            if let Acceptance::Runs(runs) = &mut verifier.acceptance {
                let weight = (runs.rounds() / self.settings.prior_rounds.max(1)).max(1);
                windows.iter().for_each(|window| runs.merge_times(window, weight));
            }
        }
        chain
    }

    fn decide(&mut self, at: usize) -> Result<(), TheoryError> {
        let chain = self.current();
        let plain = chain.plain().predict(at)?.seconds_per_token;
        let best = chain.best_lengths(at, self.settings.max_length)?;
        let wins = best.seconds_per_token < plain * (1.0 - self.settings.min_gain);
        let lengths = if wins { best.lengths } else { Vec::new() };
        let seconds_per_token = if lengths.is_empty() { plain } else { best.seconds_per_token };
        if lengths.is_empty() {
            self.plain = Some(self.patience);
            self.patience *= 2;
            self.lengths[0].set(0);
        } else {
            self.use_lengths(&lengths);
        }
        if self.changes.last().is_none_or(|last| last.lengths != lengths) {
            let plain_seconds_per_token = plain;
            self.changes.push(LengthChange {
                at,
                lengths,
                seconds_per_token,
                plain_seconds_per_token,
            });
        }
        for windows in &mut self.seen {
            windows.push_back(RunLengths::default());
            if windows.len() > self.settings.max_windows {
                windows.pop_front();
            }
        }
        self.rounds = 0;
        Ok(())
    }

    /// Records a step that appended `tokens` tokens and left a text of `at` tokens.
    fn adapt(&mut self, tokens: usize, at: usize) -> Result<(), TheoryError> {
        if let Some(left) = self.plain {
            self.plain = left.checked_sub(tokens).filter(|left| *left > 0);
            if self.plain.is_none() {
                // A new attempt starts from the measured chain and the last two windows.
                for windows in &mut self.seen {
                    windows.drain(..windows.len().saturating_sub(2));
                }
                let lengths = self.measured.lengths();
                self.use_lengths(&lengths);
                self.rounds = 0;
            }
            return Ok(());
        }
        self.watch()?;
        self.rounds += 1;
        if self.rounds >= self.settings.rounds_per_decision { self.decide(at) } else { Ok(()) }
    }
}

impl<L: Level> Decoder for AdaptiveDecoder<L> {
    fn begin(&mut self, prompt: usize) {
        self.seen.iter_mut().for_each(|w| *w = VecDeque::from([RunLengths::default()]));
        self.rounds = 0;
        self.plain = None;
        self.patience = self.settings.plain_tokens;
        self.changes.clear();
        self.stuck = None;
        self.use_lengths(&self.measured.lengths());
        self.decoder.begin(prompt);
    }

    fn context_len(&self) -> usize {
        self.decoder.context_len()
    }

    fn step(
        &mut self,
        context: &[TokenId],
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<Emitted>,
    ) -> Result<Step, DecodeError> {
        let before = out.len();
        let step = self.decoder.step(context, room, choices, out)?;
        let tokens = out.len() - before;
        if self.stuck.is_none() {
            // The text is exact with any lengths, so decoding goes on with the present ones.
            self.stuck = self.adapt(tokens, context.len() + tokens).err();
        }
        Ok(step)
    }

    fn rounds(&self) -> &[Round] {
        self.decoder.rounds()
    }

    fn remarks(&self) -> Vec<String> {
        let stuck = self.stuck.iter().map(|why| format!("the lengths no longer adapt: {why}"));
        self.changes.iter().map(LengthChange::to_string).chain(stuck).collect()
    }
}
