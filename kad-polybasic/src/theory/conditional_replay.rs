//! A chain played along a text that is known: see [`ConditionalReplay`].

use kad_core::ChoiceSource;

use super::chain::{Chain, Proposer};
use super::error::TheoryError;
use super::length_search::tree_nodes;
use super::pass_times::PassTimes;
use super::predictor::draft_length;
use super::simulator::{SimulatedLevel, acceptance_tables, extends_run};
use super::text_trace::{TextTrace, TracedDrafts};
use crate::level::Surplus;

/// Plays a chain along a text `y` that its target wrote, instead of along the texts of chance.
///
/// Let `p_1 … p_n` be the distributions of the levels, the target's first. At a place s whose
/// prefix is `y`'s, level i proposes a token of distribution `p_{i+1}` and verifies it by `min(1,
/// p_i / p_{i+1})`; what comes out has the distribution `p_i`. Of its probability `p_i(y_s)`,
/// `min(p_i, p_{i+1})(y_s)` comes from an accepted proposal, so that, *given* that it puts out
/// `y_s`, the proposal was `y_s` and was accepted with
///
/// `P(accepted | y_s) = min(p_i, p_{i+1})(y_s) / p_i(y_s) = min(1, p_{i+1}(y_s) / p_i(y_s))`,
///
/// and otherwise the proposal was another token and was rejected: the residual has no mass where
/// `p_{i+1} ≥ p_i`, so the text goes on from `y_s` either way. The target puts out `y_s` for
/// certain; going down from it gives for every token *how deep it agrees with the text*, which is
/// all that verification asks. A token that a level makes by itself, corrected or bonus, agrees or
/// not among the levels above it in the same way. What has no distribution of its own but one
/// certain token, such as a lookup, agrees where it proposes `y_s`.
///
/// So the rounds of the target, and everything that lies on the text, follow the exact distribution
/// given `y`: where acceptance is high and where it is low, where the text ends, and what no longer
/// fits. The rest is what [`ChainSimulator`](super::ChainSimulator) does, with these exceptions and limits:
///
/// 1. From the first token on that is off the text nothing is known of acceptances; they are drawn
///    from the pairs' run lengths, which start anew there as with a round: where levels part is a
///    hard place, as those are where rounds begin. No such token outlives the target's round,
///    unless it waits as a surplus.
/// 2. A draft that is off the text does not end with an end token before it is as long as asked
///    for.
/// 3. A pass is as wide as there are tokens that its level has not read (on every level, not only
///    the one below a bonus), after as many as it has. The prompt counts as read but for its last
///    token. A token that a level has read and rejected, and that a higher one puts back, counts as
///    unread.
/// 4. A surplus waits as in [`VerifyingLevel::surplus`](super::VerifyingLevel::surplus).
/// 5. Verification is token by token; block verification accepts more, and the verification by
///    shared uniforms less.
/// 6. A tree that is cut short by the end of the text counts as large as others, and one that
///    begins off the text as deep. Without a bonus, a tree whose path ends before its depth is
///    taken to have rejected something there.
///
/// Acceptances are choices, so [`enumerate`](kad_core::oracle::enumerate) gives exact
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
/// let trace = TextTrace { prompt: 9, limit: 64, tokens: 6, ended: true, distributions, ..TextTrace::default() };
/// let mut player = ConditionalReplay::new(&chain, &trace)?;
/// let choices = &mut SampledChoices::seeded(1);
/// // Three drafted and one bonus token; then a draft that the end of the text cuts short.
/// assert_eq!([player.round(choices)?, player.round(choices)?, player.round(choices)?], [4, 2, 0]);
/// assert_eq!(player.seconds(), 2.0 * 1.0 + 5.0 * 0.125);
/// # Ok::<(), TheoryError>(())
/// ```
pub struct ConditionalReplay<'c> {
    chain: &'c Chain,
    text: TracedText,
    /// Of each verifier: P(N ≥ k) up to its largest buffer, for what is off the text.
    survival: Vec<Vec<f64>>,
    /// P(at least k proposed) up to the length of a draft.
    proposed: Vec<f64>,
    /// Tokens of each level's buffer that wait.
    kept: Vec<Vec<usize>>,
    /// Tokens each level has read, the prompt included.
    read: Vec<usize>,
    /// Tokens of the text so far.
    at: usize,
    recording: bool,
    totals: Vec<LevelTotals>,
}

/// A trace as one chain needs it.
struct TracedText {
    prompt: usize,
    limit: usize,
    tokens: usize,
    ended: bool,
    /// `rates[i][s]`: P(level i + 1 agrees at place s, given that level i does); 0 is the target.
    rates: Vec<Vec<f64>>,
    /// What the proposer drafts, if it has no distribution.
    drafts: Option<TracedDrafts>,
}

/// What one level did.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelTotals {
    pub(super) done: SimulatedLevel,
    /// `emitted[k]`: rounds that handed on k tokens.
    pub(super) emitted: Vec<u64>,
    /// By cell of the grid of its pass times, row by row: how often passes took that long.
    pub(super) cells: Vec<f64>,
    /// Of its seconds, those beside passes.
    pub(super) overhead: f64,
}

/// Where a round begins: behind so many tokens of the text, all of them `y`'s or not.
#[derive(Clone, Copy)]
struct TextPosition {
    at: usize,
    on: bool,
}

impl TextPosition {
    /// Behind `tokens` that level `level` puts out.
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
    /// `chain` at the beginning of the text of `trace`.
    ///
    /// # Errors
    /// Those of [`Chain::check`] and [`TextTrace::check`].
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

    /// Goes back to the beginning of the text; what was counted stays.
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

    /// What each level has done so far, target first.
    pub fn levels(&self) -> impl Iterator<Item = &SimulatedLevel> {
        self.totals.iter().map(|tally| &tally.done)
    }

    /// Whether rounds count from here on. They do at first.
    pub(super) fn record(&mut self, recording: bool) {
        self.recording = recording;
    }

    pub(super) fn totals(&self) -> &[LevelTotals] {
        &self.totals
    }

    /// One round of the target. Returns how many tokens it makes: none behind the end of the text.
    ///
    /// # Errors
    /// None for a checked chain: rounds that cannot be counted would be a mistake of this function.
    pub fn round(&mut self, choices: &mut dyn ChoiceSource) -> Result<usize, TheoryError> {
        if self.at == self.text.tokens {
            return Ok(0);
        }
        let (place, room) = (TextPosition { at: self.at, on: true }, self.text.limit - self.at);
        let mut made = Vec::new();
        if self.chain.verifiers.is_empty() {
            made = self.draft(place, 1, choices);
        } else {
            self.verify(0, place, room, choices, &mut made)?;
        }
        self.at += made.len();
        Ok(made.len())
    }

    /// Whether a text that goes on with `tokens` of level `level` is over.
    fn ended(&self, place: TextPosition, level: usize, tokens: &[usize]) -> bool {
        let TextPosition { at, on } = place.after(level, tokens);
        self.text.ended && on && at == self.text.tokens
    }

    /// How many of the first `levels` levels put out the text's token at place `at`, each if it
    /// puts out what the ones above do.
    fn agreement(&self, at: usize, levels: usize, choices: &mut dyn ChoiceSource) -> usize {
        let mut agreeing = 1;
        while agreeing < levels && choices.accept(self.text.rates[agreeing - 1][at]) {
            agreeing += 1;
        }
        agreeing
    }

    /// One round of a verifier. Appends to `out`, for every token that it hands on, how many levels
    /// agree with the text there: 0 behind a token that does not.
    fn verify(
        &mut self,
        level: usize,
        place: TextPosition,
        room: usize,
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<usize>,
    ) -> Result<(), TheoryError> {
        let verifier = &self.chain.verifiers[level];
        let lowest = level + 1 == self.chain.verifiers.len();
        // As the engine: a bonus token must fit.
        let room = room - usize::from(verifier.bonus);
        let wanted = if lowest { draft_length(self.chain) } else { verifier.length }.min(room);
        let mut buffer = self.fill(level, place, wanted, room, choices)?;
        let keeps = verifier.surplus == Surplus::Keep && !lowest;
        let count = if keeps { buffer.len().min(wanted) } else { buffer.len() };
        let surplus = buffer.split_off(count);
        let ended = self.ended(place, level + 1, &buffer);
        // Where nothing is proposed the token is this level's own.
        let own = (verifier.bonus || buffer.is_empty()) && !ended;
        self.pass(level, place, &buffer, own);
        let before = out.len();
        let accepted = self.judge(level, place, &buffer, choices, out);
        if accepted == buffer.len() {
            if own {
                let next = place.after(level, &out[before..]);
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
        place: TextPosition,
        wanted: usize,
        room: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<Vec<usize>, TheoryError> {
        // What the levels below have kept does not outlive a round of this one.
        self.kept[level + 1..].iter_mut().for_each(Vec::clear);
        let mut buffer = std::mem::take(&mut self.kept[level]);
        if wanted == 0 {
            return Ok(Vec::new());
        }
        if level + 1 == self.chain.verifiers.len() {
            return Ok(self.draft(place, wanted, choices));
        }
        while buffer.len() < wanted && !self.ended(place, level + 1, &buffer) {
            let next = place.after(level + 1, &buffer);
            self.verify(level + 1, next, room - buffer.len(), choices, &mut buffer)?;
        }
        Ok(buffer)
    }

    /// Appends what `level` makes of `buffer` up to the first token that it rejects. Returns how
    /// many it accepts.
    fn judge(
        &mut self,
        level: usize,
        place: TextPosition,
        buffer: &[usize],
        choices: &mut dyn ChoiceSource,
        out: &mut Vec<usize>,
    ) -> usize {
        let (mut on, mut run) = (place.on, 0);
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
                self.rewind(level, place.at + index);
                return index;
            }
        }
        buffer.len()
    }

    /// The proposer's draft.
    fn draft(
        &mut self,
        place: TextPosition,
        wanted: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let tokens = match (&self.chain.proposer, &self.text.drafts) {
            (Proposer::Lookup { .. } | Proposer::Tree { .. }, Some(drafts)) if place.on => {
                let count = drafts.proposed[place.at].min(wanted);
                let agreeing = drafts.agreeing[place.at].min(count);
                self.draft_known_agreement(place, count, agreeing, choices)
            }
            _ => self.draft_token_by_token(place, wanted, choices),
        };
        self.pay_draft(place, tokens.len());
        tokens
    }

    /// A draft of which it is known how far it agrees with the text.
    fn draft_known_agreement(
        &self,
        mut place: TextPosition,
        count: usize,
        agreeing: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let verifiers = self.chain.verifiers.len();
        let mut tokens = Vec::with_capacity(count);
        while tokens.len() < count && !self.ended(place, verifiers, &[]) {
            let mut agrees = 0;
            if place.on {
                // A token that all levels above put out is accepted if and only if it is proposed.
                agrees = self.agreement(place.at, verifiers, choices);
                agrees += usize::from(agrees == verifiers && tokens.len() < agreeing);
            }
            tokens.push(agrees);
            place = place.after(verifiers, &[agrees]);
        }
        tokens
    }

    /// A draft token by token.
    fn draft_token_by_token(
        &self,
        mut place: TextPosition,
        wanted: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Vec<usize> {
        let verifiers = self.chain.verifiers.len();
        let mut tokens = Vec::with_capacity(wanted);
        while tokens.len() < wanted
            && !self.ended(place, verifiers, &[])
            && extends_run(&self.proposed, tokens.len(), choices)
        {
            let agrees = match place.on {
                true => self.agreement(place.at, verifiers + 1, choices),
                false => 0,
            };
            tokens.push(agrees);
            place = place.after(verifiers, &[agrees]);
        }
        tokens
    }

    /// The tokens from place `at` on are no longer what `level` and those below it have read.
    fn rewind(&mut self, level: usize, at: usize) {
        let known = self.text.prompt + at;
        self.read[level..].iter_mut().for_each(|read| *read = (*read).min(known));
    }

    /// The tokens that `level` has to read up to `end`, and those it has read.
    fn unread(&mut self, level: usize, place: TextPosition, end: usize) -> (usize, usize) {
        let before = (self.text.prompt + place.at).saturating_sub(1);
        let read = self.read[level].min(before);
        self.read[level] = end.max(read);
        (end.saturating_sub(read).max(1), read)
    }

    /// The pass of a verifier over its buffer.
    fn pass(&mut self, level: usize, place: TextPosition, buffer: &[usize], own: bool) {
        let verifier = &self.chain.verifiers[level];
        let text = self.text.prompt + place.at;
        let end = match buffer.len() {
            0 => text,
            tokens => text + tokens - usize::from(!own),
        };
        let lowest = level + 1 == self.chain.verifiers.len();
        let tree = tree_nodes(&self.chain.proposer).filter(|_| lowest && !buffer.is_empty());
        let beside = tree.map_or(0, |nodes| nodes.saturating_sub(buffer.len()));
        let (width, context) = self.unread(level, place, end);
        self.pay_pass(level, &verifier.times, width + beside, context);
        self.pay(level, 0.0, verifier.overhead);
    }

    /// What a draft of so many tokens takes.
    fn pay_draft(&mut self, place: TextPosition, tokens: usize) {
        let level = self.chain.verifiers.len();
        let alone = self.chain.plain_seconds.filter(|_| level == 0);
        match (&self.chain.proposer, alone) {
            (Proposer::Model { .. }, Some(seconds)) => {
                self.pay(level, seconds, 0.0);
                self.tally(level, |tally| tally.done.passes += 1);
            }
            (Proposer::Model { times, overhead, .. }, None) => {
                for index in 0..tokens {
                    let next = TextPosition { at: place.at + index, ..place };
                    let end = self.text.prompt + next.at;
                    let (width, context) = self.unread(level, next, end);
                    self.pay_pass(level, times, width, context);
                }
                self.pay(level, 0.0, tokens as f64 * overhead);
            }
            (Proposer::Lookup { draft_seconds, token_seconds, .. }, _) => {
                self.pay(level, draft_seconds + tokens as f64 * token_seconds, 0.0);
                self.tally(level, |tally| tally.done.passes += 1);
            }
            (Proposer::Tree { draft_seconds, .. }, _) => {
                self.pay(level, *draft_seconds, 0.0);
                self.tally(level, |tally| tally.done.passes += 1);
            }
        }
        self.count(level, tokens);
    }

    fn tally(&mut self, level: usize, change: impl FnOnce(&mut LevelTotals)) {
        if self.recording {
            change(&mut self.totals[level]);
        }
    }

    /// One pass.
    fn pay_pass(&mut self, level: usize, times: &PassTimes, width: usize, context: usize) {
        self.tally(level, |tally| {
            tally.done.passes += 1;
            tally.done.seconds += times.seconds(width, context);
            times.spread(width, context, &mut tally.cells);
        });
    }

    /// Seconds that are of no pass time, and seconds beside passes.
    fn pay(&mut self, level: usize, seconds: f64, overhead: f64) {
        self.tally(level, |tally| {
            tally.done.seconds += seconds + overhead;
            tally.overhead += overhead;
        });
    }

    /// One round that handed on so many tokens.
    fn count(&mut self, level: usize, tokens: usize) {
        self.tally(level, |tally| {
            tally.done.rounds += 1;
            tally.done.handed_on += tokens as u64;
            if tally.emitted.len() <= tokens {
                tally.emitted.resize(tokens + 1, 0);
            }
            tally.emitted[tokens] += 1;
        });
    }
}
