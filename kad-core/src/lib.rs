//! What kad computes, without saying where the numbers come from.
//!
//! This crate knows distributions over a vocabulary, rules that hand probability mass from one
//! model to another, and decoders made of them. It knows no tensor library, no file format and no
//! clock.
//!
//! | in the papers | here | file |
//! |---|---|---|
//! | `V`, its tokens | [`TokenId`], [`Vocab`] | `vocab.rs` |
//! | logits | [`LogitRows`] | `logits.rs` |
//! | `p(· | x)`, a next-token distribution | [`Distribution`] | `distribution.rs` |
//! | temperature, top-k, top-p | [`Sampling`] | `sampling.rs` |
//! | a model, one sequence in its cache | [`LanguageModel`], [`Session`] | `model.rs` |
//! | token trees, tree attention | [`TokenTree`], [`TreeSession`] | `tree.rs`, `model.rs` |
//! | cost in passes | [`Counted`] | `counted.rs` |
//! | `d : V → [0, 1]`, a deferral rule | [`deferral::Rule`] | `deferral/` |
//! | `π = (1 − d) p + q* Σ d p` | [`mixture`] | `mixture.rs` |
//! | `π ∝ p q*/q` | [`ImplicitReward`] | `implicit_reward.rs` |
//! | "target", "drafter": anything with a distribution | [`Predictor`] | `predictor.rs` |
//! | the decoding loop | [`decode::generate`], [`decode::Decoder`] | `decode/` |
//! | "distributed as" | [`oracle::enumerate`] | `oracle/` |
//!
//! `p` is the large base model and `q*` the small aligned one throughout; inside kad they are
//! called `base` and `aligned`.

mod cached_session;
mod certificate;
pub mod choice;
mod counted;
pub mod decode;
pub mod deferral;
mod distribution;
mod error;
mod implicit_reward;
pub mod knapsack;
mod logits;
pub mod mixture;
mod model;
mod number;
pub mod oracle;
mod predictor;
mod sampling;
pub mod select;
mod softmax;
mod sum;
#[cfg(feature = "testing")]
pub mod testing;
mod tree;
mod vocab;

pub use cached_session::{CachedSession, SharedSession};
pub use certificate::Certificate;
pub use choice::{ChoiceSource, SampledChoices};
pub use counted::{Counted, Counts};
pub use distribution::{Distribution, log_normaliser, log_prob};
pub use error::{DecodeError, DistributionError, ModelError};
pub use implicit_reward::{ImplicitReward, RewardDrafter, UndefinedRatio};
pub use logits::LogitRows;
pub use mixture::{Mixture, MixturePredictor};
pub use model::{LanguageModel, Session, TreeSession};
pub use number::Number;
pub use predictor::{ModelPredictor, Predictor};
pub use sampling::{Sampling, SamplingError, SamplingSettings};
pub use tree::TokenTree;
pub use vocab::{Fingerprint, TokenId, Vocab, VocabMismatch};
