//! Simulation of a chain, token by token: the check of the predictor.

use kad_core::{ChoiceSource, SampledChoices};

use super::chain::{Chain, Proposer};
use super::error::TheoryError;
use super::predictor::{draft_length, largest_buffers};
use super::run_lengths::RunLengths;
use crate::level::Surplus;

/// The result of [`Chain::simulate`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Simulation {
    /// Tokens of text.
    pub tokens: u64,
    /// Seconds in total.
    pub seconds: f64,
    /// Seconds per token.
    pub seconds_per_token: f64,
    /// Its standard error by the delta method for a ratio of means, if the rounds of the target are
    /// independent. They are unless the target keeps a surplus.
    pub standard_error: f64,
    /// One entry per level, target first.
    pub levels: Vec<SimulatedLevel>,
}

/// The totals of one level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SimulatedLevel {
    /// Rounds; for the proposer, drafts.
    pub rounds: u64,
    /// Passes, counted as in [`LevelPrediction`](super::LevelPrediction).
    pub passes: u64,
    /// Tokens handed on.
    pub handed_on: u64,
    /// Seconds, overhead included.
    pub seconds: f64,
    /// Proposed and accepted tokens of its buffers. Empty for the proposer.
    pub runs: RunLengths,
}

impl Chain {
    /// Simulates `rounds` ≥ 1 rounds of the target after `context` tokens with random numbers of
    /// `seed`. The rules are those of [`Chain::predict`], by another method: see
    /// [`ChainSimulator`].
    ///
    /// ```
    /// use kad_polybasic::theory::{Chain, PassTimes, Proposer};
    /// let times = PassTimes::constant(0.5)?;
    /// let proposer = Proposer::Model { name: "large".into(), times, overhead: 0.0 };
    /// let chain = Chain { verifiers: vec![], proposer, plain_seconds: None };
    /// let simulated = chain.simulate(0, 10, 1)?;
    /// assert_eq!((simulated.tokens, simulated.seconds_per_token), (10, 0.5));
    /// # Ok::<(), kad_polybasic::theory::TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// Errors of [`Chain::check`], and if `rounds` is 0.
    pub fn simulate(
        &self,
        context: usize,
        rounds: u64,
        seed: u64,
    ) -> Result<Simulation, TheoryError> {
        if rounds == 0 {
            return Err(TheoryError::Zero { what: "number of rounds" });
        }
        let mut player = ChainSimulator::new(self, context)?;
        let mut choices = SampledChoices::seeded(seed);
        let mut sums = RoundSums::default();
        for _ in 0..rounds {
            let before = player.seconds();
            let tokens = player.round(&mut choices)?;
            sums.add(tokens as f64, player.seconds() - before);
        }
        let (seconds_per_token, standard_error) = sums.ratio(rounds as f64);
        let (tokens, seconds) = (sums.tokens as u64, player.seconds());
        Ok(Simulation { tokens, seconds, seconds_per_token, standard_error, levels: player.done })
    }
}

/// Sums over rounds for the mean and variance of (tokens, seconds).
#[derive(Default)]
struct RoundSums {
    tokens: f64,
    seconds: f64,
    tokens_squared: f64,
    seconds_squared: f64,
    product: f64,
}

impl RoundSums {
    fn add(&mut self, tokens: f64, seconds: f64) {
        self.tokens += tokens;
        self.seconds += seconds;
        self.tokens_squared += tokens * tokens;
        self.seconds_squared += seconds * seconds;
        self.product += tokens * seconds;
    }

    /// `Σ s / Σ t` and its standard error `√(Σ (s − r t)²) / Σ t`.
    fn ratio(&self, rounds: f64) -> (f64, f64) {
        let r = self.seconds / self.tokens;
        let squares = self.seconds_squared - 2.0 * r * self.product + r * r * self.tokens_squared;
        let free = rounds / (rounds - 1.0).max(1.0);
        (r, (squares.max(0.0) * free).sqrt() / self.tokens)
    }
}

/// Simulates a chain token by token. Acceptance and draft lengths are random choices with the
/// hazards as probabilities; passes cost their measured times. With the choices of
/// [`enumerate`](kad_core::oracle::enumerate) it gives the exact distribution of a few rounds.
///
/// ```
/// use kad_core::SampledChoices;
/// use kad_polybasic::theory::{Chain, PassTimes, ChainSimulator, Proposer};
/// let times = PassTimes::constant(0.02)?;
/// let proposer = Proposer::Model { name: "large".into(), times, overhead: 0.0 };
/// let chain = Chain { verifiers: vec![], proposer, plain_seconds: None };
/// let mut simulator = ChainSimulator::new(&chain, 0)?;
/// // Plain decoding makes one token a round.
/// assert_eq!(simulator.round(&mut SampledChoices::seeded(1))?, 1);
/// assert_eq!(simulator.seconds(), 0.02);
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
pub struct ChainSimulator<'c> {
    chain: &'c Chain,
    context: usize,
    /// Per verifier: P(N ≥ k) up to its largest buffer.
    survival: Vec<Vec<f64>>,
    /// P(at least k proposed) up to the length of a draft.
    proposed: Vec<f64>,
    done: Vec<SimulatedLevel>,
    /// Tokens that each level has kept from its last round.
    kept: Vec<usize>,
    /// True if the next pass of each level reads one more token.
    behind: Vec<bool>,
}

impl<'c> ChainSimulator<'c> {
    /// Starts `chain` after `context` tokens, with no tokens kept and none to catch up with.
    ///
    /// # Errors
    /// Errors of [`Chain::check`].
    pub fn new(chain: &'c Chain, context: usize) -> Result<Self, TheoryError> {
        chain.check()?;
        let (levels, (survival, proposed)) = (chain.levels(), acceptance_tables(chain));
        Ok(Self {
            chain,
            context,
            survival,
            proposed,
            done: vec![SimulatedLevel::default(); levels],
            kept: vec![0; levels],
            behind: vec![false; levels],
        })
    }

    /// Seconds so far.
    pub fn seconds(&self) -> f64 {
        self.done.iter().map(|level| level.seconds).sum()
    }

    /// The totals of each level so far, target first.
    pub fn levels(&self) -> &[SimulatedLevel] {
        &self.done
    }

    /// Simulates one round of the target. Returns the number of tokens it makes.
    ///
    /// # Errors
    /// None for a checked chain: only a defect of this function could count an impossible round.
    pub fn round(&mut self, choices: &mut dyn ChoiceSource) -> Result<usize, TheoryError> {
        self.round_of(0, choices)
    }

    /// Simulates one round of a level (0 is the target). Returns the number of tokens it hands on.
    fn round_of(
        &mut self,
        level: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<usize, TheoryError> {
        let emitted = match level == self.chain.verifiers.len() {
            true => self.draft(choices),
            false => self.verify(level, choices)?,
        };
        let done = &mut self.done[level];
        done.rounds += 1;
        done.handed_on += emitted as u64;
        Ok(emitted)
    }

    /// Simulates a draft of the proposer.
    fn draft(&mut self, choices: &mut dyn ChoiceSource) -> usize {
        let level = self.chain.verifiers.len();
        let length = draft_length(self.chain);
        let mut tokens = 0;
        while tokens < length && extends_run(&self.proposed, tokens, choices) {
            tokens += 1;
        }
        let behind = std::mem::take(&mut self.behind[level]);
        let alone = self.chain.plain_seconds.filter(|_| level == 0);
        let (passes, seconds) = match (&self.chain.proposer, alone) {
            (Proposer::Model { .. }, Some(seconds)) => (tokens, seconds),
            (Proposer::Model { times, overhead, .. }, None) => {
                let pass = |width| times.seconds(width, self.context);
                let first = if behind && tokens > 0 { (pass(2) - pass(1)).max(0.0) } else { 0.0 };
                (tokens, tokens as f64 * (pass(1) + overhead) + first)
            }
            (Proposer::Lookup { draft_seconds, token_seconds, .. }, _) => {
                (1, draft_seconds + tokens as f64 * token_seconds)
            }
            (Proposer::Tree { draft_seconds, .. }, _) => (1, *draft_seconds),
        };
        self.done[level].passes += passes as u64;
        self.done[level].seconds += seconds;
        tokens
    }

    fn verify(
        &mut self,
        level: usize,
        choices: &mut dyn ChoiceSource,
    ) -> Result<usize, TheoryError> {
        let verifier = &self.chain.verifiers[level];
        let lowest = level + 1 == self.chain.verifiers.len();
        // Tokens kept by the levels below do not outlive a round of this level.
        self.kept[level + 1..].fill(0);
        let mut buffer = std::mem::take(&mut self.kept[level]);
        if lowest {
            buffer = self.round_of(level + 1, choices)?;
        } else {
            while buffer < verifier.length {
                buffer += self.round_of(level + 1, choices)?;
            }
        }
        let keeps = verifier.surplus == Surplus::Keep && !lowest;
        let tokens = if keeps { buffer.min(verifier.length) } else { buffer };
        self.pass(level, tokens, lowest);
        let survival = &self.survival[level];
        let mut accepted = 0;
        while accepted < tokens && extends_run(survival, accepted, choices) {
            accepted += 1;
        }
        self.done[level].runs.record(tokens, tokens, accepted)?;
        let whole = accepted == tokens;
        if whole && tokens > 0 && verifier.bonus {
            self.behind[level + 1] = true;
        }
        if whole && tokens > 0 && !verifier.bonus {
            self.kept[level] = buffer - tokens;
            return Ok(tokens);
        }
        Ok(accepted + 1)
    }

    /// Adds the pass of a level over this many tokens.
    fn pass(&mut self, level: usize, tokens: usize, lowest: bool) {
        let verifier = &self.chain.verifiers[level];
        let drafted = match &self.chain.proposer {
            Proposer::Tree { nodes, .. } if lowest && tokens > 0 => *nodes,
            _ => tokens,
        };
        let width = (drafted + usize::from(verifier.bonus)).max(1);
        let seconds = |width| verifier.times.seconds(width, self.context);
        let mut sum = seconds(width) + verifier.overhead;
        if std::mem::take(&mut self.behind[level]) {
            sum += (seconds(width + 1) - seconds(width)).max(0.0);
        }
        self.done[level].passes += 1;
        self.done[level].seconds += sum;
    }
}

/// Draws whether a run of `k` successes continues.
pub(super) fn extends_run(survival: &[f64], k: usize, choices: &mut dyn ChoiceSource) -> bool {
    survival[k] > 0.0 && choices.accept(survival[k + 1] / survival[k])
}

/// P(N ≥ k) per verifier up to its largest buffer, and P(at least k proposed) up to the length of a
/// draft.
pub(super) fn acceptance_tables(chain: &Chain) -> (Vec<Vec<f64>>, Vec<f64>) {
    let sizes = chain.verifiers.iter().zip(largest_buffers(chain));
    let survival = sizes.map(|(verifier, largest)| verifier.acceptance.survival(largest)).collect();
    let longest = draft_length(chain);
    let proposed = match chain.verifiers.last() {
        None => vec![1.0; longest + 1],
        Some(lowest) => lowest.acceptance.proposed(longest),
    };
    (survival, proposed)
}
