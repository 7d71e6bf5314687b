//! How a backend runs a model, where it has a choice.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use serde::Serialize;

use crate::error::LoadError;

/// Choices about running a model that change how fast it is and not what it computes.
///
/// Only `ort` has them so far; any other backend refuses what it would ignore.
///
/// ```
/// use kad_backends::{Provider, RunOptions};
/// assert!(RunOptions::default().is_default());
/// let options = RunOptions { provider: Some("cpu".parse()?), ..RunOptions::default() };
/// assert_eq!(options.provider, Some(Provider::Cpu));
/// # Ok::<(), kad_backends::LoadError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunOptions {
    /// Threads that share one pass; as many as the machine has if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// What executes the graph; the CPU if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

impl RunOptions {
    /// Whether nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor; in every build of the library.
    Cpu,
    /// An NVIDIA GPU; only in the library's GPU builds.
    Cuda,
}

impl Provider {
    const ALL: [(Provider, &'static str); 2] = [(Provider::Cpu, "cpu"), (Provider::Cuda, "cuda")];
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(it, _)| it == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Provider {
    type Err = LoadError;

    fn from_str(text: &str) -> Result<Self, LoadError> {
        let found = Self::ALL.iter().find(|(_, name)| *name == text);
        found.map(|(provider, _)| *provider).ok_or_else(|| LoadError::UnknownName {
            kind: "provider",
            given: text.to_owned(),
            known: Self::ALL.iter().map(|(_, name)| (*name).to_owned()).collect(),
        })
    }
}
