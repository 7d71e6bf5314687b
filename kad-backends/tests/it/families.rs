//! Configurations of published models, and what is refused.

use kad_backends::decoder::families::from_hf_config;
use kad_backends::decoder::spec::{
    Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales,
};
use serde_json::{Value, json};

fn llama() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000,
        "rope_scaling": null, "hidden_act": "silu", "tie_word_embeddings": true,
        "attention_bias": false, "pretraining_tp": 1, "torch_dtype": "bfloat16",
    })
}

fn with(changes: Value) -> Value {
    let mut config = llama();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn error(changes: Value) -> String {
    from_hf_config(&with(changes)).unwrap_err().to_string()
}

#[test]
fn smollm2_is_read() {
    let expected = DecoderSpec {
        family: "llama".into(),
        vocab_rows: 49152,
        hidden: 576,
        layers: 30,
        heads: 9,
        kv_heads: 3,
        head_dim: 64,
        ffn: 1536,
        context_len: 8192,
        norm_eps: 1e-5,
        norms: Norms::default(),
        rope: Rope { theta: 100_000.0, pairing: Pairing::Halves, scaling: RopeScaling::None },
        window: None,
        scales: Scales::default(),
        qkv_bias: false,
        tied_head: true,
        activation: Activation::Silu,
    };
    assert_eq!(from_hf_config(&llama()).unwrap(), expected);
    // transformers 5 writes the same model so:
    let mut new = with(json!({"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
                              "dtype": "bfloat16", "head_dim": 64}));
    for gone in ["rope_theta", "rope_scaling", "torch_dtype"] {
        new.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(from_hf_config(&new).unwrap(), expected);
}

#[test]
fn families_differ_where_they_should() {
    // Qwen2.5 writes a window and switches it off.
    let qwen =
        with(json!({"model_type": "qwen2", "sliding_window": 100, "use_sliding_window": false,
                           "rope_theta": 1e6, "attention_bias": null}));
    let spec = from_hf_config(&qwen).unwrap();
    assert!(spec.qkv_bias && spec.rope.theta == 1e6);
    let mistral = with(json!({"model_type": "mistral", "sliding_window": null, "head_dim": 128,
                              "tie_word_embeddings": null, "num_key_value_heads": null}));
    let spec = from_hf_config(&mistral).unwrap();
    assert_eq!(
        (spec.head_dim, spec.kv_heads, spec.tied_head, spec.qkv_bias),
        (128, 9, false, false)
    );
    assert!(
        from_hf_config(&with(json!({"model_type": "mistral", "sliding_window": 8192}))).is_ok()
    );
}

#[test]
fn scalings_are_read_in_both_spellings() {
    let scaling = |config: Value| from_hf_config(&with(config)).unwrap().rope.scaling;
    let linear = json!({"rope_scaling": {"type": "linear", "factor": 4.0}});
    assert_eq!(scaling(linear), RopeScaling::Linear { factor: 4.0 });
    let llama3 = json!({"rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}});
    let expected = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 8192,
    };
    assert_eq!(scaling(llama3), expected);
    assert!(
        error(json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}))
            .contains("`rope_scaling.low_freq_factor` is missing")
    );
}

#[test]
fn what_would_be_ignored_is_refused() {
    for (changes, wanted) in [
        (
            json!({"model_type": "mamba"}),
            "model type is not supported: mamba; supported: llama, mistral, qwen2",
        ),
        (json!({"model_type": null}), "`model_type` is missing"),
        (
            json!({"rope_scaling": {"type": "yarn", "factor": 4}}),
            "rope scaling is not supported: yarn",
        ),
        (json!({"rope_scaling": {"rope_type": "dynamic"}}), "not supported: dynamic"),
        (json!({"attention_bias": true}), "`attention_bias` = true"),
        (json!({"mlp_bias": true}), "`mlp_bias` = true"),
        (json!({"partial_rotary_factor": 0.5}), "`partial_rotary_factor`"),
        (
            json!({"quantization_config": {"quant_method": "gptq"}}),
            "`quantization_config` \"gptq\"",
        ),
        (
            json!({"model_type": "mistral", "sliding_window": 4096}),
            "a window of 4096 tokens in a context of 8192",
        ),
        (
            json!({"model_type": "qwen2", "sliding_window": 64, "use_sliding_window": true}),
            "sliding window",
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "`layer_types` has \"sliding_attention\"",
        ),
        (json!({"hidden_act": "relu"}), "activation is not supported: relu"),
        (json!({"hidden_size": "big"}), "`hidden_size` is \"big\", not a size"),
        (json!({"hidden_size": null}), "`hidden_size` is missing"),
        (json!({"num_attention_heads": 0}), "`num_attention_heads` is 0"),
        (json!({"num_hidden_layers": 1u64 << 60}), "which no model has"),
        (json!({"num_key_value_heads": 2}), "does not divide 9 heads"),
        (json!({"head_dim": 63}), "`head_dim` is 63"),
        (json!({"rms_norm_eps": -1}), "`rms_norm_eps` is -1"),
        (json!({"rope_theta": -1.0}), "`rope_theta` is -1"),
        (json!({"rope_scaling": {"type": "linear", "factor": 0}}), "has impossible factors"),
        (
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                   "high_freq_factor": 1, "original_max_position_embeddings": 8192}}),
            "has impossible factors",
        ),
        (json!({"rope_scaling": "yarn"}), "`rope_scaling` is \"yarn\", not a table"),
    ] {
        let message = error(changes.clone());
        assert!(message.contains(wanted), "{changes}: {message}");
    }
}
