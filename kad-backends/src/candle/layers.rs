//! The operations of a layer other than matrix products, on rows `[tokens, width]`.

use std::ops::Range;

use rayon::prelude::*;
use wide::f32x16;

use super::kernels::{self, HeadRows};
use crate::decoder::spec::{Activation, DecoderSpec, Pairing};

/// Multiplications below which attention stays on one thread.
const PARALLEL_FROM: usize = 2_000_000;

/// `x ← x / sqrt(mean(x²) + ε) · weight` for each part `x` of `rows` of the weight's width.
pub(super) fn rms_norm(rows: &mut [f32], weight: &[f32], eps: f64) {
    let width = weight.len();
    for row in rows.chunks_exact_mut(width) {
        let mean_square = kernels::dot(row, row) / width as f32;
        let scale = f32x16::splat(1.0 / (mean_square + eps as f32).sqrt());
        kernels::zip(row, weight, |x, weight| x * scale * weight);
    }
}

/// RMSNorm in place; nothing for `None`.
pub(super) fn norm_in_place(rows: &mut [f32], weight: &Option<Vec<f32>>, eps: f64) {
    if let Some(weight) = weight {
        rms_norm(rows, weight, eps);
    }
}

/// `out ← n(input)`; a copy for `None`.
pub(super) fn normed(input: &[f32], weight: &Option<Vec<f32>>, eps: f64, out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(input);
    norm_in_place(out, weight, eps);
}

/// `rows ← factor · rows`.
pub(super) fn scale(rows: &mut [f32], factor: f32) {
    kernels::map(rows, |x| x * f32x16::splat(factor));
}

/// Sines and cosines of one pass, `[tokens, head_dim / 2]` each, for layers with the same rotary
/// embedding.
#[derive(Default)]
pub(super) struct RotaryTable {
    sin: Vec<f32>,
    cos: Vec<f32>,
}

impl RotaryTable {
    /// Starts a new pass.
    pub(super) fn clear(&mut self) {
        self.sin.clear();
        self.cos.clear();
    }

    /// Adds the pass's next token at `position`. Angles in `f64`, so that late positions keep their
    /// precision.
    pub(super) fn push(&mut self, position: usize, frequencies: &[f64]) {
        for frequency in frequencies {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            self.sin.push(sin as f32);
            self.cos.push(cos as f32);
        }
    }

    /// Rotates all heads of `row`, which belongs to token `token` of the pass.
    pub(super) fn rotate(&self, row: &mut [f32], token: usize, head_dim: usize, pairing: Pairing) {
        let half = head_dim / 2;
        let part = token * half..(token + 1) * half;
        let (sin, cos) = (&self.sin[part.clone()], &self.cos[part]);
        for head in row.chunks_exact_mut(head_dim) {
            match pairing {
                Pairing::Halves => {
                    let (first, second) = head.split_at_mut(half);
                    for (i, (x, y)) in first.iter_mut().zip(second).enumerate() {
                        (*x, *y) = turn(*x, *y, sin[i], cos[i]);
                    }
                }
                Pairing::Interleaved => {
                    for (i, [x, y]) in head.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                        (*x, *y) = turn(*x, *y, sin[i], cos[i]);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn turn(x: f32, y: f32, sin: f32, cos: f32) -> (f32, f32) {
    (x * cos - y * sin, x * sin + y * cos)
}

/// KV cache of one layer: rotated keys and values, `[tokens, kv_heads · head_dim]` each.
///
/// It grows with the text, so a long context length costs nothing until it is used.
#[derive(Default)]
pub(super) struct KvCache {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

impl KvCache {
    /// Removes all rows of `width` from row `len` on.
    pub(super) fn truncate(&mut self, len: usize, width: usize) {
        self.keys.truncate(len * width);
        self.values.truncate(len * width);
    }

    /// Keeps the first `len` rows of `width`, followed by the rows `slots`, which ascend from `len`
    /// on. Removes all others.
    pub(super) fn keep(&mut self, len: usize, slots: &[usize], width: usize) {
        for rows in [&mut self.keys, &mut self.values] {
            for (to, &from) in (len..).zip(slots) {
                rows.copy_within(from * width..(from + 1) * width, to * width);
            }
        }
        self.truncate(len + slots.len(), width);
    }
}

/// Cache rows visible to each token of a pass: a prefix, then single rows. A token of a text sees
/// all rows up to itself. A node of a token tree sees the text before the tree, its ancestors and
/// itself.
#[derive(Default)]
pub(super) struct AttendedRows {
    prefixes: Vec<usize>,
    slots: Vec<usize>,
    /// End of each token's slots.
    ends: Vec<usize>,
}

impl AttendedRows {
    /// Starts a new pass.
    pub(super) fn clear(&mut self) {
        self.prefixes.clear();
        self.slots.clear();
        self.ends.clear();
    }

    /// Adds the pass's next token, which sees the first `prefix` rows, then `slots`.
    pub(super) fn push(&mut self, prefix: usize, slots: impl IntoIterator<Item = usize>) {
        self.prefixes.push(prefix);
        self.slots.extend(slots);
        self.ends.push(self.slots.len());
    }

    /// Rows visible to token `token` of the pass: at most the latest `window` rows.
    fn of(&self, token: usize, window: usize) -> (Range<usize>, &[usize]) {
        let from = token.checked_sub(1).map_or(0, |before| self.ends[before]);
        let (prefix, slots) = (self.prefixes[token], &self.slots[from..self.ends[token]]);
        let unseen = (prefix + slots.len()).saturating_sub(window);
        (unseen.min(prefix)..prefix, &slots[unseen.saturating_sub(prefix)..])
    }
}

/// Attention of the pass's tokens, whose keys and values are in the cache already. Each token
/// attends to at most the latest `window` of its visible rows.
///
/// `queries` has rows of `stride`, which start with the query heads; `out` is
/// `[tokens, heads · head_dim]`.
pub(super) fn attention(
    spec: &DecoderSpec,
    (queries, stride): (&[f32], usize),
    cache: &KvCache,
    (visible, window): (&AttendedRows, usize),
    out: &mut [f32],
) {
    let (width, group) = (spec.kv_width(), spec.heads / spec.kv_heads * spec.head_dim);
    let tokens = queries.len() / stride;
    let scale = spec.attention_scale() as f32;
    // One piece of work: the query heads of one token that share a key head.
    let piece = |index: usize, out: &mut [f32], weights: &mut Vec<f32>| {
        let (token, kv_head) = (index / spec.kv_heads, index % spec.kv_heads);
        let (prefix, slots) = visible.of(token, window);
        weights.resize(prefix.len() + slots.len(), 0.0);
        let (first, prefix, offset) = (prefix.start, prefix.len(), kv_head * spec.head_dim);
        let (keys, values) = (&cache.keys[first * width..], &cache.values[first * width..]);
        let seen = |rows| HeadRows { rows, first, stride: width, offset, prefix, slots };
        let queries = &queries[token * stride + kv_head * group..][..group];
        let heads = queries.chunks_exact(spec.head_dim).zip(out.chunks_exact_mut(spec.head_dim));
        for (query, out) in heads {
            kernels::scores(query, seen(keys), scale, weights);
            kernels::softmax(weights);
            kernels::weighted_sum(weights, seen(values), out);
        }
    };
    let work = 2 * tokens * spec.query_width() * (cache.keys.len() / width).min(window);
    if work < PARALLEL_FROM {
        let mut weights = Vec::new();
        let pieces = out.chunks_exact_mut(group).enumerate();
        pieces.for_each(|(index, out)| piece(index, out, &mut weights));
    } else {
        let pieces = out.par_chunks_exact_mut(group).enumerate();
        pieces.for_each_init(Vec::new, |weights, (index, out)| piece(index, out, weights));
    }
}

/// `out = act(gate) ∘ up` for rows `[gate, up]` of `2 · ffn`; `out` has rows of `ffn`.
pub(super) fn gated(activation: Activation, gate_up: &mut [f32], ffn: usize, out: &mut Vec<f32>) {
    out.clear();
    for row in gate_up.chunks_exact_mut(2 * ffn) {
        let (gate, up) = row.split_at_mut(ffn);
        match activation {
            Activation::Silu => {
                let one = f32x16::ONE;
                kernels::zip(gate, up, |gate, up| gate / (one + (-gate).exp()) * up);
            }
            Activation::GeluTanh => kernels::zip(gate, up, |gate, up| gelu_tanh(gate) * up),
        }
        out.extend_from_slice(gate);
    }
}

/// `x / 2 · (1 + tanh(u))` with `u = √(2/π) (x + 0.044715 x³)`, which is `x / (1 + exp(−2 u))`.
#[inline(always)]
fn gelu_tanh(x: f32x16) -> f32x16 {
    let scale = f32x16::splat(-2.0 * (2.0 / std::f32::consts::PI).sqrt());
    let exponent = scale * (x + f32x16::splat(0.044715) * x * x * x);
    x / (f32x16::ONE + exponent.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compared with the tanh formula in `f64`, also where the exponential overflows `f32`.
    #[test]
    fn gelu_agrees_with_its_formula_for_large_inputs_too() {
        /// Relative to the input. Largest measured: 1.01e-7.
        const ROUNDING: f64 = 3e-7;
        let mut differences = Vec::new();
        for step in -4000..=4000 {
            let x = (f64::from(step) / 100.0).powi(3) as f32;
            let found = f64::from(gelu_tanh(f32x16::splat(x)).to_array()[0]);
            let x = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let expected = 0.5 * x * (1.0 + inner.tanh());
            differences.push((found - expected) / x.abs().max(1e-6));
        }
        let worst = kad_core::testing::conformance::worst(differences);
        println!("worst {worst:.2e}");
        assert!(worst <= ROUNDING, "{worst:e}");
    }
}
