//! How a backend runs a model, where it has a choice.

use std::num::NonZeroUsize;

use serde::Serialize;

use crate::device::Device;

/// Choices about running a model that change how fast it is and not what it computes, up to the
/// rounding of another processor. A backend refuses what it cannot do.
///
/// ```
/// use kad_backends::{Device, RunOptions};
/// assert!(RunOptions::default().is_default());
/// let options = RunOptions { device: "cuda:1".parse()?, ..RunOptions::default() };
/// assert_eq!(options.device, Device::Cuda(1));
/// # Ok::<(), kad_backends::UnknownName>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunOptions {
    /// Threads that share one pass; as many as the machine has if absent. Of `ort` for each model,
    /// of `tch` for all models of the process; the others take their number from
    /// `RAYON_NUM_THREADS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// What computes.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
}

impl RunOptions {
    /// Whether nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
