//! `kad run --dry-run`: items, time, memory and minimum detectable differences of a run; nothing is
//! decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};
use serde::Serialize;

use crate::analysis::power::Power;
use crate::cli::RunArgs;
use crate::commands::shared::right;
use crate::failure::Failure;
use crate::forecast::{self, Basis, Caches, DecoderProgress, Memory, TimeEstimate};
use crate::machine;
use crate::models::Model;
use crate::output::{self, duration, size};
use crate::pipeline::{self, Prepared, RunRequest};
use crate::report::table;
use crate::run::find;

#[derive(Serialize)]
struct DryRun<'p> {
    name: &'p str,
    run_id: &'p str,
    folder: &'p Path,
    exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    jobs: usize,
    models: BTreeMap<&'p str, ModelMemory>,
    decoders: Vec<TimeEstimate>,
    /// Items × decoders of the run, or of the shard.
    items: usize,
    done: usize,
    /// Upper bound for one job; `None` if unknown.
    seconds_left: Option<f64>,
    memory: Memory,
    #[serde(skip_serializing_if = "<[Power]>::is_empty")]
    power: Vec<Power>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ModelMemory {
    source: String,
    backend: String,
    dtype: String,
    /// Bytes of the matrices in memory, or of the model's files if that is not known.
    weight_bytes: u64,
    /// KV cache per token.
    cache_bytes_per_token: u64,
}

impl From<&Model> for ModelMemory {
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

pub(super) fn run(args: &RunArgs, request: &RunRequest<'_>) -> Result<(), Failure> {
    let prepared = Prepared::new(request)?;
    let Prepared { experiment, tasks, models, run_id, .. } = &prepared;
    let existing = find(experiment, tasks, (&args.out, run_id), args.shard)?;
    let expected = pipeline::expected(experiment, &prepared.profiles)?;
    let predicted = |decoder: &str| expected.seconds_per_token(decoder);
    let tallies = (&existing.tally, &existing.whole);
    let estimates = forecast::estimate((experiment, models, tasks), tallies, &predicted)?;
    let Some(decoders) = estimates else {
        let message = "interrupted while passes were timed: nothing was decoded or written";
        return Err(Failure::Interrupted(message.to_owned()));
    };
    // After passes were timed: some weights are read into memory only when they are used.
    let resident = machine::resident_bytes().unwrap_or(0);
    let models_bytes = resident.saturating_sub(prepared.bytes_before.unwrap_or(resident));
    let caches = Caches::largest(experiment, models, tasks);
    let memory = Memory::now(models_bytes, caches, args.jobs.get());
    let new: Vec<String> =
        pipeline::too_long(experiment, models, tasks).into_iter().chain(memory.warning()).collect();
    let known: Vec<f64> = decoders.iter().filter_map(|it| it.seconds_left).collect();
    let total = DecoderProgress::sum(existing.tally.iter().flatten());
    let dry = DryRun {
        name: &experiment.name,
        run_id,
        folder: &existing.folder,
        exists: existing.exists,
        shard: args.shard.map(|shard| shard.to_string()),
        jobs: args.jobs.get(),
        models: models.iter().map(|(name, model)| (name.as_str(), model.into())).collect(),
        items: total.items,
        done: total.done,
        seconds_left: (!known.is_empty()).then(|| known.iter().sum()),
        decoders,
        memory,
        power: Power::of(experiment, tasks),
        warnings: prepared.left_out.iter().chain(&new).cloned().collect(),
    };
    let text = match args.json {
        true => serde_json::to_string_pretty(&dry).context("cannot write JSON")?,
        false => dry.text(experiment.passes.is_some()),
    };
    output::line(&text)?;
    // Models that are left out were named when they were.
    new.iter().for_each(|line| output::warning(line));
    Ok(())
}

impl DryRun<'_> {
    fn text(&self, measures_passes: bool) -> String {
        let state = match self.exists {
            true => format!("{} of {} items × decoders are done", self.done, self.items),
            false => "does not exist yet".to_owned(),
        };
        let shard = self.shard.as_ref().map_or(String::new(), |shard| format!(", shard {shard}"));
        let mut parts = vec![
            format!("dry run of {}, run ID {}{shard}: nothing is decoded", self.name, self.run_id),
            format!("folder: {} ({state})", self.folder.display()),
            self.models().to_string(),
            self.estimates().to_string(),
        ];
        let left = self.decoders.iter().filter(|it| it.done < it.items);
        let used: BTreeSet<Basis> = left.map(|it| it.basis).collect();
        parts.extend(used.iter().map(|basis| basis.words().join(": ")));
        parts.push(self.time());
        if measures_passes {
            parts.push("[passes] are measured before that; their time is not included".to_owned());
        }
        parts.push(self.memory());
        parts.extend(self.power.iter().map(Power::line));
        parts.join("\n")
    }

    fn models(&self) -> Table {
        let mut table = table::empty(UTF8_FULL_CONDENSED);
        table.set_header(["model", "source", "backend", "dtype", "weights"]);
        for (name, it) in &self.models {
            let words = [*name, &it.source, &it.backend, &it.dtype].map(Cell::new);
            table.add_row(words.into_iter().chain([right(size(it.weight_bytes))]));
        }
        table
    }

    fn estimates(&self) -> Table {
        let mut table = table::empty(UTF8_FULL_CONDENSED);
        let header = ["task", "decoder", "items", "done", "s/item", "left, at most about", "from"];
        table.set_header(header);
        let mut task = "";
        for it in &self.decoders {
            let left = it.done < it.items;
            let unknown = || "?".to_owned();
            let seconds_left =
                if left { it.seconds_left.map(duration) } else { Some("–".to_owned()) };
            table.add_row([
                Cell::new(if it.task == task { "" } else { &it.task }),
                Cell::new(&it.decoder),
                right(it.items.to_string()),
                right(it.done.to_string()),
                right(it.seconds_per_item.map_or_else(unknown, |it| format!("{it:.3}"))),
                right(seconds_left.unwrap_or_else(unknown)),
                Cell::new(if left { it.basis.words()[0] } else { "" }),
            ]);
            task = &it.task;
        }
        table
    }

    fn time(&self) -> String {
        let left = self.items - self.done;
        let Some(seconds) = self.seconds_left else {
            return format!("{left} items × decoders left, time unknown");
        };
        if left == 0 {
            return "nothing is left to do".to_owned();
        }
        let parallel = match self.jobs {
            1 => String::new(),
            jobs => format!(
                " with one job; between {} and that with {jobs}, depending on idle cores",
                duration(seconds / jobs as f64)
            ),
        };
        let unknown = self.decoders.iter().any(|it| it.seconds_left.is_none());
        let but = if unknown { ", without the unknown ones" } else { "" };
        let time = duration(seconds.max(1.0));
        format!("{left} items × decoders left: at most about {time}{but}{parallel}")
    }

    fn memory(&self) -> String {
        let Memory { peak_bytes, resident_bytes, models_bytes, caches, .. } = self.memory;
        let (times, copies) = match self.jobs {
            1 => (String::new(), String::new()),
            jobs => (
                format!("{jobs} × "),
                format!(", {} × {} for the models of further jobs", jobs - 1, size(models_bytes)),
            ),
        };
        let available = self.memory.available_bytes.map(size);
        let left = available.map_or(String::new(), |it| format!("; the machine has {it} left"));
        format!(
            "memory: at most about {}: {} with the models loaded{copies}, {times}{} for the KV caches \
             of texts of {} tokens{left}",
            size(peak_bytes),
            size(resident_bytes),
            size(caches.bytes),
            caches.tokens
        )
    }
}
