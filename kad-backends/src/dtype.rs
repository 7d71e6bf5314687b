//! The number type a model computes with.

use std::fmt;
use std::str::FromStr;

use crate::error::LoadError;

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
}

impl Dtype {
    const ALL: [(Dtype, &'static str); 5] = [
        (Dtype::Auto, "auto"),
        (Dtype::F32, "f32"),
        (Dtype::F16, "f16"),
        (Dtype::BF16, "bf16"),
        (Dtype::Quantized, "quantized"),
    ];
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(dtype, _)| dtype == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Dtype {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(dtype, _)| *dtype).ok_or_else(|| LoadError::UnknownName {
            kind: "dtype",
            given: text.to_owned(),
            known: Self::ALL.iter().map(|(_, name)| (*name).to_owned()).collect(),
        })
    }
}
