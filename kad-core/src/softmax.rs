//! `softmax(l / T)` and the exponential under it, eight values at a time.
//!
//! Three passes over the row: the largest value, `e^((l − max) / T)` with its sum, the division.
//! Rows of any length give each value the same bits: a short last chunk is padded to a full vector.

use wide::f64x8;

use crate::error::LawError;
use crate::law;
use crate::sum::{BLOCK, LANES, Total, vector};

/// The largest of some logits.
///
/// # Errors
/// [`LawError::NotFinite`] for NaN or `+inf`, [`LawError::Empty`] if every logit is `-inf`.
pub(crate) fn largest(logits: &[f64]) -> Result<f64, LawError> {
    let (mut max, mut usable) = (f64x8::NEG_INFINITY, !f64x8::ZERO);
    for chunk in logits.chunks(LANES) {
        let values = vector(chunk, f64::NEG_INFINITY);
        // False for NaN and for +inf.
        usable &= values.simd_lt(f64x8::INFINITY);
        max = max.fast_max(values);
    }
    let max = max.to_array().into_iter().fold(f64::NEG_INFINITY, f64::max);
    if usable.all() && max > f64::NEG_INFINITY {
        return Ok(max);
    }
    law::largest(logits.iter().copied())
}

/// Replaces logits `l` by `e^((l − largest) / temperature) / Σ`.
///
/// `largest` is the largest logit, and finite; `temperature` > 0.
pub(crate) fn softmax(values: &mut [f64], largest: f64, temperature: f64) {
    let mut total = Total::default();
    for block in values.chunks_mut(BLOCK) {
        // Dividing by 1 changes nothing and takes as long as the exponential.
        total.add(if temperature == 1.0 {
            weigh(block, |logits| logits - f64x8::splat(largest))
        } else {
            weigh(block, |logits| (logits - f64x8::splat(largest)) / f64x8::splat(temperature))
        });
    }
    // The largest weight is 1, so the total is between 1 and the length.
    let share = 1.0 / total.value();
    values.iter_mut().for_each(|value| *value *= share);
}

/// Replaces every value `x` by `e^f(x)` and returns their sum.
#[inline]
fn weigh(block: &mut [f64], f: impl Fn(f64x8) -> f64x8) -> f64 {
    let mut total = f64x8::ZERO;
    let (chunks, rest) = block.as_chunks_mut::<LANES>();
    for chunk in chunks {
        let weights = exp_of_negative(f(f64x8::from(*chunk)));
        *chunk = weights.to_array();
        total += weights;
    }
    if !rest.is_empty() {
        let weights = exp_of_negative(f(vector(rest, f64::NEG_INFINITY)));
        rest.copy_from_slice(&weights.to_array()[..rest.len()]);
        total += weights;
    }
    total.reduce_add()
}

/// Nothing larger rounds to a positive number: `e^−746 < 2^−1075`.
const LOWEST: f64 = -746.0;

/// `log 2` in two parts; the first has 32 bits after the point, so its product with a whole number
/// below 2^11 is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// Results are computed this many powers of two too large, so that only the last step can leave
/// the normal numbers.
const HEADROOM: i32 = 128;

/// Adding and subtracting this rounds to a whole number. The sum holds that number plus the
/// exponent bias and the headroom in its low bits.
const ROUNDER: f64 = (3u64 << 51) as f64 + (1023 + HEADROOM) as f64;

/// `(e^f − 1 − f) / f²` on |f| ≤ log 2 / 2, interpolated at ten Chebyshev points with sixty
/// digits; the truncated series with these coefficients is off by less than 2e-17 of `e^f`.
const TAIL: [f64; 10] = [
    0.500_000_000_000_000_1,
    0.166_666_666_666_666_69,
    0.041_666_666_666_623_99,
    0.008_333_333_333_330_051,
    0.001_388_888_891_728_179_4,
    0.000_198_412_698_631_059_68,
    2.480_152_119_021_773e-5,
    2.755_726_837_868_419_2e-6,
    2.762_013_871_973_399_4e-7,
    2.510_042_415_700_506_7e-8,
];

/// `e^x` for `x ≤ 0`, within 1 unit in the last place of the exact value (subnormal results
/// included); 1 at 0, 0 at `-inf`.
///
/// `x = r log 2 + f` with whole `r`, `e^x = 2^r e^f`.
#[inline]
fn exp_of_negative(x: f64x8) -> f64x8 {
    let x = x.fast_max(f64x8::splat(LOWEST));
    let shifted = x.mul_add(f64x8::splat(std::f64::consts::LOG2_E), f64x8::splat(ROUNDER));
    let whole = shifted - f64x8::splat(ROUNDER);
    let f = whole.mul_neg_add(f64x8::splat(LN_2[0]), x);
    let f = whole.mul_neg_add(f64x8::splat(LN_2[1]), f);
    let mut tail = f64x8::splat(TAIL[TAIL.len() - 1]);
    for &coefficient in TAIL[..TAIL.len() - 1].iter().rev() {
        tail = tail.mul_add(f, f64x8::splat(coefficient));
    }
    let exp_f = (tail * f).mul_add(f, f) + f64x8::ONE;
    let power = f64x8::from(shifted.to_array().map(|s| f64::from_bits(s.to_bits() << 52)));
    exp_f * power * f64x8::splat((-f64::from(HEADROOM)).exp2())
}
