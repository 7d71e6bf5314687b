//! Converts errors of ONNX Runtime to errors of kad.

use kad_core::ModelError;

use crate::error::LoadError;

/// Name of the backend.
pub(super) const NAME: &str = "ort";

pub(super) fn failed(error: ort::Error) -> LoadError {
    LoadError::Backend { backend: NAME, message: error.to_string() }
}

pub(super) fn broken(message: impl ToString) -> ModelError {
    ModelError::Backend { backend: NAME, message: message.to_string() }
}
