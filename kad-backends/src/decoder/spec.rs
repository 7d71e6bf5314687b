//! Specification of a decoder-only architecture.

use crate::error::LoadError;

/// Sizes and options of a decoder-only transformer of any family: the input of every interpreter.
///
/// [`families`](crate::families) reads it from a Hugging Face `config.json` or from GGUF metadata.
///
/// ```
/// use kad_backends::families::from_hf_config;
/// let config = serde_json::json!({
///     "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "num_hidden_layers": 30,
///     "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
///     "max_position_embeddings": 8192,
/// });
/// let spec = from_hf_config(&config)?;
/// assert_eq!((spec.head_dim, spec.query_width(), spec.kv_width()), (64, 576, 192));
/// assert_eq!(spec.attention_scale(), 0.125);
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSpec {
    /// Name of the family in the file (`llama`, `qwen2`), for messages.
    pub family: String,
    /// Rows of the embedding; a padded embedding has more rows than the tokenizer has tokens.
    pub vocab_rows: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads` (grouped-query attention).
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Inner width of the gated feed-forward network.
    pub ffn: usize,
    /// Context length in tokens.
    pub context_len: usize,
    /// ε of RMSNorm: `x / sqrt(mean(x²) + ε) · weight`.
    pub norm_eps: f64,
    /// Norms of a layer.
    pub norms: Norms,
    /// Rotary position embedding of layers with full attention.
    pub rope: Rope,
    /// Layers with sliding-window attention; `None` if all layers have full attention.
    pub window: Option<Window>,
    /// Factors of embeddings and attention scores.
    pub scales: Scales,
    /// True if the query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// True if the head is the embedding.
    pub tied_head: bool,
    /// Activation of the feed-forward network: `down(act(gate(x)) · up(x))`.
    pub activation: Activation,
}

/// Norms of a layer, and their storage in files. The default is Llama's: one norm before attention,
/// one before the feed-forward network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Norms {
    /// Position of the norms of attention and feed-forward network.
    pub place: NormPlace,
    /// Norm of queries and keys before the rotation.
    pub query_key: QueryKeyNorm,
    /// True if files store `weight − 1` for every norm, including the final one (Gemma).
    pub minus_one: bool,
}

/// Position of the norms `n` of a sublayer `f` (attention or feed-forward network); `h` is the
/// residual stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NormPlace {
    /// `h + f(n(h))`: Llama, Qwen.
    #[default]
    Before,
    /// `h + n(f(h))`: OLMo-2.
    After,
    /// `h + n₂(f(n₁(h)))`: Gemma 3.
    Both,
}

/// RMSNorm of queries and keys, with separate weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// No norm.
    #[default]
    None,
    /// Over each head, with one weight `[head_dim]` for all heads: Qwen3, Gemma 3.
    Head,
    /// Over the whole projection, all heads together: OLMo-2.
    Whole,
}

/// Sliding-window attention: the token at position `t` attends to positions `s` with
/// `t − tokens < s ≤ t`. In a token tree the position counts the tokens on the path.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Length of the window in tokens, including the current token.
    pub tokens: usize,
    /// `layers[i]` is true if layer `i` has the window; at least as long as the number of layers.
    pub layers: Vec<bool>,
    /// Rotary position embedding of these layers (Gemma 3 uses another base for them).
    pub rope: Rope,
}

/// Constant factors of embeddings and attention scores. The default is Llama's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Factor of the embedding rows before the first layer: `√hidden` for Gemma 3, rounded to the
    /// type of the embedding; 1 for other families. A tied head is not scaled.
    pub embedding: f64,
    /// Factor of the products `query · key`; `None` means `1 / √head_dim`.
    pub attention: Option<f64>,
}

impl Default for Scales {
    fn default() -> Self {
        Self { embedding: 1.0, attention: None }
    }
}

/// Rotary position embedding: pair `i` of a head at position `t` is rotated by `t · frequency(i)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base θ of the frequencies `θ^(−2i / head_dim)`.
    pub theta: f64,
    /// Coordinates of pair `i`.
    pub pairing: Pairing,
    /// Scaling of the frequencies for longer contexts.
    pub scaling: RopeScaling,
}

/// The two coordinates of pair `i` of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `(i, i + head_dim / 2)`: Hugging Face's layout ("rotate half").
    Halves,
    /// `(2i, 2i + 1)`: the layout of GGUF files of the architecture `llama`, which permute the rows
    /// of query and key projections.
    Interleaved,
}

/// Scaling of the rotary frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// No scaling.
    None,
    /// All frequencies divided by a factor.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3's smooth scaling of the low frequencies.
    Llama3 {
        /// Divisor of the lowest frequencies.
        factor: f64,
        /// Wavelengths above `original_context / low_freq_factor` are divided by `factor`.
        low_freq_factor: f64,
        /// Wavelengths below `original_context / high_freq_factor` are unchanged.
        high_freq_factor: f64,
        /// Context length before scaling.
        original_context: usize,
    },
}

/// Activation function of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// Gaussian error linear unit, tanh approximation.
    GeluTanh,
}

impl DecoderSpec {
    /// Width of all query heads: `heads · head_dim`.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads: `kv_heads · head_dim`.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Factor of the products `query · key` before the softmax.
    pub fn attention_scale(&self) -> f64 {
        self.scales.attention.unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt())
    }

    /// Window length of layer `layer` in tokens, including the current token; `None` for full
    /// attention.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.windowed(layer).map(|window| window.tokens)
    }

    /// Rotary position embedding of layer `layer`.
    pub fn rope_of(&self, layer: usize) -> &Rope {
        self.windowed(layer).map_or(&self.rope, |window| &window.rope)
    }

    fn windowed(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| window.layers.get(layer) == Some(&true))
    }

    /// Checks the sizes: none is zero, `head_dim` is even, `kv_heads` divides `heads`.
    ///
    /// # Errors
    /// [`LoadError::Config`] with Hugging Face's key of the first wrong setting.
    pub fn check(&self) -> Result<(), LoadError> {
        let sizes = [
            ("vocab_size", self.vocab_rows),
            ("hidden_size", self.hidden),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads),
            ("num_key_value_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.ffn),
            ("max_position_embeddings", self.context_len),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(bad(key, "is 0".to_owned()));
        }
        if !self.head_dim.is_multiple_of(2) {
            let what = format!("is {}, but rotary embedding needs an even number", self.head_dim);
            return Err(bad("head_dim", what));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let what = format!("is {}, which does not divide {} heads", self.kv_heads, self.heads);
            return Err(bad("num_key_value_heads", what));
        }
        if !(self.norm_eps >= 0.0 && self.norm_eps.is_finite()) {
            return Err(bad("rms_norm_eps", format!("is {}, not a small number", self.norm_eps)));
        }
        self.rope.check()?;
        self.check_window()?;
        self.check_scales()
    }

    fn check_window(&self) -> Result<(), LoadError> {
        let Some(window) = &self.window else { return Ok(()) };
        if window.tokens == 0 {
            return Err(bad("sliding_window", "is 0".to_owned()));
        }
        if window.layers.len() < self.layers {
            let what = format!("has {} entries for {} layers", window.layers.len(), self.layers);
            return Err(bad("layer_types", what));
        }
        window.rope.check()
    }

    fn check_scales(&self) -> Result<(), LoadError> {
        let possible = |scale: f64| scale > 0.0 && scale.is_finite();
        if !possible(self.scales.embedding) {
            let what = format!("makes embeddings {} times as large", self.scales.embedding);
            return Err(bad("hidden_size", what));
        }
        if !possible(self.attention_scale()) {
            let what = format!("gives a scale of {} to attention", self.attention_scale());
            return Err(bad("query_pre_attn_scalar", what));
        }
        Ok(())
    }
}

pub(super) fn bad(key: &str, what: String) -> LoadError {
    LoadError::Config { origin: "model configuration".to_owned(), key: key.to_owned(), what }
}

impl Rope {
    fn check(&self) -> Result<(), LoadError> {
        if !(self.theta > 0.0 && self.theta.is_finite()) {
            return Err(bad("rope_theta", format!("is {}, not a positive number", self.theta)));
        }
        if self.scaling.is_possible() {
            return Ok(());
        }
        Err(bad("rope_scaling", format!("has impossible factors: {:?}", self.scaling)))
    }

    /// Angular frequencies in radians per position, `[head_dim / 2]`.
    ///
    /// Llama 3's scaling follows `transformers.modeling_rope_utils._compute_llama3_parameters`.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = (0..head_dim / 2).map(|i| self.theta.powf(-2.0 * i as f64 / head_dim as f64));
        plain.map(|frequency| self.scaling.apply(frequency)).collect()
    }
}

impl RopeScaling {
    /// Written so that NaN fails every comparison.
    fn is_possible(&self) -> bool {
        match *self {
            RopeScaling::None => true,
            RopeScaling::Linear { factor } => factor > 0.0 && factor.is_finite(),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                factor > 0.0
                    && factor.is_finite()
                    && low_freq_factor > 0.0
                    && high_freq_factor > low_freq_factor
                    && high_freq_factor.is_finite()
                    && original_context > 0
            }
        }
    }

    fn apply(&self, frequency: f64) -> f64 {
        match *self {
            RopeScaling::None => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                let turns = original_context as f64 * frequency / std::f64::consts::TAU;
                // 0 for wavelengths longer than the original context, 1 for short wavelengths.
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor))
                    .clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(theta: f64, scaling: RopeScaling) -> Rope {
        Rope { theta, pairing: Pairing::Halves, scaling }
    }

    #[test]
    fn plain_frequencies_fall_from_one_by_a_constant_ratio() {
        // θ = 10⁴, head_dim = 8: 1, 0.1, 0.01, 0.001.
        let found = rope(1e4, RopeScaling::None).frequencies(8);
        for (found, expected) in found.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found / expected - 1.0f64).abs() < 1e-14, "{found} against {expected}");
        }
        let halved = rope(1e4, RopeScaling::Linear { factor: 2.0 }).frequencies(8);
        assert!(halved.iter().zip(&found).all(|(half, full)| half * 2.0 == *full));
    }

    /// Compares our closed form with the case distinction on wavelengths of the Llama 3 release.
    #[test]
    fn llama3_scaling_agrees_with_its_case_distinction() {
        let (factor, low, high, old) = (8.0, 1.0, 4.0, 8192usize);
        let scaling = RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_context: old,
        };
        let plain = rope(5e5, RopeScaling::None).frequencies(128);
        let scaled = rope(5e5, scaling).frequencies(128);
        let mut seen = [0; 3];
        for (plain, scaled) in plain.iter().zip(&scaled) {
            let wavelength = std::f64::consts::TAU / plain;
            let (case, expected) = if wavelength < old as f64 / high {
                (0, *plain)
            } else if wavelength > old as f64 / low {
                (1, plain / factor)
            } else {
                let smooth = (old as f64 / wavelength - low) / (high - low);
                (2, (1.0 - smooth) * plain / factor + smooth * plain)
            };
            seen[case] += 1;
            assert!((scaled / expected - 1.0).abs() < 1e-14, "{scaled} against {expected}");
        }
        // Published settings of Llama 3.1: 29 pairs unchanged, 29 divided, 6 in between.
        assert_eq!(seen, [29, 29, 6]);
    }

    #[test]
    fn impossible_sizes_are_refused_by_name() {
        let spec = DecoderSpec {
            family: "llama".into(),
            vocab_rows: 8,
            hidden: 8,
            layers: 1,
            heads: 4,
            kv_heads: 3,
            head_dim: 2,
            ffn: 8,
            context_len: 8,
            norm_eps: 1e-5,
            norms: Norms::default(),
            rope: rope(1e4, RopeScaling::None),
            window: None,
            scales: Scales::default(),
            qkv_bias: false,
            tied_head: true,
            activation: Activation::Silu,
        };
        let message = spec.check().unwrap_err().to_string();
        assert!(
            message.contains("`num_key_value_heads` is 3, which does not divide 4"),
            "{message}"
        );
        let odd = DecoderSpec { kv_heads: 2, head_dim: 3, ..spec.clone() };
        assert!(odd.check().unwrap_err().to_string().contains("`head_dim` is 3"));
        let empty = DecoderSpec { kv_heads: 2, ffn: 0, ..spec };
        assert!(empty.check().unwrap_err().to_string().contains("`intermediate_size` is 0"));
    }
}
