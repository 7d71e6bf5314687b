//! Dequantisation: stored numbers to `f32`.
//!
//! Plain types are widened. GGML's quantised types store blocks of consecutive elements of a row.
//! With `q` the stored integer, and `d` and `m` half-precision numbers of the block:
//!
//! | type | block | bytes | element |
//! |---|---|---|---|
//! | Q4_0 | 32 | `d`, 16 of nibbles | `d (q − 8)` |
//! | Q4_1 | 32 | `d`, `m`, 16 of nibbles | `d q + m` |
//! | Q5_0 | 32 | `d`, 4 of fifth bits, 16 of nibbles | `d (q − 16)` |
//! | Q8_0 | 32 | `d`, 32 of `i8` | `d q` |
//! | Q4_K | 256 | `d`, `m`, 12 of scales, 128 of nibbles | `d s q − m t` |
//! | Q5_K | 256 | `d`, `m`, 12 of scales, 32 of fifth bits, 128 of nibbles | `d s q − m t` |
//! | Q6_K | 256 | 128 of nibbles, 64 of high bits, 16 of `i8` scales `s`, `d` | `d s (q − 32)` |
//!
//! The K types have a scale `s` (and a minimum `t`) for each run of 32 elements (Q6_K: 16).

use half::{bf16, f16};
use rayon::prelude::*;

use crate::stored_type::StoredType;

/// Blocks per parallel task: enough to outweigh the cost of a task.
const BLOCKS_PER_TASK: usize = 256;

/// Dequantises `bytes`, whole blocks of `stored`.
///
/// # Panics
/// In debug builds, if `bytes` is not a whole number of blocks.
pub(crate) fn to_f32(stored: StoredType, bytes: &[u8]) -> Vec<f32> {
    let (block_len, block_bytes) = (stored.block_len(), stored.block_bytes());
    debug_assert_eq!(bytes.len() % block_bytes, 0, "{stored}: not a whole number of blocks");
    let expand = expander(stored);
    let mut out = vec![0.0; bytes.len() / block_bytes * block_len];
    out.par_chunks_mut(block_len * BLOCKS_PER_TASK)
        .zip(bytes.par_chunks(block_bytes * BLOCKS_PER_TASK))
        .for_each(|(out, bytes)| {
            for (out, block) in out.chunks_exact_mut(block_len).zip(bytes.chunks_exact(block_bytes))
            {
                expand(block, out);
            }
        });
    out
}

type Expander = fn(&[u8], &mut [f32]);

fn expander(stored: StoredType) -> Expander {
    match stored {
        StoredType::F32 => |block, out| out[0] = f32_at(block),
        StoredType::F16 => |block, out| out[0] = f16_at(block, 0),
        StoredType::BF16 => {
            |block, out| out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32()
        }
        StoredType::Q4_0 => q4_0,
        StoredType::Q4_1 => q4_1,
        StoredType::Q5_0 => q5_0,
        StoredType::Q8_0 => q8_0,
        StoredType::Q4K => q4_k,
        StoredType::Q5K => q5_k,
        StoredType::Q6K => q6_k,
    }
}

fn f32_at(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn f16_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// The first half of a block of 32 is in the low nibbles, the second in the high ones.
fn nibbles(packed: &[u8], out: &mut [f32], value: impl Fn(usize, u8) -> f32) {
    for (i, &byte) in packed.iter().enumerate() {
        out[i] = value(i, byte & 15);
        out[i + packed.len()] = value(i + packed.len(), byte >> 4);
    }
}

fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = f16_at(block, 0);
    nibbles(&block[2..], out, |_, q| (f32::from(q) - 8.0) * d);
}

fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    nibbles(&block[4..], out, |_, q| f32::from(q) * d + m);
}

fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = f16_at(block, 0);
    let fifth = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    nibbles(&block[6..], out, |i, q| {
        let q = u32::from(q) | (fifth >> i & 1) << 4;
        (q as f32 - 16.0) * d
    });
}

fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = f16_at(block, 0);
    for (out, &q) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(q as i8) * d;
    }
}

/// Scale and minimum of run `i` of eight, six bits each.
///
/// The first four pairs are the low six bits of bytes 0..4 and 4..8. The other four pairs have
/// their low four bits in bytes 8..12 and their high two bits in the free bits of bytes 0..8.
fn scale_and_minimum(packed: &[u8], i: usize) -> (f32, f32) {
    let (scale, minimum) = if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        let low = packed[i + 4];
        ((low & 15) | (packed[i - 4] >> 6) << 4, (low >> 4) | (packed[i] >> 6) << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(block: &[u8], out: &mut [f32]) {
    k_with_minimum(block, &block[16..], out, |_, _| 0);
}

fn q5_k(block: &[u8], out: &mut [f32]) {
    let fifth = &block[16..48];
    k_with_minimum(block, &block[48..], out, |run, i| (fifth[i] >> run & 1) << 4);
}

/// Runs `2j` and `2j + 1` share 32 bytes; the even run has the low nibbles.
fn k_with_minimum(block: &[u8], packed: &[u8], out: &mut [f32], high: impl Fn(usize, usize) -> u8) {
    let (d, m) = (f16_at(block, 0), f16_at(block, 2));
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], run);
        let (scale, minimum) = (d * scale, m * minimum);
        let bytes = &packed[run / 2 * 32..][..32];
        for (i, (out, &byte)) in out.iter_mut().zip(bytes).enumerate() {
            let nibble = if run % 2 == 0 { byte & 15 } else { byte >> 4 };
            *out = scale * f32::from(nibble | high(run, i)) - minimum;
        }
    }
}

/// Each half of 128 elements has 64 bytes of nibbles, 32 of high bit pairs, and 8 scales. Run `r`
/// of four uses the nibble bytes `32 (r mod 2)..` (low nibbles for `r < 2`) and bit pair `r`.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let d = f16_at(block, 208);
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &block[half * 64..][..64];
        let high = &block[128 + half * 32..][..32];
        let scales = &block[192 + half * 8..][..8];
        for (run, out) in out.chunks_exact_mut(32).enumerate() {
            for (i, out) in out.iter_mut().enumerate() {
                let byte = low[run % 2 * 32 + i];
                let nibble = if run < 2 { byte & 15 } else { byte >> 4 };
                let q = nibble | (high[i] >> (2 * run) & 3) << 4;
                let scale = f32::from(scales[2 * run + i / 16] as i8);
                *out = d * scale * (f32::from(q) - 32.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(value: f32) -> [u8; 2] {
        f16::from_f32(value).to_le_bytes()
    }

    #[test]
    fn plain_types_widen() {
        let values = [1.5f32, -2.0, 0.0];
        let f32s: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let f16s: Vec<u8> = values.iter().flat_map(|&v| half(v)).collect();
        let bf16s: Vec<u8> = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(to_f32(StoredType::F32, &f32s), values);
        assert_eq!(to_f32(StoredType::F16, &f16s), values);
        assert_eq!(to_f32(StoredType::BF16, &bf16s), values);
    }

    #[test]
    fn small_blocks_computed_by_hand() {
        // Byte i holds i in its low nibble and 15 - i in its high one.
        let nibbles: Vec<u8> = (0..16u8).map(|i| i | (15 - i) << 4).collect();
        let block = [&half(0.5)[..], &nibbles].concat();
        let out = to_f32(StoredType::Q4_0, &block);
        assert_eq!((out[0], out[15], out[16], out[31]), (-4.0, 3.5, 3.5, -4.0));

        let block = [&half(0.5)[..], &half(-1.0), &nibbles].concat();
        let out = to_f32(StoredType::Q4_1, &block);
        assert_eq!((out[0], out[15], out[16], out[31]), (-1.0, 6.5, 6.5, -1.0));

        // Fifth bits: element 1 and element 31.
        let fifth = (1u32 << 1 | 1 << 31).to_le_bytes();
        let block = [&half(2.0)[..], &fifth, &nibbles].concat();
        let out = to_f32(StoredType::Q5_0, &block);
        assert_eq!((out[0], out[1], out[30], out[31]), (-32.0, 2.0, -30.0, 0.0));

        let bytes: Vec<u8> = (0..32i8).map(|i| (i - 16) as u8).collect();
        let out = to_f32(StoredType::Q8_0, &[&half(0.25)[..], &bytes].concat());
        assert_eq!((out[0], out[31]), (-4.0, 3.75));
    }

    #[test]
    fn super_blocks_computed_by_hand() {
        // Run 0: scale 3, minimum 2. Run 5: scale 1 + 16 (high bits in byte 1), minimum 4.
        let mut scales = [0u8; 12];
        scales[0] = 3;
        scales[4] = 2;
        scales[1] = 1 << 6;
        scales[9] = 1 | 4 << 4;
        let mut packed = [0u8; 128];
        packed[0] = 7; // run 0, element 0
        packed[64 + 31] = 9 << 4; // run 5, element 31
        let head = [&half(0.5)[..], &half(0.25), &scales].concat();
        let out = to_f32(StoredType::Q4K, &[&head[..], &packed].concat());
        assert_eq!((out[0], out[1]), (0.5 * 3.0 * 7.0 - 0.5, -0.5));
        assert_eq!((out[5 * 32 + 31], out[5 * 32]), (0.5 * 17.0 * 9.0 - 1.0, -1.0));

        let mut fifth = [0u8; 32];
        fifth[31] = 1 << 5;
        let out = to_f32(StoredType::Q5K, &[&head[..], &fifth, &packed].concat());
        assert_eq!(out[5 * 32 + 31], 0.5 * 17.0 * 25.0 - 1.0);

        let mut block = [0u8; 210];
        block[64 + 32] = 5 << 4; // second half, run 3, element 0: low bits
        block[128 + 32] = 2 << 6; // and its high bits: q = 5 + 32
        block[192 + 8 + 6] = (-3i8) as u8;
        block[208..].copy_from_slice(&half(2.0));
        let out = to_f32(StoredType::Q6K, &block);
        assert_eq!(out[128 + 96], 2.0 * -3.0 * 5.0);
        assert_eq!(out[128 + 97], 2.0 * -3.0 * -32.0);
        assert_eq!(out[0], 0.0);
    }
}
