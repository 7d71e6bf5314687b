//! Number types of weights in memory.

use std::fmt;
use std::str::FromStr;

use crate::decoder::{EMBEDDING, HEAD};
use crate::stored_type::StoredType;
use crate::unknown_name::UnknownName;

/// Number type of a model's weights in memory.
///
/// ```
/// use kad_backends::Dtype;
/// assert_eq!("q4_0".parse::<Dtype>()?, Dtype::Q4_0);
/// assert_eq!(Dtype::default().to_string(), "auto");
/// # Ok::<(), kad_backends::UnknownName>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// `candle` keeps quantised weights and widens all others to `f32`; the other interpreters use
    /// `f32`; `ort` selects the unquantised graph.
    #[default]
    Auto,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// The quantised blocks of the file; an error if the file has none.
    Quantized,
    /// Quantised at load to GGML blocks of 32 with 8 bits each: 8.5 bits per weight.
    Q8_0,
    /// Quantised at load to GGML blocks of 32 with 4 bits each: 4.5 bits per weight. Embedding and
    /// head become Q8_0, because every token depends on them.
    Q4_0,
    /// For the `ort` backend: the ONNX graph with 8-bit weights, one scale per output.
    Int8,
    /// For the `ort` backend: the ONNX graph with blocks of 8-bit weights.
    Q8,
    /// For the `ort` backend: the ONNX graph with blocks of 4-bit weights.
    Q4,
}

impl Dtype {
    const ALL: [(Dtype, &'static str); 10] = [
        (Dtype::Auto, "auto"),
        (Dtype::F32, "f32"),
        (Dtype::F16, "f16"),
        (Dtype::BF16, "bf16"),
        (Dtype::Quantized, "quantized"),
        (Dtype::Q8_0, "q8_0"),
        (Dtype::Q4_0, "q4_0"),
        (Dtype::Int8, "int8"),
        (Dtype::Q8, "q8"),
        (Dtype::Q4, "q4"),
    ];

    /// The type in memory of the matrix `name` of this shape, stored as `stored`.
    ///
    /// A matrix whose rows are not whole blocks cannot be quantised and stays as stored.
    ///
    /// ```
    /// use kad_backends::{Dtype, StoredType, decoder::EMBEDDING};
    /// let kept = |name, width| Dtype::Q4_0.kept(name, StoredType::F32, &[8, width]);
    /// assert_eq!(kept("model.layers.0.mlp.up_proj.weight", 64), StoredType::Q4_0);
    /// assert_eq!(kept("model.layers.0.mlp.up_proj.weight", 40), StoredType::F32);
    /// assert_eq!(kept(EMBEDDING, 64), StoredType::Q8_0);
    /// ```
    pub fn kept(self, name: &str, stored: StoredType, shape: &[usize]) -> StoredType {
        let wanted = match self {
            Dtype::Auto | Dtype::Quantized => stored,
            Dtype::Int8 | Dtype::Q8 | Dtype::Q4 => stored,
            Dtype::F32 => StoredType::F32,
            Dtype::F16 => StoredType::F16,
            Dtype::BF16 => StoredType::BF16,
            Dtype::Q8_0 => StoredType::Q8_0,
            Dtype::Q4_0 if name == EMBEDDING || name == HEAD => StoredType::Q8_0,
            Dtype::Q4_0 => StoredType::Q4_0,
        };
        if wanted.bytes_for(shape).is_some() { wanted } else { stored }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(dtype, _)| dtype == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Dtype {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(dtype, _)| *dtype).ok_or_else(|| UnknownName {
            kind: "dtype",
            given: text.to_owned(),
            known: Self::ALL.iter().map(|(_, name)| (*name).to_owned()).collect(),
        })
    }
}
