//! What a chain of models will cost, before it runs: closed forms, an exact predictor, a simulator
//! and a planner. Pure: no clock, no files.
//!
//! | what | where |
//! |---|---|
//! | tokens of one draft: mean, variance, where it peaks | [`CappedGeometric`], [`expected_tokens`] |
//! | arXiv 2510.26527, Lemma 3.1 and Theorem 3.2, as published and exactly | [`lemma_time`], [`published_insertion`], [`exact_insertion`] |
//! | measured times and run lengths | [`PassTimes`], [`RunLengths`] |
//! | a chain of n levels as data; what it will do, and how surely | [`Chain`], [`Chain::predict`], [`Chain::uncertainty`] |
//! | the same played out | [`Chain::simulate`], [`Player`] |
//! | the same along texts that the target wrote | [`Chain::replay`], [`TextPlayer`], [`Trace`] |
//! | the best chain and its lengths; what one more model would do | [`Candidates::plan`], [`Candidates::insertions`] |
//! | better lengths for a running chain | [`Chain::best_lengths`] |
//!
//! Where a published statement and the exact one differ, the item says how; each difference is
//! derived there and tested (P5 to P10 in `tests/it/theory_*.rs`).

mod chain;
mod conditional_replay;
mod draws;
mod error;
mod geometric;
mod insertion;
mod lemma;
mod plan;
mod predict;
mod replay;
mod rounds;
mod runs;
mod search;
mod simulate;
mod times;
mod trace;
mod uncertainty;

pub use crate::level::Surplus;
pub use chain::{Chain, Proposer, VerifyingLevel};
pub use conditional_replay::TextPlayer;
pub use error::TheoryError;
pub use geometric::{CappedGeometric, expected_tokens};
pub use insertion::Insertion;
pub use lemma::{
    Criterion, InsertionTerms, LemmaLevel, exact_insertion, lemma_time, measured_insertion,
    published_insertion, waste,
};
pub use plan::{Candidate, Candidates, Pair, Plan, PlanLimits, PlannedChain};
pub use predict::{LevelPrediction, Prediction};
pub use replay::{Replay, Replayed};
pub use runs::{Acceptance, RunLengths};
pub use search::Lengths;
pub use simulate::{Player, SimulatedLevel, Simulation};
pub use times::{PassTime, PassTimes};
pub use trace::{Trace, TracedDrafts};
pub use uncertainty::{Interval, Uncertainty};
