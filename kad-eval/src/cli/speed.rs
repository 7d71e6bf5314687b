//! The arguments of `kad profile`, `kad plan` and `kad bench`.

use std::path::PathBuf;

use clap::Args;

use super::{DataArgs, at_least_one};
use crate::speed::chain_ranking::RankingRequest;

/// Measure forward-pass times and acceptance lengths of an experiment's models
///
/// Forward passes are timed by width and context length. Acceptance is measured for every pair of a
/// target and a cheaper drafter (model, composed decoder or lookup), on prompts of the experiment's
/// tasks under its `[sampling]`. Writes a profile for `kad plan`, `kad bench` and
/// `levels = "plan"`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad profile experiments/polybasic-nano.toml
  kad profile my.toml --models large,middle,small --prompts 16 --tokens 128 --out my-profile.json")]
pub(crate) struct ProfileArgs {
    /// Experiment file
    pub(crate) file: PathBuf,
    /// Profile to write
    #[arg(long, default_value = "profile.json")]
    pub(crate) out: PathBuf,
    /// Models and decoders to measure, separated by commas [default: all models and every deferral
    /// and implicit-reward decoder]
    #[arg(long, value_name = "NAMES")]
    pub(crate) models: Option<String>,
    /// Number of prompts
    #[arg(long, default_value_t = 8, value_parser = at_least_one::<usize>)]
    pub(crate) prompts: usize,
    /// New tokens per prompt
    #[arg(long, default_value_t = 64, value_parser = at_least_one::<usize>)]
    pub(crate) tokens: usize,
    /// Timed passes for each width and context [default: 5 to 41, as many as fit into 12 seconds]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) rounds: Option<usize>,
    /// Widest verification pass when acceptance is measured: draft lengths are TOKENS − 1,
    /// TOKENS/2 − 1 and TOKENS/4 − 1 in turn
    #[arg(long, default_value_t = 16, value_name = "TOKENS", value_parser = at_least_one::<usize>)]
    pub(crate) draft_length: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// Predict the fastest chain of draft models from a profile
///
/// Ranks chains by predicted time per token, each with its best draft lengths, and shows the effect
/// of one more level by the published criterion and by exact prediction. Plain decoding is ranked
/// too. The predicted winner of many chains tends to look faster than it is: check it with
/// `kad bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad plan profile.json
  kad plan profile.json --target large --max-levels 3
  kad plan profile.json --toml >> my.toml")]
pub(crate) struct PlanArgs {
    /// Profile written by `kad profile`
    pub(crate) profile: PathBuf,
    /// Target model or decoder, whose distribution the text has [default: that of the experiment's
    /// baseline, or else the slowest model with a drafter]
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// Levels at most, target included
    #[arg(long, default_value_t = RankingRequest::MAX_LEVELS, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) max_levels: usize,
    /// Draft length of a level at most
    #[arg(long, default_value_t = RankingRequest::MAX_LENGTH, value_name = "TOKENS", value_parser = at_least_one::<usize>)]
    pub(crate) max_length: usize,
    /// Number of chains to list
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) chains: usize,
    /// Print one JSON object
    #[arg(long, conflicts_with = "toml")]
    pub(crate) json: bool,
    /// Print the best chain as an entry of an experiment file
    #[arg(long)]
    pub(crate) toml: bool,
}

/// Measure the speed of chains against plain decoding and against their prediction
///
/// Measures the two best chains of the profile and plain decoding, or the decoders in --decoders:
/// in random order, with the same seeds, on prompts that the profile did not use. Prefill is not
/// counted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad bench experiments/polybasic-nano.toml --profile profile.json
  kad bench my.toml --decoders chain,plain --reps 10 --markdown")]
pub(crate) struct BenchArgs {
    /// Experiment file
    pub(crate) file: PathBuf,
    /// Profile written by `kad profile`; without it there are no predictions, and --decoders is
    /// required
    #[arg(long, required_unless_present = "decoders")]
    pub(crate) profile: Option<PathBuf>,
    /// Decoders of the experiment to measure, separated by commas, instead of the best chains
    #[arg(long, value_name = "NAMES")]
    pub(crate) decoders: Option<String>,
    /// Target model or decoder [default: that of the experiment's baseline, or else the slowest
    /// model with a drafter]
    #[arg(long, conflicts_with = "decoders")]
    pub(crate) target: Option<String>,
    /// Repetitions of every prompt with every decoder
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<usize>)]
    pub(crate) reps: usize,
    /// Number of prompts
    #[arg(long, default_value_t = 8, value_parser = at_least_one::<usize>)]
    pub(crate) prompts: usize,
    /// New tokens per prompt
    #[arg(long, default_value_t = 64, value_parser = at_least_one::<usize>)]
    pub(crate) tokens: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Also write the comparison with charts as a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print a Markdown table
    #[arg(long)]
    pub(crate) markdown: bool,
}
