//! The machine that the program runs on: measured times are valid on no other.

use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};
use sysinfo::{
    CpuRefreshKind, MemoryRefreshKind, Process, ProcessRefreshKind, ProcessesToUpdate, RefreshKind,
    System,
};

/// Number of threads of the libraries that compute; without it, one for each processor.
const THREADS: &str = "RAYON_NUM_THREADS";

/// A processor, as far as the time of a forward pass depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// Name of the processor.
    pub(crate) cpu: String,
    /// Threads that share a forward pass.
    pub(crate) threads: usize,
    /// Architecture and instruction sets that this program was built for.
    pub(crate) target: String,
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Self {
        Self { cpu: cpu_name(), threads: threads(), target: env!("KAD_TARGET").to_owned() }
    }
}

/// Threads that share a forward pass: the environment's `RAYON_NUM_THREADS`, or one for each
/// processor.
fn threads() -> usize {
    let set = std::env::var(THREADS).ok().and_then(|text| text.parse().ok());
    let all = || available_parallelism().map_or(1, usize::from);
    set.filter(|&threads: &usize| threads > 0).unwrap_or_else(all)
}

/// Bytes of memory that this process holds; none where the system does not report it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let own = sysinfo::get_current_pid().ok()?;
    let mut system = System::new();
    let memory = ProcessRefreshKind::nothing().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, memory);
    system.process(own).map(Process::memory)
}

/// Bytes of memory that processes can still take without swapping; none where the system does not
/// report it.
pub(crate) fn available_bytes() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    Some(system.available_memory()).filter(|bytes| *bytes > 0)
}

/// Name of the processor.
fn cpu_name() -> String {
    let cpus = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(cpus);
    let name = system.cpus().first().map_or("", |cpu| cpu.brand().trim());
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_this_process() {
        let (Some(before), Some(available)) = (resident_bytes(), available_bytes()) else {
            eprintln!("SKIPPED: the system does not report memory");
            return;
        };
        let filled = vec![1_u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after - before >= 60 << 20, "{before} → {after}");
        assert!(available > 0 && filled.iter().all(|byte| *byte == 1));
    }

    /// As the system itself says it.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_processor_is_named_as_linux_names_it() {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let line = info.lines().find(|line| line.starts_with("model name"));
        if let Some((_, name)) = line.and_then(|line| line.split_once(':')) {
            assert_eq!(Machine::here().cpu, name.trim());
        }
    }
}
