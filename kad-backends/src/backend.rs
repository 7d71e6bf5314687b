//! The backends, by name.

use std::fmt;
use std::str::FromStr;

use crate::unknown_name::UnknownName;

/// A library or an interpreter that runs models.
///
/// ```
/// use kad_backends::Backend;
/// let backend: Backend = "naive".parse()?;
/// assert_eq!(backend, Backend::Naive);
/// assert_eq!(Backend::default(), Backend::Candle);
/// # Ok::<(), kad_backends::UnknownName>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Backend {
    /// kad's CPU kernels on candle tensors: pure Rust, the fastest on a CPU.
    #[default]
    Candle,
    /// The burn library on its `flex` device: pure Rust.
    Burn,
    /// libtorch, the library under PyTorch.
    Tch,
    /// ONNX Runtime, which runs exported ONNX graphs.
    Ort,
    /// Plain `f64` loops, slow and always compiled: the reference of the other backends.
    Naive,
}

/// Backend, name, and true if this build contains it. The cargo feature has the same name.
const BACKENDS: &[(Backend, &str, bool)] = &[
    (Backend::Candle, "candle", cfg!(feature = "candle")),
    (Backend::Burn, "burn", cfg!(feature = "burn")),
    (Backend::Tch, "tch", cfg!(feature = "tch")),
    (Backend::Ort, "ort", cfg!(feature = "ort")),
    (Backend::Naive, "naive", true),
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = BACKENDS.iter().find(|(_, name, _)| *name == text);
        found.map(|(backend, ..)| *backend).ok_or_else(|| UnknownName {
            kind: "backend",
            given: text.to_owned(),
            known: BACKENDS.iter().map(|(_, name, _)| (*name).to_owned()).collect(),
        })
    }
}

impl Backend {
    /// The backends of this build, in the order of reports.
    ///
    /// ```
    /// use kad_backends::Backend;
    /// assert!(Backend::compiled().any(|backend| backend == Backend::Naive));
    /// ```
    pub fn compiled() -> impl Iterator<Item = Backend> {
        BACKENDS.iter().filter(|(.., compiled)| *compiled).map(|(backend, ..)| *backend)
    }

    /// All backends, compiled or not.
    pub fn all() -> impl Iterator<Item = Backend> {
        BACKENDS.iter().map(|(backend, ..)| *backend)
    }

    /// Name in experiment files, on the command line and of the cargo feature.
    pub fn name(self) -> &'static str {
        BACKENDS.iter().find(|(backend, ..)| *backend == self).map_or("", |(_, name, _)| name)
    }
}
