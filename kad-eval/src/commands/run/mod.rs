//! `kad run`: an experiment file in, a table and a report out.

mod command_line;
mod dry_run;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::analysis::summary::Summary;
use crate::cli::RunArgs;
use crate::config::read_file;
use crate::failure::Failure;
use crate::output;
use crate::pipeline::{self, RunOptions, RunOutcome, RunRequest};
use crate::report::table;
use crate::run::{Finished, RunFile, Shard};

pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let experiment = read_file(&args.file, &args.set).map_err(Failure::Request)?;
    let options = RunOptions {
        out: args.out.clone(),
        data: args.data.place(),
        limit: args.limit,
        jobs: args.jobs,
        fail_fast: args.fail_fast,
        messages: true,
    };
    let request = RunRequest {
        shard: args.shard,
        large_sweeps: args.yes,
        dry_run: args.dry_run,
        listens: true,
        command: command_line::command(std::env::args().skip(1)),
        ..RunRequest::new(&experiment, &options)
    };
    if args.dry_run {
        return dry_run::run(args, &request);
    }
    let outcome = pipeline::run(&request)?;
    match (args.shard, &outcome.summary) {
        (Some(shard), _) => conclude_shard(args, shard, &outcome),
        (None, Some(summary)) => conclude(args, summary, &outcome),
        (None, None) => Ok(()),
    }
}

#[derive(Serialize)]
struct Closing<'s> {
    folder: &'s Path,
    /// Items × decoders of the run or of the shard.
    items: usize,
    done: usize,
    /// Done in this session.
    new_items: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
    /// Only of a shard; a run has them in its summary.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'s [String],
    /// `None` for a shard.
    #[serde(flatten)]
    summary: Option<&'s Summary>,
}

/// The closing summary as JSON; `shard` is the shard that was asked for.
fn closing(outcome: &RunOutcome, shard: Option<Shard>) -> Result<String> {
    let RunOutcome { folder, finished, warnings, summary } = outcome;
    let closing = Closing {
        folder: folder.path(),
        items: finished.total,
        done: finished.records.len(),
        new_items: finished.new_items,
        failed: finished.failures.len(),
        shard: shard.map(|shard| shard.to_string()),
        warnings: if shard.is_some() { warnings } else { &[] },
        summary: summary.as_ref(),
    };
    serde_json::to_string_pretty(&closing).context("cannot write the summary as JSON")
}

/// Prints the table or the summary, then the warnings, and says how the run ended. An incomplete
/// run is an error even if the table cannot be printed.
fn conclude(args: &RunArgs, summary: &Summary, outcome: &RunOutcome) -> Result<(), Failure> {
    let RunOutcome { folder, finished, warnings, .. } = outcome;
    let report = folder.stored().file(RunFile::ReportPage);
    let text = match args.json {
        true => closing(outcome, None)?,
        false => format!("{}\nreport: {}", table::render(summary), report.display()),
    };
    let printed = output::line(&text);
    warnings.iter().for_each(|line| output::warning(line));
    ended(finished, "this run")?;
    printed
        .with_context(|| format!("cannot print the table; results are in {}", report.display()))?;
    Ok(())
}

/// A shard has no table: it lacks the items of the others.
fn conclude_shard(args: &RunArgs, shard: Shard, outcome: &RunOutcome) -> Result<(), Failure> {
    let RunOutcome { folder, finished, warnings, .. } = outcome;
    if args.json {
        output::line(&closing(outcome, Some(shard))?)?;
    }
    warnings.iter().for_each(|line| output::warning(line));
    ended(finished, "this shard")?;
    output::note(&format!(
        "shard {shard}: {} items × decoders are done, in {}; when all shards are, the same command \
         without --shard puts them together (first copy records.shard-*.jsonl and \
         provenance.shard-*.json of other machines into that folder)",
        finished.total,
        folder.path().display()
    ));
    Ok(folder.drop_empty_records()?)
}

/// Succeeds if everything is done; `part` is the run, or the shard that was asked for.
fn ended(finished: &Finished, part: &str) -> Result<(), Failure> {
    let (done, total, failed) = (finished.records.len(), finished.total, finished.failures.len());
    let first = finished.failures.first().map(|error| format!("The first failure: {error:#}"));
    let kept = format!("{done} of {total} items × decoders are done and kept");
    match first {
        None if finished.interrupted => {
            Err(Failure::Interrupted(format!("interrupted: {kept}; the same command continues")))
        }
        Some(first) if finished.interrupted => Err(Failure::Interrupted(format!(
            "interrupted: {kept}, and {failed} failed; the same command continues and tries these \
             again. {first}"
        ))),
        Some(first) => Err(Failure::Work(anyhow!(
            "{failed} of {total} items × decoders failed, and {done} are done and kept; the same \
             command tries the others again. {first}"
        ))),
        None => {
            if finished.new_items == 0 {
                output::note(&format!("nothing was left to do: {part} was already complete"));
            }
            Ok(())
        }
    }
}
