//! The devices, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::unknown_name::UnknownName;

/// The processor that computes the forward passes of a model. It holds weights, KV caches and
/// masks; logits are copied to the host.
///
/// | device | `tch` | `ort` | `burn` | `candle`, `naive` |
/// |---|---|---|---|---|
/// | `cpu` | yes | yes | yes | yes |
/// | `cuda`, `cuda:N` | a libtorch for CUDA | a GPU build of ONNX Runtime | kad built with `cuda` | no: kad's own kernels are for the CPU |
/// | `metal` | a libtorch for macOS | no | kad built with `metal` | no |
///
/// ```
/// use kad_backends::Device;
/// for (text, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("metal", Device::Metal)] {
///     assert_eq!(text.parse::<Device>()?, device);
///     assert_eq!(device.to_string(), text);
/// }
/// # Ok::<(), kad_backends::UnknownName>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The CPU.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number; `cuda` means `cuda:0`.
    Cuda(usize),
    /// The GPU of a Mac.
    Metal,
}

impl Device {
    /// True for the CPU.
    pub fn is_cpu(&self) -> bool {
        *self == Device::Cpu
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(0) => f.write_str("cuda"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            Device::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse().ok(),
            false => None,
        };
        let device = match text {
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            "metal" => Some(Device::Metal),
            _ => text.strip_prefix("cuda:").and_then(number).map(Device::Cuda),
        };
        device.ok_or_else(|| UnknownName {
            kind: "device",
            given: text.to_owned(),
            known: ["cpu", "cuda", "cuda:N", "metal"].map(str::to_owned).to_vec(),
        })
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
