//! The arguments of `kad run` and `kad report`.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;

use super::DataArgs;
use crate::config::Setting;
use crate::run::Shard;

/// Run an experiment described in TOML: models × decoders × tasks
///
/// Results go to OUT/NAME/RUN-ID. The same command continues an interrupted run; a changed plan,
/// model or data file makes a new run.
///
/// A run that may take longer than a minute says so once every decoder has done an item: how long
/// from what these took, and how much memory. --dry-run says it before anything is decoded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad run experiments/quickstart.toml
  kad run experiments/kad-nano.toml --limit 50
  kad run experiments/kad-nano.toml --dry-run --jobs 2
  KAD_DATA=data kad run my-gsm8k.toml --out /tmp/results
  kad run experiments/kad-nano.toml --set sampling.temperature=0 --set models.base.backend=naive
  seq 8 | parallel kad run my-gsm8k.toml --shard {}/8 && kad run my-gsm8k.toml")]
pub(crate) struct RunArgs {
    /// The experiment file
    pub(crate) file: PathBuf,
    /// Where results go
    #[arg(long, default_value = "results")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// At most this many items of each task
    #[arg(long, value_parser = super::at_least_one::<NonZeroU64>)]
    pub(crate) limit: Option<NonZeroU64>,
    /// Put VALUE in the place of what the file says, as often as you like; entries of lists go by
    /// name, kind or place
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Setting>,
    /// Texts to decode at a time: the same texts, sooner where passes leave cores idle. Every job
    /// loads the models for itself, and speeds are those of so many at once
    #[arg(long, default_value = "1", value_name = "N", value_parser = super::at_least_one::<NonZeroUsize>)]
    pub(crate) jobs: NonZeroUsize,
    /// Only part I of N of the items, as in 2/8, for one of N processes with the same command; the
    /// command without --shard puts their results together
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Load plan, data and models, say what there is to do, how long it takes, how much memory and
    /// what differences so many items can show, and decode nothing; the results folder is not
    /// touched. Times are those of items that are done already, else of a few passes that are timed
    /// now (a second or two for each set of models), as if every text went on to max_new_tokens: so
    /// at most about. What is drafted and verified counts as if its target decoded alone, unless a
    /// profile predicts it. Memory is what the process holds with the models loaded, for each job,
    /// and keys and values of every session at the longest text
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print the closing summary, or what --dry-run says, as JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
    /// Run also a plan whose sweeps make more than 1,000 decoders
    #[arg(long)]
    pub(crate) yes: bool,
    /// Stop at the first item that fails instead of reporting it and going on
    #[arg(long)]
    pub(crate) fail_fast: bool,
}

/// Show runs that are there, or compare them
///
/// One run: its table. Several: each against the first one, with what differs in their plans; items
/// are paired where both asked the same. Several runs of one plan (`kad run` with another --out):
/// also how far their speeds spread, and whether their texts are the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad report results/quickstart/1f0c8a2b9d3e
  kad report results/kad-nano/1f0c8a2b9d3e results/kad-nano/77ab0c1d2e3f --markdown
  kad report results/*/* --csv > all.csv
  kad report r1/kad-nano/1f0c8a2b9d3e r2/kad-nano/1f0c8a2b9d3e --html repetitions.html")]
pub(crate) struct ReportArgs {
    /// Folders of runs, as `kad run` printed them
    #[arg(required = true, value_name = "FOLDER")]
    pub(crate) runs: Vec<PathBuf>,
    /// Print Markdown
    #[arg(long, conflicts_with_all = ["csv", "json"])]
    pub(crate) markdown: bool,
    /// Print one line per run, task and decoder
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page that needs nothing but itself: of one run its report anew, of several the
    /// comparison
    #[arg(long, value_name = "FILE", conflicts_with_all = ["markdown", "csv", "json"])]
    pub(crate) html: Option<PathBuf>,
}
