//! Names of architectures and tensors in GGUF files.

use crate::decoder::LayerTensor;
use crate::decoder::family::Family;
use crate::decoder::spec::Norms;

/// Supported values of `general.architecture`.
pub(crate) const ARCHITECTURES: [(&str, Family); 5] = [
    ("llama", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("olmo2", Family::Olmo2),
    ("gemma3", Family::Gemma3),
];

/// Tensor names outside the layers: GGUF, Hugging Face.
const GLOBAL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Tensor names inside layer `i`, after the prefix `blk.{i}.`.
const IN_BLOCK: [(&str, LayerTensor); 13] = [
    ("attn_norm", LayerTensor::AttentionNorm),
    ("attn_q", LayerTensor::Query),
    ("attn_k", LayerTensor::Key),
    ("attn_v", LayerTensor::Value),
    ("attn_q_norm", LayerTensor::QueryNorm),
    ("attn_k_norm", LayerTensor::KeyNorm),
    ("attn_output", LayerTensor::Output),
    ("post_attention_norm", LayerTensor::AttentionPostNorm),
    ("ffn_norm", LayerTensor::FfnNorm),
    ("ffn_gate", LayerTensor::Gate),
    ("ffn_up", LayerTensor::Up),
    ("ffn_down", LayerTensor::Down),
    ("post_ffw_norm", LayerTensor::FfnPostNorm),
];

/// Norms of an architecture, on which tensor names depend; Llama's for an unknown architecture.
pub(super) fn norms_of(architecture: &str) -> Norms {
    let found = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    found.map_or_else(Norms::default, |(_, family)| family.norms())
}

/// Hugging Face's name of a tensor in a model with `norms`; `None` for an unknown tensor.
pub(super) fn to_hugging_face(name: &str, norms: Norms) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    if let Some((_, hf)) = GLOBAL.iter().find(|(gguf, _)| *gguf == stem) {
        return Some(format!("{hf}.{kind}"));
    }
    let (block, stem) = stem.strip_prefix("blk.")?.split_once('.')?;
    // A norm that the family does not have keeps its GGUF name; the error for it shows that name.
    let known = IN_BLOCK.iter().find(|(gguf, slot)| *gguf == stem && slot.goes_with(norms));
    known.map(|(_, slot)| format!("model.layers.{block}.{}.{kind}", slot.module(norms.place)))
}

#[cfg(test)]
mod tests {
    use super::{norms_of, to_hugging_face};

    #[test]
    fn names_are_translated_or_left_alone() {
        let cases = [
            ("llama", "token_embd.weight", "model.embed_tokens.weight"),
            ("llama", "output.weight", "lm_head.weight"),
            ("qwen2", "blk.11.attn_q.bias", "model.layers.11.self_attn.q_proj.bias"),
            ("llama", "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            ("qwen3", "blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
            ("qwen3", "blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"),
            ("gemma3", "blk.0.ffn_norm.weight", "model.layers.0.pre_feedforward_layernorm.weight"),
            (
                "gemma3",
                "blk.0.post_attention_norm.weight",
                "model.layers.0.post_attention_layernorm.weight",
            ),
            (
                "olmo2",
                "blk.0.post_ffw_norm.weight",
                "model.layers.0.post_feedforward_layernorm.weight",
            ),
        ];
        for (architecture, gguf, hf) in cases {
            assert_eq!(to_hugging_face(gguf, norms_of(architecture)).as_deref(), Some(hf));
        }
        for unknown in [
            "rope_freqs.weight",
            "blk.0.attn_q_norm.weight",
            "blk.0.post_attention_norm.weight",
            "weight",
            "blk.0.x",
        ] {
            assert_eq!(to_hugging_face(unknown, norms_of("llama")), None);
        }
        assert_eq!(to_hugging_face("blk.0.attn_norm.weight", norms_of("olmo2")), None);
    }
}
