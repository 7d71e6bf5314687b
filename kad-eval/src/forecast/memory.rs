//! Peak memory of a run: its models, and the KV caches of its sessions at the longest text.

use serde::Serialize;

use super::item_tokens::{ItemTokens, by_speaker, longest};
use crate::config::{DecoderKind, Experiment};
use crate::machine;
use crate::models::Models;
use crate::output::size;
use crate::task::{Item, Task};

/// KV caches of all sessions of a decoder at its longest text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Caches {
    #[serde(rename = "caches_bytes")]
    pub(crate) bytes: u64,
    /// Tokens of that text: the longest prompt and `max_new_tokens` per reply.
    #[serde(rename = "longest_text")]
    pub(crate) tokens: usize,
}

impl Caches {
    /// The largest over all decoders. Items without a prompt are left out.
    pub(crate) fn largest(experiment: &Experiment, models: &Models, tasks: &[Task]) -> Self {
        let items = longest(tasks);
        let texts = by_speaker(experiment, |kind| -> Vec<ItemTokens> {
            let of = |(task, item): &(&Task, &Item)| ItemTokens::of(kind, models, task, item);
            items.iter().filter_map(of).collect()
        });
        let mut largest = Self::default();
        for (plan, texts) in experiment.decoders.iter().zip(texts) {
            let new = usize::try_from(plan.sampling.max_new_tokens).unwrap_or(usize::MAX);
            let tokens = texts.iter().map(|item| item.longest(new)).max().unwrap_or(0);
            let held = |name: &str| {
                let details = &models[name].details;
                details.cache_bytes * tokens.min(details.context_len) as u64
            };
            let bytes = sessions(&plan.kind).into_iter().map(held).sum();
            if bytes > largest.bytes {
                let speaker = plan.kind.models().pop().unwrap_or_default();
                largest = Self { bytes, tokens: tokens.min(models[speaker].details.context_len) };
            }
        }
        largest
    }
}

/// The model of every session that is open at the same time.
fn sessions(kind: &DecoderKind) -> Vec<&str> {
    let DecoderKind::Chain(chain) = kind else { return kind.models() };
    chain.distributions().into_iter().flat_map(|part| part.distribution.models()).collect()
}

/// Peak memory of the process, and its parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Memory {
    pub(crate) peak_bytes: u64,
    /// Memory of the process now.
    pub(crate) resident_bytes: u64,
    /// Memory that every job still to be started adds for its own copy of the models.
    pub(crate) models_bytes: u64,
    /// KV caches of one job.
    #[serde(flatten)]
    pub(crate) caches: Caches,
    /// Free memory of the machine; none where the system does not tell.
    pub(crate) available_bytes: Option<u64>,
}

impl Memory {
    /// Measured now: `models_bytes` is the memory of one copy of the models that every job but the
    /// first one still has to load.
    pub(crate) fn now(models_bytes: u64, caches: Caches, jobs: usize) -> Self {
        let resident = machine::resident_bytes().unwrap_or(0);
        Self::of(resident, models_bytes, caches, (jobs, machine::available_bytes()))
    }

    fn of(
        resident_bytes: u64,
        models_bytes: u64,
        caches: Caches,
        (jobs, available_bytes): (usize, Option<u64>),
    ) -> Self {
        let jobs = jobs as u64;
        let more = models_bytes.saturating_mul(jobs - 1) + caches.bytes.saturating_mul(jobs);
        let peak_bytes = resident_bytes + more;
        Self { peak_bytes, resident_bytes, models_bytes, caches, available_bytes }
    }

    /// A warning if the machine has less free memory than the run may still take.
    pub(crate) fn warning(&self) -> Option<String> {
        let more = self.peak_bytes - self.resident_bytes;
        let available = self.available_bytes.filter(|available| more > *available)?;
        Some(format!(
            "the run may need {} more memory, but the machine has only {} left: lower \
             `max_new_tokens` or --jobs",
            size(more),
            size(available)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 100 resident, of which models 60; three jobs load 120 more and hold 3 × 7.
    #[test]
    fn every_job_adds_its_models_and_its_caches() {
        let caches = Caches { bytes: 7, tokens: 9 };
        let memory = |available| Memory::of(100, 60, caches, (3, Some(available)));
        assert_eq!(memory(0).peak_bytes, 100 + 120 + 21);
        assert_eq!(memory(141).warning(), None);
        assert!(memory(140).warning().unwrap().contains("lower `max_new_tokens` or --jobs"));
        let one = Memory::of(100, 60, caches, (1, None));
        assert_eq!((one.peak_bytes, one.warning()), (107, None));
        // While a run decodes, the models of all jobs are loaded.
        let short = Memory::of(0, 0, Caches { bytes: 5_000_000, tokens: 9 }, (2, Some(9_999_999)));
        let warned = short.warning().unwrap();
        assert!(warned.contains("need 10.0 MB more") && warned.contains("only 10.0 MB left"));
    }
}
