//! The exact predictor: seconds, passes and tokens of every level of a chain.

use serde::{Deserialize, Serialize};

use super::bootstrap_rng::BootstrapRng;
use super::chain::{Chain, Proposer};
use super::error::TheoryError;
use super::length_search::tree_nodes;
use super::pass_times::PassTimes;
use super::round_distribution::{
    RoundDistribution, RoundDistributions, VerifierStep, draft, largest_buffer, mean,
};
use super::run_lengths::Acceptance;
use crate::level::Surplus;

/// The predicted speed of a chain, per token of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Seconds per token.
    pub seconds_per_token: f64,
    /// One entry per level, target first. Their seconds add up to `seconds_per_token`.
    pub levels: Vec<LevelPrediction>,
}

/// One level of a [`Prediction`]. A *round* of a verifier is one verification, which is one pass; a
/// round of the proposer is one draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelPrediction {
    /// The name of the level.
    pub name: String,
    /// Seconds per token of the text spent at this level: passes and overhead.
    pub seconds_per_token: f64,
    /// The overhead in these seconds.
    pub overhead_per_token: f64,
    /// Rounds per token of the text.
    pub rounds_per_token: f64,
    /// Passes per token of the text, `F_i / N`. For a verifier these are its rounds, for a drafting
    /// model its drafted tokens, for a lookup or a tree its drafts.
    pub passes_per_token: f64,
    /// Mean seconds per pass, without overhead: `T_i` at the widths that occur.
    pub seconds_per_pass: f64,
    /// Mean tokens handed on per round. (The papers use `L_i` for this number and for
    /// `1 / passes_per_token`. They agree for the target, which wastes nothing.)
    pub tokens_per_round: f64,
    /// `emitted[k]`: probability that a round hands on k tokens.
    pub emitted: Vec<f64>,
    /// The acceptance length: mean accepted tokens per round, without the corrected or bonus token;
    /// 0 for the proposer.
    pub acceptance_length: f64,
    /// `accepted[k]`: probability that a round accepts k tokens; empty for the proposer.
    pub accepted: Vec<f64>,
    /// The waste factor `ω_i`: tokens handed on per token of the text. 1 for the target. Below,
    /// rejections further up raise it, and bonus tokens of higher levels lower it; without bonus
    /// tokens it is at least 1.
    pub waste: f64,
}

impl Chain {
    /// The predicted speed of this chain after `context` tokens of text. Use the middle of the
    /// text: pass times are nearly linear in the context length. [`Chain`] has an example.
    ///
    /// The result is exact if runs of acceptances start anew with each round. It is computed level
    /// by level from the bottom. By renewal, the distribution of the tokens of a round of level
    /// `i + 1` gives the distribution of the buffer that level `i` verifies and of the rounds it
    /// took, and so the distribution of a round of level `i`. With independent acceptance and
    /// constant times this is a closed recursion. It departs from arXiv 2510.26527, Lemma 3.1, in
    /// three points:
    ///
    /// 1. Tokens that a level hands on and a higher one rejects are paid for (the *waste*).
    /// 2. A pass over `B` tokens takes `T_i(B + 1)` if a bonus may follow, `T_i(B)` if not, and
    ///    `T_i(1)` if nothing was proposed.
    /// 3. After a bonus token the level below reads two tokens instead of one, its own last one and
    ///    the bonus, so its next pass is one token wider: `T_n(2)` instead of `T_n(1)` for a
    ///    drafter. This is counted once per bonus and only for the level just below, whatever
    ///    happens to the bonus further up. The error is less than one token of width per round of
    ///    the level above.
    ///
    /// Not modelled: end tokens and the limit on the text's length.
    ///
    /// # Errors
    /// Errors of [`Chain::check`].
    pub fn predict(&self, context: usize) -> Result<Prediction, TheoryError> {
        self.check()?;
        let inputs = PredictionInputs::measured(self, context);
        Ok(match rounds_of(self, &inputs) {
            None => alone(self, &inputs),
            Some(rounds) => summary(self, &rounds),
        })
    }
}

/// The input of a prediction: estimates from the measurements of a [`Chain`] at one context length.
#[derive(Clone, Debug)]
pub(super) struct PredictionInputs {
    /// Per verifier: P(N ≥ k) up to its largest buffer.
    survival: Vec<Vec<f64>>,
    /// P(at least k proposed), up to the length of a draft.
    proposed: Vec<f64>,
    /// Per verifier: seconds by width.
    pass: Vec<Vec<f64>>,
    /// The drafter's seconds by width; empty for lookups and trees.
    drafter: Vec<f64>,
}

impl PredictionInputs {
    /// Point estimates: medians and observed hazards.
    fn measured(chain: &Chain, context: usize) -> Self {
        Self::estimated(chain, context, &mut PointEstimates)
    }

    /// One bootstrap resample: see [`Chain::uncertainty`].
    pub(super) fn resampled(chain: &Chain, context: usize, draws: &mut BootstrapRng) -> Self {
        Self::estimated(chain, context, draws)
    }

    fn estimated(chain: &Chain, context: usize, estimate: &mut impl Estimate) -> Self {
        let (mut survival, mut pass) = (Vec::new(), Vec::new());
        for (verifier, largest) in chain.verifiers.iter().zip(largest_buffers(chain)) {
            let most = largest.max(tree_nodes(&chain.proposer).unwrap_or(0)) + 2;
            pass.push(by_width(&estimate.times(&verifier.times), most, context));
            survival.push(match &verifier.acceptance {
                Acceptance::Rate(_) => verifier.acceptance.survival(largest),
                Acceptance::Runs(runs) => {
                    let (hazards, prior) = (runs.acceptances(), runs.prior());
                    hazards.survival_with(largest, |p, f| estimate.rate(p, f, prior))
                }
            });
        }
        let length = draft_length(chain);
        let proposed = match chain.verifiers.last().map(|lowest| &lowest.acceptance) {
            Some(Acceptance::Runs(runs)) => {
                runs.proposals().survival_with(length, |passed, failed| match failed {
                    0 => 1.0,
                    failed => estimate.rate(passed, failed, 0.5),
                })
            }
            _ => vec![1.0; length + 1],
        };
        let drafter = match &chain.proposer {
            Proposer::Model { times, .. } => by_width(&estimate.times(times), 2, context),
            Proposer::Lookup { .. } | Proposer::Tree { .. } => Vec::new(),
        };
        Self { survival, proposed, pass, drafter }
    }

    /// Seconds per token of plain decoding.
    pub(super) fn plain(&self, chain: &Chain) -> f64 {
        if let Some(seconds) = chain.plain_seconds {
            return seconds;
        }
        match (chain.verifiers.first(), &chain.proposer) {
            (Some(target), _) => self.pass[0][1] + target.token_overhead,
            (None, Proposer::Model { overhead, .. }) => self.drafter[1] + overhead,
            // Excluded by `Chain::check`.
            (None, Proposer::Lookup { .. } | Proposer::Tree { .. }) => f64::NAN,
        }
    }
}

/// The choice of point estimates or resamples.
trait Estimate {
    /// A probability after this many successes and failures, not both 0, expected at `prior`.
    fn rate(&mut self, passed: u64, failed: u64, prior: f64) -> f64;
    /// Seconds per pass.
    fn times(&mut self, times: &PassTimes) -> PassTimes;
}

/// Point estimates.
struct PointEstimates;

impl Estimate for PointEstimates {
    fn rate(&mut self, passed: u64, failed: u64, _: f64) -> f64 {
        passed as f64 / (passed + failed) as f64
    }

    fn times(&mut self, times: &PassTimes) -> PassTimes {
        times.clone()
    }
}

impl Estimate for BootstrapRng {
    fn rate(&mut self, passed: u64, failed: u64, prior: f64) -> f64 {
        BootstrapRng::rate(self, passed, failed, prior)
    }

    fn times(&mut self, times: &PassTimes) -> PassTimes {
        times.redrawn(|cell| cell.seconds + cell.standard_error * self.normal())
    }
}

/// Tokens of a draft: the lowest verifier's length, the depth of a tree, or 1 for a model alone.
pub(super) fn draft_length(chain: &Chain) -> usize {
    match (&chain.proposer, chain.verifiers.last()) {
        (_, None) => 1,
        (Proposer::Tree { depth, .. }, _) => *depth,
        (_, Some(lowest)) => lowest.length,
    }
}

/// The largest buffer of each verifier, target first.
pub(super) fn largest_buffers(chain: &Chain) -> Vec<usize> {
    let mut largest = draft_length(chain);
    let mut found = Vec::new();
    for (above, verifier) in chain.verifiers.iter().rev().enumerate() {
        if above > 0 {
            largest = largest_buffer(verifier.length, largest + 1);
        }
        found.push(largest);
    }
    found.reverse();
    found
}

/// Seconds by width from 0 (never used) to `most`, after `context` tokens.
pub(super) fn by_width(times: &PassTimes, most: usize, context: usize) -> Vec<f64> {
    (0..=most).map(|width| times.seconds(width.max(1), context)).collect()
}

/// Plain decoding: one pass, one token.
fn alone(chain: &Chain, inputs: &PredictionInputs) -> Prediction {
    let seconds = inputs.plain(chain);
    let pass = inputs.drafter.get(1).map_or(seconds, |pass| pass.min(seconds));
    let level = LevelPrediction {
        name: chain.proposer.name().to_owned(),
        seconds_per_token: seconds,
        overhead_per_token: seconds - pass,
        rounds_per_token: 1.0,
        passes_per_token: 1.0,
        seconds_per_pass: pass,
        tokens_per_round: 1.0,
        emitted: vec![0.0, 1.0],
        acceptance_length: 0.0,
        accepted: Vec::new(),
        waste: 1.0,
    };
    Prediction { seconds_per_token: seconds, levels: vec![level] }
}

/// Seconds per token, without the rest of a [`Prediction`].
pub(super) fn seconds_per_token(chain: &Chain, inputs: &PredictionInputs) -> f64 {
    match rounds_of(chain, inputs) {
        None => inputs.plain(chain),
        Some(rounds) => long_run(&rounds[0]),
    }
}

/// The distributions of the rounds of all levels, target first, the drafts last. `None` without a
/// verifier.
fn rounds_of(chain: &Chain, inputs: &PredictionInputs) -> Option<Vec<RoundDistributions>> {
    let lowest = chain.verifiers.len().checked_sub(1)?;
    let length = draft_length(chain);
    let mut found = vec![draft(&chain.proposer, length, &inputs.proposed, &inputs.drafter)];
    for (level, verifier) in chain.verifiers.iter().enumerate().rev() {
        let drafted = level == lowest;
        let stage = VerifierStep {
            length: if drafted { length } else { verifier.length },
            bonus: verifier.bonus,
            keep: verifier.surplus == Surplus::Keep && !drafted,
            survival: &inputs.survival[level],
            pass: &inputs.pass[level],
            overhead: verifier.overhead,
            nodes: tree_nodes(&chain.proposer).filter(|_| drafted),
        };
        let below = &found[lowest - level];
        let rounds = if drafted { stage.over_draft(below) } else { stage.over_rounds(below) };
        found.push(rounds);
    }
    found.reverse();
    Some(found)
}

/// Seconds per token in the long run, all levels below included.
pub(super) fn long_run(rounds: &RoundDistributions) -> f64 {
    let visits = stationary(&rounds.starts);
    let sum = |of: &dyn Fn(&RoundDistribution) -> f64| -> f64 {
        visits.iter().zip(&rounds.starts).map(|(count, start)| count * of(start)).sum()
    };
    sum(&|start| start.seconds) / sum(&RoundDistribution::tokens)
}

/// Combines the distributions of the rounds into a prediction, from the target down.
fn summary(chain: &Chain, rounds: &[RoundDistributions]) -> Prediction {
    let mut visits = stationary(&rounds[0].starts);
    let weighed = |visits: &[f64],
                   of: &dyn Fn(&RoundDistribution) -> f64,
                   level: &RoundDistributions|
     -> f64 {
        visits.iter().zip(&level.starts).map(|(count, start)| count * of(start)).sum()
    };
    let tokens = weighed(&visits, &RoundDistribution::tokens, &rounds[0]);
    let (mut levels, mut bonuses) = (Vec::with_capacity(rounds.len()), 0.0);
    for (index, level) in rounds.iter().enumerate() {
        let count: f64 = visits.iter().sum();
        let handed_on = weighed(&visits, &RoundDistribution::tokens, level);
        let passing =
            weighed(&visits, &|start| start.pass_seconds, level) + bonuses * level.catch_up;
        let (passes, overhead) = passes_and_overhead(chain, index, count, handed_on);
        let (mut emitted, mut accepted) = (Vec::new(), Vec::new());
        for (visit, start) in visits.iter().zip(&level.starts) {
            start.outcome.iter().for_each(|row| add(&mut emitted, row, visit / count));
            add(&mut accepted, &start.accepted, visit / count);
        }
        bonuses = weighed(&visits, &|start| start.bonus, level);
        levels.push(LevelPrediction {
            name: chain.names()[index].to_owned(),
            seconds_per_token: (passing + overhead) / tokens,
            overhead_per_token: overhead / tokens,
            rounds_per_token: count / tokens,
            passes_per_token: passes / tokens,
            seconds_per_pass: if passes > 0.0 { passing / passes } else { 0.0 },
            tokens_per_round: handed_on / count,
            acceptance_length: mean(&accepted),
            emitted,
            accepted,
            waste: handed_on / tokens,
        });
        visits = below(&visits, level);
    }
    let seconds_per_token = levels.iter().map(|level| level.seconds_per_token).sum();
    Prediction { seconds_per_token, levels }
}

/// Passes and overhead in seconds of a level that made `rounds` rounds and handed on `tokens`
/// tokens.
fn passes_and_overhead(chain: &Chain, index: usize, rounds: f64, tokens: f64) -> (f64, f64) {
    match (chain.verifiers.get(index), &chain.proposer) {
        (Some(verifier), _) => (rounds, rounds * verifier.overhead),
        (None, Proposer::Model { overhead, .. }) => (tokens, tokens * overhead),
        (None, Proposer::Lookup { .. } | Proposer::Tree { .. }) => (rounds, 0.0),
    }
}

/// Expected rounds of the level below, by their state.
fn below(visits: &[f64], level: &RoundDistributions) -> Vec<f64> {
    let mut sum = Vec::new();
    for (visit, start) in visits.iter().zip(&level.starts) {
        add(&mut sum, &start.below, *visit);
    }
    sum
}

/// Adds `share · more` to `sum`, which grows as needed.
fn add(sum: &mut Vec<f64>, more: &[f64], share: f64) {
    if sum.len() < more.len() {
        sum.resize(more.len(), 0.0);
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += share * more);
}

/// Long-run frequency of the target's states, from a fresh start: the solution of `π P = π`,
/// `Σ π = 1` over the reachable states.
fn stationary(starts: &[RoundDistribution]) -> Vec<f64> {
    if starts.len() == 1 {
        return vec![1.0];
    }
    let step = |from: usize, to: usize| -> f64 {
        starts[from].outcome.get(to).map_or(0.0, |row| row.iter().sum())
    };
    let mut reached = vec![0];
    let mut next = 0;
    while let Some(&from) = reached.get(next) {
        let new = (0..starts.len()).filter(|to| !reached.contains(to) && step(from, *to) > 0.0);
        reached.extend(new.collect::<Vec<_>>());
        next += 1;
    }
    // Rows: the balance of each state but the first, whose row states that the shares add up to 1.
    let size = reached.len();
    let mut rows: Vec<Vec<f64>> = (0..size).map(|_| vec![1.0; size + 1]).collect();
    for (row, &to) in rows.iter_mut().zip(&reached).skip(1) {
        for (entry, &from) in row.iter_mut().zip(&reached) {
            *entry = step(from, to) - f64::from(u8::from(from == to));
        }
        row[size] = 0.0;
    }
    let shares = solve(rows);
    let mut visits = vec![0.0; starts.len()];
    reached.iter().zip(shares).for_each(|(&state, share)| visits[state] = share);
    visits
}

/// Solves a linear system by elimination with row pivots. Each row holds the coefficients and the
/// right side.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let size = rows.len();
    for column in 0..size {
        let largest =
            |&a: &usize, &b: &usize| f64::total_cmp(&rows[a][column].abs(), &rows[b][column].abs());
        let pivot = (column..size).max_by(largest).unwrap_or(column);
        rows.swap(column, pivot);
        let top = rows[column].clone();
        for row in rows.iter_mut().enumerate().filter(|(at, _)| *at != column).map(|(_, row)| row) {
            let factor = row[column] / top[column];
            row.iter_mut().zip(&top).for_each(|(entry, over)| *entry -= factor * over);
        }
    }
    (0..size).map(|at| rows[at][size] / rows[at][at]).collect()
}
