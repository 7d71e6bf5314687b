//! The best lengths of one chain: depth-first search from the bottom, with branch and bound.

use super::chain::{Chain, Proposer};
use super::error::TheoryError;
use super::predictor::{by_width, long_run};
use super::round_distribution::{RoundDistributions, VerifierStep, draft, largest_buffer};
use crate::level::Surplus;

/// Relative tolerance of the bound, because bounds and costs are rounded sums.
const ROUNDING: f64 = 1e-12;

/// The tables of one verifier, for buffers of every possible size.
#[derive(Clone, Debug)]
pub(super) struct VerifierTables<'a> {
    pub(super) survival: &'a [f64],
    pub(super) pass: &'a [f64],
    pub(super) overhead: f64,
    pub(super) bonus: bool,
    pub(super) keep: bool,
}

/// A chain whose lengths are to be found. `verifiers` is target first.
#[derive(Clone, Debug)]
pub(super) struct LengthSearch<'a> {
    pub(super) verifiers: Vec<VerifierTables<'a>>,
    pub(super) proposer: &'a Proposer,
    pub(super) proposed: &'a [f64],
    pub(super) pass: &'a [f64],
}

/// The largest buffer of a chain of `verifiers` verifiers with lengths up to `cap` and drafts up to
/// `drafts` tokens.
pub(super) fn deepest(verifiers: usize, cap: usize, drafts: usize) -> usize {
    (1..verifiers).fold(drafts, |largest, _| largest_buffer(cap, largest + 1))
}

/// The longest draft of this proposer if lengths go up to `cap`.
pub(super) fn longest_draft(proposer: &Proposer, cap: usize) -> usize {
    match proposer {
        Proposer::Tree { depth, .. } => *depth,
        Proposer::Model { .. } | Proposer::Lookup { .. } => cap,
    }
}

/// The number of nodes, for a drafter of trees.
pub(super) fn tree_nodes(proposer: &Proposer) -> Option<usize> {
    match proposer {
        Proposer::Tree { nodes, .. } => Some(*nodes),
        Proposer::Model { .. } | Proposer::Lookup { .. } => None,
    }
}

/// The required sizes of [`VerifierTables::survival`] and [`VerifierTables::pass`] for this chain.
pub(super) fn table_sizes(verifiers: usize, cap: usize, proposer: &Proposer) -> (usize, usize) {
    let buffer = deepest(verifiers, cap, longest_draft(proposer, cap));
    (buffer, buffer.max(tree_nodes(proposer).unwrap_or(0)) + 2)
}

impl LengthSearch<'_> {
    /// A lower bound on the seconds per token that this verifier hands on, if the level below costs
    /// at least `below` seconds per token that it hands on.
    ///
    /// A round costs at least `m`, the cheapest pass, and `E B · below` for its buffer (Wald). It
    /// hands on at most `E N + 1` tokens, where `E N ≤ E B` and `E N + 1 ≤ A = Σ_k P(N ≥ k)`. So
    /// the quotient is at least `(m + (t − 1) below) / t = below + (m − below) / t` for some `t`
    /// from 1 to `A`: least at `t = A` if `m > below`, and at `t = 1` otherwise. It rises with
    /// `below`, so bounds of several levels compose.
    fn bound(&self, level: usize, below: f64, per_round: f64) -> f64 {
        let VerifierTables { survival, pass, overhead, .. } = &self.verifiers[level];
        let cheapest = pass[1..].iter().copied().fold(f64::INFINITY, f64::min);
        let round = cheapest + overhead + per_round;
        let most: f64 = survival.iter().sum();
        if round > below { below + (round - below) / most } else { round }
    }

    /// The same through the verifiers `level`, …, 0 (the target).
    fn bound_from(&self, level: usize, below: f64) -> f64 {
        (0..=level).rev().fold(below, |below, level| self.bound(level, below, 0.0))
    }

    /// A lower bound on seconds per token for any lengths. 0, which is no bound, for chains that
    /// keep a surplus: their rounds are not independent.
    pub(super) fn bound_of_all(&self) -> f64 {
        let Some(lowest) = self.verifiers.len().checked_sub(1) else { return 0.0 };
        if self.keeps() {
            return 0.0;
        }
        let (per_token, per_draft) = match self.proposer {
            Proposer::Model { overhead, .. } => (self.pass[1] + overhead, 0.0),
            Proposer::Lookup { draft_seconds, token_seconds, .. } => {
                (*token_seconds, *draft_seconds)
            }
            Proposer::Tree { draft_seconds, .. } => (0.0, *draft_seconds),
        };
        let drafted = self.bound(lowest, per_token, per_draft);
        (0..lowest).rev().fold(drafted, |below, level| self.bound(level, below, 0.0))
    }

    fn keeps(&self) -> bool {
        self.verifiers.iter().any(|level| level.keep)
    }

    fn stage(&self, level: usize, length: usize) -> VerifierStep<'_> {
        let VerifierTables { survival, pass, overhead, bonus, keep } =
            self.verifiers[level].clone();
        let drafted = level + 1 == self.verifiers.len();
        let nodes = if drafted { tree_nodes(self.proposer) } else { None };
        VerifierStep { length, bonus, keep: keep && !drafted, survival, pass, overhead, nodes }
    }

    /// The lengths up to `cap`, target first, with the fewest seconds per token, if these are below
    /// `limit`. Among equal ones those found first, which are the shortest at the bottom.
    pub(super) fn best(&self, cap: usize, limit: f64) -> Option<(f64, Vec<usize>)> {
        let lowest = self.verifiers.len().checked_sub(1)?;
        let mut best = BestSoFar { limit, lengths: vec![0; self.verifiers.len()], found: None };
        let longest = longest_draft(self.proposer, cap);
        let shortest = if tree_nodes(self.proposer).is_some() { longest } else { 1 };
        for length in shortest..=longest {
            let drafts = draft(self.proposer, length, self.proposed, self.pass);
            best.lengths[lowest] = length;
            self.climb(lowest, self.stage(lowest, length).over_draft(&drafts), cap, &mut best);
        }
        best.found.map(|lengths| (best.limit, lengths))
    }

    /// Tries all lengths of the verifiers above `level`, whose rounds are given.
    fn climb(&self, level: usize, rounds: RoundDistributions, cap: usize, best: &mut BestSoFar) {
        let Some(above) = level.checked_sub(1) else {
            let seconds = long_run(&rounds);
            if seconds < best.limit {
                best.limit = seconds;
                best.found = Some(best.lengths.clone());
            }
            return;
        };
        if !self.keeps() {
            let below = rounds.starts[0].seconds / rounds.starts[0].tokens();
            if self.bound_from(above, below) > best.limit * (1.0 + ROUNDING) {
                return;
            }
        }
        for length in 1..=cap {
            best.lengths[above] = length;
            self.climb(above, self.stage(above, length).over_rounds(&rounds), cap, best);
        }
    }
}

/// The best lengths found so far.
struct BestSoFar {
    /// Seconds per token to undercut.
    limit: f64,
    lengths: Vec<usize>,
    found: Option<Vec<usize>>,
}

/// The best lengths of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct BestLengths {
    /// Predicted seconds per token.
    pub seconds_per_token: f64,
    /// The lengths of the verifiers, target first; empty if plain decoding is fastest.
    pub lengths: Vec<usize>,
}

impl Chain {
    /// The best lengths from 1 to `cap` of this chain after `context` tokens of text, or plain
    /// decoding if that is faster. A tree keeps its depth.
    ///
    /// Meant for adapting a running decoder. The result equals that of trying all lengths with
    /// [`Chain::predict`]. It is fast enough to be computed every few rounds, except for three or
    /// more levels of which one keeps its surplus: these are searched without bounds.
    ///
    /// ```
    /// use kad_polybasic::theory::{
    ///     Acceptance, Chain, PassTimes, Proposer, Surplus, VerifyingLevel,
    /// };
    /// let chain = |rate| {
    ///     let target = VerifyingLevel {
    ///         name: "large".into(),
    ///         times: PassTimes::constant(22e-3)?,
    ///         acceptance: Acceptance::Rate(rate),
    ///         length: 5,
    ///         bonus: true,
    ///         surplus: Surplus::Flush,
    ///         overhead: 0.0,
    ///         token_overhead: 0.0,
    ///     };
    ///     let times = PassTimes::constant(1.5e-3)?;
    ///     let proposer = Proposer::Model { name: "small".into(), times, overhead: 0.0 };
    ///     Ok::<_, kad_polybasic::theory::TheoryError>(Chain {
    ///         verifiers: vec![target],
    ///         proposer,
    ///         plain_seconds: None,
    ///     })
    /// };
    /// // Higher acceptance allows longer drafts; without acceptance the target decodes alone.
    /// let [high, low, none] = [0.9, 0.6, 0.0].map(|rate| chain(rate)?.best_lengths(0, 16));
    /// assert!(high?.lengths > low?.lengths);
    /// assert!(none?.lengths.is_empty());
    /// # Ok::<(), kad_polybasic::theory::TheoryError>(())
    /// ```
    ///
    /// # Errors
    /// Errors of [`Chain::check`], and if `cap` is 0.
    pub fn best_lengths(&self, context: usize, cap: usize) -> Result<BestLengths, TheoryError> {
        self.check()?;
        if cap == 0 {
            return Err(TheoryError::Zero { what: "longest length" });
        }
        let plain = self.plain().predict(context)?.seconds_per_token;
        let alone = BestLengths { seconds_per_token: plain, lengths: Vec::new() };
        let Some(lowest) = self.verifiers.last() else { return Ok(alone) };
        let (buffer, width) = table_sizes(self.verifiers.len(), cap, &self.proposer);
        let tables = self.verifiers.iter().map(|verifier| {
            (verifier.acceptance.survival(buffer), by_width(&verifier.times, width, context))
        });
        let tables: Vec<_> = tables.collect();
        let verifiers =
            self.verifiers.iter().zip(&tables).map(|(verifier, (survival, pass))| VerifierTables {
                survival,
                pass,
                overhead: verifier.overhead,
                bonus: verifier.bonus,
                keep: verifier.surplus == Surplus::Keep,
            });
        let pass = match &self.proposer {
            Proposer::Model { times, .. } => by_width(times, 2, context),
            Proposer::Lookup { .. } | Proposer::Tree { .. } => Vec::new(),
        };
        let proposed = lowest.acceptance.proposed(longest_draft(&self.proposer, cap));
        let (verifiers, proposer) = (verifiers.collect(), &self.proposer);
        let search = LengthSearch { verifiers, proposer, proposed: &proposed, pass: &pass };
        let best = search.best(cap, plain);
        Ok(best.map_or(alone, |(seconds_per_token, lengths)| BestLengths {
            seconds_per_token,
            lengths,
        }))
    }
}
