//! GGUF tensor names to Hugging Face ones.

use crate::decoder::Slot;
use crate::decoder::family::Family;
use crate::decoder::spec::Norms;

/// What `general.architecture` may be.
pub(crate) const ARCHITECTURES: [(&str, Family); 5] = [
    ("llama", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("olmo2", Family::Olmo2),
    ("gemma3", Family::Gemma3),
];

/// Names outside the blocks.
const GLOBAL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Names inside block `i`, `blk.{i}.` and so on.
const IN_BLOCK: [(&str, Slot); 13] = [
    ("attn_norm", Slot::AttentionNorm),
    ("attn_q", Slot::Query),
    ("attn_k", Slot::Key),
    ("attn_v", Slot::Value),
    ("attn_q_norm", Slot::QueryNorm),
    ("attn_k_norm", Slot::KeyNorm),
    ("attn_output", Slot::Output),
    ("post_attention_norm", Slot::AttentionPostNorm),
    ("ffn_norm", Slot::FfnNorm),
    ("ffn_gate", Slot::Gate),
    ("ffn_up", Slot::Up),
    ("ffn_down", Slot::Down),
    ("post_ffw_norm", Slot::FfnPostNorm),
];

/// The norms of an architecture, by which tensors are named; Llama's if it is unknown.
pub(super) fn norms_of(architecture: &str) -> Norms {
    let found = ARCHITECTURES.iter().find(|(name, _)| *name == architecture);
    found.map_or_else(Norms::default, |(_, family)| family.norms())
}

/// The Hugging Face name of a tensor in a model whose norms are `norms`, or `None` for one that
/// has none in the families kad knows.
pub(super) fn to_hugging_face(name: &str, norms: Norms) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    if let Some((_, hf)) = GLOBAL.iter().find(|(gguf, _)| *gguf == stem) {
        return Some(format!("{hf}.{kind}"));
    }
    let (block, stem) = stem.strip_prefix("blk.")?.split_once('.')?;
    // A norm that the family does not have keeps its name, and is refused under it.
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
