//! Totals of one level along replayed texts.

use super::predictor::LevelPrediction;
use super::round_distribution::mean;
use super::simulator::SimulatedLevel;

/// The totals of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct LevelTotals {
    pub(super) done: SimulatedLevel,
    /// `emitted[k]`: rounds that handed on k tokens.
    pub(super) emitted: Vec<u64>,
    /// By cell of the grid of pass times, row by row: the number of passes that took that long.
    pub(super) cells: Vec<f64>,
    /// The overhead in its seconds.
    pub(super) overhead: f64,
}

impl LevelTotals {
    /// Adds the totals of another text.
    pub(super) fn add(&mut self, other: &Self) {
        self.done.rounds += other.done.rounds;
        self.done.passes += other.done.passes;
        self.done.handed_on += other.done.handed_on;
        self.done.seconds += other.done.seconds;
        self.done.runs.merge(&other.done.runs);
        self.overhead += other.overhead;
        if self.emitted.len() < other.emitted.len() {
            self.emitted.resize(other.emitted.len(), 0);
        }
        self.emitted.iter_mut().zip(&other.emitted).for_each(|(sum, more)| *sum += more);
    }

    /// Per token of texts of `tokens` tokens.
    pub(super) fn per_token(&self, name: &str, tokens: f64) -> LevelPrediction {
        let (rounds, passes) = (self.done.rounds as f64, self.done.passes as f64);
        let over = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let shares = |counts: &[u64]| -> Vec<f64> {
            counts.iter().map(|&count| over(count as f64, rounds)).collect()
        };
        let mut accepted = Vec::new();
        for row in self.done.runs.counts() {
            if accepted.len() < row.len() {
                accepted.resize(row.len(), 0);
            }
            accepted.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
        }
        let accepted = shares(&accepted);
        LevelPrediction {
            name: name.to_owned(),
            seconds_per_token: self.done.seconds / tokens,
            overhead_per_token: self.overhead / tokens,
            rounds_per_token: rounds / tokens,
            passes_per_token: passes / tokens,
            seconds_per_pass: over(self.done.seconds - self.overhead, passes),
            tokens_per_round: over(self.done.handed_on as f64, rounds),
            emitted: shares(&self.emitted),
            acceptance_length: mean(&accepted),
            accepted,
            waste: self.done.handed_on as f64 / tokens,
        }
    }
}
