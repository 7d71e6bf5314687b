//! One interpreter of [`DecoderSpec`] for libraries of tensors.
//!
//! A library implements [`Tensor`], some twenty operations on arrays of three dimensions; loading,
//! sessions, the cache, token trees, early exits, chunks of long prompts and errors are here, once.
//!
//! The residual stream, norms, rotations, attention with its cache, embedding, head and logits are
//! `f32` in every dtype. A dtype says what the matrices of the blocks are kept in, and what type
//! the library multiplies them in: each product takes activations rounded to that type and gives
//! them back rounded to it. Tensors of GGUF's blocks are dequantised, and rounded once, at load.
//!
//! A block's state is `[1, tokens, hidden]`. Attention is computed for all heads at once, those of
//! a key head one below the other: with `g` query heads to a key head,
//!
//! ```text
//! scores  [kv_heads, g · tokens, held] = Q Kᵀ + mask
//! output  [kv_heads, g · tokens, head_dim] = softmax(scores) V
//! ```
//!
//! where the mask is 0 for what a token sees and −∞ elsewhere: a text, a window of its latest
//! tokens, and the paths of a token tree differ in the mask and the positions alone.
//!
//! Rotations turn pairs `(i, i + head_dim / 2)`. The rows of queries and keys that a file keeps in
//! the other order are moved at load; what a query and a key have in common does not depend on the
//! order of their coordinates.

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
