//! `softmax(l / T)` and its exponential, eight values at a time.
//!
//! Three sweeps over the row: its maximum, `e^((l − max) / T)` with the sum, and the division. A
//! short last chunk is padded to a full vector, so a value's bits do not depend on its index.

use wide::f64x8;

use crate::distribution;
use crate::error::DistributionError;
use crate::sum::{BLOCK, CompensatedSum, LANES, load};

/// The largest logit.
///
/// # Errors
/// [`DistributionError::NotFinite`] for NaN or `+inf`, [`DistributionError::Empty`] if every logit
/// is `-inf`.
pub(crate) fn largest(logits: &[f64]) -> Result<f64, DistributionError> {
    let (mut max, mut usable) = (f64x8::NEG_INFINITY, !f64x8::ZERO);
    for chunk in logits.chunks(LANES) {
        let values = load(chunk, f64::NEG_INFINITY);
        // False for NaN and `+inf`.
        usable &= values.simd_lt(f64x8::INFINITY);
        max = max.fast_max(values);
    }
    let max = max.to_array().into_iter().fold(f64::NEG_INFINITY, f64::max);
    if usable.all() && max > f64::NEG_INFINITY {
        return Ok(max);
    }
    distribution::largest(logits.iter().copied())
}

/// Replaces logits `l` by `e^((l − largest) / temperature) / Σ`.
///
/// `largest` is the largest logit, and finite; `temperature` > 0.
pub(crate) fn softmax(values: &mut [f64], largest: f64, temperature: f64) {
    let mut total = CompensatedSum::default();
    for block in values.chunks_mut(BLOCK) {
        // A division by 1 changes nothing and takes as long as the exponential.
        total.add(if temperature == 1.0 {
            weigh(block, |logits| logits - f64x8::splat(largest))
        } else {
            weigh(block, |logits| (logits - f64x8::splat(largest)) / f64x8::splat(temperature))
        });
    }
    // The largest weight is 1, so the total lies between 1 and the number of values.
    let share = 1.0 / total.value();
    values.iter_mut().for_each(|value| *value *= share);
}

/// Replaces every value `x` by `e^f(x)` and returns the sum.
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
        let weights = exp_of_negative(f(load(rest, f64::NEG_INFINITY)));
        rest.copy_from_slice(&weights.to_array()[..rest.len()]);
        total += weights;
    }
    total.reduce_add()
}

/// Smaller arguments round to 0: `e^−746 < 2^−1075`.
const LOWEST: f64 = -746.0;

/// `log 2` as the sum of two parts. The first has 32 bits after the binary point, so its product
/// with an integer below 2^11 is exact.
const LN_2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// Intermediate results are `2^HEADROOM` too large, so that only the last multiplication can
/// produce a subnormal number.
const HEADROOM: i32 = 128;

/// Adding and subtracting this constant rounds to an integer. The low bits of the sum hold that
/// integer plus the exponent bias and the headroom.
const ROUNDER: f64 = (3u64 << 51) as f64 + (1023 + HEADROOM) as f64;

/// `(e^f − 1 − f) / f²` on |f| ≤ log 2 / 2, interpolated at ten Chebyshev points with sixty
/// digits. The truncated series with these coefficients is off by less than 2e-17 of `e^f`.
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

/// `e^x` for `x ≤ 0`, within one unit in the last place (ulp) of the exact value, subnormal results
/// included; 1 at 0, 0 at `-inf`.
///
/// `x = r log 2 + f` with an integer `r`, so `e^x = 2^r e^f`.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn exp(x: f64) -> f64 {
        exp_of_negative(f64x8::splat(x)).to_array()[0]
    }

    /// Arguments over the whole range, dense where results are large or subnormal, and at the ends
    /// of the reduced range.
    fn arguments() -> impl Iterator<Item = f64> {
        let even = (0..2_000_000).map(|i| -746.0 * f64::from(i) / 2e6);
        let small = (0..200_000).map(|i| -f64::from(i) / 1e5);
        let subnormal = (0..400_000).map(|i| -708.0 - f64::from(i) / 1e4);
        let tiny = (0..320).map(|i| -f64::powi(10.0, -i));
        let halves = (0..2200).flat_map(|i| {
            let half = -f64::from(i) * std::f64::consts::LN_2 / 2.0;
            [half.next_down(), half, half.next_up().min(0.0)]
        });
        even.chain(small).chain(subnormal).chain(tiny).chain(halves)
    }

    /// The platform's exponential is within 0.6 ulp of the exact value; this one is within 1 of it.
    #[test]
    fn the_exponential_is_within_one_ulp_of_the_platforms() {
        let mut different = 0;
        let mut all = 0;
        for x in arguments() {
            let units = exp(x).to_bits().abs_diff(x.exp().to_bits());
            assert!(units <= 1, "e^{x} is {} not {}", exp(x), x.exp());
            different += units;
            all += 1;
        }
        assert!(different * 8 < all, "{different} of {all} are one unit off");
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!([exp(0.0), exp(-0.0)], [1.0, 1.0]);
        assert_eq!([exp(f64::NEG_INFINITY), exp(-1e308), exp(-745.14)], [0.0; 3]);
        // The smallest positive number, and the half of it that rounds to even.
        assert_eq!(exp(-744.5), f64::from_bits(1));
    }

    /// Lengths around one vector, two vectors and one block. Only the sum over the row may couple a
    /// value to the others.
    #[test]
    fn a_value_does_not_depend_on_its_index() {
        for length in (1..40).chain(BLOCK - 2..BLOCK + 12) {
            for shift in 0..length.min(9) {
                let mut row = vec![f64::NEG_INFINITY; length];
                (row[shift], row[length - 1]) = (-0.75, 0.0);
                let alone = shift == length - 1;
                let max = largest(&row).unwrap();
                assert_eq!(max, 0.0);
                softmax(&mut row, max, 0.5);
                let light = if alone { 0.0 } else { (-1.5f64).exp() };
                let wanted = if alone { 1.0 } else { light / (1.0 + light) };
                assert!((row[shift] - wanted).abs() < 1e-15, "{length} {shift}");
                assert_eq!(row.iter().filter(|&&p| p > 0.0).count(), 2 - usize::from(alone));
            }
        }
    }

    /// The error names the first bad logit in any lane of a vector.
    #[test]
    fn invalid_logits_are_found_in_any_lane() {
        for (length, token) in [(1, 0), (8, 7), (9, 8), (1000, 993), (BLOCK + 3, BLOCK + 2)] {
            for bad in [f64::NAN, f64::INFINITY] {
                let mut row = vec![0.0; length];
                row[token] = bad;
                let Err(DistributionError::NotFinite { token: found, .. }) = largest(&row) else {
                    panic!("{bad} at {token} of {length} passed");
                };
                assert_eq!(found as usize, token);
            }
        }
        assert_eq!(largest(&[f64::NEG_INFINITY; 11]), Err(DistributionError::Empty));
        assert_eq!(largest(&[]), Err(DistributionError::Empty));
    }
}
