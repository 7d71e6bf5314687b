//! `kad run --dry-run`: what there is to do, how long it takes, how much memory and what
//! it can show; nothing is decoded.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use super::estimate::{Basis, Row, estimate};
use super::expected;
use super::power::Power;
use super::prepare::Prepared;
use super::warnings;
use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::machine;
use crate::models::Model;
use crate::output::{self, duration, size};
use crate::run::{self, Caches, Held};

/// All that is printed.
#[derive(Serialize)]
struct DryRun<'p> {
    name: &'p str,
    run_id: &'p str,
    folder: &'p std::path::Path,
    /// Whether the folder is there already.
    exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    jobs: usize,
    models: BTreeMap<&'p str, OfModel>,
    decoders: Vec<Row>,
    /// Items × decoders, of the run or of the shard.
    items: usize,
    done: usize,
    /// What is left, one item after the other: at most about. None if nothing is known.
    seconds_left: Option<f64>,
    memory: Memory,
    /// What it can show.
    #[serde(skip_serializing_if = "<[Power]>::is_empty")]
    power: Vec<Power>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct OfModel {
    source: String,
    backend: String,
    dtype: String,
    /// Of its matrices as it keeps them, or of its files where that is not known.
    weight_bytes: u64,
    /// Of keys and values, for each token of a session.
    cache_bytes_per_token: u64,
}

impl From<&Model> for OfModel {
    fn from(model: &Model) -> Self {
        let details = &model.details;
        Self {
            source: details.source.clone(),
            backend: details.backend.to_string(),
            dtype: details.dtype.to_string(),
            weight_bytes: details.weight_bytes_in_use(),
            cache_bytes_per_token: details.cache_bytes,
        }
    }
}

/// What the process takes at most, and what that is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Memory {
    peak_bytes: u64,
    /// With the models loaded once and passes made.
    resident_bytes: u64,
    /// By how much the process grew for that: every further job loads them again.
    models_bytes: u64,
    /// Keys and values of all sessions of one decoder at the longest text.
    caches_bytes: u64,
    longest_text: usize,
    /// What the machine has left.
    available_bytes: Option<u64>,
}

impl Memory {
    fn of(
        resident: u64,
        models: u64,
        caches: &Caches,
        (jobs, available): (usize, Option<u64>),
    ) -> Self {
        let jobs = jobs as u64;
        let more = models.saturating_mul(jobs - 1) + caches.bytes.saturating_mul(jobs);
        Self {
            peak_bytes: resident + more,
            resident_bytes: resident,
            models_bytes: models,
            caches_bytes: caches.bytes,
            longest_text: caches.tokens,
            available_bytes: available,
        }
    }

    /// If the machine has not what comes on top of what is loaded.
    fn warning(&self) -> Option<String> {
        let more = self.peak_bytes - self.resident_bytes;
        let available = self.available_bytes.filter(|available| more > *available)?;
        Some(format!(
            "the run may take {} more memory than is taken now, and the machine has {} left: lower \
             `max_new_tokens` or --jobs",
            size(more),
            size(available)
        ))
    }
}

pub(super) fn run(args: &RunArgs, prepared: &Prepared) -> Result<(), Failure> {
    let Prepared { experiment, tasks, models, run_id, .. } = prepared;
    let held = run::look(experiment, tasks, (&args.out, run_id), args.shard)?;
    let expected = expected(experiment, &prepared.profiles)?;
    let Some(decoders) = estimate(prepared, &held, &expected)? else {
        let message = "interrupted while passes were timed: nothing was decoded or written";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    // After passes were timed: weights may come into memory only as they are read.
    let resident = machine::resident_bytes().unwrap_or(0);
    let loaded = resident.saturating_sub(prepared.bytes_before.unwrap_or(resident));
    let caches = run::caches(experiment, models, tasks);
    let (jobs, available) = (args.jobs.get(), machine::available_bytes());
    let memory = Memory::of(resident, loaded, &caches, (jobs, available));
    let new: Vec<String> =
        warnings::too_long(experiment, models, tasks).into_iter().chain(memory.warning()).collect();
    let known: Vec<f64> = decoders.iter().filter_map(|row| row.seconds_left).collect();
    let dry = DryRun {
        name: &experiment.name,
        run_id,
        folder: &held.folder,
        exists: held.exists,
        shard: args.shard.map(|shard| shard.to_string()),
        jobs,
        models: models.iter().map(|(name, model)| (name.as_str(), model.into())).collect(),
        items: held.tally.items(),
        done: held.tally.finished(),
        seconds_left: (!known.is_empty()).then(|| known.iter().sum()),
        decoders,
        memory,
        power: Power::of(experiment, tasks),
        warnings: prepared.left_out.iter().chain(&new).cloned().collect(),
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&dry).context("cannot write JSON")?,
        false => dry.text(experiment.passes.is_some(), &held),
    };
    output::line(&text)?;
    // What is left out was said when it was.
    new.iter().for_each(|line| output::warning(line));
    Ok(())
}

impl DryRun<'_> {
    fn text(&self, measures_passes: bool, held: &Held) -> String {
        let state = match (self.exists, self.done) {
            (false, _) => "not there yet".to_owned(),
            (true, done) => format!("{done} of {} items × decoders are done", self.items),
        };
        let shard = self.shard.as_ref().map_or(String::new(), |shard| format!(", shard {shard}"));
        let mut parts = vec![
            format!("{}, run {}{shard}: dry, nothing is decoded", self.name, self.run_id),
            format!("folder: {} ({state})", self.folder.display()),
            self.models().to_string(),
            self.table().to_string(),
        ];
        let used: BTreeSet<Basis> =
            self.decoders.iter().filter(|row| row.done < row.items).map(|row| row.basis).collect();
        parts.extend(used.iter().map(|basis| format!("{}: {}", basis.word(), basis.meaning())));
        parts.push(self.time(held.tally.left()));
        if measures_passes {
            parts.push("[passes] are measured before, which is not counted in".to_owned());
        }
        parts.push(self.memory());
        parts.extend(self.power.iter().map(Power::line));
        parts.join("\n")
    }

    fn models(&self) -> Table {
        let mut table = framed(["model", "source", "backend", "dtype", "weights"]);
        for (name, it) in &self.models {
            let weights = Cell::new(size(it.weight_bytes)).set_alignment(CellAlignment::Right);
            let words =
                [(*name).to_owned(), it.source.clone(), it.backend.clone(), it.dtype.clone()];
            table.add_row(words.into_iter().map(Cell::new).chain([weights]));
        }
        table
    }

    fn table(&self) -> Table {
        let mut table =
            framed(["task", "decoder", "items", "done", "s/item", "left, at most about", "from"]);
        let mut task = "";
        for row in &self.decoders {
            let shown = if row.task == task { "" } else { &row.task };
            task = &row.task;
            let numbers = [
                row.items.to_string(),
                row.done.to_string(),
                row.seconds_per_item.map_or("?".to_owned(), |seconds| format!("{seconds:.3}")),
                row.seconds_left.map_or("?".to_owned(), |seconds| match row.items - row.done {
                    0 => "–".to_owned(),
                    _ => duration(seconds),
                }),
            ];
            let numbers = numbers.map(|it| Cell::new(it).set_alignment(CellAlignment::Right));
            let from = if row.done < row.items { row.basis.word() } else { "" };
            let words = [shown, &row.decoder].map(Cell::new);
            table.add_row(words.into_iter().chain(numbers).chain([Cell::new(from)]));
        }
        table
    }

    fn time(&self, left: usize) -> String {
        let Some(seconds) = self.seconds_left else {
            return format!("{left} items × decoders left, nobody knows how long");
        };
        if left == 0 {
            return "nothing is left to do".to_owned();
        }
        let jobs = self.jobs;
        let together = match jobs {
            1 => String::new(),
            _ => format!(
                ", one after the other; {jobs} at a time between {} and that, as cores are idle or \
                 not",
                duration(seconds / jobs as f64)
            ),
        };
        let unknown = self.decoders.iter().any(|row| row.seconds_left.is_none());
        let but = if unknown { ", without those that are not known" } else { "" };
        let seconds = seconds.max(1.0);
        format!("{left} items × decoders left: at most about {}{but}{together}", duration(seconds))
    }

    fn memory(&self) -> String {
        let Memory { peak_bytes, resident_bytes, models_bytes, caches_bytes, .. } = self.memory;
        let (jobs, text) = (self.jobs, self.memory.longest_text);
        let (times, again) = match jobs {
            1 => (String::new(), String::new()),
            _ => {
                let models = size(models_bytes);
                let again = format!(", {} × {models} for the models of further jobs", jobs - 1);
                (format!("{jobs} × "), again)
            }
        };
        let available = self.memory.available_bytes;
        let left =
            available.map_or(String::new(), |it| format!("; the machine has {} left", size(it)));
        format!(
            "memory: at most about {}: {} with the models loaded{again}, {times}{} for keys and values \
             of texts of {text} tokens{left}",
            size(peak_bytes),
            size(resident_bytes),
            size(caches_bytes)
        )
    }
}

fn framed<const N: usize>(header: [&str; N]) -> Table {
    let mut table = crate::report::table::empty(UTF8_FULL_CONDENSED);
    table.set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: 100 loaded, of which models 60; three jobs load 120 more and hold 3 × 7.
    #[test]
    fn memory_is_what_is_loaded_for_each_job_and_its_caches() {
        let caches = Caches { bytes: 7, tokens: 9 };
        let memory = |available| Memory::of(100, 60, &caches, (3, Some(available)));
        assert_eq!(memory(0).peak_bytes, 100 + 120 + 21);
        assert_eq!(memory(141).warning(), None);
        assert!(memory(140).warning().unwrap().contains("lower `max_new_tokens` or --jobs"));
        let one = Memory::of(100, 60, &caches, (1, None));
        assert_eq!((one.peak_bytes, one.warning()), (107, None));
    }
}
