//! Reads a [`DecoderSpec`] from the configuration of a model family.
//!
//! | family | Hugging Face `model_type` | GGUF architecture |
//! |---|---|---|
//! | Llama 1–3, Vicuna, TinyLlama, SmolLM2 | `llama` | `llama` |
//! | Mistral, with or without its sliding window | `mistral` | `llama`, without |
//! | Qwen2, Qwen2.5, with or without a window | `qwen2` | `qwen2`, without |
//! | Qwen3 (dense), with or without a window | `qwen3` | `qwen3`, without |
//! | OLMo-2 | `olmo2` | `olmo2` |
//! | Gemma 3, text | `gemma3_text` | `gemma3` |
//!
//! A setting that changes the computation is applied or refused, never ignored.

mod checks;
mod config;
mod gguf;

pub use config::from_hf_config;
pub use gguf::from_gguf;

use crate::decoder::spec::DecoderSpec;
use crate::decoder::{HEAD, tensors};
use crate::error::LoadError;
use crate::weights::Weights;

/// Checks that the file has the architecture's tensors in the right shapes, and no others.
///
/// A superfluous tensor is an error too: it belongs to an operation that the spec lacks.
///
/// # Errors
/// [`LoadError::MissingTensor`], [`LoadError::WrongShape`], [`LoadError::Unsupported`].
pub(crate) fn check_tensors(spec: &DecoderSpec, weights: &Weights) -> Result<(), LoadError> {
    let expected = tensors(spec);
    for (name, shape) in &expected {
        weights.tensor(name)?.expect_shape(shape)?;
    }
    let expected: std::collections::BTreeSet<&str> =
        expected.iter().map(|(name, _)| name.as_str()).collect();
    // Tensors that repeat information of the specification.
    let redundant = |name: &str| {
        name == gguf::ROPE_FACTORS
            || name.ends_with(".rotary_emb.inv_freq")
            || (spec.tied_head && name == HEAD)
    };
    match weights.names().find(|name| !expected.contains(name) && !redundant(name)) {
        None => Ok(()),
        Some(name) => {
            let found = format!("`{name}`, which a {} model does not have", spec.family);
            Err(LoadError::unsupported("tensor", found, &["the family's own tensors"]))
        }
    }
}
