//! Vector kernels with sixteen lanes: the inner loops.
//!
//! A dot product has sixteen running sums. At the end it adds them, then the elements beyond the
//! last multiple of sixteen. Several dot products are computed at once to save memory reads; this
//! never changes the order of a sum. So a pass over many tokens returns the bits of many passes
//! over one.

use std::array::from_fn;

use wide::f32x16;

pub(super) const LANES: usize = 16;

/// Tokens per tile: with four rows, the sums fill the processor's vector registers.
const TOKENS: usize = if cfg!(target_feature = "avx512f") { 4 } else { 2 };

/// Rows per tile.
pub(super) const ROWS: usize = 4;

/// `out[r][t] = rows[r] · inputs[t]`, all of the same width.
#[inline(always)]
fn tile<const R: usize, const T: usize>(rows: [&[f32]; R], inputs: [&[f32]; T]) -> [[f32; T]; R] {
    let (width, whole) = (inputs[0].len(), inputs[0].len() / LANES);
    let row_lanes = rows.map(|row| &row.as_chunks::<LANES>().0[..whole]);
    let input_lanes = inputs.map(|input| &input.as_chunks::<LANES>().0[..whole]);
    let mut sums = [[f32x16::ZERO; T]; R];
    for i in 0..whole {
        let inputs: [f32x16; T] = from_fn(|t| f32x16::new(input_lanes[t][i]));
        for r in 0..R {
            let row = f32x16::new(row_lanes[r][i]);
            for t in 0..T {
                sums[r][t] = row.mul_add(inputs[t], sums[r][t]);
            }
        }
    }
    let mut out = sums.map(|row| row.map(f32x16::reduce_add));
    for i in whole * LANES..width {
        for r in 0..R {
            for t in 0..T {
                out[r][t] += rows[r][i] * inputs[t][i];
            }
        }
    }
    out
}

/// `out[r][t] = rows[r] · inputs[t]` for `R` rows of `width` and all inputs.
///
/// `out` is `[R, tokens]`.
fn block<const R: usize>(rows: &[f32], inputs: &[f32], width: usize, out: &mut [f32]) {
    let tokens = out.len() / R;
    let rows: [&[f32]; R] = from_fn(|r| &rows[r * width..(r + 1) * width]);
    let mut at = 0;
    while at < tokens {
        let rest = &inputs[at * width..];
        at += match (tokens - at).min(TOKENS) {
            1 => columns::<R, 1>(rows, rest, width, at, tokens, out),
            2 => columns::<R, 2>(rows, rest, width, at, tokens, out),
            3 => columns::<R, 3>(rows, rest, width, at, tokens, out),
            _ => columns::<R, 4>(rows, rest, width, at, tokens, out),
        };
    }
}

#[inline(always)]
fn columns<const R: usize, const T: usize>(
    rows: [&[f32]; R],
    inputs: &[f32],
    width: usize,
    at: usize,
    tokens: usize,
    out: &mut [f32],
) -> usize {
    let inputs: [&[f32]; T] = from_fn(|t| &inputs[t * width..(t + 1) * width]);
    for (r, sums) in tile(rows, inputs).iter().enumerate() {
        out[r * tokens + at..][..T].copy_from_slice(sums);
    }
    T
}

/// `out = rows · inputsᵀ`: `rows` is `[n, width]` with `n ≤ ROWS`, `inputs` `[tokens, width]`,
/// `out` `[n, tokens]`.
pub(super) fn rows_times_inputs(rows: &[f32], inputs: &[f32], width: usize, out: &mut [f32]) {
    match rows.len() / width {
        1 => block::<1>(rows, inputs, width, out),
        2 => block::<2>(rows, inputs, width, out),
        3 => block::<3>(rows, inputs, width, out),
        _ => block::<4>(rows, inputs, width, out),
    }
}

/// `a · b`.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    tile([a], [b])[0][0]
}

/// The cache rows visible to one head of one token: the first `prefix` of `rows`, then `slots`.
/// Sums run in this order.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    /// Rows of length `stride`, starting with row `first` of the cache; the head's columns start at
    /// `offset`.
    pub(super) rows: &'a [f32],
    pub(super) first: usize,
    pub(super) stride: usize,
    pub(super) offset: usize,
    pub(super) prefix: usize,
    /// Indices of cache rows, at least `first`.
    pub(super) slots: &'a [usize],
}

/// `out[i] = scale · query · keys[i]` for the visible keys.
///
/// Adjacent keys are computed four at a time, with the same bits.
pub(super) fn scores(query: &[f32], keys: HeadRows<'_>, scale: f32, out: &mut [f32]) {
    let width = query.len();
    let key = |row: usize| &keys.rows[row * keys.stride + keys.offset..][..width];
    let (before, path) = out.split_at_mut(keys.prefix);
    for (&slot, out) in keys.slots.iter().zip(path) {
        *out = dot(key(slot - keys.first), query) * scale;
    }
    let (fours, rest) = before.as_chunks_mut::<4>();
    let done = fours.len() * 4;
    for (i, out) in fours.iter_mut().enumerate() {
        let sums = tile([key(4 * i), key(4 * i + 1), key(4 * i + 2), key(4 * i + 3)], [query]);
        *out = sums.map(|[sum]| sum * scale);
    }
    for (i, out) in rest.iter_mut().enumerate() {
        *out = dot(key(done + i), query) * scale;
    }
}

/// `out ← Σ_i weights[i] · values[i]` over the visible values, in the order of `i`.
///
/// Two loops, because one loop over a chained iterator made a pass of a small model 13 % slower.
pub(super) fn weighted_sum(weights: &[f32], values: HeadRows<'_>, out: &mut [f32]) {
    let HeadRows { rows, first, stride, offset, prefix, slots } = values;
    let (whole, last) = weights.split_at(prefix);
    let before = || rows[..prefix * stride].chunks_exact(stride).zip(whole);
    let path = || slots.iter().map(|slot| &rows[(slot - first) * stride..][..stride]).zip(last);
    let (lanes, rest) = out.as_chunks_mut::<LANES>();
    let from_rest = offset + lanes.len() * LANES;
    for (i, out) in lanes.iter_mut().enumerate() {
        let part = offset + i * LANES..offset + (i + 1) * LANES;
        let mut sum = f32x16::ZERO;
        for (row, weight) in before() {
            sum = lane(&row[part.clone()]).mul_add(f32x16::splat(*weight), sum);
        }
        for (row, weight) in path() {
            sum = lane(&row[part.clone()]).mul_add(f32x16::splat(*weight), sum);
        }
        *out = sum.to_array();
    }
    for (i, out) in rest.iter_mut().enumerate() {
        let both = before().chain(path());
        *out = both.map(|(row, weight)| row[from_rest + i] * weight).sum();
    }
}

#[inline(always)]
fn lane(values: &[f32]) -> f32x16 {
    let mut lane = [0.0; LANES];
    lane[..values.len()].copy_from_slice(values);
    f32x16::new(lane)
}

/// `values ← f(values)` elementwise.
pub(super) fn map(values: &mut [f32], f: impl Fn(f32x16) -> f32x16) {
    let (lanes, rest) = values.as_chunks_mut::<LANES>();
    for values in lanes {
        *values = f(f32x16::new(*values)).to_array();
    }
    let done = f(lane(rest)).to_array();
    rest.copy_from_slice(&done[..rest.len()]);
}

/// `a ← f(a, b)` elementwise.
pub(super) fn zip(a: &mut [f32], b: &[f32], f: impl Fn(f32x16, f32x16) -> f32x16) {
    let (a_lanes, a_rest) = a.as_chunks_mut::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter_mut().zip(b_lanes) {
        *a = f(f32x16::new(*a), f32x16::new(*b)).to_array();
    }
    let done = f(lane(a_rest), lane(b_rest)).to_array();
    a_rest.copy_from_slice(&done[..a_rest.len()]);
}

/// `weights ← softmax(scores)`.
pub(super) fn softmax(scores: &mut [f32]) {
    let highest = f32x16::splat(scores.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    map(scores, |score| (score - highest).exp());
    let (lanes, rest) = scores.as_chunks::<LANES>();
    let sums = lanes.iter().fold(f32x16::ZERO, |sum, lane| sum + f32x16::new(*lane));
    let total = sums.reduce_add() + rest.iter().sum::<f32>();
    let scale = f32x16::splat(1.0 / total);
    map(scores, |weight| weight * scale);
}
