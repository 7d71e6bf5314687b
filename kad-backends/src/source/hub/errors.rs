//! Errors of the hub, with advice.

use hf_hub::api::sync::ApiError;

use super::repository::Repository;
use crate::error::LoadError;

impl Repository<'_> {
    pub(super) fn error(&self, what: &str, error: &ApiError) -> LoadError {
        LoadError::Network {
            asked: format!("{} ({what})", self.name()),
            message: error.to_string(),
            advice: self.advice(error),
        }
    }

    fn advice(&self, error: &ApiError) -> String {
        if matches!(error, ApiError::LockAcquisition(_)) {
            return "another process is downloading it: wait until it has ended and try again; if \
                    there is none, set HF_HOME to a folder on a file system that has locks"
                .to_owned();
        }
        let advice = match status(error) {
            Some(401 | 403) => {
                "set HF_TOKEN to a token that may read it, and accept the terms on its page"
            }
            Some(404) => return self.advice_if_absent(),
            _ if self.is_dataset() => {
                "check the network; without one, copy the dataset into the hub's cache (HF_HOME)"
            }
            _ => {
                "check the network; without one, copy the model into the hub's cache (HF_HOME) or \
                 give its folder's path instead of hf:"
            }
        };
        advice.to_owned()
    }

    fn advice_if_absent(&self) -> String {
        let advice = match self.is_dataset() {
            true => "the hub has no such dataset, or not this file",
            false => {
                "check the name, the revision and the file; a model without safetensors must be \
                 converted, or run with backend = \"ort\" if it has ONNX graphs; name a .gguf \
                 file as hf:ORG/REPO/FILE.gguf"
            }
        };
        match self.cached_folder() {
            Some(folder) => format!(
                "{advice}; the cache has an earlier copy and only that commit was asked: for a \
                 newer one name its @REVISION, or delete {}",
                folder.display()
            ),
            None => advice.to_owned(),
        }
    }
}

/// HTTP status of a refused request.
pub(super) fn status(error: &ApiError) -> Option<u16> {
    match error {
        // The client does not export its error type; this is its message for a status.
        ApiError::RequestError(error) => {
            error.to_string().strip_prefix("http status: ")?.parse().ok()
        }
        ApiError::TooManyRetries(error) => status(error),
        _ => None,
    }
}
