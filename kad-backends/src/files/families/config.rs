//! Reads a [`DecoderSpec`] from Hugging Face's `config.json`.

use half::{bf16, f16};
use serde_json::Value as Json;

use super::checks::{check, check_layers, every_nth_sees_all, window};
use crate::decoder::family::Family;
use crate::decoder::spec::{
    Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales, Window,
};
use crate::error::LoadError;

/// Supported values of `model_type`.
const FAMILIES: [(&str, Family); 6] = [
    ("llama", Family::Llama),
    ("mistral", Family::Mistral),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("olmo2", Family::Olmo2),
    ("gemma3_text", Family::Gemma3),
];
const ROPE_SCALINGS: [&str; 3] = ["default", "linear", "llama3"];

/// Reads the specification from a Hugging Face `config.json` in the old layout (`rope_theta`,
/// `rope_scaling`) or the new one (`rope_parameters`).
///
/// ```
/// use kad_backends::families::from_hf_config;
/// let config = serde_json::json!({
///     "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "num_hidden_layers": 24,
///     "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
///     "max_position_embeddings": 32768, "tie_word_embeddings": true,
/// });
/// let spec = from_hf_config(&config)?;
/// assert!(spec.qkv_bias && spec.tied_head);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// [`LoadError::Config`] for a missing or impossible setting, [`LoadError::Unsupported`] for a
/// setting that kad's interpreters do not support.
pub fn from_hf_config(config: &Json) -> Result<DecoderSpec, LoadError> {
    let config = HfConfig { json: config };
    let name =
        config.text("model_type")?.ok_or_else(|| config.wrong("model_type", "is missing"))?;
    let family = Family::named(name, &FAMILIES, "model type")?;
    let heads = config.size("num_attention_heads")?;
    let hidden = config.size("hidden_size")?;
    let gemma = family == Family::Gemma3;
    let (rope, local) = config.ropes(family)?;
    let layers = config.size("num_hidden_layers")?;
    check_layers(layers).map_err(|what| config.wrong("num_hidden_layers", what))?;
    let context_len = config.size("max_position_embeddings")?;
    let spec = DecoderSpec {
        family: name.to_owned(),
        vocab_rows: config.size("vocab_size")?,
        hidden,
        layers,
        heads,
        kv_heads: config.kv_heads(family, heads)?,
        head_dim: config.head_dim(family, hidden, heads)?,
        ffn: config.size("intermediate_size")?,
        context_len,
        norm_eps: config.number("rms_norm_eps")?.unwrap_or(match family {
            Family::Olmo2 => 1e-5,
            _ => 1e-6,
        }),
        norms: Norms { minus_one: gemma, ..family.norms() },
        window: config.window(family, (&rope, local), (layers, context_len))?,
        rope,
        scales: config.scales(family, hidden)?,
        qkv_bias: family == Family::Qwen2,
        tied_head: config.flag("tie_word_embeddings")?.unwrap_or(gemma),
        activation: config.activation(family)?,
    };
    config.refuse_the_rest()?;
    check(&spec, |key, what| config.wrong(key, what))?;
    Ok(spec)
}

/// Typed access to the settings of `config.json`; `null` counts as absent.
struct HfConfig<'a> {
    json: &'a Json,
}

impl<'a> HfConfig<'a> {
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
            value.as_str().ok_or_else(|| self.wrong(key, format!("is {value}, not a string")))
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

    fn kv_heads(&self, family: Family, heads: usize) -> Result<usize, LoadError> {
        match family {
            // The defaults of transformers are the sizes of one model, so the file must state them.
            Family::Qwen3 | Family::Gemma3 => self.size("num_key_value_heads"),
            _ => Ok(self.optional_size("num_key_value_heads")?.unwrap_or(heads)),
        }
    }

    fn head_dim(&self, family: Family, hidden: usize, heads: usize) -> Result<usize, LoadError> {
        match family {
            Family::Qwen3 | Family::Gemma3 => self.size("head_dim"),
            _ => Ok(self.optional_size("head_dim")?.unwrap_or(hidden / heads.max(1))),
        }
    }

    fn activation(&self, family: Family) -> Result<Activation, LoadError> {
        let name = match family {
            Family::Gemma3 => self.text("hidden_activation")?.unwrap_or("gelu_pytorch_tanh"),
            _ => self.text("hidden_act")?.unwrap_or("silu"),
        };
        match name {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
            other => {
                let known = ["silu", "gelu_pytorch_tanh"];
                Err(LoadError::unsupported("activation", other, &known))
            }
        }
    }

    /// Gemma's scales: `√hidden`, rounded to the dtype of the configuration, and
    /// `1 / √query_pre_attn_scalar`.
    fn scales(&self, family: Family, hidden: usize) -> Result<Scales, LoadError> {
        if family != Family::Gemma3 {
            return Ok(Scales::default());
        }
        let root = (hidden as f64).sqrt();
        let embedding = match self.text("dtype")?.or(self.text("torch_dtype")?) {
            None | Some("float32") => f64::from(root as f32),
            Some("bfloat16") => f64::from(bf16::from_f32(root as f32)),
            Some("float16") => f64::from(f16::from_f32(root as f32)),
            Some(other) => {
                let known = ["float32", "bfloat16", "float16"];
                return Err(LoadError::unsupported("`dtype`", other, &known));
            }
        };
        let key = "query_pre_attn_scalar";
        let scalar = self.number(key)?.ok_or_else(|| self.wrong(key, "is missing"))?;
        Ok(Scales { embedding, attention: Some(1.0 / scalar.sqrt()) })
    }

    /// Rotary embeddings of the layers with full attention and of those with a window.
    fn ropes(&self, family: Family) -> Result<(Rope, Rope), LoadError> {
        /// Default of the base θ.
        const DEFAULT_THETA: f64 = 10_000.0;
        // transformers 5 moved base and scaling into one table, or one per kind of layer.
        let name =
            if self.get("rope_parameters").is_some() { "rope_parameters" } else { "rope_scaling" };
        let table = self.table(name)?;
        let theta = self.number("rope_theta")?;
        if family != Family::Gemma3 {
            let rope = table.rope(name, theta.or(Some(DEFAULT_THETA)), self)?;
            return Ok((rope.clone(), rope));
        }
        if name == "rope_parameters" {
            let of = |kind: &str| {
                let name = format!("{name}.{kind}");
                table.table(kind)?.rope(&name, None, self)
            };
            return Ok((of("full_attention")?, of("sliding_attention")?));
        }
        let local = self.number("rope_local_base_freq")?;
        let none = HfConfig { json: &Json::Null };
        let local = none.rope("rope_local_base_freq", local.or(Some(DEFAULT_THETA)), self)?;
        Ok((table.rope(name, theta, self)?, local))
    }

    /// The nested table `key`; empty if absent.
    fn table(&self, key: &str) -> Result<HfConfig<'a>, LoadError> {
        match self.get(key) {
            None => Ok(HfConfig { json: &Json::Null }),
            Some(table) if table.is_object() => Ok(HfConfig { json: table }),
            Some(other) => Err(self.wrong(key, format!("is {other}, not a table"))),
        }
    }

    /// Rotary embedding of the table `self` called `name`, inside the configuration `whole`.
    /// `theta` is the default base.
    fn rope(
        &self,
        name: &str,
        theta: Option<f64>,
        whole: &HfConfig<'_>,
    ) -> Result<Rope, LoadError> {
        if self.number("partial_rotary_factor")?.is_some_and(|part| part != 1.0) {
            let found = format!("`{name}.partial_rotary_factor` other than 1");
            return Err(LoadError::unsupported("rotary embedding", found, &["1"]));
        }
        let missing = || self.wrong(&format!("{name}.rope_theta"), "is missing");
        Ok(Rope {
            theta: self.number("rope_theta")?.or(theta).ok_or_else(missing)?,
            pairing: Pairing::Halves,
            scaling: self.scaling(name, whole)?,
        })
    }

    fn scaling(&self, name: &str, whole: &HfConfig<'_>) -> Result<RopeScaling, LoadError> {
        let key = if self.get("rope_type").is_some() { "rope_type" } else { "type" };
        let kind = self.text(key)?.unwrap_or("default");
        let needed = |key: &str| {
            let missing = || self.wrong(&format!("{name}.{key}"), "is missing");
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
            other => {
                let found = format!("`{name}.{key}` = {other:?}");
                Err(LoadError::unsupported("rope scaling", found, &ROPE_SCALINGS))
            }
        }
    }

    /// Sliding window: length and layers.
    fn window(
        &self,
        family: Family,
        (whole, local): (&Rope, Rope),
        (layers, context): (usize, usize),
    ) -> Result<Option<Window>, LoadError> {
        let tokens = match (family, self.json.get("sliding_window")) {
            // The default of transformers for Mistral; `null` means no window.
            (Family::Mistral, None) => Some(4096),
            _ => self.optional_size("sliding_window")?,
        };
        let listed = self.layer_types()?;
        let flags: Vec<bool> = match family {
            Family::Llama | Family::Olmo2 => vec![false; layers],
            Family::Mistral => vec![tokens.is_some(); layers],
            // Qwen files name a window also where `use_sliding_window` is off.
            Family::Qwen2 | Family::Qwen3 if self.flag("use_sliding_window")? != Some(true) => {
                vec![false; layers]
            }
            Family::Qwen2 | Family::Qwen3 => {
                let first = self.optional_size("max_window_layers")?.unwrap_or(28);
                listed.clone().unwrap_or_else(|| (0..layers).map(|i| i >= first).collect())
            }
            Family::Gemma3 => {
                let period = self.optional_size("sliding_window_pattern")?.unwrap_or(6);
                listed.clone().unwrap_or_else(|| every_nth_sees_all(layers, period))
            }
        };
        if let Some(listed) = listed.filter(|listed| *listed != flags) {
            let kind = if listed.contains(&true) { "sliding" } else { "full" };
            let found = format!("`layer_types` has \"{kind}_attention\" against `sliding_window`");
            return Err(LoadError::unsupported(
                "attention",
                found,
                &["only one of them, or agreement"],
            ));
        }
        if flags.contains(&true) {
            let tokens = tokens.ok_or_else(|| self.wrong("sliding_window", "is missing"))?;
            return Ok(window(tokens, flags, (whole, local), context));
        }
        let unused = matches!(family, Family::Qwen2 | Family::Qwen3 | Family::Gemma3);
        match tokens.filter(|&tokens| tokens < context && !unused) {
            Some(tokens) => {
                let found = format!("a window of {tokens} tokens in a context of {context}");
                Err(LoadError::unsupported("sliding window", found, &["full attention"]))
            }
            None => Ok(None),
        }
    }

    /// `layer_types` as one flag per layer: true for a window.
    fn layer_types(&self) -> Result<Option<Vec<bool>>, LoadError> {
        let kind = |kind: &Json| match kind.as_str() {
            Some("full_attention") => Ok(false),
            Some("sliding_attention") => Ok(true),
            _ => {
                let known = ["full_attention", "sliding_attention"];
                let found = format!("`layer_types` has {kind}");
                Err(LoadError::unsupported("attention", found, &known))
            }
        };
        match self.get("layer_types") {
            None => Ok(None),
            Some(Json::Array(kinds)) => kinds.iter().map(kind).collect::<Result<_, _>>().map(Some),
            Some(other) => Err(self.wrong("layer_types", format!("is {other}, not a list"))),
        }
    }

    /// Refuses settings that would change the computation and have no field in the specification.
    fn refuse_the_rest(&self) -> Result<(), LoadError> {
        for key in ["attention_bias", "mlp_bias", "use_bidirectional_attention"] {
            if self.flag(key)? == Some(true) {
                let found = format!("`{key}` = true");
                return Err(LoadError::unsupported("setting", found, &["false"]));
            }
        }
        for key in ["attn_logit_softcapping", "final_logit_softcapping", "clip_qkv"] {
            if let Some(cap) = self.number(key)? {
                let found = format!("`{key}` = {cap}");
                return Err(LoadError::unsupported("capping", found, &["null"]));
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
        Ok(())
    }
}
