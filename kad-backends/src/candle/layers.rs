//! What a block does between its matrix products, on host rows `[tokens, width]`.

use rayon::prelude::*;
use wide::f32x16;

use super::kernels;
use crate::decoder::spec::{Activation, DecoderSpec, Pairing};

/// Multiplications below which attention stays on one thread.
const PARALLEL_FROM: usize = 400_000;

/// `out ← x / sqrt(mean(x²) + ε) · weight`, row by row.
pub(super) fn rms_norm(input: &[f32], weight: &[f32], eps: f64, out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(input);
    let width = weight.len();
    for row in out.chunks_exact_mut(width) {
        let mean_square = kernels::dot(row, row) / width as f32;
        let scale = f32x16::splat(1.0 / (mean_square + eps as f32).sqrt());
        kernels::zip(row, weight, |x, weight| x * scale * weight);
    }
}

/// Sines and cosines of one pass, `[tokens, head_dim / 2]` each: all blocks share them.
#[derive(Default)]
pub(super) struct Turns {
    sin: Vec<f32>,
    cos: Vec<f32>,
}

impl Turns {
    /// Angles in `f64`, so that late positions lose nothing.
    pub(super) fn set(&mut self, first: usize, tokens: usize, frequencies: &[f64]) {
        self.sin.clear();
        self.cos.clear();
        for position in first..first + tokens {
            for frequency in frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                self.sin.push(sin as f32);
                self.cos.push(cos as f32);
            }
        }
    }

    /// Rotates the first `heads` heads of a row that belongs to token `token` of the pass.
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

/// Keys (rotated) and values of one block, `[tokens, kv_heads · head_dim]` each.
///
/// Grows by doubling, never beyond what is used: a context of 32,768 costs nothing until it is
/// there.
#[derive(Default)]
pub(super) struct Cache {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// Causal attention of the pass's tokens, the last ones in the cache.
///
/// `queries` holds rows of `stride`, the heads first; `out` is `[tokens, heads · head_dim]`.
pub(super) fn attention(
    spec: &DecoderSpec,
    queries: &[f32],
    stride: usize,
    cache: &Cache,
    out: &mut [f32],
) {
    let (width, group) = (spec.kv_width(), spec.heads / spec.kv_heads * spec.head_dim);
    let tokens = queries.len() / stride;
    let held = cache.keys.len() / width - tokens;
    let scale = 1.0 / (spec.head_dim as f32).sqrt();
    // One piece: the query heads of one token that share a key head.
    let piece = |index: usize, out: &mut [f32], weights: &mut Vec<f32>| {
        let (token, kv_head) = (index / spec.kv_heads, index % spec.kv_heads);
        let (seen, offset) = (held + token + 1, kv_head * spec.head_dim);
        let (keys, values) = (&cache.keys[..seen * width], &cache.values[..seen * width]);
        let queries = &queries[token * stride + kv_head * group..][..group];
        let heads = queries.chunks_exact(spec.head_dim).zip(out.chunks_exact_mut(spec.head_dim));
        weights.resize(seen, 0.0);
        for (query, out) in heads {
            kernels::scores(query, keys, width, offset, scale, weights);
            kernels::softmax(weights);
            kernels::weighted_sum(weights, values, width, offset, out);
        }
    };
    let work = 2 * tokens * spec.query_width() * (held + tokens);
    if work < PARALLEL_FROM {
        let mut weights = Vec::new();
        let pieces = out.chunks_exact_mut(group).enumerate();
        pieces.for_each(|(index, out)| piece(index, out, &mut weights));
    } else {
        let pieces = out.par_chunks_exact_mut(group).enumerate();
        pieces.for_each_init(Vec::new, |weights, (index, out)| piece(index, out, weights));
    }
}

/// `gate ← act(gate) ∘ up` for rows `[gate, up]` of `2 · ffn`; packed to rows of `ffn`.
pub(super) fn gated(activation: Activation, gate_up: &mut [f32], ffn: usize, out: &mut Vec<f32>) {
    out.clear();
    for row in gate_up.chunks_exact_mut(2 * ffn) {
        let (gate, up) = row.split_at_mut(ffn);
        match activation {
            Activation::Silu => {
                let one = f32x16::ONE;
                kernels::zip(gate, up, |gate, up| gate / (one + (-gate).exp()) * up);
            }
            Activation::GeluTanh => {
                for (gate, up) in gate.iter_mut().zip(up) {
                    *gate = gelu_tanh(*gate) * *up;
                }
            }
        }
        out.extend_from_slice(gate);
    }
}

fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}
