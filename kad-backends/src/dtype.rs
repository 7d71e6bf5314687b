//! The number type a model computes with.

use std::fmt;
use std::str::FromStr;

use crate::decoder::{EMBEDDING, HEAD};
use crate::stored_type::StoredType;
use crate::unknown_name::UnknownName;

/// The type of the weights in memory while a model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// As stored, where the backend has fast kernels for that: quantised stays quantised, anything
    /// else becomes `f32`.
    #[default]
    Auto,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// The file's quantised blocks; refused for a file that has none.
    Quantized,
    /// Rounded at load to GGML's blocks of 32 with 8 bits each: 8.5 bits per weight.
    Q8_0,
    /// Rounded at load to GGML's blocks of 32 with 4 bits each: 4.5 bits per weight; embedding and
    /// head to Q8_0, because every token depends on them.
    Q4_0,
    /// An ONNX graph that its exporter rounded to 8 bits. This and the next two name a file and are
    /// for the `ort` backend, which takes weights as the graph has them.
    Int8,
    /// An ONNX graph that its exporter rounded to blocks of 8 bits.
    Q8,
    /// An ONNX graph that its exporter rounded to blocks of 4 bits.
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

    /// The type that the matrix `name` is kept in, stored as `stored` in the given shape.
    ///
    /// A matrix whose rows are not whole blocks cannot be rounded to blocks and stays as stored.
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
