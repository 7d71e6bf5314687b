//! Reads a [`DecoderSpec`] from GGUF metadata.

use super::checks::{check, check_layers, every_nth_sees_all, window};
use crate::decoder::family::Family;
use crate::decoder::spec::{Activation, DecoderSpec, Pairing, Rope, RopeScaling, Scales, Window};
use crate::decoder::{EMBEDDING, HEAD, LayerTensor};
use crate::error::LoadError;
use crate::files::gguf::{ARCHITECTURES, Metadata, Value};
use crate::weights::Weights;

/// Number of layers of Gemma 3 27B; no other Gemma 3 has as many.
const LAYERS_OF_GEMMA3_27B: usize = 62;

/// Reads the specification from GGUF metadata. The weights tell the embedding rows and a tied head.
///
/// ```no_run
/// use kad_backends::{families::from_gguf, gguf::Gguf};
/// let file = Gguf::open("model.gguf".as_ref())?;
/// let spec = from_gguf(&file.metadata, &file.weights)?;
/// println!("{}: {} layers", spec.family, spec.layers);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
///
/// # Errors
/// The errors of [`from_hf_config`](super::from_hf_config).
pub fn from_gguf(metadata: &Metadata, weights: &Weights) -> Result<DecoderSpec, LoadError> {
    let key = "general.architecture";
    let name = metadata.text(key)?.ok_or_else(|| metadata.wrong(key, "is missing"))?;
    let family = Family::named(name, &ARCHITECTURES, "GGUF architecture")?;
    let gguf = GgufConfig { metadata, name, family };
    gguf.refuse_the_rest()?;
    let embedding = weights.tensor(EMBEDDING)?;
    let heads = gguf.size("attention.head_count")?;
    let hidden = gguf.size("embedding_length")?;
    let layers = gguf.size("block_count")?;
    check_layers(layers).map_err(|what| metadata.wrong(&gguf.key("block_count"), what))?;
    let kv_heads = gguf.optional_size("attention.head_count_kv")?.unwrap_or(heads);
    let head_dim = gguf.head_dim(hidden, heads)?;
    let context_len = gguf.size("context_length")?;
    let rope = gguf.rope(head_dim, context_len, weights)?;
    let mut spec = DecoderSpec {
        family: name.to_owned(),
        vocab_rows: embedding.shape[0],
        hidden,
        layers,
        heads,
        kv_heads,
        head_dim,
        ffn: gguf.size("feed_forward_length")?,
        context_len,
        norm_eps: gguf.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        // Converters add the 1 that Gemma's own files leave out.
        norms: family.norms(),
        window: gguf.window(&rope, layers, context_len)?,
        rope,
        scales: gguf.scales(hidden, heads, layers),
        qkv_bias: false,
        tied_head: !weights.contains(HEAD),
        // GGUF has no key for the activation.
        activation: match family {
            Family::Gemma3 => Activation::GeluTanh,
            _ => Activation::Silu,
        },
    };
    spec.qkv_bias = weights.contains(&LayerTensor::QueryBias.name(&spec, 0));
    check(&spec, |key, what| metadata.wrong(key, what))?;
    Ok(spec)
}

/// Typed access to the keys of the architecture, such as `llama.*`.
struct GgufConfig<'a> {
    metadata: &'a Metadata,
    name: &'a str,
    family: Family,
}

impl GgufConfig<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, LoadError> {
        self.metadata.number(&self.key(key))
    }

    /// A size; also a list of one size per layer if all are equal.
    fn optional_size(&self, key: &str) -> Result<Option<usize>, LoadError> {
        let key = self.key(key);
        if let Some(Value::Array(values)) = self.metadata.get(&key) {
            // Writers use different integer types.
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
                _ => Err(self.metadata.wrong(&key, "is not a list of sizes")),
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
            let found = format!("{} of {head_dim} coordinates", dims.unwrap_or_default());
            return Err(LoadError::unsupported("rotary embedding", found, &["all coordinates"]));
        }
        let theta = self.number("rope.freq_base")?.unwrap_or(10_000.0);
        // Only files of the architecture `llama` permute the rows of query and key projections.
        let pairing = match self.family {
            Family::Llama => Pairing::Interleaved,
            _ => Pairing::Halves,
        };
        let rope = Rope { theta, pairing, scaling: self.scaling()? };
        if !weights.contains(ROPE_FACTORS) {
            return Ok(rope);
        }
        let factors = weights.tensor(ROPE_FACTORS)?.to_f32()?;
        let scaling = scaling_of_factors(&rope, &factors, head_dim, context)?;
        Ok(Rope { scaling, ..rope })
    }

    fn head_dim(&self, hidden: usize, heads: usize) -> Result<usize, LoadError> {
        let keys = self.optional_size("attention.key_length")?.unwrap_or(hidden / heads.max(1));
        match self.optional_size("attention.value_length")?.filter(|&values| values != keys) {
            None => Ok(keys),
            Some(values) => {
                let found = format!("values of width {values} with keys of width {keys}");
                Err(LoadError::unsupported("attention", found, &["keys and values of equal width"]))
            }
        }
    }

    /// Gemma 3's sliding window; its layers have no rotary scaling.
    fn window(
        &self,
        whole: &Rope,
        layers: usize,
        context: usize,
    ) -> Result<Option<Window>, LoadError> {
        /// Defaults: the values of every published Gemma 3.
        const PERIOD: usize = 6;
        const THETA: f64 = 10_000.0;
        let tokens = self.optional_size("attention.sliding_window")?;
        let Some(tokens) = tokens.filter(|_| self.family == Family::Gemma3) else {
            return Ok(None);
        };
        let theta = self.number("rope.freq_base_swa")?.unwrap_or(THETA);
        let local = Rope { theta, scaling: RopeScaling::None, ..whole.clone() };
        let key = self.key("attention.sliding_window_pattern");
        let flags = match self.metadata.get(&key) {
            Some(Value::Array(flags)) => {
                let flag = |flag: &Value| match flag {
                    Value::Bool(flag) => Ok(*flag),
                    _ => Err(self.metadata.wrong(&key, "contains a value that is not a bool")),
                };
                flags.iter().map(flag).collect::<Result<_, _>>()?
            }
            _ => {
                let period = self.optional_size("attention.sliding_window_pattern")?;
                every_nth_sees_all(layers, period.unwrap_or(PERIOD))
            }
        };
        Ok(window(tokens, flags, (whole, local), context))
    }

    /// Gemma 3's scales; GGUF has no keys for them.
    fn scales(&self, hidden: usize, heads: usize, layers: usize) -> Scales {
        if self.family != Family::Gemma3 {
            return Scales::default();
        }
        let width = (hidden / heads.max(1)) as f64;
        let large = layers == LAYERS_OF_GEMMA3_27B;
        let embedding = f64::from((hidden as f64).sqrt() as f32);
        Scales { embedding, attention: large.then(|| 1.0 / width.sqrt()) }
    }

    fn scaling(&self) -> Result<RopeScaling, LoadError> {
        let kind = self.metadata.text(&self.key("rope.scaling.type"))?;
        let factor = self.number("rope.scaling.factor")?.or(self.number("rope.scale_linear")?);
        // A factor without a type means linear scaling; 0 and 1 mean none.
        match (kind, factor.filter(|&factor| factor != 0.0 && factor != 1.0)) {
            (Some("none"), _) | (None | Some("linear"), None) => Ok(RopeScaling::None),
            (None | Some("linear"), Some(factor)) => Ok(RopeScaling::Linear { factor }),
            (Some(other), _) => {
                let found = format!("`{}` = {other:?}", self.key("rope.scaling.type"));
                Err(LoadError::unsupported("rope scaling", found, &["none", "linear"]))
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
            "attention.clamp_kqv",
            "attention.sliding_window",
        ];
        for key in refused {
            let set = self.number(key)?.filter(|&value| value != 0.0);
            let harmless = match (key, set) {
                (_, None) => true,
                ("attention.sliding_window", Some(window)) => {
                    let context = self.number("context_length")?;
                    self.family == Family::Gemma3 || context.is_some_and(|all| window >= all)
                }
                // The default is 1 / √head_dim.
                ("attention.scale", Some(_)) => false,
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

/// Tensor of frequency divisors, `[head_dim / 2]`, in files of Llama 3.1 and later.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The settings of Llama 3's scaling that produce the file's divisors.
///
/// The file stores the divisors instead of the four settings. All published models share three
/// settings, and the fourth is the largest divisor. The result is checked against the divisors.
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
    let found = format!("`{ROPE_FACTORS}` (context {context}) does not follow Llama 3");
    Err(LoadError::unsupported("rope scaling", found, &["none", "linear", "llama3"]))
}
