//! Checks and defaults shared by `config.json` and GGUF metadata.

use crate::decoder::spec::{DecoderSpec, Rope, Window};
use crate::error::LoadError;

/// The window of `tokens` in `layers` with the rotary embedding `rope`. `None` if it changes
/// nothing: the window covers the whole context, and `rope` equals that of the other layers.
pub(super) fn window(
    tokens: usize,
    layers: Vec<bool>,
    (whole, rope): (&Rope, Rope),
    context: usize,
) -> Option<Window> {
    (tokens < context || rope != *whole).then_some(Window { tokens, layers, rope })
}

/// Gemma's pattern: every `period`-th layer has full attention, the others the window.
pub(super) fn every_nth_sees_all(layers: usize, period: usize) -> Vec<bool> {
    (1..=layers).map(|layer| !layer.is_multiple_of(period)).collect()
}

/// Refuses an absurd number of layers before anything is allocated per layer.
pub(super) fn check_layers(layers: usize) -> Result<(), String> {
    const MOST_LAYERS: usize = 1 << 12;
    if layers > MOST_LAYERS { Err(format!("is {layers}, more than any model has")) } else { Ok(()) }
}

/// Refuses impossible specifications and absurd sizes before anything is allocated by them.
pub(super) fn check(
    spec: &DecoderSpec,
    wrong: impl Fn(&str, String) -> LoadError,
) -> Result<(), LoadError> {
    const LARGEST: usize = 1 << 24;
    spec.check()?;
    let sizes = [
        ("vocabulary size", spec.vocab_rows),
        ("hidden size", spec.hidden),
        ("number of heads", spec.heads),
        ("head size", spec.head_dim),
        ("feed-forward size", spec.ffn),
        ("context length", spec.context_len),
    ];
    if let Some((what, size)) = sizes.into_iter().find(|(_, size)| *size > LARGEST) {
        return Err(wrong(what, format!("is {size}, more than any model has")));
    }
    let possible =
        |rope: &Rope| rope.frequencies(spec.head_dim).into_iter().all(|f| f.is_finite() && f > 0.0);
    let ropes = [&spec.rope].into_iter().chain(spec.window.iter().map(|window| &window.rope));
    match ropes.into_iter().find(|rope| !possible(rope)) {
        Some(rope) => Err(wrong("rotary embedding", format!("{rope:?} is impossible"))),
        None => Ok(()),
    }
}
