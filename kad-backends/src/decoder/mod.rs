//! Decoder-only transformers as data, and what every interpreter of that data shares.
//!
//! One block, with `n(x) = x / sqrt(mean(x²) + ε) · weight`:
//!
//! ```text
//! h ← h + O · attention(rope(Q n(h) + b_q), rope(K n(h) + b_k), V n(h) + b_v)
//! h ← h + Down · (act(Gate n(h)) ∘ Up n(h))
//! ```
//!
//! and `logits = Head · n(h)` after the last one. A matrix is `[out, in]`, row-major.

pub mod families;
pub mod spec;

use spec::DecoderSpec;

use crate::error::LoadError;
use crate::weights::Weights;

/// The embedding, `[vocab_rows, hidden]`.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Weight of the norm before the head, `[hidden]`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// The output projection of models that do not reuse the embedding, `[vocab_rows, hidden]`.
pub const HEAD: &str = "lm_head.weight";

/// The name of the matrix that makes logits.
pub fn head_name(spec: &DecoderSpec) -> &'static str {
    if spec.tied_head { EMBEDDING } else { HEAD }
}

/// Tensors of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Norm before attention, `[hidden]`.
    AttentionNorm,
    /// Query projection, `[heads · head_dim, hidden]`.
    Query,
    /// Key projection, `[kv_heads · head_dim, hidden]`.
    Key,
    /// Value projection, `[kv_heads · head_dim, hidden]`.
    Value,
    /// Bias of the queries, if the model has one.
    QueryBias,
    /// Bias of the keys, if the model has one.
    KeyBias,
    /// Bias of the values, if the model has one.
    ValueBias,
    /// Output projection of attention, `[hidden, heads · head_dim]`.
    Output,
    /// Norm before the feed-forward layer, `[hidden]`.
    FfnNorm,
    /// Gate, `[ffn, hidden]`.
    Gate,
    /// What the gate multiplies, `[ffn, hidden]`.
    Up,
    /// Back to the residual stream, `[hidden, ffn]`.
    Down,
}

impl Slot {
    /// Every slot a block has.
    pub const ALL: [Slot; 12] = [
        Slot::AttentionNorm,
        Slot::Query,
        Slot::Key,
        Slot::Value,
        Slot::QueryBias,
        Slot::KeyBias,
        Slot::ValueBias,
        Slot::Output,
        Slot::FfnNorm,
        Slot::Gate,
        Slot::Up,
        Slot::Down,
    ];

    /// Hugging Face's name of this tensor in block `layer`.
    ///
    /// ```
    /// use kad_backends::decoder::Slot;
    /// assert_eq!(Slot::Query.name(3), "model.layers.3.self_attn.q_proj.weight");
    /// ```
    pub fn name(self, layer: usize) -> String {
        let part = match self {
            Slot::AttentionNorm => "input_layernorm.weight",
            Slot::Query => "self_attn.q_proj.weight",
            Slot::Key => "self_attn.k_proj.weight",
            Slot::Value => "self_attn.v_proj.weight",
            Slot::QueryBias => "self_attn.q_proj.bias",
            Slot::KeyBias => "self_attn.k_proj.bias",
            Slot::ValueBias => "self_attn.v_proj.bias",
            Slot::Output => "self_attn.o_proj.weight",
            Slot::FfnNorm => "post_attention_layernorm.weight",
            Slot::Gate => "mlp.gate_proj.weight",
            Slot::Up => "mlp.up_proj.weight",
            Slot::Down => "mlp.down_proj.weight",
        };
        format!("model.layers.{layer}.{part}")
    }

    /// Its dimensions, slowest first.
    pub fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let (queries, keys) = (spec.query_width(), spec.kv_width());
        match self {
            Slot::AttentionNorm | Slot::FfnNorm => vec![spec.hidden],
            Slot::Query => vec![queries, spec.hidden],
            Slot::Key | Slot::Value => vec![keys, spec.hidden],
            Slot::QueryBias => vec![queries],
            Slot::KeyBias | Slot::ValueBias => vec![keys],
            Slot::Output => vec![spec.hidden, queries],
            Slot::Gate | Slot::Up => vec![spec.ffn, spec.hidden],
            Slot::Down => vec![spec.hidden, spec.ffn],
        }
    }

    fn is_bias(self) -> bool {
        matches!(self, Slot::QueryBias | Slot::KeyBias | Slot::ValueBias)
    }
}

/// Every tensor of the model with its shape: what a file must hold.
pub fn tensors(spec: &DecoderSpec) -> Vec<(String, Vec<usize>)> {
    let table = vec![spec.vocab_rows, spec.hidden];
    let mut all =
        vec![(EMBEDDING.to_owned(), table.clone()), (FINAL_NORM.to_owned(), vec![spec.hidden])];
    if !spec.tied_head {
        all.push((HEAD.to_owned(), table));
    }
    for layer in 0..spec.layers {
        let slots = Slot::ALL.into_iter().filter(|slot| spec.qkv_bias || !slot.is_bias());
        all.extend(slots.map(|slot| (slot.name(layer), slot.shape(spec))));
    }
    all
}

/// Checks, before anything is computed, that the specification makes sense and that every tensor
/// it needs is there in the right shape.
///
/// `vocab` is the tokenizer's size: an embedding may have more rows, never fewer.
///
/// # Errors
/// [`LoadError::Config`], [`LoadError::MissingTensor`] or [`LoadError::WrongShape`].
pub fn check(spec: &DecoderSpec, weights: &Weights, vocab: usize) -> Result<(), LoadError> {
    spec.check()?;
    if vocab == 0 || vocab > spec.vocab_rows {
        let what = format!("is {}, but the tokenizer has {vocab} tokens", spec.vocab_rows);
        return Err(spec::bad("vocab_size", what));
    }
    for (name, shape) in tensors(spec) {
        weights.tensor(&name)?.expect_shape(&shape)?;
    }
    Ok(())
}
