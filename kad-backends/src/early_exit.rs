//! Early exit: a model made of the first layers of another model, with shared weights.
//!
//! Let `h_i` be the residual stream after layer `i` of `n`, and `norm` the final norm of
//! [`decoder`](crate::decoder). The model computes `logits = Head · norm(h_n)`; its early exit
//! after `k < n` layers computes `Head · norm(h_k)`. An early exit is a cheap drafter: it needs no
//! second file, has the same vocabulary, and no weight is in memory twice. See Zhang et al., *Draft
//! & Verify* (arXiv 2309.08168), and Elhoushi et al., *LayerSkip* (arXiv 2404.16710). Its
//! acceptance rate may be low, because the head was not trained on early layers.

use kad_core::LanguageModel;

use crate::decoder::spec::DecoderSpec;
use crate::error::LoadError;

/// A language model made of a stack of decoder layers, with an embedding and a head.
///
/// ```
/// use kad_backends::{Backend, Dtype, ModelRequest, Source, load, nano_models};
/// # if nano_models().is_empty() { return Ok(()); }
/// let request = ModelRequest {
///     name: "base".to_owned(),
///     source: Source::Nano("large-base".to_owned()),
///     backend: Backend::Naive,
///     dtype: Dtype::Auto,
/// };
/// let base = load(&request, &|_| ())?;
/// assert_eq!(base.model.spec().layers, 5);
/// assert_eq!(base.model.early_exit("draft", 2)?.spec().layers, 2);
/// assert!(!base.model.distribution_depends_on_pass());
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
pub trait LayeredModel: LanguageModel {
    /// Architecture of the model; `spec().layers` is the number of its layers.
    fn spec(&self) -> &DecoderSpec;

    /// The model `name` made of the first `layers` layers, the final norm and the head.
    ///
    /// Its weights are shared with this model, not copied; its sessions and KV caches are its own.
    /// It may outlive this model.
    ///
    /// # Errors
    /// [`LoadError::Config`] unless `0 < layers < spec().layers`; [`LoadError::Unsupported`] from a
    /// backend without early exits.
    fn early_exit(&self, name: &str, layers: usize) -> Result<Box<dyn LayeredModel>, LoadError>;

    /// A note about the model's cache, speed or rounding, for
    /// [`ModelDetails`](crate::ModelDetails).
    fn remark(&self) -> Option<String> {
        None
    }

    /// Version or threads of the library that computes the model, if they are settled at run time.
    /// Another version may be faster or compute other bits.
    fn library(&self) -> Option<String> {
        None
    }

    /// True if the distribution after a token depends, beyond rounding, on the other tokens of its
    /// forward pass. Verification with such a target is not exact.
    fn distribution_depends_on_pass(&self) -> bool {
        false
    }
}

/// The specification of `model`'s early exit after `layers` layers.
///
/// # Errors
/// [`LoadError::Config`] unless `0 < layers < model.spec().layers`.
pub(crate) fn spec(model: &dyn LayeredModel, layers: usize) -> Result<DecoderSpec, LoadError> {
    let all = model.spec().layers;
    if (1..all).contains(&layers) {
        return Ok(DecoderSpec { layers, ..model.spec().clone() });
    }
    let what = match all {
        1 => format!("is {layers}, but a model with one layer has no early exit"),
        _ => format!(
            "is {layers}, but the model has {all} layers: an early exit takes from 1 to {} of them",
            all - 1
        ),
    };
    let origin = format!("early exit of `{}`", model.name());
    Err(LoadError::Config { origin, key: "layers".to_owned(), what })
}
