//! Speculative decoding over any [`Predictor`](kad_core::Predictor): a model, a deferral mixture,
//! an implicit reward; with any number of levels, and a distribution that is exactly the target's.
//!
//! A [`Drafter`] proposes tokens together with the distribution each was drawn from; a [`Target`]
//! says with which probability each is accepted and what replaces a rejected one. A [`Stage`] is
//! made of both and is a [`Level`]: what comes out of it has its target's distribution. So it can
//! decode ([`Speculative`]), and it can draft for the next level ([`LevelDrafter`]): a chain of n levels
//! is this recursion. At the bottom there may be a [`LookupDrafter`], which needs no model, or a
//! [`TreeStage`], which verifies several continuations in one pass. This crate sees models only
//! through `kad-core` and never a backend, a file or a clock.
//!
//! Two levels, then three:
//!
//! ```
//! use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
//! use kad_core::oracle::TableModel;
//! use kad_polybasic::{
//!     DraftSettings, PredictorDrafter, PredictorTarget, Speculative, Stage, LevelDrafter, Surplus,
//! };
//! let [large, middle, small] = [1, 2, 3].map(|seed| TableModel::random("table", 9, 2, seed));
//! let plain = Sampling::at_temperature(1.0)?;
//! let model = |model| ModelPredictor::new(model, plain);
//! let drafter = PredictorDrafter::new(model(&small)?);
//! let middle = Stage::new(drafter, PredictorTarget::new(model(&middle)?), DraftSettings::of(3)?);
//! let drafter = LevelDrafter::new(middle, Surplus::Flush)?;
//! let target = Stage::new(drafter, PredictorTarget::new(model(&large)?), DraftSettings::of(6)?);
//! let mut decoder = Speculative::new(target, &[]);
//! let limits = Limits { max_new_tokens: 20, eos: vec![] };
//! let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
//! let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
//! assert_eq!(made.tokens.len(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adaptive;
mod deferral;
mod draft;
mod level;
mod lookup;
mod stage;
mod target;
pub mod theory;
mod tree;
pub mod verify;

pub use adaptive::{AdaptiveDecoder, AdaptiveSettings, LengthChange};
pub use deferral::DeferralTarget;
pub use draft::{Draft, DraftRequest, Drafter, PredictorDrafter};
pub use level::{Level, LevelDrafter, NotExact, Speculative, Surplus};
pub use lookup::{
    Lookup, LookupDrafter, LookupError, NgramDrafter, NgramLookup, SuffixDrafter, SuffixLookup,
};
pub use stage::{DraftSettings, SharedLength, Stage, ZeroDraftLength};
pub use target::{DraftedToken, PredictorTarget, Target};
pub use tree::{
    DraftTree, LookupTree, SampledTree, TopKTree, TreeDrafter, TreeError, TreeLimits, TreeStage,
    TreeVerifier,
};
pub use verify::Verifier;
