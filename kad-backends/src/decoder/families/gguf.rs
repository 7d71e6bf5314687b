//! GGUF metadata to a [`DecoderSpec`].

use super::check;
use crate::decoder::spec::{Activation, DecoderSpec, Norms, Pairing, Rope, RopeScaling, Scales};
use crate::decoder::{EMBEDDING, HEAD, Slot};
use crate::error::LoadError;
use crate::gguf::{Metadata, Value};
use crate::weights::Weights;

/// What `general.architecture` may be.
const GGUF_FAMILIES: [&str; 2] = ["llama", "qwen2"];

/// Reads GGUF metadata; the number of rows and the tied head are seen from the weights.
///
/// # Errors
/// As [`from_hf_config`](super::from_hf_config).
pub fn from_gguf(metadata: &Metadata, weights: &Weights) -> Result<DecoderSpec, LoadError> {
    let key = "general.architecture";
    let family = metadata.text(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))?;
    if !GGUF_FAMILIES.contains(&family) {
        return Err(LoadError::unsupported("GGUF architecture", family, &GGUF_FAMILIES));
    }
    let gguf = GgufConfig { metadata, family };
    gguf.refuse_the_rest()?;
    let embedding = weights.tensor(EMBEDDING)?;
    let heads = gguf.size("attention.head_count")?;
    let hidden = gguf.size("embedding_length")?;
    let kv_heads = gguf.optional_size("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = gguf.optional_size("attention.key_length")?.unwrap_or(hidden / heads.max(1));
    let context_len = gguf.size("context_length")?;
    let mut spec = DecoderSpec {
        family: family.to_owned(),
        vocab_rows: embedding.shape[0],
        hidden,
        layers: gguf.size("block_count")?,
        heads,
        kv_heads,
        head_dim,
        ffn: gguf.size("feed_forward_length")?,
        context_len,
        norm_eps: gguf.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        norms: Norms::default(),
        rope: gguf.rope(head_dim, context_len, weights)?,
        window: None,
        scales: Scales::default(),
        qkv_bias: false,
        tied_head: !weights.contains(HEAD),
        // Neither architecture has another.
        activation: Activation::Silu,
    };
    spec.qkv_bias = weights.contains(&Slot::QueryBias.name(&spec, 0));
    check(&spec, |key, what| metadata.wrong(key, what))?;
    Ok(spec)
}

/// The architecture's own keys, `llama.*` or `qwen2.*`.
struct GgufConfig<'a> {
    metadata: &'a Metadata,
    family: &'a str,
}

impl GgufConfig<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.family)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        self.metadata.number(&self.key(key))
    }

    /// A size, or one size per layer if all are equal.
    fn optional_size(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let key = self.key(key);
        if let Some(Value::Array(values)) = self.metadata.get(&key) {
            // One number per layer, in whatever integer type the writer's language has.
            let natural = |value: &Value| match value {
                Value::Unsigned(n) => usize::try_from(*n).ok(),
                Value::Signed(n) => usize::try_from(*n).ok(),
                _ => None,
            };
            let sizes: Option<Vec<usize>> = values.iter().map(natural).collect();
            return match sizes.as_deref() {
                Some([size, rest @ ..]) if rest.iter().all(|other| other == size) => {
                    Ok(Some(*size))
                }
                Some([_, ..]) => {
                    Err(self.metadata.wrong(&key, "differs between layers, which is not supported"))
                }
                _ => Err(self.metadata.wrong(&key, "is no list of sizes")),
            };
        }
        let size = self.metadata.natural(&key)?;
        let size = size.map(usize::try_from).transpose();
        size.map_err(|_| self.metadata.wrong(&key, "is too large"))
    }

    fn size(&self, key: &str) -> Result<usize, LoadError> {
        let missing = || self.metadata.wrong(&self.key(key), "is missing");
        self.optional_size(key)?.ok_or_else(missing)
    }

    fn rope(&self, head_dim: usize, context: usize, weights: &Weights) -> Result<Rope, LoadError> {
        let dims = self.optional_size("rope.dimension_count")?;
        if dims.is_some_and(|dims| dims != head_dim) {
            let found = format!("{dims:?} of {head_dim} coordinates turn");
            return Err(LoadError::unsupported("rotary embedding", found, &["all coordinates"]));
        }
        let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        // llama files permute the rows of q and k, qwen2 files do not.
        let pairing = if self.family == "llama" { Pairing::Interleaved } else { Pairing::Halves };
        let rope = Rope { theta, pairing, scaling: self.scaling()? };
        if !weights.contains(ROPE_FACTORS) {
            return Ok(rope);
        }
        let factors = weights.tensor(ROPE_FACTORS)?.to_f32()?;
        let scaling = scaling_of_factors(&rope, &factors, head_dim, context)?;
        Ok(Rope { scaling, ..rope })
    }

    fn scaling(&self) -> Result<RopeScaling, LoadError> {
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = self.number("rope.scaling.factor")?.or(self.number("rope.scale_linear")?);
        // A factor without a type is linear scaling; 0 and 1 stand for none.
        match (kind, factor.filter(|&factor| factor != 0.0 && factor != 1.0)) {
            (Some("none"), _) | (None | Some("linear"), None) => Ok(RopeScaling::None),
            (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
            (Some(other), _) => {
                Err(LoadError::unsupported("rope scaling", other, &["none", "linear"]))
            }
        }
    }

    fn refuse_the_rest(&self) -> Result<(), LoadError> {
        let refused = [
            "expert_count",
            "logit_scale",
            "residual_scale",
            "embedding_scale",
            "attention.scale",
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "attention.sliding_window",
        ];
        for key in refused {
            let set = self.number(key)?.filter(|&value| value != 0.0);
            let harmless = match (key, set) {
                (_, None) => true,
                ("attention.sliding_window", Some(window)) => {
                    self.number("context_length")?.is_some_and(|context| window >= context)
                }
                (_, Some(value)) => key.ends_with("scale") && value == 1.0,
            };
            if let Some(value) = set.filter(|_| !harmless) {
                let found = format!("`{}` = {value}", self.key(key));
                return Err(LoadError::unsupported("GGUF setting", found, &["a file without it"]));
            }
        }
        Ok(())
    }
}

/// Divisors of the frequencies, `[head_dim / 2]`; only files of Llama 3.1 and later have it.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// Finds the settings of Llama 3's scaling that give the file's divisors.
///
/// The file stores the divisors and not the four numbers they were computed from. All published
/// models share three of them, and the fourth is the largest divisor; whether that is so is checked.
fn scaling_of_factors(
    rope: &Rope,
    factors: &[f32],
    head_dim: usize,
    context: usize,
) -> Result<RopeScaling, LoadError> {
    const ORIGINAL_CONTEXT: usize = 8192;
    /// The file's divisors are `f32`.
    const TOLERANCE: f64 = 1e-5;
    let largest = factors.iter().copied().fold(1.0, f32::max);
    let scaling = RopeScaling::Llama3 {
        factor: largest.into(),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: ORIGINAL_CONTEXT,
    };
    let plain = Rope { scaling: RopeScaling::None, ..rope.clone() }.frequencies(head_dim);
    let scaled = Rope { scaling: scaling.clone(), ..rope.clone() }.frequencies(head_dim);
    let agrees = factors.len() == head_dim / 2
        && rope.scaling == RopeScaling::None
        && plain.iter().zip(&scaled).zip(factors).all(|((plain, scaled), &factor)| {
            (plain / scaled / f64::from(factor) - 1.0).abs() <= TOLERANCE
        });
    if agrees {
        return Ok(scaling);
    }
    let found = format!("`{ROPE_FACTORS}` (context {context}) is not Llama 3's");
    Err(LoadError::unsupported("rope scaling", found, &["none", "linear", "llama3"]))
}
