//! A decoder-only architecture as data.

use crate::error::LoadError;

/// Everything an interpreter has to know to run a model, whatever family it comes from.
///
/// Made from Hugging Face `config.json` or GGUF metadata by [`families`](super::families); one
/// interpreter per backend reads it. A new family is a function that fills this in, and a new
/// field only where it does something no earlier family did.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderSpec {
    /// Family name as the file gives it (`llama`, `qwen2`), for messages.
    pub family: String,
    /// Rows of the embedding; may exceed the tokenizer's size when the file pads it.
    pub vocab_rows: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads` (grouped-query attention).
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Inner width of the gated feed-forward layer.
    pub ffn: usize,
    /// Longest context the model was made for, in tokens.
    pub context_len: usize,
    /// ε of RMSNorm: `x / sqrt(mean(x²) + ε) · weight`.
    pub norm_eps: f64,
    /// Which norms a block has.
    pub norms: Norms,
    /// Rotary position embedding; of layers with a window, see [`Window::rope`].
    pub rope: Rope,
    /// The layers that see the latest tokens only; `None` if every layer sees the whole text.
    pub window: Option<Window>,
    /// Constants that embeddings and attention scores are multiplied by.
    pub scales: Scales,
    /// Whether the query, key and value projections add a bias.
    pub qkv_bias: bool,
    /// Whether the output projection is the embedding.
    pub tied_head: bool,
    /// Gate of the feed-forward layer: `down(act(gate(x)) · up(x))`.
    pub activation: Activation,
}

/// Which norms a block has, and how files hold their weights. The default is Llama's: one before
/// attention, one before the feed-forward layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Norms {
    /// Where a layer's norms stand.
    pub place: NormPlace,
    /// What normalises queries and keys, before they are rotated.
    pub query_key: QueryKeyNorm,
    /// Whether files hold `weight − 1` for every norm, the final one too (Gemma).
    pub minus_one: bool,
}

/// Where the norms of a layer `f` (attention, feed-forward) stand; `h` is the residual stream.
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

/// RMSNorm of queries and of keys, with a weight for each of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// None.
    #[default]
    None,
    /// Of each head by itself, all with the same weight `[head_dim]`: Qwen3, Gemma 3.
    Head,
    /// Of the whole projection, all heads together: OLMo-2.
    Whole,
}

/// Sliding-window attention: the token at position `t` sees those at `s` with
/// `t − tokens < s ≤ t`. In a tree of tokens a position is a depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// How many tokens are seen, the token itself included.
    pub tokens: usize,
    /// Whether layer `i` has the window, for at least as many layers as the model has.
    pub layers: Vec<bool>,
    /// Rotary position embedding of these layers (Gemma 3 gives them a base of their own).
    pub rope: Rope,
}

/// Constant factors. The default is Llama's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Rows of the embedding are multiplied by this before the first block: `√hidden` for Gemma 3,
    /// rounded to the type of the embedding; 1 for others. The head is not scaled.
    pub embedding: f64,
    /// What products `query · key` are multiplied by; `None` stands for `1 / √head_dim`.
    pub attention: Option<f64>,
}

impl Default for Scales {
    fn default() -> Self {
        Self { embedding: 1.0, attention: None }
    }
}

/// Rotary position embedding: pair `i` of a head at position `t` turns by `t · frequency(i)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base θ of the frequencies `θ^(−2i / head_dim)`.
    pub theta: f64,
    /// Which two coordinates make pair `i`.
    pub pairing: Pairing,
    /// How frequencies are changed for longer contexts.
    pub scaling: RopeScaling,
}

/// Which coordinates of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// `(i, i + head_dim / 2)`: Hugging Face's layout ("rotate half").
    Halves,
    /// `(2i, 2i + 1)`: the layout of llama-architecture GGUF files, whose q and k rows are
    /// permuted.
    Interleaved,
}

/// Frequency scaling.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// As trained.
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
        /// Wavelengths below `original_context / high_freq_factor` are left alone.
        high_freq_factor: f64,
        /// Context length before scaling.
        original_context: usize,
    },
}

/// Nonlinearity of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · sigmoid(x)`.
    Silu,
    /// Gaussian error linear unit, tanh approximation.
    GeluTanh,
}

impl DecoderSpec {
    /// Width of all query heads together: `heads · head_dim`.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all key (or value) heads together: `kv_heads · head_dim`.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// What products `query · key` are multiplied by before the softmax.
    pub fn attention_scale(&self) -> f64 {
        self.scales.attention.unwrap_or_else(|| 1.0 / (self.head_dim as f64).sqrt())
    }

    /// How many tokens a position of block `layer` sees, itself included; `None` for all.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        self.windowed(layer).map(|window| window.tokens)
    }

    /// Rotary position embedding of block `layer`.
    pub fn rope_of(&self, layer: usize) -> &Rope {
        self.windowed(layer).map_or(&self.rope, |window| &window.rope)
    }

    fn windowed(&self, layer: usize) -> Option<&Window> {
        self.window.as_ref().filter(|window| window.layers.get(layer) == Some(&true))
    }

    /// Refuses sizes no interpreter can run: zeros, an odd `head_dim`, query heads that do not
    /// share key heads evenly.
    ///
    /// # Errors
    /// [`LoadError::Config`], naming Hugging Face's key of the first setting that is wrong.
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
    /// Comparisons that NaN fails.
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
                // 0 for wavelengths that do not fit the old context, 1 for those that fit often.
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

    /// The case distinction of the Llama 3 release, on wavelengths, next to our closed form.
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
        // Published Llama 3.1 settings: 29 pairs keep their frequency, 29 are divided, 6 between.
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
