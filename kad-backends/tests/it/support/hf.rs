//! Writes small model folders in Hugging Face's layout.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::{f32_bytes, random, small_bpe};

pub(crate) const CHATML: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != \
    'system' %}{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + \
    message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

pub(crate) fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
        "vocab_size": small_bpe().tokens.len(), "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": true, "eos_token_id": 0,
    })
}

pub(crate) fn tokenizer() -> Value {
    let bpe = small_bpe();
    let vocab: BTreeMap<&str, usize> =
        bpe.tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let added: Vec<Value> = (0..3)
        .map(|id| {
            json!({"id": id, "content": bpe.tokens[id], "special": true, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0", "truncation": {"max_length": 4, "stride": 0, "direction": "Right",
        "strategy": "LongestFirst"}, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": {"type": "BPE", "vocab": vocab, "merges": bpe.merges},
    })
}

/// Names, shapes and values of the small model's tensors.
pub(crate) fn tensors() -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let (hidden, kv, ffn) = (32, 16, 48);
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![small_bpe().tokens.len(), hidden]),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![kv, hidden]),
            ("self_attn.v_proj", vec![kv, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("mlp.gate_proj", vec![ffn, hidden]),
            ("mlp.up_proj", vec![ffn, hidden]),
            ("mlp.down_proj", vec![hidden, ffn]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let named = shapes.into_iter().enumerate().map(|(seed, (name, shape))| {
        let values = random(seed as u64, shape.iter().product(), 0.5);
        (name, shape, values)
    });
    named.collect()
}

pub(crate) fn safetensors(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., values)| f32_bytes(values)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn write_json(folder: &Path, file: &str, value: &Value) {
    std::fs::write(folder.join(file), value.to_string()).unwrap();
}

/// Writes a folder with a single weights file.
pub(crate) fn write_single(folder: &Path) {
    write_json(folder, "config.json", &config());
    write_json(folder, "tokenizer.json", &tokenizer());
    let settings = json!({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"},
                          "chat_template": CHATML});
    write_json(folder, "tokenizer_config.json", &settings);
    std::fs::write(folder.join("model.safetensors"), safetensors(&tensors())).unwrap();
}

/// Writes the same model in three shards.
pub(crate) fn write_sharded(folder: &Path) {
    write_single(folder);
    std::fs::remove_file(folder.join("model.safetensors")).unwrap();
    let all = tensors();
    let mut map = BTreeMap::new();
    for (i, part) in all.chunks(all.len().div_ceil(3)).enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", i + 1);
        std::fs::write(folder.join(&file), safetensors(part)).unwrap();
        part.iter().for_each(|(name, ..)| drop(map.insert(name.clone(), file.clone())));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    write_json(folder, "model.safetensors.index.json", &index);
}
