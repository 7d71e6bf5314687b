//! Probability mathematics and decoding loops of kad, independent of any backend.
//!
//! The crate holds next-token distributions, deferral rules, their mixtures, decoders and an oracle
//! that enumerates a decoder's exact distribution. Models come in through [`LanguageModel`]. The
//! crate uses no tensor library, no file format and no clock.
//!
//! | in the papers | here | file |
//! |---|---|---|
//! | vocabulary `V`, tokens | [`Vocab`], [`TokenId`] | `vocab.rs` |
//! | logits | [`LogitRows`] | `logits.rs` |
//! | next-token distribution `p(· | x)` | [`Distribution`] | `distribution.rs` |
//! | temperature, top-k, top-p | [`Sampling`] | `sampling.rs` |
//! | model; one sequence and its KV cache | [`LanguageModel`], [`Session`] | `model.rs` |
//! | token tree, tree attention | [`TokenTree`], [`TreeSession`] | `tree.rs`, `model.rs` |
//! | prefix reuse of the KV cache | [`CachedSession`] | `cached_session/` |
//! | cost in forward passes | [`Counted`] | `counted.rs` |
//! | deferral rule `d : V → [0, 1]` | [`deferral::Rule`] | `deferral/` |
//! | deferral mixture `π = (1 − d) p + q* Σ d p` | [`mixture`] | `mixture.rs` |
//! | deferral knapsack | [`knapsack`] | `knapsack/` |
//! | implicit reward `π ∝ p q*/q` | [`ImplicitReward`] | `implicit_reward.rs` |
//! | target, drafter | [`Predictor`] | `predictor.rs` |
//! | decoding loop | [`decode::generate`], [`decode::Decoder`] | `decode/` |
//! | distribution of an algorithm's output | [`oracle::enumerate`] | `oracle/` |
//!
//! `p` is the large base model and `q*` the small aligned model throughout. The code calls them
//! `base` and `aligned`.

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
