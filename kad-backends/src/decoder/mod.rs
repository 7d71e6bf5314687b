//! Decoder-only transformers: architecture, tensor names and shapes, shared by all interpreters.
//!
//! One layer, with RMSNorm `n(x) = x / sqrt(mean(x²) + ε) · weight`, a separate weight for each
//! norm:
//!
//! ```text
//! x = n₁(h)      q, k, v = n_q(Q x + b_q), n_k(K x + b_k), V x + b_v
//! h ← h + n₂(O · Σ_s softmax_s(scale · rope(q) · rope(k_s)) v_s)
//! x = n₃(h)
//! h ← h + n₄(Down · (act(Gate x) ∘ Up x))
//! ```
//!
//! The first layer starts from `h = scale · Embedding[token]`; after the last layer
//! `logits = Head · n(h)`. A [`DecoderSpec`] states the norms `n₁` to `n₄`, `n_q`, `n_k`, the
//! biases and the scales of a model; an absent norm is the identity, an absent scale 1. The sum
//! runs over the tokens up to the current one, or over the latest of them ([`spec::Window`]).
//! Matrices are `[out, in]`, row-major.

pub(crate) mod family;
pub mod spec;

use spec::{DecoderSpec, NormPlace, Norms, QueryKeyNorm};

use crate::error::LoadError;
use crate::weights::Weights;

/// Name of the embedding, `[vocab_rows, hidden]`.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// Name of the final norm's weight, `[hidden]`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// Name of the head (output projection) of models without a tied head, `[vocab_rows, hidden]`.
pub const HEAD: &str = "lm_head.weight";

/// Name of the matrix that computes the logits: the embedding for a tied head.
pub fn head_name(spec: &DecoderSpec) -> &'static str {
    if spec.tied_head { EMBEDDING } else { HEAD }
}

/// The tensors of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerTensor {
    /// Norm before attention, `[hidden]`.
    AttentionNorm,
    /// Query projection, `[heads · head_dim, hidden]`.
    Query,
    /// Key projection, `[kv_heads · head_dim, hidden]`.
    Key,
    /// Value projection, `[kv_heads · head_dim, hidden]`.
    Value,
    /// Bias of the queries, `[heads · head_dim]`.
    QueryBias,
    /// Bias of the keys, `[kv_heads · head_dim]`.
    KeyBias,
    /// Bias of the values, `[kv_heads · head_dim]`.
    ValueBias,
    /// Norm of the queries: `[head_dim]` per head, or `[heads · head_dim]` over all heads.
    QueryNorm,
    /// Norm of the keys: `[head_dim]` per head, or `[kv_heads · head_dim]` over all heads.
    KeyNorm,
    /// Output projection of attention, `[hidden, heads · head_dim]`.
    Output,
    /// Norm of the attention's output, `[hidden]`.
    AttentionPostNorm,
    /// Norm before the feed-forward network, `[hidden]`.
    FfnNorm,
    /// Gate projection of the feed-forward network, `[ffn, hidden]`.
    Gate,
    /// Up projection of the feed-forward network, `[ffn, hidden]`.
    Up,
    /// Down projection of the feed-forward network, `[hidden, ffn]`.
    Down,
    /// Norm of the feed-forward network's output, `[hidden]`.
    FfnPostNorm,
}

impl LayerTensor {
    /// All tensors that a layer of some family has.
    pub const ALL: [LayerTensor; 16] = [
        LayerTensor::AttentionNorm,
        LayerTensor::Query,
        LayerTensor::Key,
        LayerTensor::Value,
        LayerTensor::QueryBias,
        LayerTensor::KeyBias,
        LayerTensor::ValueBias,
        LayerTensor::QueryNorm,
        LayerTensor::KeyNorm,
        LayerTensor::Output,
        LayerTensor::AttentionPostNorm,
        LayerTensor::FfnNorm,
        LayerTensor::Gate,
        LayerTensor::Up,
        LayerTensor::Down,
        LayerTensor::FfnPostNorm,
    ];

    /// True if a layer of `spec` has this tensor.
    pub fn is_in(self, spec: &DecoderSpec) -> bool {
        match self {
            LayerTensor::QueryBias | LayerTensor::KeyBias | LayerTensor::ValueBias => spec.qkv_bias,
            other => other.goes_with(spec.norms),
        }
    }

    /// False for a norm that is not among `norms`.
    pub(crate) fn goes_with(self, norms: Norms) -> bool {
        match self {
            LayerTensor::AttentionNorm | LayerTensor::FfnNorm => norms.place != NormPlace::After,
            LayerTensor::AttentionPostNorm | LayerTensor::FfnPostNorm => {
                norms.place != NormPlace::Before
            }
            LayerTensor::QueryNorm | LayerTensor::KeyNorm => norms.query_key != QueryKeyNorm::None,
            _ => true,
        }
    }

    /// Hugging Face's name of this tensor in layer `layer` of a model of `spec`.
    ///
    /// One name depends on the family. `post_attention_layernorm` is the norm before the
    /// feed-forward network if sublayers have no norm on their output, and the norm of the
    /// attention's output otherwise.
    ///
    /// ```
    /// # use kad_backends::{decoder::LayerTensor, families::from_hf_config};
    /// # let spec = from_hf_config(&serde_json::json!({"model_type": "llama", "vocab_size": 8,
    /// #     "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
    /// #     "intermediate_size": 8, "max_position_embeddings": 8}))?;
    /// assert_eq!(LayerTensor::Query.name(&spec, 3), "model.layers.3.self_attn.q_proj.weight");
    /// # Ok::<(), kad_backends::LoadError>(())
    /// ```
    pub fn name(self, spec: &DecoderSpec, layer: usize) -> String {
        let kind = match self {
            LayerTensor::QueryBias | LayerTensor::KeyBias | LayerTensor::ValueBias => "bias",
            _ => "weight",
        };
        format!("model.layers.{layer}.{}.{kind}", self.module(spec.norms.place))
    }

    /// Hugging Face's name of the module of this weight or bias, relative to the layer.
    pub(crate) fn module(self, place: NormPlace) -> &'static str {
        match self {
            LayerTensor::AttentionNorm => "input_layernorm",
            LayerTensor::Query | LayerTensor::QueryBias => "self_attn.q_proj",
            LayerTensor::Key | LayerTensor::KeyBias => "self_attn.k_proj",
            LayerTensor::Value | LayerTensor::ValueBias => "self_attn.v_proj",
            LayerTensor::QueryNorm => "self_attn.q_norm",
            LayerTensor::KeyNorm => "self_attn.k_norm",
            LayerTensor::Output => "self_attn.o_proj",
            LayerTensor::AttentionPostNorm => "post_attention_layernorm",
            LayerTensor::FfnNorm => match place {
                NormPlace::Before => "post_attention_layernorm",
                NormPlace::After | NormPlace::Both => "pre_feedforward_layernorm",
            },
            LayerTensor::Gate => "mlp.gate_proj",
            LayerTensor::Up => "mlp.up_proj",
            LayerTensor::Down => "mlp.down_proj",
            LayerTensor::FfnPostNorm => "post_feedforward_layernorm",
        }
    }

    /// Shape of the tensor, the slowest-varying dimension first.
    pub fn shape(self, spec: &DecoderSpec) -> Vec<usize> {
        let (queries, keys) = (spec.query_width(), spec.kv_width());
        let normed = |width: usize| match spec.norms.query_key {
            QueryKeyNorm::Whole => vec![width],
            QueryKeyNorm::None | QueryKeyNorm::Head => vec![spec.head_dim],
        };
        match self {
            LayerTensor::AttentionNorm
            | LayerTensor::AttentionPostNorm
            | LayerTensor::FfnNorm
            | LayerTensor::FfnPostNorm => {
                vec![spec.hidden]
            }
            LayerTensor::Query => vec![queries, spec.hidden],
            LayerTensor::Key | LayerTensor::Value => vec![keys, spec.hidden],
            LayerTensor::QueryBias => vec![queries],
            LayerTensor::KeyBias | LayerTensor::ValueBias => vec![keys],
            LayerTensor::QueryNorm => normed(queries),
            LayerTensor::KeyNorm => normed(keys),
            LayerTensor::Output => vec![spec.hidden, queries],
            LayerTensor::Gate | LayerTensor::Up => vec![spec.ffn, spec.hidden],
            LayerTensor::Down => vec![spec.hidden, spec.ffn],
        }
    }
}

/// The weight of the norm `name`, `[width]`, as in the formula: adds 1 if files store `weight − 1`.
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

/// Name and shape of every tensor of the model.
pub fn tensors(spec: &DecoderSpec) -> Vec<(String, Vec<usize>)> {
    let table = vec![spec.vocab_rows, spec.hidden];
    let mut all =
        vec![(EMBEDDING.to_owned(), table.clone()), (FINAL_NORM.to_owned(), vec![spec.hidden])];
    if !spec.tied_head {
        all.push((HEAD.to_owned(), table));
    }
    for layer in 0..spec.layers {
        let slots = LayerTensor::ALL.into_iter().filter(|slot| slot.is_in(spec));
        all.extend(slots.map(|slot| (slot.name(spec, layer), slot.shape(spec))));
    }
    all
}

/// Checks the specification, and the presence and shape of every tensor.
///
/// `vocab` is the size of the tokenizer's vocabulary. The embedding may have more rows, but not
/// fewer.
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
