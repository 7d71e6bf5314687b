//! Families of models: functions from a file's configuration to a [`DecoderSpec`].
//!
//! | family | Hugging Face `model_type` | GGUF architecture |
//! |---|---|---|
//! | Llama 1–3, Vicuna, TinyLlama, SmolLM2 | `llama` | `llama` |
//! | Mistral, without a sliding window that bites | `mistral` | `llama` |
//! | Qwen2, Qwen2.5 | `qwen2` | `qwen2` |
//!
//! A setting that changes what the model computes is honoured or refused, never ignored.

mod gguf;

pub use gguf::from_gguf;

use serde_json::Value as Json;

use super::spec::{Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales};
use super::{HEAD, tensors};
use crate::error::LoadError;
use crate::weights::Weights;

/// What `model_type` may be.
const HF_FAMILIES: [&str; 3] = ["llama", "mistral", "qwen2"];
const ROPE_SCALINGS: [&str; 3] = ["default", "linear", "llama3"];

/// Reads a Hugging Face `config.json`, old layout (`rope_theta`, `rope_scaling`) or new
/// (`rope_parameters`).
///
/// # Errors
/// [`LoadError::Config`] for a setting that is missing or impossible, [`LoadError::Unsupported`]
/// for one that kad's interpreters do not do.
pub fn from_hf_config(config: &Json) -> Result<DecoderSpec, LoadError> {
    let config = Config { json: config };
    let family =
        config.text("model_type")?.ok_or_else(|| config.wrong("model_type", "is missing"))?;
    if !HF_FAMILIES.contains(&family) {
        return Err(LoadError::unsupported("model type", family, &HF_FAMILIES));
    }
    let heads = config.size("num_attention_heads")?;
    let hidden = config.size("hidden_size")?;
    let spec = DecoderSpec {
        family: family.to_owned(),
        vocab_rows: config.size("vocab_size")?,
        hidden,
        layers: config.size("num_hidden_layers")?,
        heads,
        kv_heads: config.optional_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim: config.optional_size("head_dim")?.unwrap_or(hidden / heads.max(1)),
        ffn: config.size("intermediate_size")?,
        context_len: config.size("max_position_embeddings")?,
        norm_eps: config.number("rms_norm_eps")?.unwrap_or(1e-6),
        norms: Norms::default(),
        rope: config.rope()?,
        window: None,
        scales: Scales::default(),
        qkv_bias: family == "qwen2",
        tied_head: config.flag("tie_word_embeddings")?.unwrap_or(false),
        activation: activation(config.text("hidden_act")?.unwrap_or("silu"))?,
    };
    config.refuse_the_rest(family, spec.context_len)?;
    check(&spec, |key, what| config.wrong(key, what))?;
    Ok(spec)
}

fn activation(name: &str) -> Result<Activation, LoadError> {
    match name {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        other => Err(LoadError::unsupported("activation", other, &["silu", "gelu_pytorch_tanh"])),
    }
}

/// `config.json`, asked for one setting at a time; `null` is as good as absent.
struct Config<'a> {
    json: &'a Json,
}

impl<'a> Config<'a> {
    fn get(&self, key: &str) -> Option<&'a Json> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, what: impl Into<String>) -> LoadError {
        LoadError::Config {
            origin: "config.json".to_owned(),
            key: key.to_owned(),
            what: what.into(),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, LoadError> {
        let text = |value: &'a Json| {
            value.as_str().ok_or_else(|| self.wrong(key, format!("is {value}, not a text")))
        };
        self.get(key).map(text).transpose()
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        let flag = |value: &Json| {
            value.as_bool().ok_or_else(|| self.wrong(key, format!("is {value}, not true or false")))
        };
        self.get(key).map(flag).transpose()
    }

    fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        let number = |value: &Json| {
            value.as_f64().ok_or_else(|| self.wrong(key, format!("is {value}, not a number")))
        };
        self.get(key).map(number).transpose()
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let size = |value: &Json| {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            size.ok_or_else(|| self.wrong(key, format!("is {value}, not a size")))
        };
        self.get(key).map(size).transpose()
    }

    fn size(&self, key: &str) -> Result<usize, LoadError> {
        self.optional_size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn rope(&self) -> Result<Rope, LoadError> {
        const DEFAULT_THETA: f64 = 10_000.0;
        // transformers 5 moved base and scaling into one table.
        let table = self.get("rope_parameters").or_else(|| self.get("rope_scaling"));
        if let Some(other) = table.filter(|table| !table.is_object()) {
            return Err(self.wrong("rope_scaling", format!("is {other}, not a table")));
        }
        let inside = Config { json: table.unwrap_or(&Json::Null) };
        let theta = inside.number("rope_theta")?.or(self.number("rope_theta")?);
        Ok(Rope {
            theta: theta.unwrap_or(DEFAULT_THETA),
            pairing: Pairing::Halves,
            scaling: inside.scaling(self)?,
        })
    }

    /// `self` is the table, `whole` the configuration around it.
    fn scaling(&self, whole: &Config<'_>) -> Result<RopeScaling, LoadError> {
        let kind = self.text("rope_type")?.or(self.text("type")?).unwrap_or("default");
        let needed = |key: &str| {
            let missing = || self.wrong(&format!("rope_scaling.{key}"), "is missing");
            self.number(key)?.ok_or_else(missing)
        };
        match kind {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor: needed("factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: needed("low_freq_factor")?,
                high_freq_factor: needed("high_freq_factor")?,
                original_context: match self.optional_size("original_max_position_embeddings")? {
                    Some(original) => original,
                    None => whole.size("original_max_position_embeddings")?,
                },
            }),
            other => Err(LoadError::unsupported("rope scaling", other, &ROPE_SCALINGS)),
        }
    }

    /// Refuses settings that would change the computation and that no field of the spec stands for.
    fn refuse_the_rest(&self, family: &str, context_len: usize) -> Result<(), LoadError> {
        for key in ["attention_bias", "mlp_bias"] {
            if self.flag(key)? == Some(true) {
                let found = format!("`{key}` = true");
                return Err(LoadError::unsupported("bias of projections", found, &["false"]));
            }
        }
        if self.number("partial_rotary_factor")?.is_some_and(|part| part != 1.0) {
            let found = "`partial_rotary_factor` other than 1";
            return Err(LoadError::unsupported("rotary embedding", found, &["1"]));
        }
        if let Some(quantised) = self.get("quantization_config") {
            let method = quantised.get("quant_method").unwrap_or(quantised);
            let found = format!("`quantization_config` {method}");
            let known = ["plain f32, f16 or bf16 safetensors", "a GGUF file"];
            return Err(LoadError::unsupported("quantised safetensors", found, &known));
        }
        let full = |kind: &Json| kind == "full_attention";
        if let Some(Json::Array(kinds)) = self.get("layer_types")
            && let Some(other) = kinds.iter().find(|kind| !full(kind))
        {
            let found = format!("`layer_types` has {other}");
            return Err(LoadError::unsupported("attention", found, &["full_attention"]));
        }
        // Qwen2 writes a window that it does not use.
        let windowed = family != "qwen2" || self.flag("use_sliding_window")? == Some(true);
        let window = self.optional_size("sliding_window")?.filter(|_| windowed);
        match window.filter(|&window| window < context_len) {
            Some(window) => {
                let found = format!("a window of {window} tokens in a context of {context_len}");
                Err(LoadError::unsupported("sliding window", found, &["full attention"]))
            }
            None => Ok(()),
        }
    }
}

/// Refuses what no interpreter can run, and sizes no model has, before anyone allocates by them.
fn check(spec: &DecoderSpec, wrong: impl Fn(&str, String) -> LoadError) -> Result<(), LoadError> {
    const LARGEST: usize = 1 << 24;
    const MOST_LAYERS: usize = 1 << 12;
    spec.check()?;
    let sizes = [
        ("number of layers", spec.layers, MOST_LAYERS),
        ("vocabulary size", spec.vocab_rows, LARGEST),
        ("hidden size", spec.hidden, LARGEST),
        ("number of heads", spec.heads, LARGEST),
        ("head size", spec.head_dim, LARGEST),
        ("feed-forward size", spec.ffn, LARGEST),
        ("context length", spec.context_len, LARGEST),
    ];
    if let Some((what, size, _)) = sizes.into_iter().find(|(_, size, most)| size > most) {
        return Err(wrong(what, format!("is {size}, which no model has")));
    }
    if !spec.rope.frequencies(spec.head_dim).into_iter().all(|f| f.is_finite() && f > 0.0) {
        return Err(wrong("rotary embedding", format!("{:?} is impossible", spec.rope)));
    }
    Ok(())
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
