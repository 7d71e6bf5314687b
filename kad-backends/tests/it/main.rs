//! Integration tests of kad-backends: one binary, one file per subject.

// The lint excludes test functions, but not their helpers.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "burn")]
mod burn;
mod chat;
mod dequant;
mod devices;
mod early_exit;
mod families;
mod folder;
mod gguf;
mod golden;
mod interpreters;
mod load;
#[cfg(feature = "ort")]
mod ort;
#[cfg(feature = "ort")]
mod ort_export;
mod quantise;
mod real_files;
mod sources;
mod support;
#[cfg(feature = "tch")]
mod tch;
#[cfg(feature = "tensors")]
mod tensor_libraries;
mod tokenizers;
mod trees;
