//! How many tokens of a draft are accepted in a row: counted, not assumed independent.

use serde::{Deserialize, Serialize};

use super::error::{TheoryError, checked_rate};

/// Trials that positions without enough of their own are estimated from: the deepest ones that have
/// this many together. About 9 points of standard error at a rate of one half.
const TAIL_TRIALS: u64 = 30;

/// The rounds of one ordered pair of models (verifier, drafter), by how many tokens were proposed
/// and how many of them accepted before the first rejection.
///
/// Acceptances in a row are not independent: what is easy stays easy for a while. So nothing is
/// assumed about them but that a run starts anew with each round and that a round's length does not
/// depend on what will be accepted. Then the *hazards*
///
/// `h_j = #(accepted ≥ j) / #(accepted ≥ j − 1 and proposed ≥ j)`
///
/// count every round for as long as it was watched (a round that was accepted whole says nothing
/// about the position behind its end), and `P(N ≥ k) = Π_{j ≤ k} h_j` (Kaplan and Meier 1958; for
/// independent positions with rates `a_j` it is `Π a_j`).
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

/// What is stored of [`RunLengths`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoundCounts {
    /// `counts[proposed][accepted]`, rows as long as needed.
    counts: Vec<Vec<u64>>,
    /// `stopped[proposed]`: how many of those rounds the drafter ended itself, asked for more.
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

/// Adds `count` to entry `at`, which is made if need be.
fn add(counts: &mut Vec<u64>, at: usize, count: u64) {
    if counts.len() <= at {
        counts.resize(at + 1, 0);
    }
    counts[at] += count;
}

impl RunLengths {
    /// Counts a round: `asked` tokens were asked of the drafter, which `proposed` that many, the
    /// first `accepted` of which were accepted. For a buffer verified higher up the chain, and for
    /// a draft cut short by an end token or the end of the text, `asked` = `proposed`; for a tree
    /// both are its depth.
    ///
    /// # Errors
    /// If more was accepted than proposed, or more proposed than asked for.
    pub fn record(
        &mut self,
        asked: usize,
        proposed: usize,
        accepted: usize,
    ) -> Result<(), TheoryError> {
        if accepted > proposed || proposed > asked {
            return Err(TheoryError::ImpossibleRound { asked, proposed, accepted });
        }
        let RoundCounts { counts, stopped } = &mut self.table;
        if counts.len() <= proposed {
            counts.resize(proposed + 1, Vec::new());
        }
        add(&mut counts[proposed], accepted, 1);
        if proposed < asked {
            add(stopped, proposed, 1);
        }
        Ok(())
    }

    /// Adds the rounds of `other`, of the same pair.
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

    /// Adds the rounds of `other`, of the same pair, `times` times: to weigh them more.
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

    /// RoundDistributions counted.
    pub fn rounds(&self) -> u64 {
        self.table.counts.iter().flatten().sum()
    }

    /// The mean number of accepted tokens per round, as counted; None without rounds.
    pub fn mean_accepted(&self) -> Option<f64> {
        let rows = self.table.counts.iter();
        let sum: u64 = rows.flat_map(|row| (0..).zip(row).map(|(k, count)| k * count)).sum();
        let rounds = self.rounds();
        (rounds > 0).then(|| sum as f64 / rounds as f64)
    }

    /// The share of verified tokens that was accepted, as counted: accepted over accepted and
    /// rejected ones; tokens behind a rejection count for nothing. None if nothing was verified.
    pub fn rate(&self) -> Option<f64> {
        let (passed, failed) = self.acceptances().sum();
        (passed + failed > 0).then(|| passed as f64 / (passed + failed) as f64)
    }

    /// `P(N ≥ k)`: the probability that at least the first `k` tokens are accepted, if that many
    /// are proposed. Positions never verified have the rate of the deepest ones that were verified
    /// (the last 30 trials and more); without any trial nothing is accepted.
    pub fn survival(&self, k: usize) -> f64 {
        self.acceptances().survival(k)[k]
    }

    /// The probability that the drafter proposes at least `k` tokens when asked for that many, by
    /// the hazards of stopping of its own accord. Depths never reached go on as the deepest reached
    /// do; a drafter never seen to stop does not.
    pub fn proposed(&self, k: usize) -> f64 {
        self.proposals().survival(k)[k]
    }

    /// What to expect of a position before it was tried: the rate over all positions, never quite 0
    /// or 1 (half a trial more of either).
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

    /// Trials of going on proposing at each position.
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

/// Successes and failures at positions 1, 2, …, each tried only after success at the one before.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hazards {
    pub(super) passed: Vec<u64>,
    pub(super) failed: Vec<u64>,
    /// The rate where nothing was ever tried.
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
    /// It is asked once for each such position up to `most`, and once for all others.
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

    /// Successes and failures at the deepest positions that have [`TAIL_TRIALS`] trials together,
    /// or at all of them.
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

/// How likely a verifier is to accept what the level below proposes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceptance {
    /// Every token with this probability, independently; proposals are as long as asked for. The
    /// papers' assumption: `a = Σ min(p, q)` in the mean.
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
    /// `P(N ≥ k)` for `k` = 0, …, `most`.
    pub fn survival(&self, most: usize) -> Vec<f64> {
        match self {
            Self::Rate(rate) => {
                std::iter::successors(Some(1.0), |s| Some(s * rate)).take(most + 1).collect()
            }
            Self::Runs(runs) => runs.acceptances().survival(most),
        }
    }

    /// `P(at least k proposed)` for `k` = 0, …, `most`.
    pub fn proposed(&self, most: usize) -> Vec<f64> {
        match self {
            Self::Rate(_) => vec![1.0; most + 1],
            Self::Runs(runs) => runs.proposals().survival(most),
        }
    }

    /// Itself, if the rate is a probability.
    pub(super) fn check(&self) -> Result<(), TheoryError> {
        match self {
            Self::Rate(rate) => checked_rate(*rate).map(|_| ()),
            Self::Runs(_) => Ok(()),
        }
    }
}
