//! The interpreter of `DecoderSpec` shared by the tensor libraries `burn` and `tch`.
//!
//! A library implements `Tensor`, about twenty operations on arrays of three dimensions. Loading,
//! sessions, KV cache, token trees, early exits, chunks of long prompts and errors are implemented
//! here.
//!
//! The residual stream, norms, rotary embedding, attention with its KV cache, embedding, head and
//! logits are `f32` in every dtype. The dtype is the type of the layers' matrices and of their
//! products: activations are rounded to it before each product, and so is the result. Quantised
//! GGUF tensors are dequantised at load and rounded once.
//!
//! The residual stream is `[1, tokens, hidden]`. Attention is computed for all heads at once. The
//! query heads of one key head are stacked: with `g` query heads per key head,
//!
//! ```text
//! scores  [kv_heads, g · tokens, rows] = Q Kᵀ + mask
//! output  [kv_heads, g · tokens, head_dim] = softmax(scores) V
//! ```
//!
//! The mask is 0 for visible positions and −∞ for hidden ones. Full attention, sliding windows and
//! token trees differ only in masks and positions.
//!
//! Rotary embedding rotates pairs `(i, i + head_dim / 2)`. If a file stores query and key rows in
//! the interleaved order, they are reordered at load; dot products do not depend on the order.

#[cfg(test)]
mod host;
mod layer;
mod load;
mod model;
pub(crate) mod operations;
mod pass;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use self::load::load;
