//! Accepted run lengths: counted instead of assumed independent.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, checked_rate};

/// Positions that were never tried are estimated from the deepest positions that together have this
/// many trials. About 9 points of standard error at a rate of one half.
const TAIL_TRIALS: u64 = 30;

/// Counted rounds of one ordered pair of models (verifier, drafter), by proposed tokens and by
/// accepted tokens before the first rejection.
///
/// Consecutive acceptances are not independent: easy text stays easy for a while. The estimate
/// assumes only that each round starts a new run and that the length of a round does not depend on
/// its acceptances. The *hazards* are
///
/// `h_j = #(accepted ≥ j) / #(accepted ≥ j − 1 and proposed ≥ j)`
///
/// and `P(N ≥ k) = Π_{j ≤ k} h_j` (Kaplan and Meier 1958). A fully accepted round is censored: it
/// counts up to its end and says nothing about later positions. For independent positions with
/// rates `a_j` the product is `Π a_j`.
///
/// ```
/// use kad_polybasic::theory::RunLengths;
/// let mut runs = RunLengths::default();
/// for (proposed, accepted) in [(4, 4), (4, 1), (2, 2), (4, 0)] {
///     runs.record(4, proposed, accepted)?;
/// }
/// assert_eq!(runs.survival(1), 3.0 / 4.0);
/// assert_eq!(runs.survival(2), 3.0 / 4.0 * 2.0 / 3.0);
/// // The round of two ended there of its own accord.
/// assert_eq!(runs.proposed(3), 3.0 / 4.0);
/// # Ok::<(), kad_polybasic::theory::TheoryError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RoundCounts", into = "RoundCounts")]
pub struct RunLengths {
    table: RoundCounts,
}

/// The stored form of [`RunLengths`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoundCounts {
    /// `counts[proposed][accepted]`, rows as long as needed.
    counts: Vec<Vec<u64>>,
    /// `stopped[proposed]`: rounds in which the drafter stopped although more tokens were
    /// requested.
    #[serde(default)]
    stopped: Vec<u64>,
}

impl TryFrom<RoundCounts> for RunLengths {
    type Error = TheoryError;

    fn try_from(table: RoundCounts) -> Result<Self, TheoryError> {
        for (proposed, row) in table.counts.iter().enumerate() {
            if row.len() > proposed + 1 {
                let problem = "more accepted than proposed tokens";
                return Err(TheoryError::ImpossibleRunTable { proposed, problem });
            }
        }
        let rounds = |m: usize| table.counts.get(m).map_or(0, |row| row.iter().sum());
        match table.stopped.iter().enumerate().find(|&(m, &stopped)| stopped > rounds(m)) {
            None => Ok(Self { table }),
            Some((proposed, _)) => {
                let problem = "more stopped rounds than rounds";
                Err(TheoryError::ImpossibleRunTable { proposed, problem })
            }
        }
    }
}

impl From<RunLengths> for RoundCounts {
    fn from(runs: RunLengths) -> Self {
        runs.table
    }
}

/// Adds `count` to entry `at`, which is created if needed.
fn add(counts: &mut Vec<u64>, at: usize, count: u64) {
    if counts.len() <= at {
        counts.resize(at + 1, 0);
    }
    counts[at] += count;
}

impl RunLengths {
    /// Counts a round in which `requested` tokens were requested, `proposed` tokens drafted, and
    /// the first `accepted` of them accepted.
    ///
    /// For a buffer verified higher up the chain, and for a draft cut short by an end token or the
    /// end of the text, `requested` = `proposed`. For a tree both are its depth.
    ///
    /// # Errors
    /// If more was accepted than proposed, or more proposed than requested.
    pub fn record(
        &mut self,
        requested: usize,
        proposed: usize,
        accepted: usize,
    ) -> Result<(), TheoryError> {
        if accepted > proposed || proposed > requested {
            return Err(TheoryError::ImpossibleRound { requested, proposed, accepted });
        }
        let RoundCounts { counts, stopped } = &mut self.table;
        if counts.len() <= proposed {
            counts.resize(proposed + 1, Vec::new());
        }
        add(&mut counts[proposed], accepted, 1);
        if proposed < requested {
            add(stopped, proposed, 1);
        }
        Ok(())
    }

    /// Adds the rounds of `other`, which must be of the same pair.
    pub fn merge(&mut self, other: &Self) {
        let RoundCounts { counts, stopped } = &mut self.table;
        if counts.len() < other.table.counts.len() {
            counts.resize(other.table.counts.len(), Vec::new());
        }
        for (row, others) in counts.iter_mut().zip(&other.table.counts) {
            others.iter().enumerate().for_each(|(accepted, &count)| add(row, accepted, count));
        }
        for (proposed, &count) in other.table.stopped.iter().enumerate() {
            add(stopped, proposed, count);
        }
    }

    /// Adds the rounds of `other`, which must be of the same pair, `times` times.
    pub fn merge_times(&mut self, other: &Self, times: u64) {
        let mut weighed = other.clone();
        weighed.table.counts.iter_mut().flatten().for_each(|count| *count *= times);
        weighed.table.stopped.iter_mut().for_each(|count| *count *= times);
        self.merge(&weighed);
    }

    /// `counts[proposed][accepted]`; rows may be shorter than `proposed + 1`.
    pub fn counts(&self) -> &[Vec<u64>] {
        &self.table.counts
    }

    /// The number of counted rounds.
    pub fn rounds(&self) -> u64 {
        self.table.counts.iter().flatten().sum()
    }

    /// Mean accepted tokens per round, as counted (the acceptance length); `None` without rounds.
    pub fn mean_accepted(&self) -> Option<f64> {
        let rows = self.table.counts.iter();
        let sum: u64 = rows.flat_map(|row| (0..).zip(row).map(|(k, count)| k * count)).sum();
        let rounds = self.rounds();
        (rounds > 0).then(|| sum as f64 / rounds as f64)
    }

    /// Accepted tokens over accepted and rejected tokens, as counted; tokens after a rejection do
    /// not count. `None` if nothing was verified.
    pub fn rate(&self) -> Option<f64> {
        let (passed, failed) = self.acceptances().sum();
        (passed + failed > 0).then(|| passed as f64 / (passed + failed) as f64)
    }

    /// `P(N ≥ k)`: the probability that at least the first `k` tokens are accepted, if that many
    /// are proposed. Positions never verified take the rate of the deepest verified positions with
    /// at least 30 trials together. Without any trial nothing is accepted.
    pub fn survival(&self, k: usize) -> f64 {
        self.acceptances().survival(k)[k]
    }

    /// The probability that the drafter proposes at least `k` tokens if that many are requested,
    /// from the hazards of stopping. Depths never reached take the rate of the deepest ones
    /// reached. A drafter never seen to stop does not stop.
    pub fn proposed(&self, k: usize) -> f64 {
        self.proposals().survival(k)[k]
    }

    /// The expected rate of a position without trials: the rate over all positions, with half a
    /// success and half a failure added so that it is never 0 or 1.
    pub(super) fn prior(&self) -> f64 {
        let (passed, failed) = self.acceptances().sum();
        (passed as f64 + 0.5) / (passed + failed + 1) as f64
    }

    /// Trials of acceptance at each position.
    pub(super) fn acceptances(&self) -> Hazards {
        let mut hazards = Hazards::new(self.table.counts.len().saturating_sub(1), 0.0);
        for (proposed, row) in self.table.counts.iter().enumerate() {
            for (accepted, &count) in row.iter().enumerate() {
                hazards.passed[..accepted].iter_mut().for_each(|passed| *passed += count);
                if accepted < proposed {
                    hazards.failed[accepted] += count;
                }
            }
        }
        hazards
    }

    /// Trials of proposing one more token at each position.
    pub(super) fn proposals(&self) -> Hazards {
        let rows = &self.table.counts;
        let stopped = &self.table.stopped;
        let mut hazards = Hazards::new(rows.len().saturating_sub(1).max(stopped.len()), 1.0);
        for (proposed, row) in rows.iter().enumerate() {
            let rounds: u64 = row.iter().sum();
            hazards.passed[..proposed].iter_mut().for_each(|passed| *passed += rounds);
        }
        hazards.failed[..stopped.len()].copy_from_slice(stopped);
        hazards
    }
}

/// Successes and failures at positions 1, 2, …, each tried only after a success at the position
/// before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hazards {
    pub(super) passed: Vec<u64>,
    pub(super) failed: Vec<u64>,
    /// The rate if nothing was ever tried.
    unknown: f64,
}

impl Hazards {
    fn new(positions: usize, unknown: f64) -> Self {
        Self { passed: vec![0; positions], failed: vec![0; positions], unknown }
    }

    /// Successes and failures at all positions.
    fn sum(&self) -> (u64, u64) {
        (self.passed.iter().sum(), self.failed.iter().sum())
    }

    /// `P(at least k)` for `k` = 0, …, `most`, by the observed rates.
    fn survival(&self, most: usize) -> Vec<f64> {
        self.survival_with(most, |passed, failed| passed as f64 / (passed + failed) as f64)
    }

    /// The same with `rate(passed, failed)` for the probability of a position tried at least once.
    /// It is called once for each such position up to `most`, and once for all others.
    pub(super) fn survival_with(
        &self,
        most: usize,
        mut rate: impl FnMut(u64, u64) -> f64,
    ) -> Vec<f64> {
        let mut survival = vec![1.0];
        let mut beyond = None;
        for position in 0..most {
            let tried = |counts: &[u64]| counts.get(position).copied().unwrap_or(0);
            let hazard = match (tried(&self.passed), tried(&self.failed)) {
                (0, 0) => *beyond.get_or_insert_with(|| match self.tail() {
                    (0, 0) => self.unknown,
                    (passed, failed) => rate(passed, failed),
                }),
                (passed, failed) => rate(passed, failed),
            };
            survival.push(survival[position] * hazard);
        }
        survival
    }

    /// Successes and failures at the deepest positions with [`TAIL_TRIALS`] trials together, or at
    /// all positions.
    fn tail(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        for (passed, failed) in self.passed.iter().zip(&self.failed).rev() {
            sum = (sum.0 + passed, sum.1 + failed);
            if sum.0 + sum.1 >= TAIL_TRIALS {
                break;
            }
        }
        sum
    }
}

/// Acceptance of the tokens of the level below.
///
/// ```
/// use kad_polybasic::theory::Acceptance;
/// assert_eq!(Acceptance::Rate(0.5).survival(3), [1.0, 0.5, 0.25, 0.125]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// Every token with this probability ∈ [0, 1], independently: the papers' assumption,
    /// `a = Σ min(p, q)` on average. Proposals are as long as requested.
    Rate(f64),
    /// As counted.
    Runs(RunLengths),
}

impl From<RunLengths> for Acceptance {
    fn from(runs: RunLengths) -> Self {
        Self::Runs(runs)
    }
}

impl Acceptance {
    /// `P(N ≥ k)` for `k` = 0, …, `most`: the probability that at least `k` tokens are accepted,
    /// `[most + 1]`.
    pub fn survival(&self, most: usize) -> Vec<f64> {
        match self {
            Self::Rate(rate) => {
                std::iter::successors(Some(1.0), |s| Some(s * rate)).take(most + 1).collect()
            }
            Self::Runs(runs) => runs.acceptances().survival(most),
        }
    }

    /// `P(at least k proposed)` for `k` = 0, …, `most`, `[most + 1]`.
    pub fn proposed(&self, most: usize) -> Vec<f64> {
        match self {
            Self::Rate(_) => vec![1.0; most + 1],
            Self::Runs(runs) => runs.proposals().survival(most),
        }
    }

    /// Checks that a rate is a probability.
    pub(super) fn check(&self) -> Result<(), TheoryError> {
        match self {
            Self::Rate(rate) => checked_rate(*rate).map(|_| ()),
            Self::Runs(_) => Ok(()),
        }
    }
}
