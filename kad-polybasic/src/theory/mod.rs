//! The speed of a chain of models, predicted from measurements: closed forms, an exact predictor, a
//! simulator, a replay and a planner. Pure: no clock, no files.
//!
//! | question | answer |
//! |---|---|
//! | mean and variance of the accepted tokens of one draft | [`CappedGeometric`], [`expected_tokens`] |
//! | arXiv 2510.26527, Lemma 3.1 and Theorem 3.2, as published and exact | [`lemma_time`], [`published_insertion`], [`exact_insertion`] |
//! | measured seconds per pass and accepted run lengths | [`PassTimes`], [`RunLengths`] |
//! | seconds per token of a chain of n levels, with uncertainty | [`Chain`], [`Chain::predict`], [`Chain::uncertainty`] |
//! | the same by simulation | [`Chain::simulate`], [`ChainSimulator`] |
//! | the same on texts that the target wrote | [`Chain::replay`], [`ConditionalReplay`], [`TextTrace`] |
//! | the best chain and lengths; the effect of one more model | [`Candidates::plan`], [`Candidates::insertions`] |
//! | better lengths for a running chain | [`Chain::best_lengths`] |
//!
//! Where the exact statement differs from the published one, the item states the difference and
//! derives it; tests P5 to P10 in `tests/it/theory_*.rs` check it.
//!
//! *Plain decoding* is decoding with the target alone, one token per pass. *Overhead* is time
//! beyond the models' passes. Times are in seconds, lengths in tokens.
//!
//! ```
//! use kad_polybasic::theory::{
//!     Acceptance, Candidate, CandidatePair, Candidates, PassTimes, PlanLimits, Proposer,
//! };
//! let model = |name: &str, seconds| {
//!     let times = PassTimes::constant(seconds)?;
//!     let proposer = Proposer::Model { name: name.into(), times, overhead: 0.0 };
//!     Ok::<_, kad_polybasic::theory::TheoryError>(Candidate { proposer, round_overhead: 0.0 })
//! };
//! let candidates = Candidates {
//!     candidates: vec![model("large", 22e-3)?, model("small", 1.5e-3)?],
//!     target: 0,
//!     pairs: vec![CandidatePair::new(0, 1, Acceptance::Rate(0.7))],
//! };
//! let plan = candidates.plan(&PlanLimits::default())?;
//! // The small model drafts for the large one.
//! assert_eq!(plan.ranked[0].members, [0, 1]);
//! assert!(plan.ranked[0].speedup > 2.0);
//! # Ok::<(), kad_polybasic::theory::TheoryError>(())
//! ```

mod bootstrap_rng;
mod capped_geometric;
mod chain;
mod conditional_replay;
mod error;
mod insertion;
mod lemma;
mod length_search;
mod level_totals;
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
