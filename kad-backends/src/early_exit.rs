//! Early exit: a model that stops after some of another's blocks, and shares its weights.
//!
//! With `h_i` the residual stream after block `i` of `n` and the norm `n(·)` of
//! [`decoder`](crate::decoder), a model computes `logits = Head · n(h_n)` and its early exit after
//! `k < n` blocks `Head · n(h_k)`: the first `k` blocks, then the model's own final norm and head.
//! It is the cheapest drafter there is, since it needs no second file, has the same vocabulary by
//! construction and no weight is in memory twice; see Zhang et al., *Draft & Verify* (arXiv
//! 2309.08168) and Elhoushi et al., *LayerSkip* (arXiv 2404.16710). How good its drafts are is
//! another question: a head that was never trained on early blocks may agree little.

use kad_core::LanguageModel;

use crate::decoder::spec::DecoderSpec;
use crate::error::LoadError;

/// A language model made of blocks one after another, as every backend here makes them.
pub trait LayeredModel: LanguageModel {
    /// What it computes; `spec().layers` is the number of its blocks.
    fn spec(&self) -> &DecoderSpec;

    /// The first `layers` blocks of this model, then its final norm and head, under the name
    /// `name`: a model with sessions (and caches) of its own over weights that are shared, not
    /// copied.
    ///
    /// It outlives the model it was taken from.
    ///
    /// # Errors
    /// [`LoadError::Config`] unless `0 < layers < spec().layers`; [`LoadError::Unsupported`] of a
    /// backend that cannot stop early.
    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError>;

    /// What whoever runs it should know about how it runs, for
    /// [`ModelDetails`](crate::ModelDetails).
    fn remark(&self) -> Option<String> {
        None
    }

    /// The library that computes it, as far as the machine decides about that when the program
    /// runs: its version or its threads. With another one it may be faster or compute other bits.
    fn library(&self) -> Option<String> {
        None
    }

    /// Whether the distribution after a token depends on what else is in its pass, beyond rounding:
    /// then no verification in wide passes is exact.
    fn distribution_depends_on_pass(&self) -> bool {
        false
    }
}

/// The specification of `model`'s early exit after `layers` blocks.
///
/// # Errors
/// [`LoadError::Config`] unless `0 < layers <` the number of blocks, which the message names.
pub(crate) fn spec(model: &dyn LayeredModel, layers: usize) -> Result<DecoderSpec, LoadError> {
    let all = model.spec().layers;
    if (1..all).contains(&layers) {
        return Ok(DecoderSpec { layers, ..model.spec().clone() });
    }
    let what = match all {
        1 => format!("is {layers}, but the model has one layer and nowhere to exit before it"),
        _ => format!(
            "is {layers}, but the model has {all} layers: an early exit takes from 1 to {} of them",
            all - 1
        ),
    };
    let origin = format!("early exit of `{}`", model.name());
    Err(LoadError::Config { origin, key: "layers".to_owned(), what })
}
