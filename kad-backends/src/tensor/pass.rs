//! What the tokens of one pass share across all blocks: rotations and masks.

use super::operations::{OpResult, Tensor};
use crate::decoder::spec::{DecoderSpec, Rope};

/// What one token of a pass sees of the cache: its first `prefix` rows, then those of `path`. Read
/// in this order they are the token's text, the token itself last, so their number is its position
/// plus one.
pub(super) struct TokenContext {
    pub(super) prefix: usize,
    pub(super) path: Vec<usize>,
}

impl TokenContext {
    /// A token at `position` that follows the tokens before it.
    pub(super) fn of_text(position: usize) -> Self {
        Self { prefix: position + 1, path: Vec::new() }
    }

    fn len(&self) -> usize {
        self.prefix + self.path.len()
    }

    /// The row of the cache where the token of its text at `position` is.
    fn row(&self, position: usize) -> usize {
        if position < self.prefix { position } else { self.path[position - self.prefix] }
    }
}

/// Rotations and masks of one pass.
pub(super) struct PassInputs<T> {
    /// The first row of the cache that the pass writes.
    pub(super) first: usize,
    /// Of blocks that see the whole text.
    whole: RotaryAndMask<T>,
    /// Of blocks with a window, if the model has such.
    window: Option<RotaryAndMask<T>>,
}

/// What the blocks of one kind share.
pub(super) struct RotaryAndMask<T> {
    /// `[tokens, 1, head_dim]`: cosines, twice.
    pub(super) cos: T,
    /// `[tokens, 1, head_dim]`: sines, the first half negative.
    pub(super) sin: T,
    /// `[1, g · tokens, rows]` with `g` query heads to a key head; `None` if all is seen.
    pub(super) mask: Option<T>,
}

impl<T: Tensor> PassInputs<T> {
    /// For tokens of these sights, of which the first gets row `first` of the cache.
    pub(super) fn new(
        spec: &DecoderSpec,
        device: &T::Device,
        first: usize,
        sights: &[TokenContext],
    ) -> OpResult<Self> {
        let rows = first + sights.len();
        let view = |rope: &Rope, window: usize| {
            let shape = [sights.len(), 1, spec.head_dim];
            let (cos, sin) = rotations(rope, spec.head_dim, sights);
            let (cos, sin) = (T::from_f32(&cos, shape, device)?, T::from_f32(&sin, shape, device)?);
            let group = spec.heads / spec.kv_heads;
            let shape = [1, group * sights.len(), rows];
            let mask = mask(rows, window, sights)
                .map(|mask| T::from_f32(&mask.repeat(group), shape, device));
            OpResult::Ok(RotaryAndMask { cos, sin, mask: mask.transpose()? })
        };
        let window = spec.window.as_ref().map(|window| view(&window.rope, window.tokens));
        Ok(Self { first, whole: view(&spec.rope, usize::MAX)?, window: window.transpose()? })
    }

    /// What the blocks of one kind share.
    pub(super) fn view(&self, windowed: bool) -> &RotaryAndMask<T> {
        match &self.window {
            Some(window) if windowed => window,
            _ => &self.whole,
        }
    }
}

/// Cosines and sines; angles in `f64`, so that late positions lose nothing.
fn rotations(rope: &Rope, head_dim: usize, sights: &[TokenContext]) -> (Vec<f32>, Vec<f32>) {
    let frequencies = rope.frequencies(head_dim);
    let (mut cos, mut sin) = (Vec::new(), Vec::new());
    for sight in sights {
        let position = (sight.len() - 1) as f64;
        let turns = || frequencies.iter().map(move |frequency| (position * frequency).sin_cos());
        cos.extend(turns().chain(turns()).map(|(_, cos)| cos as f32));
        sin.extend(turns().map(|(sin, _)| -sin as f32));
        sin.extend(turns().map(|(sin, _)| sin as f32));
    }
    (cos, sin)
}

/// `[sights.len(), rows]`: 0 for what a token sees, the latest `window` tokens of its text, and −∞
/// for the rest; `None` if all is seen.
fn mask(rows: usize, window: usize, sights: &[TokenContext]) -> Option<Vec<f32>> {
    let mut mask = vec![f32::NEG_INFINITY; sights.len() * rows];
    let mut all = true;
    for (mask, sight) in mask.chunks_exact_mut(rows).zip(sights) {
        let seen = sight.len().saturating_sub(window)..sight.len();
        all &= seen.len() == rows;
        seen.for_each(|position| mask[sight.row(position)] = 0.0);
    }
    (!all).then_some(mask)
}
