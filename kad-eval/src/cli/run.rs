//! The arguments of `kad run` and `kad report`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::config::Setting;
use crate::run::Shard;

/// Run an experiment described in TOML: models × decoders × tasks
///
/// Results are written to OUT/NAME/RUN-ID. The same command continues an interrupted run. Changed
/// settings, models or data make a new run.
///
/// A run longer than a minute prints its remaining time and peak memory once every decoder has
/// finished an item. --dry-run estimates both before anything is decoded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad run experiments/quickstart.toml
  kad run experiments/kad-nano.toml --limit 50
  kad run experiments/kad-nano.toml --dry-run --jobs 2
  KAD_DATA=data kad run my-gsm8k.toml --out runs
  kad run experiments/kad-nano.toml --set sampling.temperature=0 --set models.base.backend=naive
  seq 8 | parallel kad run my-gsm8k.toml --shard {}/8 && kad run my-gsm8k.toml")]
pub(crate) struct RunArgs {
    /// Experiment file
    pub(crate) file: PathBuf,
    /// Results folder
    #[arg(long, default_value = "results")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Items per task at most [default: as in the file]
    #[arg(long, value_parser = super::at_least_one::<NonZeroU64>)]
    pub(crate) limit: Option<NonZeroU64>,
    /// Override a value of the experiment file; repeatable. List entries are chosen by name, kind
    /// or index
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// Items decoded in parallel. Texts do not depend on it; every job loads its own copy of the
    /// models, and measured speeds are those of N parallel decoders
    #[arg(long, default_value = "1", value_name = "N", value_parser = super::at_least_one::<NonZeroUsize>)]
    pub(crate) jobs: NonZeroUsize,
    /// Decode part I of N of the items, for example 2/8; the same command without --shard then
    /// merges the parts
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Show items, estimated time, peak memory and minimum detectable differences; decode nothing
    ///
    /// The results folder is not touched. Times are means of finished items, or else of a few
    /// forward passes timed now (a second or two per set of models) for texts of max_new_tokens: an
    /// upper bound. Speculative decoders count as their target alone unless a profile predicts
    /// their speed. Memory is that of the models, for each job, and of the KV caches at the longest
    /// text.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the summary, or the dry run, as JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Allow sweeps of more than 1,000 decoders
    #[arg(long)]
    pub(crate) yes: bool,
    /// Stop at the first item that fails instead of reporting it and continuing
    #[arg(long)]
    pub(crate) fail_fast: bool,
}

/// Show the table of a finished run, or compare runs
///
/// Several runs are each compared with the first one: differences of their settings, and of their
/// results on the items that both have. Repetitions of one run (`kad run` with another --out) are
/// also compared text by text, with the spread of their speeds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad report results/quickstart/1f0c8a2b9d3e
  kad report results/kad-nano/1f0c8a2b9d3e results/kad-nano/77ab0c1d2e3f --markdown
  kad report results/*/* --csv > all.csv
  kad report r1/kad-nano/1f0c8a2b9d3e r2/kad-nano/1f0c8a2b9d3e --html repetitions.html")]
pub(crate) struct ReportArgs {
    /// Run folders, OUT/NAME/RUN-ID
    #[arg(required = true, value_name = "FOLDER")]
    pub(crate) runs: Vec<PathBuf>,
    /// Print Markdown
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub(crate) markdown: bool,
    /// Print CSV, one line per run, task and decoder
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a self-contained HTML page: the report of one run, or the comparison of several
    #[arg(long, value_name = "FILE", conflicts_with_all = ["markdown", "csv", "json"])]
    pub(crate) html: Option<PathBuf>,
}
