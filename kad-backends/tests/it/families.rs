//! Configurations of published models, and refused settings.

use kad_backends::decoder::spec::{
    Activation, DecoderSpec, NormPlace, Norms, Pairing, QueryKeyNorm, Rope, RopeScaling, Scales,
};
use kad_backends::families::from_hf_config;
use serde_json::{Value, json};

use crate::support::Messages;

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
    // The same model as written by transformers 5.
    let mut new = with(json!({"rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
                              "dtype": "bfloat16", "head_dim": 64}));
    for gone in ["rope_theta", "rope_scaling", "torch_dtype"] {
        new.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(from_hf_config(&new).unwrap(), expected);
}

#[test]
fn families_have_their_defaults() {
    // Qwen2.5 names a window and disables it.
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
    let window = with(json!({"model_type": "mistral", "sliding_window": 8192}));
    assert_eq!(from_hf_config(&window).unwrap().window, None, "the whole context fits");
    let window = with(json!({"model_type": "mistral", "sliding_window": 4096}));
    let spec = from_hf_config(&window).unwrap();
    assert_eq!((spec.window_of(0), spec.window_of(29)), (Some(4096), Some(4096)));
    assert_eq!((spec.window_of(30), spec.rope_of(0)), (None, &spec.rope));
    // The default of transformers.
    let silent = from_hf_config(&with(json!({"model_type": "mistral"}))).unwrap();
    assert_eq!(silent.window, spec.window);
}

#[test]
fn the_window_of_qwen_starts_at_max_window_layers() {
    let window = |changes: Value| {
        let mut config = with(json!({"model_type": "qwen2", "sliding_window": 64,
                                     "use_sliding_window": true}));
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let spec = from_hf_config(&config).unwrap();
        (0..30).filter(|&layer| spec.window_of(layer) == Some(64)).collect::<Vec<_>>()
    };
    assert_eq!(window(json!({"max_window_layers": 21})), (21..30).collect::<Vec<_>>());
    assert_eq!(window(json!({})), [28, 29]);
    let kinds: Vec<&str> =
        (0..30).map(|i| if i == 5 { "sliding_attention" } else { "full_attention" }).collect();
    assert_eq!(window(json!({"layer_types": kinds, "max_window_layers": 21})), [5]);
    assert!(window(json!({"use_sliding_window": false, "max_window_layers": 0})).is_empty());
}

/// Qwen3-0.6B.
#[test]
fn qwen3_is_read() {
    let config = json!({
        "model_type": "qwen3", "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
        "max_window_layers": 28, "num_attention_heads": 16, "num_hidden_layers": 28,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": null,
        "rope_theta": 1000000, "sliding_window": null, "tie_word_embeddings": true,
        "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936,
    });
    let spec = from_hf_config(&config).unwrap();
    let norms = Norms { query_key: QueryKeyNorm::Head, ..Norms::default() };
    assert_eq!((spec.norms, spec.head_dim, spec.kv_heads), (norms, 128, 8));
    assert_eq!((spec.window, spec.scales, spec.qkv_bias), (None, Scales::default(), false));
    assert_eq!((spec.rope.theta, spec.tied_head), (1e6, true));
    let mut missing = config;
    missing["head_dim"] = Value::Null;
    let error = from_hf_config(&missing).unwrap_err().to_string();
    assert!(error.contains("`head_dim` is missing"), "{error}");
}

/// OLMo-2-0425-1B.
#[test]
fn olmo2_is_read() {
    let config = json!({
        "model_type": "olmo2", "attention_bias": false, "hidden_act": "silu",
        "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 4096,
        "num_attention_heads": 16, "num_hidden_layers": 16, "num_key_value_heads": 16,
        "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 500000,
        "tie_word_embeddings": false, "torch_dtype": "float32", "vocab_size": 100352,
    });
    let spec = from_hf_config(&config).unwrap();
    let norms = Norms { place: NormPlace::After, query_key: QueryKeyNorm::Whole, minus_one: false };
    assert_eq!((spec.norms, spec.norm_eps, spec.head_dim), (norms, 1e-6, 128));
    assert_eq!((spec.tied_head, spec.activation), (false, Activation::Silu));
}

/// Gemma-3-1B as published, and as written by transformers 5.
#[test]
fn gemma3_is_read() {
    let old = json!({
        "model_type": "gemma3_text", "attention_bias": false, "attn_logit_softcapping": null,
        "final_logit_softcapping": null, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
        "max_position_embeddings": 32768, "num_attention_heads": 4, "num_hidden_layers": 26,
        "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
        "rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16",
        "vocab_size": 262144,
    });
    let spec = from_hf_config(&old).unwrap();
    let norms = Norms { place: NormPlace::Both, query_key: QueryKeyNorm::Head, minus_one: true };
    assert_eq!((spec.norms, spec.activation), (norms, Activation::GeluTanh));
    assert!(spec.tied_head, "published files leave out what is Gemma's default");
    // √1152 = 33.94 is rounded in bfloat16.
    assert_eq!(spec.scales, Scales { embedding: 34.0, attention: Some(0.0625) });
    let whole: Vec<usize> = (0..26).filter(|&layer| spec.window_of(layer).is_none()).collect();
    assert_eq!((whole, spec.window_of(0)), (vec![5, 11, 17, 23], Some(512)));
    assert_eq!((spec.rope_of(0).theta, spec.rope_of(5).theta), (1e4, 1e6));

    let mut new = old.clone();
    let kind = |i: usize| if i % 6 == 5 { "full_attention" } else { "sliding_attention" };
    new["layer_types"] = (0..26).map(kind).collect();
    new["rope_parameters"] = json!({
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    });
    new["dtype"] = json!("bfloat16");
    let gone = ["rope_theta", "rope_local_base_freq", "rope_scaling", "torch_dtype"];
    for gone in gone.into_iter().chain(["sliding_window_pattern"]) {
        new.as_object_mut().unwrap().remove(gone);
    }
    assert_eq!(from_hf_config(&new).unwrap(), spec);

    // Linear scaling applies to layers with full attention; the dtype rounds the embedding scale.
    let mut scaled = old.clone();
    scaled["rope_scaling"] = json!({"factor": 8.0, "rope_type": "linear"});
    scaled["torch_dtype"] = json!("float32");
    let spec = from_hf_config(&scaled).unwrap();
    assert_eq!(spec.rope_of(5).scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(spec.rope_of(0).scaling, RopeScaling::None);
    assert_eq!(spec.scales.embedding, f64::from(1152f32.sqrt()));
    // A window as long as the context still has its own rotary embedding.
    let mut long = old.clone();
    long["sliding_window"] = json!(32768);
    assert_eq!(from_hf_config(&long).unwrap().rope_of(0).theta, 1e4);

    let mut messages = Messages::default();
    for (key, value) in [
        ("final_logit_softcapping", json!(30.0)),
        ("attn_logit_softcapping", json!(50.0)),
        ("use_bidirectional_attention", json!(true)),
        ("query_pre_attn_scalar", Value::Null),
        ("query_pre_attn_scalar", json!(0)),
        ("sliding_window", Value::Null),
        ("sliding_window", json!(0)),
        ("layer_types", json!(["sliding_attention"])),
        ("layer_types", json!(["chunked_attention"])),
        ("rope_theta", Value::Null),
        ("rope_parameters", json!({"full_attention": {"rope_theta": 1e6}})),
        ("torch_dtype", json!("float8")),
        ("model_type", json!("gemma3")),
    ] {
        let mut config = old.clone();
        let case = format!("{key} = {value}");
        config[key] = value;
        messages.add(case, &from_hf_config(&config).unwrap_err().to_string());
    }
    insta::assert_snapshot!(messages);
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
}

#[test]
fn settings_without_support_are_refused() {
    let mut messages = Messages::default();
    for changes in [
        json!({"model_type": "mamba"}),
        json!({"model_type": null}),
        json!({"rope_scaling": {"factor": 4, "type": "yarn"}}),
        json!({"rope_scaling": {"rope_type": "dynamic"}}),
        json!({"rope_scaling": {"factor": 8.0, "rope_type": "llama3"}}),
        json!({"rope_parameters": {"rope_type": "longrope"}}),
        json!({"rope_parameters": {"partial_rotary_factor": 0.5, "rope_type": "default"}}),
        json!({"attention_bias": true}),
        json!({"mlp_bias": true}),
        json!({"clip_qkv": 8, "model_type": "olmo2"}),
        json!({"partial_rotary_factor": 0.5}),
        json!({"quantization_config": {"quant_method": "gptq"}}),
        json!({"model_type": "llama", "sliding_window": 4096}),
        json!({"model_type": "olmo2", "sliding_window": 4096}),
        json!({"max_window_layers": 3, "model_type": "qwen2", "use_sliding_window": true}),
        json!({"layer_types": ["full_attention", "sliding_attention"]}),
        json!({"layer_types": vec!["sliding_attention"; 30], "model_type": "qwen2"}),
        json!({"layer_types": vec!["full_attention"; 30], "model_type": "mistral",
               "sliding_window": 4096}),
        json!({"hidden_act": "relu"}),
        json!({"hidden_size": "big"}),
        json!({"hidden_size": null}),
        json!({"num_attention_heads": 0}),
        json!({"num_hidden_layers": 1u64 << 60}),
        json!({"num_key_value_heads": 2}),
        json!({"head_dim": 63}),
        json!({"rms_norm_eps": -1}),
        json!({"rope_theta": -1.0}),
        json!({"rope_scaling": {"factor": 0, "type": "linear"}}),
        json!({"rope_scaling": {"factor": 8, "high_freq_factor": 1, "low_freq_factor": 4,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}}),
        json!({"rope_scaling": "yarn"}),
    ] {
        messages.add(&changes, &error(changes.clone()));
    }
    insta::assert_snapshot!(messages);
}
