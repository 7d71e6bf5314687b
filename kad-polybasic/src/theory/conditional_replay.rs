//! Simulation of a chain along a given text: see [`ConditionalReplay`].

use kad_core::ChoiceSource;

use super::chain::{Chain, Proposer};
use super::error::TheoryError;
use super::length_search::tree_nodes;
use super::level_totals::LevelTotals;
use super::pass_times::PassTimes;
use super::predictor::draft_length;
use super::simulator::{SimulatedLevel, acceptance_tables, extends_run};
use super::text_trace::{TextTrace, TracedDrafts};
use crate::level::Surplus;

/// Simulates a chain along a text `y` that its target wrote, instead of along random texts.
///
/// Let `p_1 … p_n` be the distributions of the levels, the target's first. At a position s after a
/// prefix of `y`, level i receives a token with distribution `p_{i+1}` and accepts it with
/// probability `min(1, p_i / p_{i+1})`; its output has distribution `p_i`. Of the probability
/// `p_i(y_s)`, the part `min(p_i, p_{i+1})(y_s)` comes from an accepted proposal. So, *given* the
/// output `y_s`, the proposal was `y_s` and was accepted with
///
/// `P(accepted | y_s) = min(p_i, p_{i+1})(y_s) / p_i(y_s) = min(1, p_{i+1}(y_s) / p_i(y_s))`.
///
/// Otherwise another token was proposed and rejected: the residual has no mass where
/// `p_{i+1} ≥ p_i`. The text goes on from `y_s` in both cases. The target outputs `y_s` with
/// certainty; going down from it, each level agrees with the text or does not, and this *depth of
/// agreement* of every token is all that verification needs. A token that a level makes itself,
/// corrected or bonus, agrees among the levels above it in the same way. A lookup, which has no
/// distribution of its own but one certain token, agrees where it proposes `y_s`.
///
/// So the rounds of the target and everything on the text follow the exact distribution given `y`:
/// the positions of high and low acceptance, the end of the text, and the tokens that no longer
/// fit. Everything else follows [`ChainSimulator`](super::ChainSimulator), with these exceptions
/// and limits:
///
/// 1. From the first token off the text on, acceptance is unknown and is drawn from the pairs' run
///    lengths, which start anew there as in a round: levels part at hard positions, and rounds
///    begin at such positions too. No token off the text outlives the target's round, unless it
///    waits as surplus.
/// 2. A draft off the text does not end with an end token before it has its requested length.
/// 3. The width of a pass is the number of tokens that its level has not read (at every level, not
///    only below a bonus); its context is the number that it has read. The prompt counts as read
///    except for its last token. A token that a level has read and rejected, and that a higher
///    level puts back, counts as unread.
/// 4. Surplus waits as in [`VerifyingLevel::surplus`](super::VerifyingLevel::surplus).
/// 5. Verification is token by token. Block verification accepts more, same uniforms accept less.
/// 6. A tree cut short by the end of the text counts as large as others, and one that begins off
///    the text as deep. Without a bonus token, a tree whose path ends before its depth is taken to
///    have rejected a token there.
///
/// Acceptances are random choices, so [`enumerate`](kad_core::oracle::enumerate) gives exact
/// distributions.
///
/// ```
/// use kad_core::SampledChoices;
/// use kad_polybasic::theory::*;
/// let verifier = VerifyingLevel {
///     name: "large".into(),
///     times: PassTimes::constant(1.0)?,
///     acceptance: Acceptance::Rate(0.5),
///     length: 3,
///     bonus: true,
///     surplus: Surplus::Flush,
///     overhead: 0.0,
///     token_overhead: 0.0,
/// };
/// let times = PassTimes::constant(0.125)?;
/// let proposer = Proposer::Model { name: "small".into(), times, overhead: 0.0 };
/// let chain = Chain { verifiers: vec![verifier], proposer, plain_seconds: None };
/// // Both distributions are certain of every token of a text that ended with its sixth.
/// let distributions = ["large", "small"].map(|name| (name.to_owned(), vec![0.0; 6])).into();
/// let (prompt, limit, tokens, ended) = (9, 64, 6, true);
/// let trace = TextTrace { prompt, limit, tokens, ended, distributions, ..Default::default() };
/// let mut replay = ConditionalReplay::new(&chain, &trace)?;
/// let choices = &mut SampledChoices::seeded(1);
/// // Three drafted and one bonus token; then a draft that the end of the text cuts short.
/// assert_eq!([replay.round(choices)?, replay.round(choices)?, replay.round(choices)?], [4, 2, 0]);
/// assert_eq!(replay.seconds(), 2.0 * 1.0 + 5.0 * 0.125);
/// # Ok::<(), TheoryError>(())
/// ```
pub struct ConditionalReplay<'c> {
    chain: &'c Chain,
    text: TracedText,
    /// Per verifier: P(N ≥ k) up to its largest buffer, for tokens off the text.
    survival: Vec<Vec<f64>>,
    /// P(at least k proposed) up to the length of a draft.
    proposed: Vec<f64>,
    /// Kept tokens of each level, by depth of agreement.
    kept: Vec<Vec<usize>>,
    /// Tokens that each level has read, the prompt included.
    read: Vec<usize>,
    /// Tokens of the text so far.
    at: usize,
    recording: bool,
    totals: Vec<LevelTotals>,
}

/// The trace of a text, prepared for one chain.
struct TracedText {
    prompt: usize,
    limit: usize,
    tokens: usize,
    ended: bool,
    /// `rates[i][s]`: P(level i + 1 agrees at position s, given that level i does); 0 is the
    /// target.
    rates: Vec<Vec<f64>>,
    /// The proposer's drafts, if it has no distribution.
    drafts: Option<TracedDrafts>,
}

/// The position at which a round begins: the number of tokens before it, and whether all of them
/// agree with the text.
#[derive(Clone, Copy)]
struct TextPosition {
    at: usize,
    on: bool,
}

impl TextPosition {
    /// The position after `tokens` of level `level`.
    fn after(self, level: usize, tokens: &[usize]) -> Self {
        let on = self.on && tokens.iter().all(|&agrees| agrees > level);
        Self { at: self.at + tokens.len(), on }
    }
}

impl TracedText {
    fn new(chain: &Chain, trace: &TextTrace) -> Self {
        let distribution =
            |name: &str| trace.distributions.get(name).map(Vec::as_slice).unwrap_or_default();
        let names = chain.names();
        let rate = |pair: &[&str]| -> Vec<f64> {
            let along = distribution(pair[0]).iter().zip(distribution(pair[1]));
            along.map(|(above, below)| (below - above).exp().min(1.0)).collect()
        };
        Self {
            prompt: trace.prompt,
            limit: trace.limit,
            tokens: trace.tokens,
            ended: trace.ended,
            rates: names.windows(2).map(rate).collect(),
            drafts: trace.drafts.get(chain.proposer.name()).cloned(),
        }
    }
}

impl<'c> ConditionalReplay<'c> {
    /// Starts `chain` at the beginning of the text of `trace`.
    ///
    /// # Errors
    /// Errors of [`Chain::check`] and [`TextTrace::check`].
    pub fn new(chain: &'c Chain, trace: &TextTrace) -> Result<Self, TheoryError> {
        chain.check()?;
        trace.check(chain)?;
        let (survival, proposed) = acceptance_tables(chain);
        let mut player = Self {
            chain,
            text: TracedText::new(chain, trace),
            survival,
            proposed,
            kept: Vec::new(),
            read: Vec::new(),
            at: 0,
            recording: true,
            totals: vec![LevelTotals::default(); chain.levels()],
        };
        player.restart();
        Ok(player)
    }

    /// Goes back to the beginning of the text and keeps the totals.
    pub fn restart(&mut self) {
        let levels = self.chain.levels();
        self.at = 0;
        self.kept = vec![Vec::new(); levels];
        self.read = vec![self.text.prompt.saturating_sub(1); levels];
    }

    /// Seconds so far.
    pub fn seconds(&self) -> f64 {
        self.levels().map(|level| level.seconds).sum()
    }

    /// The totals of each level so far, target first.
    pub fn levels(&self) -> impl Iterator<Item = &SimulatedLevel> {
        self.totals.iter().map(|totals| &totals.done)
    }

    /// Sets whether the following rounds count. Default: true.
    pub(super) fn record(&mut self, recording: bool) {
        self.recording = recording;
    }

    pub(super) fn totals(&self) -> &[LevelTotals] {
        &self.totals
    }

    /// Simulates one round of the target. Returns the number of tokens it makes: 0 after the end of
    /// the text.
    ///
    /// # Errors
    /// None for a checked chain: only a defect of this function could count an impossible round.
    pub fn round(&mut self, choices: &mut dyn ChoiceSource) -> Result<usize, TheoryError> {
        if self.at == self.text.tokens {
            return Ok(0);
        }
        let (position, room) = (TextPosition { at: self.at, on: true }, self.text.limit - self.at);
        let mut made = Vec::new();
        if self.chain.verifiers.is_empty() {
            made = self.draft(position, 1, choices);
        } else {
            self.verify(0, position, room, choices, &mut made)?;
        }
        self.at += made.len();
        Ok(made.len())
    }

    /// True if the text is over after `tokens` of level `level`.
    fn ended(&self, position: TextPosition, level: usize, tokens: &[usize]) -> bool {
        let TextPosition { at, on } = position.after(level, tokens);
        self.text.ended && on && at == self.text.tokens
    }

    /// The number of the first `levels` levels that output the text's token at position `at`, each
    /// given that the levels above do.
    fn agreement(&self, at: usize, levels: usize, choices: &mut dyn ChoiceSource) -> usize {
        let mut agreeing = 1;
        while agreeing < levels && choices.accept(self.text.rates[agreeing - 1][at]) {
            agreeing += 1;
        }
        agreeing
    }

    /// Simulates one round of a verifier. Appends the depth of agreement of each token that it
    /// hands on to `out`: the number of levels that agree with the text there, and 0 after a token
    /// that does not.
    fn verify(
        &mut self,
        level: usize,
        position: TextPosition,
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<usize>,
    ) -> Result<(), TheoryError> {
        let verifier = &self.chain.verifiers[level];
        let lowest = level + 1 == self.chain.verifiers.len();
        // A bonus token must fit, as in `Stage`.
        let room = room - usize::from(verifier.bonus);
        let wanted = if lowest { draft_length(self.chain) } else { verifier.length }.min(room);
        let mut buffer = self.fill(level, position, wanted, room, choices)?;
        let keeps = verifier.surplus == Surplus::Keep && !lowest;
        let count = if keeps { buffer.len().min(wanted) } else { buffer.len() };
        let surplus = buffer.split_off(count);
        let ended = self.ended(position, level + 1, &buffer);
        // After an empty proposal the token is this level's own.
        let own = (verifier.bonus || buffer.is_empty()) && !ended;
        self.pass(level, position, &buffer, own);
        let before = out.len();
        let accepted = self.verify_buffer(level, position, &buffer, choices, out);
        if accepted == buffer.len() {
            if own {
                let next = position.after(level, &out[before..]);
                out.push(match next.on {
                    true => self.agreement(next.at, level + 1, choices),
                    false => 0,
                });
            } else if !ended {
                self.kept[level] = surplus;
            }
        }
        self.count(level, out.len() - before);
        if self.recording {
            self.totals[level].done.runs.record(buffer.len(), buffer.len(), accepted)?;
        }
        Ok(())
    }

    /// The tokens that `level` verifies: a draft, or rounds of the level below.
    fn fill(
        &mut self,
        level: usize,
        position: TextPosition,
        wanted: usize,
        room: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<Vec<usize>, TheoryError> {
        // Tokens kept by the levels below do not outlive a round of this level.
        self.kept[level + 1..].iter_mut().for_each(Vec::clear);
        let mut buffer = std::mem::take(&mut self.kept[level]);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        if level + 1 == self.chain.verifiers.len() {
            return Ok(self.draft(position, wanted, choices));
        }
        while buffer.len() < wanted && !self.ended(position, level + 1, &buffer) {
            let next = position.after(level + 1, &buffer);
            self.verify(level + 1, next, room - buffer.len(), choices, &mut buffer)?;
        }
        Ok(buffer)
    }

    /// Verifies `buffer` at `level` and appends its output up to the first rejected token. Returns
    /// the number of accepted tokens.
    fn verify_buffer(
        &mut self,
        level: usize,
        position: TextPosition,
        buffer: &[usize],
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<usize>,
    ) -> usize {
        let (mut on, mut run) = (position.on, 0);
        for (index, &agrees) in buffer.iter().enumerate() {
            let accepted = match on && agrees > level {
                true => agrees > level + 1,
                // The level itself is off the text here.
                false => {
                    run += 1;
                    extends_run(&self.survival[level], run - 1, choices)
                }
            };
            let made = match (on, accepted) {
                (false, _) => 0,
                (true, true) => agrees,
                (true, false) => agrees.min(level + 1),
            };
            out.push(made);
            on &= made > level;
            if !accepted {
                self.rewind(level, position.at + index);
                return index;
            }
        }
        buffer.len()
    }

    /// The proposer's draft.
    fn draft(
        &mut self,
        position: TextPosition,
        wanted: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let tokens = match (&self.chain.proposer, &self.text.drafts) {
            (Proposer::Lookup { .. } | Proposer::Tree { .. }, Some(drafts)) if position.on => {
                let count = drafts.proposed[position.at].min(wanted);
                let agreeing = drafts.agreeing[position.at].min(count);
                self.draft_known_agreement(position, count, agreeing, choices)
            }
            _ => self.draft_token_by_token(position, wanted, choices),
        };
        self.pay_draft(position, tokens.len());
        tokens
    }

    /// A draft whose agreement with the text is known.
    fn draft_known_agreement(
        &self,
        mut position: TextPosition,
        count: usize,
        agreeing: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let verifiers = self.chain.verifiers.len();
        let mut tokens = Vec::with_capacity(count);
        while tokens.len() < count && !self.ended(position, verifiers, &[]) {
            let mut agrees = 0;
            if position.on {
                // A token that all levels above output is accepted if and only if it is proposed.
                agrees = self.agreement(position.at, verifiers, choices);
                agrees += usize::from(agrees == verifiers && tokens.len() < agreeing);
            }
            tokens.push(agrees);
            position = position.after(verifiers, &[agrees]);
        }
        tokens
    }

    /// A draft, token by token.
    fn draft_token_by_token(
        &self,
        mut position: TextPosition,
        wanted: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let verifiers = self.chain.verifiers.len();
        let mut tokens = Vec::with_capacity(wanted);
        while tokens.len() < wanted
            && !self.ended(position, verifiers, &[])
            && extends_run(&self.proposed, tokens.len(), choices)
        {
            let agrees = match position.on {
                true => self.agreement(position.at, verifiers + 1, choices),
                false => 0,
            };
            tokens.push(agrees);
            position = position.after(verifiers, &[agrees]);
        }
        tokens
    }

    /// Marks the tokens from position `at` on as unread by `level` and the levels below.
    fn rewind(&mut self, level: usize, at: usize) {
        let known = self.text.prompt + at;
        self.read[level..].iter_mut().for_each(|read| *read = (*read).min(known));
    }

    /// The number of tokens that `level` has to read up to `end`, and of those it has read.
    fn unread(&mut self, level: usize, position: TextPosition, end: usize) -> (usize, usize) {
        let before = (self.text.prompt + position.at).saturating_sub(1);
        let read = self.read[level].min(before);
        self.read[level] = end.max(read);
        (end.saturating_sub(read).max(1), read)
    }

    /// Adds the pass of a verifier over its buffer.
    fn pass(&mut self, level: usize, position: TextPosition, buffer: &[usize], own: bool) {
        let verifier = &self.chain.verifiers[level];
        let text = self.text.prompt + position.at;
        let end = match buffer.len() {
            0 => text,
            tokens => text + tokens - usize::from(!own),
        };
        let lowest = level + 1 == self.chain.verifiers.len();
        let tree = tree_nodes(&self.chain.proposer).filter(|_| lowest && !buffer.is_empty());
        let extra_nodes = tree.map_or(0, |nodes| nodes.saturating_sub(buffer.len()));
        let (width, context) = self.unread(level, position, end);
        self.pay_pass(level, &verifier.times, width + extra_nodes, context);
        self.pay(level, 0.0, verifier.overhead);
    }

    /// Adds the cost of a draft of `tokens` tokens.
    fn pay_draft(&mut self, position: TextPosition, tokens: usize) {
        let level = self.chain.verifiers.len();
        let alone = self.chain.plain_seconds.filter(|_| level == 0);
        match (&self.chain.proposer, alone) {
            (Proposer::Model { .. }, Some(seconds)) => {
                self.pay(level, seconds, 0.0);
                self.update_totals(level, |totals| totals.done.passes += 1);
            }
            (Proposer::Model { times, overhead, .. }, None) => {
                for index in 0..tokens {
                    let next = TextPosition { at: position.at + index, ..position };
                    let end = self.text.prompt + next.at;
                    let (width, context) = self.unread(level, next, end);
                    self.pay_pass(level, times, width, context);
                }
                self.pay(level, 0.0, tokens as f64 * overhead);
            }
            (Proposer::Lookup { draft_seconds, token_seconds, .. }, _) => {
                self.pay(level, draft_seconds + tokens as f64 * token_seconds, 0.0);
                self.update_totals(level, |totals| totals.done.passes += 1);
            }
            (Proposer::Tree { draft_seconds, .. }, _) => {
                self.pay(level, *draft_seconds, 0.0);
                self.update_totals(level, |totals| totals.done.passes += 1);
            }
        }
        self.count(level, tokens);
    }

    fn update_totals(&mut self, level: usize, change: impl FnOnce(&mut LevelTotals)) {
        if self.recording {
            change(&mut self.totals[level]);
        }
    }

    /// Adds one pass.
    fn pay_pass(&mut self, level: usize, times: &PassTimes, width: usize, context: usize) {
        self.update_totals(level, |totals| {
            totals.done.passes += 1;
            totals.done.seconds += times.seconds(width, context);
            times.spread(width, context, &mut totals.cells);
        });
    }

    /// Adds seconds outside the grid of pass times, and overhead.
    fn pay(&mut self, level: usize, seconds: f64, overhead: f64) {
        self.update_totals(level, |totals| {
            totals.done.seconds += seconds + overhead;
            totals.overhead += overhead;
        });
    }

    /// Counts one round that handed on `tokens` tokens.
    fn count(&mut self, level: usize, tokens: usize) {
        self.update_totals(level, |totals| {
            totals.done.rounds += 1;
            totals.done.handed_on += tokens as u64;
            if totals.emitted.len() <= tokens {
                totals.emitted.resize(tokens + 1, 0);
            }
            totals.emitted[tokens] += 1;
        });
    }
}
