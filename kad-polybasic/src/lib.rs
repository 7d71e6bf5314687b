//! Speculative decoding over any [`Predictor`](kad_core::Predictor): one model, or a deferral
//! mixture of two.
//!
//! Today this crate holds the pure heart of verification ([`verify`]); the engine that drafts and
//! verifies through a chain of levels is not written yet. It will see models only through
//! `kad-core` and never a backend, a file or a clock.

pub mod verify;
