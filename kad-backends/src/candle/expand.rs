//! Fast dequantisation of stored rows, sixteen elements at a time, for the matrix products.
//!
//! Returns the same bits as [`dequant`](crate::weights::dequant), which documents the block
//! layouts.

use bytemuck::cast;
use half::f16;
use wide::{f32x16, i8x16, i16x16, i32x16};

use crate::stored_type::StoredType;

/// Dequantises whole blocks of `stored` into `out`.
pub(super) fn expand(stored: StoredType, bytes: &[u8], out: &mut [f32]) {
    match stored {
        StoredType::F32 => each::<4, 1>(bytes, out, |b, out| out[0] = f32::from_le_bytes(*b)),
        StoredType::F16 => f16s(bytes, out),
        StoredType::BF16 => {
            each::<2, 1>(bytes, out, |b, out| {
                out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            });
        }
        StoredType::Q4_0 => each::<18, 32>(bytes, out, q4_0),
        StoredType::Q4_1 => each::<20, 32>(bytes, out, q4_1),
        StoredType::Q5_0 => each::<22, 32>(bytes, out, q5_0),
        StoredType::Q8_0 => each::<34, 32>(bytes, out, q8_0),
        StoredType::Q4K => each::<144, 256>(bytes, out, |block, out| {
            k_with_minimum(block, &block[16..], None, out);
        }),
        StoredType::Q5K => each::<176, 256>(bytes, out, |block, out| {
            k_with_minimum(block, &block[48..], Some(&block[16..48]), out);
        }),
        StoredType::Q6K => each::<210, 256>(bytes, out, q6_k),
    }
}

fn each<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    one: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let blocks = bytes.as_chunks::<BYTES>().0;
    for (block, out) in blocks.iter().zip(out.as_chunks_mut::<LEN>().0) {
        one(block, out);
    }
}

/// Sixteen half-precision numbers at a time, then the rest.
fn f16s(bytes: &[u8], out: &mut [f32]) {
    let done = out.len() / 16 * 16;
    each::<32, 16>(bytes, out, |block, out| {
        let halves: [i16; 16] = cast(*block);
        *out = widen_halves(i16x16::new(halves.map(i16::from_le))).to_array();
    });
    each::<2, 1>(&bytes[done * 2..], &mut out[done..], |b, out| out[0] = half_at(b, 0));
}

/// Converts half to single precision with bit operations: exponent and fraction move up by 13 bits,
/// and the bias of the exponent changes from 15 to 127.
#[inline(always)]
fn widen_halves(halves: i16x16) -> f32x16 {
    const REBIAS: i32 = (127 - 15) << 23;
    const INFINITE: i32 = 31 << 23;
    let bits = i32x16::from_i16x16(halves);
    let moved: i32x16 = (bits & i32x16::splat(0x7fff)) << 13;
    let normal = moved + i32x16::splat(REBIAS);
    // Infinity and NaN keep the highest exponent.
    let normal = normal + (moved.simd_gt(i32x16::splat(INFINITE - 1)) & i32x16::splat(REBIAS));
    // Subnormal halves are normal singles: set a leading one before the fraction, then subtract it.
    let one: f32x16 = cast(i32x16::splat(REBIAS + (1 << 23)));
    let subnormal: i32x16 = cast(cast::<i32x16, f32x16>(normal + i32x16::splat(1 << 23)) - one);
    let is_subnormal = moved.simd_lt(i32x16::splat(1 << 23));
    let magnitude = (is_subnormal & subnormal) | (!is_subnormal & normal);
    cast(magnitude | (bits & i32x16::splat(i32::MIN)))
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Sixteen bytes from `at` on, sign-extended.
#[inline(always)]
fn sixteen(block: &[u8], at: usize) -> i16x16 {
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&block[at..at + 16]);
    i16x16::from_i8x16(i8x16::new(cast(bytes)))
}

#[inline(always)]
fn low(bytes: i16x16) -> i16x16 {
    bytes & i16x16::splat(15)
}

#[inline(always)]
fn high(bytes: i16x16) -> i16x16 {
    (bytes >> 4) & i16x16::splat(15)
}

#[inline(always)]
fn float(q: i16x16) -> f32x16 {
    f32x16::from_i32x16(i32x16::from_i16x16(q))
}

#[inline(always)]
fn put(out: &mut [f32], at: usize, values: f32x16) {
    out[at..at + 16].copy_from_slice(&values.to_array());
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let (d, bytes) = (f32x16::splat(half_at(block, 0)), sixteen(block, 2));
    let eight = i16x16::splat(8);
    put(out, 0, float(low(bytes) - eight) * d);
    put(out, 16, float(high(bytes) - eight) * d);
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (f32x16::splat(half_at(block, 0)), f32x16::splat(half_at(block, 2)));
    let bytes = sixteen(block, 4);
    put(out, 0, float(low(bytes)) * d + m);
    put(out, 16, float(high(bytes)) * d + m);
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let (d, bytes) = (f32x16::splat(half_at(block, 0)), sixteen(block, 6));
    let fifth = |at: usize| {
        let bits = i16::from_le_bytes([block[at], block[at + 1]]);
        let lanes = i16x16::new(std::array::from_fn(|lane| (1u16 << lane) as i16));
        (i16x16::splat(bits) & lanes).simd_eq(lanes) & i16x16::splat(16)
    };
    let sixteen = i16x16::splat(16);
    put(out, 0, float((low(bytes) | fifth(2)) - sixteen) * d);
    put(out, 16, float((high(bytes) | fifth(4)) - sixteen) * d);
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = f32x16::splat(half_at(block, 0));
    put(out, 0, float(sixteen(block, 2)) * d);
    put(out, 16, float(sixteen(block, 18)) * d);
}

/// Q4_K and Q5_K: eight runs of 32 elements, two runs per 32 bytes of nibbles.
fn k_with_minimum(block: &[u8], packed: &[u8], fifth: Option<&[u8]>, out: &mut [f32; 256]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for run in 0..8 {
        let (scale, minimum) = scale_and_minimum(&block[4..16], run);
        let (scale, minimum) = (f32x16::splat(d * scale), f32x16::splat(m * minimum));
        for part in [0, 16] {
            let bytes = sixteen(packed, run / 2 * 32 + part);
            let mut q = if run % 2 == 0 { low(bytes) } else { high(bytes) };
            if let Some(fifth) = fifth {
                let bit = i16x16::splat(1 << run);
                q |= (sixteen(fifth, part) & bit).simd_eq(bit) & i16x16::splat(16);
            }
            put(out, run * 32 + part, scale * float(q) - minimum);
        }
    }
}

/// Six-bit scale and minimum of a run; the high bits of the last four runs are in the first bytes.
fn scale_and_minimum(packed: &[u8], run: usize) -> (f32, f32) {
    let (scale, minimum) = if run < 4 {
        (packed[run] & 63, packed[run + 4] & 63)
    } else {
        let (tops, low) = ((packed[run - 4] >> 6) << 4, packed[run + 4]);
        (low & 15 | tops, low >> 4 | (packed[run] >> 6) << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// Two halves of 128 elements, each with four runs of 32; a pair of high bits per element.
fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half_at(block, 208);
    for piece in 0..16 {
        let (half, run, part) = (piece / 8, piece / 2 % 4, piece % 2 * 16);
        let nibbles = sixteen(block, half * 64 + run % 2 * 32 + part);
        let nibbles = if run < 2 { low(nibbles) } else { high(nibbles) };
        let pairs = sixteen(block, 128 + half * 32 + part);
        let pairs = match run {
            0 => pairs << 4,
            1 => pairs << 2,
            2 => pairs,
            _ => pairs >> 2,
        };
        let q = (nibbles | pairs & i16x16::splat(48)) - i16x16::splat(32);
        let scale = f32::from(block[192 + piece] as i8);
        put(out, piece * 16, f32x16::splat(d * scale) * float(q));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::dequant;

    const TYPES: [StoredType; 10] = [
        StoredType::F32,
        StoredType::F16,
        StoredType::BF16,
        StoredType::Q4_0,
        StoredType::Q4_1,
        StoredType::Q5_0,
        StoredType::Q8_0,
        StoredType::Q4K,
        StoredType::Q5K,
        StoredType::Q6K,
    ];

    /// Random blocks of every type; blocks whose scale is NaN or infinite are skipped.
    #[test]
    fn every_type_expands_to_the_bits_of_the_plain_version() {
        let mut state = 1u64;
        for stored in TYPES {
            let len = 3 * 256 / stored.block_len() * stored.block_bytes();
            let mut compared = 0;
            for _ in 0..200 {
                let bytes: Vec<u8> = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .take(len)
                .collect();
                let expected = dequant::to_f32(stored, &bytes);
                let mut found = vec![0.0f32; 3 * 256];
                expand(stored, &bytes, &mut found);
                for (found, expected) in found.iter().zip(&expected) {
                    if expected.is_finite() {
                        assert_eq!(found.to_bits(), expected.to_bits(), "{stored}");
                        compared += 1;
                    }
                }
            }
            assert!(compared > 100_000, "{stored}: only {compared} numbers were compared");
        }
    }
}
