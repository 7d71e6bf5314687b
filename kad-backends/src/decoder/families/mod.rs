//! Families of models: functions from a file's configuration to a [`DecoderSpec`].
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
//! A setting that changes what the model computes is honoured or refused, never ignored.

mod config;
mod gguf;

pub use config::from_hf_config;
pub use gguf::from_gguf;
pub(crate) use gguf::norms_of;

use super::spec::{DecoderSpec, NormPlace, Norms, QueryKeyNorm, Rope, Window};
use super::{HEAD, tensors};
use crate::error::LoadError;
use crate::weights::Weights;

/// What a file says it is, where that decides more than its settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Olmo2,
    Gemma3,
}

impl Family {
    /// The family called `name` in `known`; `what` is being looked for.
    fn named(
        name: &str,
        known: &[(&str, Family)],
        what: &'static str,
    ) -> Result<Family, LoadError> {
        let found = known.iter().find(|(known, _)| *known == name).map(|(_, family)| *family);
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        found.ok_or_else(|| LoadError::unsupported(what, name, &names))
    }

    /// Its norms, in files that hold their weights as they are.
    fn norms(self) -> Norms {
        let (place, query_key) = match self {
            Family::Llama | Family::Mistral | Family::Qwen2 => {
                (NormPlace::Before, QueryKeyNorm::None)
            }
            Family::Qwen3 => (NormPlace::Before, QueryKeyNorm::Head),
            Family::Olmo2 => (NormPlace::After, QueryKeyNorm::Whole),
            Family::Gemma3 => (NormPlace::Both, QueryKeyNorm::Head),
        };
        Norms { place, query_key, minus_one: false }
    }
}

/// The window of `tokens` in `layers`, which turn by `rope`; none where it would change nothing:
/// the whole context fits, and they turn as those that see all of it.
fn window(
    tokens: usize,
    layers: Vec<bool>,
    (whole, rope): (&Rope, Rope),
    context: usize,
) -> Option<Window> {
    (tokens < context || rope != *whole).then_some(Window { tokens, layers, rope })
}

/// Gemma's pattern: of every `period` layers the last one sees all, the others have the window.
fn every_nth_sees_all(layers: usize, period: usize) -> Vec<bool> {
    (1..=layers).map(|layer| !layer.is_multiple_of(period)).collect()
}

/// Refuses a number of layers that no model has, before anything is made for each of them.
fn check_layers(layers: usize) -> Result<(), String> {
    const MOST_LAYERS: usize = 1 << 12;
    if layers > MOST_LAYERS { Err(format!("is {layers}, which no model has")) } else { Ok(()) }
}

/// Refuses what no interpreter can run, and sizes no model has, before anyone allocates by them.
fn check(spec: &DecoderSpec, wrong: impl Fn(&str, String) -> LoadError) -> Result<(), LoadError> {
    const LARGEST: usize = 1 << 24;
    spec.check()?;
    let sizes = [
        ("vocabulary size", spec.vocab_rows),
        ("hidden size", spec.hidden),
        ("number of heads", spec.heads),
        ("head size", spec.head_dim),
        ("feed-forward size", spec.ffn),
        ("context length", spec.context_len),
    ];
    if let Some((what, size)) = sizes.into_iter().find(|(_, size)| *size > LARGEST) {
        return Err(wrong(what, format!("is {size}, which no model has")));
    }
    let possible =
        |rope: &Rope| rope.frequencies(spec.head_dim).into_iter().all(|f| f.is_finite() && f > 0.0);
    let ropes = [&spec.rope].into_iter().chain(spec.window.iter().map(|window| &window.rope));
    match ropes.into_iter().find(|rope| !possible(rope)) {
        Some(rope) => Err(wrong("rotary embedding", format!("{rope:?} is impossible"))),
        None => Ok(()),
    }
}

/// Checks that the file has exactly the architecture's tensors, in the right shapes.
///
/// A tensor too many is as wrong as one too few: it stands for something the spec leaves out.
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
    // Copies of what the spec already says.
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
