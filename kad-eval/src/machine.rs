//! What a program runs on: measured times hold for nothing else.

use serde::{Deserialize, Serialize};

/// Threads that the libraries underneath would use if this were not set.
const THREADS: &str = "RAYON_NUM_THREADS";

/// A processor, as far as the speed of a pass depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// Its model, as it calls itself.
    pub(crate) cpu: String,
    /// Threads that passes are spread over.
    pub(crate) threads: usize,
    /// Architecture and instruction sets that this program was built for.
    pub(crate) target: String,
}

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        Self { cpu: cpu_name(), threads: threads(), target: env!("KAD_TARGET").to_owned() }
    }
}

/// Threads that a pass may use: what `RAYON_NUM_THREADS` says, or one for each processor.
pub(crate) fn threads() -> usize {
    let asked = std::env::var(THREADS).ok().and_then(|text| text.parse().ok());
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.filter(|&threads: &usize| threads > 0).unwrap_or_else(all)
}

/// Bytes of this process in memory; none where the system does not tell as Linux does.
pub(crate) fn resident_bytes() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Bytes that programs could still take without the machine running out of memory; none where the
/// system does not tell as Linux does.
pub(crate) fn available_bytes() -> Option<u64> {
    kilobytes("/proc/meminfo", "MemAvailable:")
}

/// A line of a file of the system, in bytes.
fn kilobytes(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The processor's model.
pub(crate) fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(':')).map_or("unknown", |(_, name)| name.trim()).to_owned()
}
