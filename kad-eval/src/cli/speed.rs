//! The arguments of `kad profile`, `kad plan` and `kad bench`.

use std::path::PathBuf;

use clap::Args;

use super::{DataArgs, at_least_one};
use crate::speed::chain_ranking::RankingRequest;

/// Measure what the models of an experiment do on this machine
///
/// Pass times by width and context, and how many tokens in a row each model accepts of what cheaper
/// models, composed decoders and lookups draft for it, on prompts of the experiment's tasks under
/// its `[sampling]`. Writes a profile for `kad plan`, `kad bench` and `levels = "plan"`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad profile experiments/polybasic-nano.toml
  kad profile my.toml --models large,middle,small --prompts 16 --tokens 128 --out my-profile.json")]
pub(crate) struct ProfileArgs {
    /// The experiment file
    pub(crate) file: PathBuf,
    /// Where the profile goes
    #[arg(long, default_value = "profile.json")]
    pub(crate) out: PathBuf,
    /// Only these models and decoders, separated by commas [default: all models and every deferral
    /// and implicit-reward decoder]
    #[arg(long, value_name = "NAMES")]
    pub(crate) models: Option<String>,
    /// Prompts to decode
    #[arg(long, default_value_t = 8, value_parser = at_least_one::<usize>)]
    pub(crate) prompts: usize,
    /// New tokens for each prompt
    #[arg(long, default_value_t = 64, value_parser = at_least_one::<usize>)]
    pub(crate) tokens: usize,
    /// Passes measured for each width and context [default: as many as fit into 12 seconds, 5 to
    /// 41]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) rounds: Option<usize>,
    /// Widest pass where acceptance is measured: drafts have one token less than this, than half
    /// and than a quarter of it, text by text
    #[arg(long, default_value_t = 16, value_name = "TOKENS", value_parser = at_least_one::<usize>)]
    pub(crate) draft_length: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// From a profile, the fastest chain of models
///
/// Chains of all candidates with the best lengths for each, the time predicted for them, and what
/// one more level would do, by the published criterion and exactly. Says so if plain decoding is
/// fastest. The best of many chains by one measurement looks better than it is: `kad bench` is the
/// check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad plan profile.json
  kad plan profile.json --target large --max-levels 3
  kad plan profile.json --toml >> my.toml")]
pub(crate) struct PlanArgs {
    /// What `kad profile` wrote
    pub(crate) profile: PathBuf,
    /// The model or decoder whose distribution the text has [default: the distribution of
    /// the experiment's baseline; without it, the slowest model that others draft for]
    #[arg(long)]
    pub(crate) target: Option<String>,
    /// The most levels, the target included
    #[arg(long, default_value_t = RankingRequest::MAX_LEVELS, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) max_levels: usize,
    /// The most tokens that a level waits for
    #[arg(long, default_value_t = RankingRequest::MAX_LENGTH, value_name = "TOKENS", value_parser = at_least_one::<usize>)]
    pub(crate) max_length: usize,
    /// How many chains to list
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) chains: usize,
    /// Print one JSON object
    #[arg(long, conflicts_with = "toml")]
    pub(crate) json: bool,
    /// Print the best chain as an entry of an experiment file
    #[arg(long)]
    pub(crate) toml: bool,
}

/// Measure chains against their prediction and against plain decoding
///
/// The plan's best chain, its runner-up and plain decoding (or the decoders named), in random
/// order, again and again on prompts of the experiment's tasks that the profile was not made from,
/// with the same seeds. Steps in which a model reads the prompt are not counted. A loss is a loss.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad bench experiments/polybasic-nano.toml --profile profile.json
  kad bench my.toml --decoders chain,plain --reps 10 --markdown")]
pub(crate) struct BenchArgs {
    /// The experiment file
    pub(crate) file: PathBuf,
    /// What `kad profile` wrote; without it nothing is predicted and --decoders says what to
    /// measure
    #[arg(long, required_unless_present = "decoders")]
    pub(crate) profile: Option<PathBuf>,
    /// Decoders of the file to measure, separated by commas, instead of the plan's
    #[arg(long, value_name = "NAMES")]
    pub(crate) decoders: Option<String>,
    /// The model or decoder to plan for [default: the distribution of
    /// the experiment's baseline; without it, the slowest model that others draft for]
    #[arg(long, conflicts_with = "decoders")]
    pub(crate) target: Option<String>,
    /// How often every prompt is decoded with every decoder
    #[arg(long, default_value_t = 5, value_parser = at_least_one::<usize>)]
    pub(crate) reps: usize,
    /// Prompts to decode
    #[arg(long, default_value_t = 8, value_parser = at_least_one::<usize>)]
    pub(crate) prompts: usize,
    /// New tokens for each prompt
    #[arg(long, default_value_t = 64, value_parser = at_least_one::<usize>)]
    pub(crate) tokens: usize,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Also write the comparison, with charts, as a self-contained page
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print a Markdown table
    #[arg(long)]
    pub(crate) markdown: bool,
}
