//! Summaries as CSV: one line per run, task and decoder.

use anyhow::Result;
use kad_core::decode::Stop;

use crate::analysis::metric::METRICS;
use crate::analysis::summary::{DecoderResult, Summary};
use crate::analysis::unique;
use crate::run::PROMPT_TOO_LONG;

/// The columns before the metrics.
const HEADS: [&str; 11] = [
    "run",
    "run_id",
    "complete",
    "task",
    "decoder",
    "distribution",
    "exact",
    "folder",
    "jobs",
    "cut_off",
    "too_long",
];

/// Every metric of every result, unrounded, with a column per model. Each run comes with the folder
/// named by the user, which tells repetitions of one plan apart.
///
/// # Errors
/// If numbers cannot be written.
pub(crate) fn csv(runs: &[(&str, &Summary)]) -> Result<String> {
    let results =
        || runs.iter().flat_map(|run| run.1.results.iter().map(move |result| (*run, result)));
    let models = results().flat_map(|(_, result)| result.passes_per_token.keys());
    let models = unique(models.map(String::as_str));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = METRICS.iter().flat_map(|metric| metric.csv_heads(&models));
    writer.write_record(HEADS.map(str::to_owned).into_iter().chain(heads))?;
    for (run, result) in results() {
        let numbers = METRICS.iter().flat_map(|metric| metric.csv_cells(result, &models));
        writer.write_record(identity(run, result).into_iter().chain(numbers))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn identity((folder, run): (&str, &Summary), result: &DecoderResult) -> [String; HEADS.len()] {
    let ended = |stop: &str| result.stops.get(stop).copied().unwrap_or(0).to_string();
    [
        run.name.clone(),
        run.run_id.clone(),
        run.complete.to_string(),
        result.task.clone(),
        result.decoder.clone(),
        result.distribution.clone(),
        result.exact.to_string(),
        folder.to_owned(),
        run.jobs.iter().max().map_or(String::new(), u64::to_string),
        ended(&Stop::MaxTokens.to_string()),
        ended(PROMPT_TOO_LONG),
    ]
}
