//! Threads and device of a model.

use std::num::NonZeroUsize;

use serde::Serialize;

use crate::device::Device;

/// Threads and device of a model. They change its speed and, up to rounding, not its results.
/// [`load_with`](crate::load_with) refuses an option that the backend does not support.
///
/// ```
/// use kad_backends::{Device, ModelOptions};
/// assert!(ModelOptions::default().is_default());
/// let options = ModelOptions { device: "cuda:1".parse()?, ..ModelOptions::default() };
/// assert_eq!(options.device, Device::Cuda(1));
/// # Ok::<(), kad_backends::UnknownName>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModelOptions {
    /// Threads of one forward pass; default: all cores. `ort` has a number per model, `tch` one for
    /// all models of the process. The other backends refuse it and use `RAYON_NUM_THREADS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<NonZeroUsize>,
    /// Processor of the forward passes; default: the CPU.
    #[serde(skip_serializing_if = "Device::is_cpu")]
    pub device: Device,
}

impl ModelOptions {
    /// True if no option is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
