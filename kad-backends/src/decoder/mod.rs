//! Decoder-only transformers as data, and what every interpreter of that data shares.
//!
//! One block, with `n(x) = x / sqrt(mean(x²) + ε) · weight`, each time with a weight of its own:
//!
//! ```text
//! x = n₁(h)      q, k, v = n_q(Q x + b_q), n_k(K x + b_k), V x + b_v
//! h ← h + n₂(O · Σ_s softmax_s(scale · rope(q) · rope(k_s)) v_s)
//! x = n₃(h)
//! h ← h + n₄(Down · (act(Gate x) ∘ Up x))
//! ```
//!
//! `h = scale · Embedding[token]` before the first one and `logits = Head · n(h)` after the last
//! one. Which of `n₁` to `n₄` there are, and `n_q`, `n_k`, and the biases, the family says
//! ([`DecoderSpec`]); what is not there is left out, and a scale is 1. The sum runs over the tokens
//! up to this one, or over the latest of them ([`spec::Window`]). A matrix is `[out, in]`,
//! row-major.

pub(crate) mod family;
pub mod spec;

use spec::{DecoderSpec, NormPlace, Norms, QueryKeyNorm};

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
    /// Bias of the queries.
    QueryBias,
    /// Bias of the keys.
    KeyBias,
    /// Bias of the values.
    ValueBias,
    /// Norm of the queries, `[head_dim]` or, of all heads together, `[heads · head_dim]`.
    QueryNorm,
    /// Norm of the keys, `[head_dim]` or, of all heads together, `[kv_heads · head_dim]`.
    KeyNorm,
    /// Output projection of attention, `[hidden, heads · head_dim]`.
    Output,
    /// Norm of what attention adds to the residual stream, `[hidden]`.
    AttentionPostNorm,
    /// Norm before the feed-forward layer, `[hidden]`.
    FfnNorm,
    /// Gate, `[ffn, hidden]`.
    Gate,
    /// What the gate multiplies, `[ffn, hidden]`.
    Up,
    /// Back to the residual stream, `[hidden, ffn]`.
    Down,
    /// Norm of what the feed-forward layer adds to the residual stream, `[hidden]`.
    FfnPostNorm,
}

impl Slot {
    /// Every slot that a block of some family has.
    pub const ALL: [Slot; 16] = [
        Slot::AttentionNorm,
        Slot::Query,
        Slot::Key,
        Slot::Value,
        Slot::QueryBias,
        Slot::KeyBias,
        Slot::ValueBias,
        Slot::QueryNorm,
        Slot::KeyNorm,
        Slot::Output,
        Slot::AttentionPostNorm,
        Slot::FfnNorm,
        Slot::Gate,
        Slot::Up,
        Slot::Down,
        Slot::FfnPostNorm,
    ];

    /// Whether a block of `spec` has it.
    pub fn is_in(self, spec: &DecoderSpec) -> bool {
        match self {
            Slot::QueryBias | Slot::KeyBias | Slot::ValueBias => spec.qkv_bias,
            other => other.goes_with(spec.norms),
        }
    }

    /// Whether it is no norm, or one of `norms`.
    pub(crate) fn goes_with(self, norms: Norms) -> bool {
        match self {
            Slot::AttentionNorm | Slot::FfnNorm => norms.place != NormPlace::After,
            Slot::AttentionPostNorm | Slot::FfnPostNorm => norms.place != NormPlace::Before,
            Slot::QueryNorm | Slot::KeyNorm => norms.query_key != QueryKeyNorm::None,
            _ => true,
        }
    }

    /// Hugging Face's name of this tensor in block `layer` of a model of `spec`.
    ///
    /// Only one name depends on the family: `post_attention_layernorm` is the norm *before* the
    /// feed-forward layer where there are no norms after layers, and else the norm *of* attention.
    ///
    /// ```
    /// # use kad_backends::{decoder::Slot, families::from_hf_config};
    /// # let spec = from_hf_config(&serde_json::json!({"model_type": "llama", "vocab_size": 8,
    /// #     "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
    /// #     "intermediate_size": 8, "max_position_embeddings": 8}))?;
    /// assert_eq!(Slot::Query.name(&spec, 3), "model.layers.3.self_attn.q_proj.weight");
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    pub fn name(self, spec: &DecoderSpec, layer: usize) -> String {
        let kind = match self {
            Slot::QueryBias | Slot::KeyBias | Slot::ValueBias => "bias",
            _ => "weight",
        };
        format!("model.layers.{layer}.{}.{kind}", self.module(spec.norms.place))
    }

    /// Hugging Face's name of what it is a weight or a bias of, inside a block.
    pub(crate) fn module(self, place: NormPlace) -> &'static str {
        match self {
            Slot::AttentionNorm => "input_layernorm",
            Slot::Query | Slot::QueryBias => "self_attn.q_proj",
            Slot::Key | Slot::KeyBias => "self_attn.k_proj",
            Slot::Value | Slot::ValueBias => "self_attn.v_proj",
            Slot::QueryNorm => "self_attn.q_norm",
            Slot::KeyNorm => "self_attn.k_norm",
            Slot::Output => "self_attn.o_proj",
            Slot::AttentionPostNorm => "post_attention_layernorm",
            Slot::FfnNorm => match place {
                NormPlace::Before => "post_attention_layernorm",
                NormPlace::After | NormPlace::Both => "pre_feedforward_layernorm",
            },
            Slot::Gate => "mlp.gate_proj",
            Slot::Up => "mlp.up_proj",
            Slot::Down => "mlp.down_proj",
            Slot::FfnPostNorm => "post_feedforward_layernorm",
        }
    }

    /// Its dimensions, slowest first.
    pub fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let (queries, keys) = (spec.query_width(), spec.kv_width());
        let normed = |width: usize| match spec.norms.query_key {
            QueryKeyNorm::Whole => vec![width],
            QueryKeyNorm::None | QueryKeyNorm::Head => vec![spec.head_dim],
        };
        match self {
            Slot::AttentionNorm | Slot::AttentionPostNorm | Slot::FfnNorm | Slot::FfnPostNorm => {
                vec![spec.hidden]
            }
            Slot::Query => vec![queries, spec.hidden],
            Slot::Key | Slot::Value => vec![keys, spec.hidden],
            Slot::QueryBias => vec![queries],
            Slot::KeyBias | Slot::ValueBias => vec![keys],
            Slot::QueryNorm => normed(queries),
            Slot::KeyNorm => normed(keys),
            Slot::Output => vec![spec.hidden, queries],
            Slot::Gate | Slot::Up => vec![spec.ffn, spec.hidden],
            Slot::Down => vec![spec.hidden, spec.ffn],
        }
    }
}

/// The weight of the norm called `name`, `[width]`, as the formula has it: 1 is added where files
/// hold `weight − 1`.
///
/// # Errors
/// [`LoadError::MissingTensor`] or [`LoadError::WrongSize`].
pub fn norm_weight(
    spec: &DecoderSpec,
    weights: &Weights,
    name: &str,
) -> Result<Vec<f64>, LoadError> {
    let missing = if spec.norms.minus_one { 1.0 } else { 0.0 };
    let stored = weights.tensor(name)?.to_f32()?;
    Ok(stored.into_iter().map(|stored| f64::from(stored) + missing).collect())
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
        let slots = Slot::ALL.into_iter().filter(|slot| slot.is_in(spec));
        all.extend(slots.map(|slot| (slot.name(spec, layer), slot.shape(spec))));
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
