//! What cannot be predicted.

/// Numbers that describe no chain, no measurement or no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    /// A time that is none.
    #[error("{what} takes {seconds} seconds: give a finite number that is not negative")]
    Seconds {
        /// What was timed.
        what: &'static str,
        /// The time found.
        seconds: f64,
    },
    /// A running chain and its description that differ.
    #[error(
        "the chain has {found} verifying levels, its description {expected}: measure this chain"
    )]
    LevelMismatch {
        /// Verifying levels of the chain.
        found: usize,
        /// Those described.
        expected: usize,
    },
    /// A chain that adapts and lets tokens wait.
    #[error(
        "`{name}` keeps its surplus in a chain whose lengths adapt, which would not be exact: \
         flush the surplus, or fix the lengths"
    )]
    KeptSurplus {
        /// The level's name.
        name: String,
    },
    /// A chain that adapts and has nothing to add its rounds to.
    #[error(
        "the acceptance of `{name}` is a rate, which no round can change: count its run lengths"
    )]
    FixedRate {
        /// The level's name.
        name: String,
    },
    /// A grid axis that does not rise.
    #[error("{axis} of the pass times are {found:?}: give at least one, from {least} on, rising")]
    GridAxis {
        /// Which axis.
        axis: &'static str,
        /// The least value allowed.
        least: usize,
        /// What was found.
        found: Vec<usize>,
    },
    /// A grid whose cells do not fit its axes.
    #[error(
        "the pass times are no table of {rows} contexts by {columns} widths: give one cell each"
    )]
    GridShape {
        /// Contexts on the axis.
        rows: usize,
        /// Widths on the axis.
        columns: usize,
    },
    /// A probability that is none.
    #[error("an acceptance rate is {rate}: give a number from 0 to 1")]
    Rate {
        /// What was found.
        rate: f64,
    },
    /// A round that accepted more than was proposed, or proposed more than was asked.
    #[error(
        "a round accepted {accepted} of {proposed} proposed tokens where {asked} were asked for: \
         these numbers cannot rise"
    )]
    ImpossibleRound {
        /// Tokens the drafter was asked for.
        asked: usize,
        /// Tokens it proposed.
        proposed: usize,
        /// Tokens that were accepted.
        accepted: usize,
    },
    /// A table of run lengths that no rounds can have given.
    #[error(
        "row {proposed} of the run lengths counts {problem}: \
         it needs at most {proposed} + 1 entries and no more stopped rounds than rounds"
    )]
    ImpossibleRunTable {
        /// Which row.
        proposed: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A level that verifies buffers of no tokens.
    #[error("level {level} has length 0: give at least 1, or leave the level out")]
    ZeroLength {
        /// The level: 1 is the target.
        level: usize,
    },
    /// A chain without verifiers whose only member proposes but knows no distribution.
    #[error("`{name}` cannot decode alone: it is no model; put a model above it")]
    NoModel {
        /// The drafter's name.
        name: String,
    },
    /// A tree of no nodes.
    #[error("the trees of `{name}` have 0 nodes: give at least 1")]
    NoNodes {
        /// The drafter's name.
        name: String,
    },
    /// A candidate that is not in the list.
    #[error("candidate {index} does not exist: there are {candidates}, counted from 0")]
    UnknownCandidate {
        /// The index asked for.
        index: usize,
        /// How many candidates there are.
        candidates: usize,
    },
    /// Two candidates of which it is not known how one accepts what the other proposes.
    #[error(
        "nothing is known of candidate {verifier} verifying candidate {drafter}: \
         measure that pair, or leave it out of the chain"
    )]
    UnmeasuredPair {
        /// The one that would verify.
        verifier: usize,
        /// The one that would propose.
        drafter: usize,
    },
    /// Not one length for each verifier.
    #[error("{lengths} lengths for {verifiers} verifiers: give one for each level but the last")]
    LengthCount {
        /// Levels that verify.
        verifiers: usize,
        /// Lengths given.
        lengths: usize,
    },
    /// A level that was not noted along a text.
    #[error(
        "the texts do not say what `{name}` would have written there: trace it along them, or predict \
         from run lengths"
    )]
    Untraced {
        /// The level's name.
        name: String,
    },
    /// A trace that is of no text.
    #[error("the trace of a text has {problem}")]
    InvalidTrace {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Texts that are over when anything would count.
    #[error(
        "there is no token behind the first rounds of the texts: trace longer ones, or count the first \
         rounds"
    )]
    OnlyFirstRounds,
    /// Nothing may be planned.
    #[error("the {what} is 0: give at least 1")]
    Zero {
        /// What is 0.
        what: &'static str,
    },
}

/// `seconds` if it is a time.
pub(super) fn checked_seconds(what: &'static str, seconds: f64) -> Result<f64, TheoryError> {
    if seconds.is_finite() && seconds >= 0.0 {
        Ok(seconds)
    } else {
        Err(TheoryError::Seconds { what, seconds })
    }
}

/// `rate` if it is a probability.
pub(super) fn checked_rate(rate: f64) -> Result<f64, TheoryError> {
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(TheoryError::Rate { rate }) }
}
