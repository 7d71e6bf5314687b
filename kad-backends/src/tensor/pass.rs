//! Inputs of one forward pass shared by all layers: rotary tables and masks.

use super::operations::{OpResult, Tensor};
use crate::decoder::spec::{DecoderSpec, Rope};

/// Cache rows visible to one token: the first `prefix` rows, then `path`. In this order they hold
/// the token's text, the token itself last; their number is its position plus one.
pub(super) struct TokenContext {
    pub(super) prefix: usize,
    pub(super) path: Vec<usize>,
}

impl TokenContext {
    /// Context of the token at `position` of a text.
    pub(super) fn of_text(position: usize) -> Self {
        Self { prefix: position + 1, path: Vec::new() }
    }

    fn len(&self) -> usize {
        self.prefix + self.path.len()
    }

    /// Cache row of the token at `position` of the text.
    fn row(&self, position: usize) -> usize {
        if position < self.prefix { position } else { self.path[position - self.prefix] }
    }
}

/// Rotary tables and masks of one forward pass.
pub(super) struct PassInputs<T> {
    /// First cache row that the pass writes.
    pub(super) first: usize,
    /// For layers with full attention.
    whole: RotaryAndMask<T>,
    /// For layers with a window, if the model has any.
    window: Option<RotaryAndMask<T>>,
}

/// Rotary tables and mask of one kind of layer.
pub(super) struct RotaryAndMask<T> {
    /// `[tokens, 1, head_dim]`: cosines, twice.
    pub(super) cos: T,
    /// `[tokens, 1, head_dim]`: sines, the first half negative.
    pub(super) sin: T,
    /// `[1, g · tokens, rows]` with `g` query heads per key head; `None` if all rows are visible.
    pub(super) mask: Option<T>,
}

impl<T: Tensor> PassInputs<T> {
    /// Inputs for tokens with these contexts; the first token gets row `first` of the cache.
    pub(super) fn new(
        spec: &DecoderSpec,
        device: &T::Device,
        first: usize,
        contexts: &[TokenContext],
    ) -> OpResult<Self> {
        let rows = first + contexts.len();
        let view = |rope: &Rope, window: usize| {
            let shape = [contexts.len(), 1, spec.head_dim];
            let (cos, sin) = rotations(rope, spec.head_dim, contexts);
            let (cos, sin) = (T::from_f32(&cos, shape, device)?, T::from_f32(&sin, shape, device)?);
            let group = spec.heads / spec.kv_heads;
            let shape = [1, group * contexts.len(), rows];
            let mask = mask(rows, window, contexts)
                .map(|mask| T::from_f32(&mask.repeat(group), shape, device));
            OpResult::Ok(RotaryAndMask { cos, sin, mask: mask.transpose()? })
        };
        let window = spec.window.as_ref().map(|window| view(&window.rope, window.tokens));
        Ok(Self { first, whole: view(&spec.rope, usize::MAX)?, window: window.transpose()? })
    }

    /// Rotary tables and mask of layers with or without a window.
    pub(super) fn view(&self, windowed: bool) -> &RotaryAndMask<T> {
        match &self.window {
            Some(window) if windowed => window,
            _ => &self.whole,
        }
    }
}

/// Cosines and sines; angles in `f64`, so that late positions keep their precision.
fn rotations(rope: &Rope, head_dim: usize, contexts: &[TokenContext]) -> (Vec<f32>, Vec<f32>) {
    let frequencies = rope.frequencies(head_dim);
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for context in contexts {
        let position = (context.len() - 1) as f64;
        let turns = || frequencies.iter().map(move |frequency| (position * frequency).sin_cos());
        cos.extend(turns().chain(turns()).map(|(_, cos)| cos as f32));
        sin.extend(turns().map(|(sin, _)| -sin as f32));
        sin.extend(turns().map(|(sin, _)| sin as f32));
    }
    (cos, sin)
}

/// `[tokens, rows]`: 0 for the latest `window` tokens of a token's text, −∞ for other rows; `None`
/// if all rows are visible.
fn mask(rows: usize, window: usize, contexts: &[TokenContext]) -> Option<Vec<f32>> {
    let mut mask = vec![f32::NEG_INFINITY; contexts.len() * rows];
    let mut all = true;
    for (mask, context) in mask.chunks_exact_mut(rows).zip(contexts) {
        let seen = context.len().saturating_sub(window)..context.len();
        all &= seen.len() == rows;
        seen.for_each(|position| mask[context.row(position)] = 0.0);
    }
    (!all).then_some(mask)
}
