//! Summaries as CSV: one line per run, task and decoder.

use anyhow::Result;
use kad_core::decode::Stop;

use crate::analysis::metric::METRICS;
use crate::analysis::summary::{DecoderResult, Summary};
use crate::analysis::unique;
use crate::run::PROMPT_TOO_LONG;

/// Every metric of every result, unrounded, with a column per model. Each run comes with the folder
/// named by the user, which tells repetitions of one plan apart.
pub(crate) fn csv(runs: &[(&str, &Summary)]) -> Result<String> {
    let results =
        || runs.iter().flat_map(|run| run.1.results.iter().map(move |result| (*run, result)));
    let models = results().flat_map(|(_, result)| result.passes_per_token.keys());
    let models = unique(models.map(String::as_str));
    let line = |(run, result): ((&str, &Summary), &DecoderResult)| {
        let numbers = METRICS.iter().flat_map(|metric| metric.csv(result, &models));
        let own = identity(run, result).map(|(head, cell)| (head.to_owned(), cell));
        own.into_iter().chain(numbers).collect::<Vec<_>>()
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heads = line((("", &Summary::default()), &DecoderResult::default()));
    writer.write_record(heads.into_iter().map(|(head, _)| head))?;
    for result in results() {
        writer.write_record(line(result).into_iter().map(|(_, cell)| cell))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// The columns before the metrics: heads and cells.
fn identity(
    (folder, run): (&str, &Summary),
    result: &DecoderResult,
) -> [(&'static str, String); 11] {
    let ended = |stop: &str| result.stops.get(stop).copied().unwrap_or(0).to_string();
    [
        ("run", run.name.clone()),
        ("run_id", run.run_id.clone()),
        ("complete", run.complete.to_string()),
        ("task", result.task.clone()),
        ("decoder", result.decoder.clone()),
        ("distribution", result.distribution.clone()),
        ("exact", result.exact.to_string()),
        ("folder", folder.to_owned()),
        ("jobs", run.jobs.iter().max().map_or(String::new(), u64::to_string)),
        ("cut_off", ended(&Stop::MaxTokens.to_string())),
        ("too_long", ended(PROMPT_TOO_LONG)),
    ]
}
