//! A chain that watches itself: lengths follow the running acceptance, and where speculation loses
//! the target decodes alone.

use std::collections::VecDeque;
use std::fmt;

use kad_core::decode::{Decoder, Emitted, Round, Step};
use kad_core::{ChoiceSource, DecodeError, TokenId};

use crate::level::{Level, Speculative, Surplus};
use crate::stage::SharedLength;
use crate::theory::{Acceptance, Chain, RunLengths, TheoryError};

/// When a running chain decides anew, and on what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveSettings {
    /// Rounds of the target between decisions. Default: 8.
    pub rounds_per_decision: usize,
    /// How many such windows are remembered. Default: 16.
    pub max_windows: usize,
    /// How many rounds the measured acceptance counts as, against the running one. Default: 8.
    pub prior_rounds: u64,
    /// By how much the expected time per token must be below that of plain decoding, as a share of
    /// it. Default: 0.02.
    pub min_gain: f64,
    /// Tokens decoded plainly before speculation is tried again; doubled each time it loses again.
    /// Default: 64.
    pub plain_tokens: usize,
    /// The largest length. Default: 16.
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

/// A decision that changed something.
#[derive(Clone, Debug, PartialEq)]
pub struct LengthChange {
    /// Tokens of the text, prompt included, when it was made.
    pub at: usize,
    /// The lengths from there on, target first; empty for plain decoding.
    pub lengths: Vec<usize>,
    /// Seconds per token expected of them.
    pub seconds_per_token: f64,
    /// Seconds per token expected of plain decoding.
    pub plain_seconds_per_token: f64,
}

impl fmt::Display for LengthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lengths, seconds_per_token, plain_seconds_per_token: plain } = self;
        let [expected, plain] = [seconds_per_token, plain].map(|seconds| seconds * 1e3);
        if lengths.is_empty() {
            write!(
                f,
                "from token {at} on plain decoding: {plain:.2} ms per token, no chain is faster"
            )
        } else {
            let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            let lengths = lengths.join(", ");
            write!(
                f,
                "from token {at} on lengths {lengths}: {expected:.2} ms per token expected, \
                 {plain:.2} of plain decoding"
            )
        }
    }
}

/// A chain with lengths that adapt. The distribution is the chain's, exactly: a length is chosen
/// from rounds that are over, before a token of the next is drawn. That needs levels whose surplus
/// is flushed: tokens that wait ([`Surplus::Keep`]) are drawn already, the rounds below tell how,
/// and a length that follows those rounds would choose among tokens it knows of.
///
/// What it knows is a measured chain (pass times, run lengths: a profile) and its own latest
/// rounds. It starts each text with the measured chain's lengths, so that a text does not depend on
/// those before it. Where the rounds are not those of such a chain, the lengths stay as they are
/// for the rest of the text, and a [remark](Decoder::remarks) says why.
pub struct AdaptiveDecoder<L> {
    decoder: Speculative<L>,
    lengths: Vec<SharedLength>,
    measured: Chain,
    settings: AdaptiveSettings,
    /// The latest rounds of each verifier, a window at a time; the last is being filled.
    seen: Vec<VecDeque<RunLengths>>,
    /// Rounds of the target since the last decision.
    rounds: usize,
    /// Tokens to decode plainly before the next try; `None` while speculating.
    plain: Option<usize>,
    patience: usize,
    changes: Vec<LengthChange>,
    /// Why the lengths of this text adapt no longer.
    stuck: Option<TheoryError>,
}

impl<L: Level> AdaptiveDecoder<L> {
    /// `decoder` is the chain that `measured` describes, and `lengths` are those of its stages,
    /// target first.
    ///
    /// # Errors
    /// If the numbers of `measured` describe no chain of as many levels, a level of it keeps its
    /// surplus, or its acceptance is a rate: rounds can be counted with counted rounds only.
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

    /// What was changed since the text began, in order.
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
            let asked = proposed + usize::from(round.stopped);
            let expected = self.seen.len();
            let seen = round.level.checked_sub(1).and_then(|level| self.seen.get_mut(level));
            let seen = seen.ok_or(TheoryError::LevelMismatch { found: round.level, expected })?;
            if let Some(window) = seen.back_mut() {
                window.record(asked, proposed, round.accepted)?;
            }
        }
        Ok(())
    }

    /// The measured chain with what was seen since weighed in.
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

    /// After a step that appended `tokens` tokens and made the text `at` tokens long.
    fn adapt(&mut self, tokens: usize, at: usize) -> Result<(), TheoryError> {
        if let Some(left) = self.plain {
            self.plain = left.checked_sub(tokens).filter(|left| *left > 0);
            if self.plain.is_none() {
                // A new try starts from what was measured, and the latest of what led here.
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
            // The text is right with any lengths, so it goes on with those there are.
            self.stuck = self.adapt(tokens, context.len() + tokens).err();
        }
        Ok(step)
    }

    fn rounds(&self) -> &[Round] {
        self.decoder.rounds()
    }

    fn remarks(&self) -> Vec<String> {
        let stuck = self.stuck.iter().map(|why| format!("the lengths adapt no longer: {why}"));
        self.changes.iter().map(LengthChange::to_string).chain(stuck).collect()
    }
}
