//! Speculative decoding over any [`Predictor`](kad_core::Predictor): a model, a deferral mixture,
//! an implicit reward.
//!
//! A [`Drafter`] proposes tokens together with the law each was drawn from; a [`Target`] says with
//! which probability each is accepted and what replaces a rejected one; [`Speculative`] is the
//! decoder made of both, whose law is exactly the target's. Today a draft is verified once (two
//! levels). This crate sees models only through `kad-core` and never a backend, a file or a clock.
//!
//! ```
//! use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
//! use kad_core::oracle::TableModel;
//! use kad_polybasic::{Drafting, PredictorDrafter, PredictorTarget, Speculative};
//! let (large, small) = (TableModel::random("large", 9, 2, 1), TableModel::random("small", 9, 2, 2));
//! let sampling = Sampling::at_temperature(1.0)?;
//! let drafter = PredictorDrafter::new(ModelPredictor::new(&small, sampling)?);
//! let target = PredictorTarget::new(ModelPredictor::new(&large, sampling)?);
//! let mut decoder = Speculative::new(drafter, target, Drafting::of(4)?);
//! let limits = Limits { max_new_tokens: 20, eos: vec![] };
//! let go_on = &mut |_: &_| std::ops::ControlFlow::Continue(());
//! let made = generate(&mut decoder, &[0], &limits, &mut SampledChoices::seeded(7), go_on)?;
//! assert_eq!(made.tokens.len(), 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod deferral;
mod draft;
mod speculative;
mod target;
pub mod theory;
pub mod verify;

pub use deferral::DeferralTarget;
pub use draft::{Draft, Drafter, PredictorDrafter};
pub use speculative::{Drafting, DraftingError, Speculative};
pub use target::{At, PredictorTarget, Target};
