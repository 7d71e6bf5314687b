//! Errors of prediction and planning.

/// Numbers that describe no chain, no measurement or no plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    /// A time that is negative or no number.
    #[error("{what} takes {seconds} seconds: give a finite number that is not negative")]
    Seconds {
        /// The thing that takes this time.
        what: &'static str,
        /// The time found, in seconds.
        seconds: f64,
    },
    /// A running chain whose number of levels differs from its description.
    #[error(
        "the chain has {found} verifying levels, its description {expected}: measure this chain"
    )]
    LevelMismatch {
        /// Verifying levels of the chain.
        found: usize,
        /// Verifying levels of the description.
        expected: usize,
    },
    /// An adapting chain with a level that keeps its surplus.
    #[error(
        "`{name}` keeps its surplus in a chain with adapting lengths, which is not exact: \
         flush the surplus, or fix the lengths"
    )]
    KeptSurplus {
        /// The level's name.
        name: String,
    },
    /// An adapting chain with a fixed acceptance rate, which counted rounds cannot update.
    #[error(
        "the acceptance of `{name}` is a rate, which rounds cannot update: give counted run lengths"
    )]
    FixedRate {
        /// The level's name.
        name: String,
    },
    /// A grid axis that is empty or does not rise.
    #[error(
        "the {axis} of the pass times are {found:?}: give rising numbers, at least one, none below {least}"
    )]
    GridAxis {
        /// The axis.
        axis: &'static str,
        /// The smallest value allowed.
        least: usize,
        /// The values found.
        found: Vec<usize>,
    },
    /// A grid whose cells do not fit its axes.
    #[error(
        "the pass times do not fill a grid of {rows} contexts by {columns} widths: give one cell for each"
    )]
    GridShape {
        /// Contexts on the axis.
        rows: usize,
        /// Widths on the axis.
        columns: usize,
    },
    /// A rate that is no probability.
    #[error("an acceptance rate is {rate}: give a number from 0 to 1")]
    Rate {
        /// The rate found.
        rate: f64,
    },
    /// A round with more accepted than proposed tokens, or more proposed than requested.
    #[error(
        "a round with {requested} tokens requested, {proposed} proposed and {accepted} accepted: \
         none of these numbers may exceed the one before it"
    )]
    ImpossibleRound {
        /// Tokens requested from the drafter.
        requested: usize,
        /// Tokens proposed.
        proposed: usize,
        /// Tokens accepted.
        accepted: usize,
    },
    /// A table of run lengths that no rounds can have produced.
    #[error(
        "row {proposed} of the run lengths counts {problem}: \
         it needs at most {proposed} + 1 entries and no more stopped rounds than rounds"
    )]
    ImpossibleRunTable {
        /// The row.
        proposed: usize,
        /// The defect.
        problem: &'static str,
    },
    /// A verifying level of length 0.
    #[error("level {level} has length 0: give at least 1, or leave the level out")]
    ZeroLength {
        /// The level: 1 is the target.
        level: usize,
    },
    /// A chain whose only level is no model and cannot decode.
    #[error("`{name}` cannot decode alone: it is no model; put a model above it")]
    NoModel {
        /// The drafter's name.
        name: String,
    },
    /// A tree of 0 nodes.
    #[error("the trees of `{name}` have 0 nodes: give at least 1")]
    NoNodes {
        /// The drafter's name.
        name: String,
    },
    /// An index outside the list of candidates.
    #[error("candidate {index} does not exist: there are {candidates}, counted from 0")]
    UnknownCandidate {
        /// The index.
        index: usize,
        /// The number of candidates.
        candidates: usize,
    },
    /// A pair of candidates without measured acceptance.
    #[error(
        "the acceptance of candidate {drafter} by candidate {verifier} was not measured: \
         measure that pair, or leave it out of the chain"
    )]
    UnmeasuredPair {
        /// The verifier, as an index.
        verifier: usize,
        /// The drafter, as an index.
        drafter: usize,
    },
    /// A number of lengths that differs from the number of verifiers.
    #[error("{lengths} lengths for {verifiers} verifiers: give one for each level but the last")]
    LengthCount {
        /// Verifiers of the chain.
        verifiers: usize,
        /// Lengths given.
        lengths: usize,
    },
    /// A level that is missing in the trace of a text.
    #[error(
        "the traces of the texts lack `{name}`: trace it along the texts, or predict from run lengths"
    )]
    Untraced {
        /// The level's name.
        name: String,
    },
    /// A trace that describes no text.
    #[error("the trace of a text has {problem}")]
    InvalidTrace {
        /// The defect.
        problem: &'static str,
    },
    /// Texts that end with their first round, which does not count.
    #[error(
        "the texts end with their first rounds, which do not count: trace longer texts, or count the \
         first rounds"
    )]
    OnlyFirstRounds,
    /// A count of 0.
    #[error("the {what} is 0: give at least 1")]
    Zero {
        /// The thing that is 0.
        what: &'static str,
    },
}

/// `seconds`, if it is finite and not negative.
pub(super) fn checked_seconds(what: &'static str, seconds: f64) -> Result<f64, TheoryError> {
    if seconds.is_finite() && seconds >= 0.0 {
        Ok(seconds)
    } else {
        Err(TheoryError::Seconds { what, seconds })
    }
}

/// `rate`, if it is a probability.
pub(super) fn checked_rate(rate: f64) -> Result<f64, TheoryError> {
    if (0.0..=1.0).contains(&rate) { Ok(rate) } else { Err(TheoryError::Rate { rate }) }
}
