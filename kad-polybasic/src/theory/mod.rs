//! What a chain of models will cost, before it runs: closed forms, an exact predictor, a simulator
//! and a planner. Pure: no clock, no files.
//!
//! | what | where |
//! |---|---|
//! | tokens of one draft: mean, variance, where it peaks | [`CappedGeometric`], [`expected_tokens`] |
//! | arXiv 2510.26527, Lemma 3.1 and Theorem 3.2, as published and exactly | [`lemma_time`], [`published_insertion`], [`exact_insertion`] |
//! | measured times and run lengths | [`PassTimes`], [`RunLengths`] |
//! | a chain of n levels as data; what it will do, and how surely | [`Chain`], [`Chain::predict`], [`Chain::uncertainty`] |
//! | the same played out | [`Chain::simulate`], [`ChainSimulator`] |
//! | the same along texts that the target wrote | [`Chain::replay`], [`ConditionalReplay`], [`TextTrace`] |
//! | the best chain and its lengths; what one more model would do | [`Candidates::plan`], [`Candidates::insertions`] |
//! | better lengths for a running chain | [`Chain::best_lengths`] |
//!
//! Where a published statement and the exact one differ, the item says how; each difference is
//! derived there and tested (P5 to P10 in `tests/it/theory_*.rs`).

mod bootstrap_rng;
mod capped_geometric;
mod chain;
mod conditional_replay;
mod error;
mod insertion;
mod lemma;
mod length_search;
mod pass_times;
mod planner;
mod predictor;
mod replay;
mod round_distribution;
mod run_lengths;
mod simulator;
mod text_trace;
mod uncertainty;

pub use crate::level::Surplus;
pub use capped_geometric::{CappedGeometric, expected_tokens};
pub use chain::{Chain, Proposer, VerifyingLevel};
pub use conditional_replay::ConditionalReplay;
pub use error::TheoryError;
pub use insertion::Insertion;
pub use lemma::{
    InsertionCriterion, InsertionTerms, LemmaLevel, exact_insertion, lemma_time,
    measured_insertion, published_insertion, waste,
};
pub use length_search::BestLengths;
pub use pass_times::{PassTime, PassTimes};
pub use planner::{Candidate, CandidatePair, Candidates, PlanLimits, PlannedChain, RankedChains};
pub use predictor::{LevelPrediction, Prediction};
pub use replay::{ReplayResult, ReplaySettings};
pub use run_lengths::{Acceptance, RunLengths};
pub use simulator::{ChainSimulator, SimulatedLevel, Simulation};
pub use text_trace::{TextTrace, TracedDrafts};
pub use uncertainty::{BootstrapInterval, Uncertainty};
