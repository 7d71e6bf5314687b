//! GGUF tensor names to Hugging Face ones.

/// Names outside the blocks.
const GLOBAL: [(&str, &str); 3] =
    [("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head")];

/// Names inside block `i`: `blk.{i}.` to `model.layers.{i}.`.
const IN_BLOCK: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// The Hugging Face name of a tensor, or `None` for one that has none in the families kad knows.
pub(super) fn to_hugging_face(name: &str) -> Option<String> {
    let (stem, kind) = name.rsplit_once('.')?;
    let lookup = |table: &[(&str, &'static str)], stem: &str| {
        table.iter().find(|(gguf, _)| *gguf == stem).map(|(_, hf)| *hf)
    };
    if let Some(hf) = lookup(&GLOBAL, stem) {
        return Some(format!("{hf}.{kind}"));
    }
    let (block, stem) = stem.strip_prefix("blk.")?.split_once('.')?;
    let hf = lookup(&IN_BLOCK, stem)?;
    Some(format!("model.layers.{block}.{hf}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::to_hugging_face;

    #[test]
    fn names_are_translated_or_left_alone() {
        let cases = [
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("output.weight", "lm_head.weight"),
            ("blk.11.attn_q.bias", "model.layers.11.self_attn.q_proj.bias"),
            ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
        ];
        for (gguf, hf) in cases {
            assert_eq!(to_hugging_face(gguf).as_deref(), Some(hf));
        }
        for unknown in ["rope_freqs.weight", "blk.0.attn_q_norm.weight", "weight", "blk.0.x"] {
            assert_eq!(to_hugging_face(unknown), None);
        }
    }
}
