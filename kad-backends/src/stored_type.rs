//! Number types of stored weights.

use std::fmt;

/// Number type of a stored tensor: plain floats, or a quantised type of GGML.
///
/// ```
/// use kad_backends::StoredType;
/// assert_eq!(StoredType::Q4_0.bytes_for(&[2, 64]), Some(2 * 2 * 18));
/// assert_eq!(StoredType::Q4_0.bytes_for(&[2, 40]), None, "rows of 40 are not whole blocks");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    BF16,
    /// GGML blocks of 32: 4 bits each, one scale.
    Q4_0,
    /// GGML blocks of 32: 4 bits each, one scale and one minimum.
    Q4_1,
    /// GGML blocks of 32: 5 bits each, one scale.
    Q5_0,
    /// GGML blocks of 32: 8 bits each, one scale.
    Q8_0,
    /// GGML super-blocks of 256: 4 bits each.
    Q4K,
    /// GGML super-blocks of 256: 5 bits each.
    Q5K,
    /// GGML super-blocks of 256: 6 bits each.
    Q6K,
}

impl StoredType {
    /// Elements per block; 1 for plain types.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// True for types with quantised blocks.
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Bytes of a tensor of this shape; `None` if its rows are not whole blocks or the number
    /// exceeds `u64`.
    pub fn bytes_for(self, shape: &[usize]) -> Option<u64> {
        let row = *shape.last().unwrap_or(&1);
        if !row.is_multiple_of(self.block_len()) {
            return None;
        }
        let elements = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim as u64))?;
        (elements / self.block_len() as u64).checked_mul(self.block_bytes() as u64)
    }
}

impl fmt::Display for StoredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            plain => return write!(f, "{plain:?}"),
        };
        f.write_str(name)
    }
}
