//! Quantisation: `f32` to the types that weights can have in memory.
//!
//! The block formats and their rounding follow GGML's reference code (`quantize_row_q8_0_ref` and
//! `quantize_row_q4_0_ref` in `ggml-quants.c`), operation by operation in `f32`. For a block `x` of
//! 32 numbers; `d` is stored in half precision but used unrounded:
//!
//! | type | `d` | stored integer |
//! |---|---|---|
//! | Q8_0 | `max abs(x) / 127` | `x / d` to the nearest, halves away from zero |
//! | Q4_0 | `x_m / −8`, `x_m` the first number of largest magnitude | `min(15, ⌊x / d + 8.5⌋)` |
//!
//! Q4_0 represents the number of largest magnitude exactly at −8, up to the rounding of `d`. On the
//! other side, numbers above 7.5 `d` are clamped to 7 `d`. Division by `d` is a product with
//! `1 / d`, as in the reference code.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::stored_type::StoredType;

/// Numbers per block.
const BLOCK: usize = 32;

/// Blocks per parallel task: enough to outweigh the cost of a task.
const BLOCKS_PER_TASK: usize = 1024;

/// Reasons against quantising a tensor.
#[derive(Debug, PartialEq)]
pub(crate) enum QuantError {
    /// The target type is not supported.
    Type,
    /// The number at `index` is not finite, or too large for the scale of the type.
    Value { index: usize, value: f32 },
}

/// Supported target types of [`from_f32`].
pub(crate) const TARGETS: [StoredType; 5] =
    [StoredType::F32, StoredType::F16, StoredType::BF16, StoredType::Q8_0, StoredType::Q4_0];

/// Quantises `values`, whole blocks of `to`, to little-endian bytes.
///
/// Plain types keep NaN and infinity. Quantised types refuse both, because a block would silently
/// turn NaN into a number.
///
/// # Panics
/// In debug builds, if `values` is not a whole number of blocks.
pub(crate) fn from_f32(to: StoredType, values: &[f32]) -> Result<Vec<u8>, QuantError> {
    debug_assert_eq!(values.len() % to.block_len(), 0, "{to}: not a whole number of blocks");
    match to {
        StoredType::F32 => Ok(values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        StoredType::F16 => {
            Ok(values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect())
        }
        StoredType::BF16 => {
            Ok(values.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect())
        }
        StoredType::Q8_0 => blocks::<34>(values, q8_0),
        StoredType::Q4_0 => blocks::<18>(values, q4_0),
        _ => Err(QuantError::Type),
    }
}

/// Quantises block by block; `one` returns false if the scale overflows.
fn blocks<const BYTES: usize>(
    values: &[f32],
    one: impl Fn(&[f32; BLOCK], &mut [u8; BYTES]) -> bool + Sync,
) -> Result<Vec<u8>, QuantError> {
    let mut out = vec![0; values.len() / BLOCK * BYTES];
    let run = |(task, (values, out)): (usize, (&[f32], &mut [u8]))| {
        let pairs = values.as_chunks::<BLOCK>().0.iter().zip(out.as_chunks_mut::<BYTES>().0);
        for (i, (values, out)) in pairs.enumerate() {
            if !values.iter().all(|x| x.is_finite()) || !one(values, out) {
                let first = (task * BLOCKS_PER_TASK + i) * BLOCK;
                let (at, value) = worst(values);
                return Err(QuantError::Value { index: first + at, value });
            }
        }
        Ok(())
    };
    values
        .par_chunks(BLOCK * BLOCKS_PER_TASK)
        .zip(out.par_chunks_mut(BYTES * BLOCKS_PER_TASK))
        .enumerate()
        .try_for_each(run)?;
    Ok(out)
}

/// Index and value of the first number that is not finite, else of the first of largest magnitude.
fn worst(values: &[f32; BLOCK]) -> (usize, f32) {
    let strange = values.iter().position(|x| !x.is_finite());
    let at = strange.unwrap_or_else(|| largest(values));
    (at, values[at])
}

/// Index of the first number of largest magnitude.
fn largest(values: &[f32; BLOCK]) -> usize {
    (1..BLOCK).fold(0, |best, i| if values[i].abs() > values[best].abs() { i } else { best })
}

/// Writes the scale; returns its reciprocal (0 for a scale of 0), or `None` if it overflows.
fn scale(d: f32, block: &mut [u8]) -> Option<f32> {
    let half = f16::from_f32(d);
    block[..2].copy_from_slice(&half.to_le_bytes());
    half.is_finite().then_some(if d == 0.0 { 0.0 } else { 1.0 / d })
}

fn q8_0(values: &[f32; BLOCK], block: &mut [u8; 34]) -> bool {
    let d = values[largest(values)].abs() / 127.0;
    let Some(inverse) = scale(d, block) else { return false };
    for (q, x) in block[2..].iter_mut().zip(values) {
        *q = (x * inverse).round() as i8 as u8;
    }
    true
}

/// Element `i` is the low nibble of byte `i`, element `i + 16` the high nibble.
fn q4_0(values: &[f32; BLOCK], block: &mut [u8; 18]) -> bool {
    let d = values[largest(values)] / -8.0;
    let Some(inverse) = scale(d, block) else { return false };
    // Never negative, so the conversion rounds down. No fused multiply-add, as in the reference.
    let nibble = |x: f32| ((x * inverse + 8.5) as u8).min(15);
    let (low, high) = values.split_at(BLOCK / 2);
    for ((byte, low), high) in block[2..].iter_mut().zip(low).zip(high) {
        *byte = nibble(*low) | nibble(*high) << 4;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(first: &[f32]) -> [f32; BLOCK] {
        std::array::from_fn(|i| first.get(i).copied().unwrap_or(0.0))
    }

    #[test]
    fn eight_bits_computed_by_hand() {
        // d = 0.5: halves away from zero, the largest number at ±127.
        let bytes = from_f32(StoredType::Q8_0, &block(&[63.5, -0.25, 0.25, 0.2, -63.5])).unwrap();
        assert_eq!(bytes[..2], f16::from_f32(0.5).to_le_bytes());
        assert_eq!(
            bytes[2..8].iter().map(|&q| q as i8).collect::<Vec<_>>(),
            [127, -1, 1, 0, -127, 0]
        );
    }

    #[test]
    fn four_bits_computed_by_hand() {
        // The first number of largest magnitude is −4, so d = 0.5, and +4 is clamped from 8 to 7.
        let bytes =
            from_f32(StoredType::Q4_0, &block(&[-4.0, 4.0, 3.5, 0.25, -0.25, -0.26])).unwrap();
        assert_eq!(bytes[..2], f16::from_f32(0.5).to_le_bytes());
        let low: Vec<i8> = bytes[2..].iter().map(|q| (q & 15) as i8 - 8).collect();
        assert_eq!(low[..7], [-8, 7, 7, 1, 0, -1, 0]);
        assert!(bytes[2..].iter().all(|q| q >> 4 == 8), "elements from 16 on are in high nibbles");
        // With +4 first the scale is negative, and −4 is clamped.
        let bytes = from_f32(StoredType::Q4_0, &block(&[4.0, -4.0])).unwrap();
        assert_eq!(bytes[..2], f16::from_f32(-0.5).to_le_bytes());
        assert_eq!((bytes[2] & 15, bytes[3] & 15), (0, 15));
    }

    #[test]
    fn a_block_of_zeros_stays_zero() {
        for to in [StoredType::Q8_0, StoredType::Q4_0] {
            let bytes = from_f32(to, &[0.0; BLOCK]).unwrap();
            assert_eq!(crate::weights::dequant::to_f32(to, &bytes), [0.0; BLOCK]);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_their_index() {
        for to in [StoredType::Q8_0, StoredType::Q4_0] {
            // In the second task's third block.
            let count = (BLOCKS_PER_TASK + 4) * BLOCK;
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e9] {
                let (mut values, at) = (vec![1.0; count], (BLOCKS_PER_TASK + 2) * BLOCK + 5);
                values[at] = bad;
                match from_f32(to, &values) {
                    Err(QuantError::Value { index, value }) => {
                        assert_eq!((index, value.to_bits()), (at, bad.to_bits()), "{to}");
                    }
                    other => panic!("{to}, {bad}: {other:?}"),
                }
            }
        }
        assert_eq!(from_f32(StoredType::Q6K, &[0.0; 256]), Err(QuantError::Type));
    }
}
