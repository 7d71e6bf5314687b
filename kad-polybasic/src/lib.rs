//! Polybasic speculative decoding: several models decode one text, which has the target's
//! distribution, exactly (lossless).
//!
//! # The scheme
//!
//! A chain has n levels, from the most expensive model to the cheapest. Level 1 is the target,
//! level n drafts. One round of two levels:
//!
//! 1. **Draft.** The [`Drafter`] proposes tokens `x_1 … x_K` after the context, each with the
//!    next-token distribution `q` it was drawn from.
//! 2. **Verify.** The [`Target`] computes its next-token distributions `p` after every prefix of
//!    the draft, in one forward pass (*pass* from here on). Token `x_i` is accepted with
//!    probability `min(1, p(x_i) / q(x_i))`.
//! 3. **Correct.** A token drawn from the residual `∝ (p − q)₊` replaces the first rejected token,
//!    and the rest of the draft is discarded. If all of the draft is accepted, the pass pays for
//!    one more token, the *bonus* token, drawn from `p`.
//!
//! The tokens that a round emits have the target's distribution, whatever the drafter is (Leviathan
//! et al., arXiv 2211.17192, algorithm 1; Chen et al., arXiv 2302.01318).
//!
//! A [`Stage`] is a drafter and the target that verifies it. It is a [`Level`]: its tokens have the
//! distribution of its target. A level can therefore decode ([`Speculative`]), and it can draft for
//! the level above ([`LevelDrafter`]): it makes rounds until that level has as many tokens as it
//! wants, its *length* `μ`, and hands them up with the distributions of its own target (arXiv
//! 2510.26527, algorithm 1). A chain of n levels is this recursion.
//!
//! | part | choices |
//! |---|---|
//! | the lowest drafter | a model ([`PredictorDrafter`]), earlier text ([`LookupDrafter`]), a tree of continuations verified in one pass ([`TreeDrafter`], [`TreeStage`]) |
//! | a target | any [`Predictor`](kad_core::Predictor): a model, a deferral mixture, an implicit reward ([`PredictorTarget`]); a deferral mixture drafted by its own aligned model ([`DeferralTarget`]) |
//! | verification | token by token, the whole draft at once, or by the same uniforms ([`Verifier`]) |
//! | lengths | fixed, or adapted to the acceptance seen while decoding ([`AdaptiveDecoder`]) |
//!
//! [`verify`] has the formulas, without engine or models. [`theory`] predicts the speed of a chain
//! from measured pass times and acceptance. This crate sees models only through `kad-core`; it
//! knows no backend, no file and no clock.
//!
//! # Symbols
//!
//! | symbol | meaning | name |
//! |---|---|---|
//! | `M_1 … M_n` | models of a chain, target first | [`Level`], [`theory::VerifyingLevel`], [`theory::Proposer`] |
//! | `p`, `q` | next-token distributions of target and drafter | `target`, `draft` |
//! | `K`, `γ` | draft length: tokens drafted before verification | [`DraftSettings::length`] of the lowest stage |
//! | `μ` | length of a higher level: tokens that it collects before they are verified | [`DraftSettings::length`] of the other stages |
//! | `N` | accepted tokens of one draft | `accepted`, [`theory::RunLengths`] |
//! | `a`, `1 − α` | acceptance rate `Σ min(p, q)` | [`verify::acceptance_rate`], [`theory::Acceptance`] |
//! | `E N` | acceptance length: mean accepted tokens per round | `acceptance_length` |
//! | `T_i` | seconds of one pass of `M_i` | [`theory::PassTimes`] |
//! | `L_i` | final tokens of the text per pass of `M_i` | `tokens_per_pass`, `1 / passes_per_token` |
//! | `β` | passes of the drafter per pass of the level above it | `passes_per_draft` |
//! | `ω` | tokens a level hands on per token of the text | `waste` |
//! | `π`, `q*`, `d`, `D` | deferral mixture, aligned distribution, deferral weights, deferral mass | [`DeferralTarget`], `aligned`, `weights`, `mass` |
//!
//! # Example: three levels
//!
//! ```
//! use kad_core::{ModelPredictor, Sampling, SampledChoices, decode::{Limits, generate}};
//! use kad_core::oracle::TableModel;
//! use kad_polybasic::{
//!     DraftSettings, LevelDrafter, PredictorDrafter, PredictorTarget, Speculative, Stage, Surplus,
//! };
//! let [large, middle, small] = [1, 2, 3].map(|seed| TableModel::random("table", 9, 2, seed));
//! let sampling = Sampling::at_temperature(1.0)?;
//! let model = |model| ModelPredictor::new(model, sampling);
//! // The small model drafts 3 tokens, the middle one verifies them.
//! let drafter = PredictorDrafter::new(model(&small)?);
//! let middle = Stage::new(drafter, PredictorTarget::new(model(&middle)?), DraftSettings::of(3)?);
//! // The large model verifies as soon as 6 tokens of the middle one wait.
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
