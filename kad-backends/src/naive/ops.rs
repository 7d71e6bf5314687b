//! The formulas of [`decoder`](crate::decoder), one function each.

use std::ops::Range;

use crate::decoder::spec::{Activation, Pairing};

/// `matrix · input`, matrix `[out, in]`.
pub(super) fn times(matrix: &[f64], input: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(input.len()).map(|row| dot(row, input)).collect()
}

/// Dot product with four running sums, so that the processor can run four additions in parallel.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (a4, a_rest) = a.as_chunks::<4>();
    let (b4, b_rest) = b.as_chunks::<4>();
    for (a, b) in a4.iter().zip(b4) {
        for lane in 0..4 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// `to ← to + from`.
pub(super) fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// RMSNorm with this weight; the identity for `None`.
pub(super) fn normed(input: Vec<f64>, weight: &Option<Vec<f64>>, eps: f64) -> Vec<f64> {
    match weight {
        Some(weight) => rms_norm(&input, weight, eps),
        None => input,
    }
}

/// `x / sqrt(mean(x²) + ε) · weight`.
pub(super) fn rms_norm(input: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean_square = dot(input, input) / input.len() as f64;
    let scale = 1.0 / (mean_square + eps).sqrt();
    input.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect()
}

/// Rotary embedding: rotates pair `i` of `head` by `position · frequencies[i]` radians.
pub(super) fn rotate(head: &mut [f64], position: usize, frequencies: &[f64], pairing: Pairing) {
    for (i, frequency) in frequencies.iter().enumerate() {
        let (first, second) = match pairing {
            Pairing::Halves => (i, i + frequencies.len()),
            Pairing::Interleaved => (2 * i, 2 * i + 1),
        };
        let (sin, cos) = (position as f64 * frequency).sin_cos();
        let (x, y) = (head[first], head[second]);
        head[first] = x * cos - y * sin;
        head[second] = x * sin + y * cos;
    }
}

/// The columns `part` of the rows `seen`, in their order; `rows` is `[tokens, width]`.
pub(super) fn parts<'a>(
    rows: &'a [f64],
    width: usize,
    seen: &[usize],
    part: Range<usize>,
) -> Vec<&'a [f64]> {
    seen.iter().map(|row| &rows[row * width..][part.clone()]).collect()
}

/// `Σ_t softmax_t(scale · query · key_t) value_t` over the visible tokens of a head.
pub(super) fn attention(query: &[f64], scale: f64, keys: &[&[f64]], values: &[&[f64]]) -> Vec<f64> {
    let scores: Vec<f64> = keys.iter().map(|key| dot(query, key) * scale).collect();
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; query.len()];
    for (weight, value) in weights.iter().zip(values) {
        for (out, value) in out.iter_mut().zip(*value) {
            *out += weight / total * value;
        }
    }
    out
}

/// Activation function of the gate.
pub(super) fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
    }
}
