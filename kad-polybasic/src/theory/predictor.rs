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

/// What a chain is expected to do, per token of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Seconds per token.
    pub seconds_per_token: f64,
    /// Level by level, target first; their seconds add up to those above.
    pub levels: Vec<LevelPrediction>,
}

/// One level's part in a [`Prediction`]. A *round* of a verifier is one verification, which is one
/// pass; a round of the proposer is one draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelPrediction {
    /// The level's name.
    pub name: String,
    /// Seconds per token of the text spent at this level: passes and overhead.
    pub seconds_per_token: f64,
    /// The part of these seconds that is overhead.
    pub overhead_per_token: f64,
    /// RoundDistributions per token of the text.
    pub rounds_per_token: f64,
    /// Passes per token of the text, `F_i / N`. For a verifier these are its rounds, for a drafting
    /// model its drafted tokens, for what is no model its drafts.
    pub passes_per_token: f64,
    /// Mean seconds of such a pass, without overhead: the `T_i` at the widths that occur.
    pub seconds_per_pass: f64,
    /// Mean number of tokens a round hands on. (What the papers call `L_i` is either this or
    /// `1 / passes_per_token`; they agree at the top, where nothing is wasted.)
    pub tokens_per_round: f64,
    /// `emitted[k]`: probability that a round hands on k tokens.
    pub emitted: Vec<f64>,
    /// Mean number of tokens a round accepts, without the corrected or the bonus token; 0 for the
    /// proposer.
    pub acceptance_length: f64,
    /// `accepted[k]`: probability that a round accepts k tokens; empty for the proposer.
    pub accepted: Vec<f64>,
    /// `ω_i`: tokens this level handed on per token of the text; 1 for the target. Below it, more
    /// for what is rejected above, and less for the bonus tokens of the levels above: without
    /// bonuses it is at least 1.
    pub waste: f64,
}

impl Chain {
    /// What this chain is expected to do after `context` tokens of text (take the middle of the
    /// text: pass times are nearly linear in it).
    ///
    /// Level by level from the bottom, exactly for runs of acceptances that start anew with each
    /// round: the distribution of the tokens of a round of level `i + 1` gives, by renewal, the
    /// distribution of the buffer that level `i` verifies and how many rounds it took, and so the
    /// distribution of *its* round. With independent acceptances and constant times it is a closed
    /// recursion. It departs from arXiv 2510.26527, Lemma 3.1, in what it counts:
    ///
    /// 1. Tokens that a level hands on and a higher one rejects are paid for (the *waste*).
    /// 2. A pass over `B` tokens takes `T_i(B + 1)` if a bonus may follow, `T_i(B)` if not, and
    ///    `T_i(1)` if nothing was proposed.
    /// 3. After a bonus the level below has two tokens to read instead of one, its own last one and
    ///    the bonus: its next pass is one token wider, a drafter's `T_n(2)` instead of `T_n(1)`.
    ///    This is counted once per bonus and for the level just below, whatever becomes of the
    ///    bonus further up; what that misses is less than one token of width per round of the level
    ///    above.
    ///
    /// End tokens and the room left in a text are not modelled.
    ///
    /// # Errors
    /// Those of [`Chain::check`].
    pub fn predict(&self, context: usize) -> Result<Prediction, TheoryError> {
        self.check()?;
        let inputs = PredictionInputs::measured(self, context);
        Ok(match rounds_of(self, &inputs) {
            None => alone(self, &inputs),
            Some(rounds) => summary(self, &rounds),
        })
    }
}

/// The numbers a prediction is made from: estimates of [`Chain`]'s measurements at one context.
#[derive(Clone, Debug)]
pub(super) struct PredictionInputs {
    /// Of each verifier: P(N ≥ k) up to its largest buffer.
    survival: Vec<Vec<f64>>,
    /// P(at least k proposed), up to the length of a draft.
    proposed: Vec<f64>,
    /// Of each verifier: seconds by width.
    pass: Vec<Vec<f64>>,
    /// The drafter's seconds by width; empty if it is no model.
    drafter: Vec<f64>,
}

impl PredictionInputs {
    /// As measured: medians and observed hazards.
    fn measured(chain: &Chain, context: usize) -> Self {
        Self::estimated(chain, context, &mut Measured)
    }

    /// As they might be as well: see [`Chain::uncertainty`].
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

    /// Seconds per token of the target alone.
    pub(super) fn plain(&self, chain: &Chain) -> f64 {
        if let Some(seconds) = chain.plain_seconds {
            return seconds;
        }
        match (chain.verifiers.first(), &chain.proposer) {
            (Some(target), _) => self.pass[0][1] + target.token_overhead,
            (None, Proposer::Model { overhead, .. }) => self.drafter[1] + overhead,
            // Refused by `Chain::check`.
            (None, Proposer::Lookup { .. } | Proposer::Tree { .. }) => f64::NAN,
        }
    }
}

/// How measurements become the numbers of a prediction.
trait Estimate {
    /// A probability with this many successes and failures, not both 0, expected at `prior`.
    fn rate(&mut self, passed: u64, failed: u64, prior: f64) -> f64;
    /// Pass times.
    fn times(&mut self, times: &PassTimes) -> PassTimes;
}

/// As they are.
struct Measured;

impl Estimate for Measured {
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

/// Tokens of a draft: the lowest verifier's length, or the depth of a tree; 1 for a model alone.
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

/// Seconds per token alone, without the rest of a [`Prediction`].
pub(super) fn seconds_per_token(chain: &Chain, inputs: &PredictionInputs) -> f64 {
    match rounds_of(chain, inputs) {
        None => inputs.plain(chain),
        Some(rounds) => long_run(&rounds[0]),
    }
}

/// The distributions of the rounds of all levels, target first, the drafts last. None without a
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

/// Seconds per token of rounds that follow each other, with everything below.
pub(super) fn long_run(rounds: &RoundDistributions) -> f64 {
    let visits = stationary(&rounds.starts);
    let sum = |of: &dyn Fn(&RoundDistribution) -> f64| -> f64 {
        visits.iter().zip(&rounds.starts).map(|(count, start)| count * of(start)).sum()
    };
    sum(&|start| start.seconds) / sum(&RoundDistribution::tokens)
}

/// Puts the distributions of the rounds together, from the target down.
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
        let (passes, overhead) = own(chain, index, count, handed_on);
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

/// Passes and seconds of overhead of a level that made `rounds` rounds and handed on `tokens`.
fn own(chain: &Chain, index: usize, rounds: f64, tokens: f64) -> (f64, f64) {
    match (chain.verifiers.get(index), &chain.proposer) {
        (Some(verifier), _) => (rounds, rounds * verifier.overhead),
        (None, Proposer::Model { overhead, .. }) => (tokens, tokens * overhead),
        (None, Proposer::Lookup { .. } | Proposer::Tree { .. }) => (rounds, 0.0),
    }
}

/// Expected rounds of the level below, by their start.
fn below(visits: &[f64], level: &RoundDistributions) -> Vec<f64> {
    let mut sum = Vec::new();
    for (visit, start) in visits.iter().zip(&level.starts) {
        add(&mut sum, &start.below, *visit);
    }
    sum
}

/// Adds `share · more` to `sum`, which grows if need be.
fn add(sum: &mut Vec<f64>, more: &[f64], share: f64) {
    if sum.len() < more.len() {
        sum.resize(more.len(), 0.0);
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += share * more);
}

/// How often rounds of the target begin in each of its states, in the long run from a fresh start:
/// the solution of `π P = π`, `Σ π = 1` over the states that can be reached.
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
    // Rows: the balance of each state but the first, whose row says that the shares add up to 1.
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

/// Solves a system of equations, each a row of coefficients and the right side, by elimination with
/// row pivots.
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
