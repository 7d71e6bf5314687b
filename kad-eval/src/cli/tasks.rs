//! `kad tasks`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use kad_backends::Source;

use super::DataArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum TasksCommand {
    /// List the tasks: measure, metric, number of items, and place of their data
    #[command(after_help = "\
Examples:
  kad tasks list
  kad tasks list --data data --json
  kad tasks list --data hf:")]
    List {
        #[command(flatten)]
        data: DataArgs,
        /// Print JSON
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// Print Markdown, the table of docs/TASKS.md
        #[arg(long)]
        markdown: bool,
    },
    /// Show an item of a task: the prompt as a model reads it, and the correct answer
    ///
    /// Special tokens of the model stand in ⟦brackets⟧.
    #[command(after_help = "\
Examples:
  kad tasks show nano --model nano:large-aligned
  kad tasks show gsm8k --model my-gsm8k.toml:base --item 3
  kad tasks show mmlu --data hf: --model nano:large-aligned --json
  kad tasks show \"mmlu, by likelihood\" --model my-mmlu.toml:base")]
    Show(ShowArgs),
}

/// The arguments of `kad tasks show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Kind of task, or the name of a task in FILE.toml
    pub(crate) name: String,
    /// Model whose prompt is shown: FILE.toml:MODEL of an experiment, or nano:NAME, a path,
    /// hf:ORG/REPO, pypi:PACKAGE==VERSION [default: none, chat messages are shown]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<PromptModel>,
    /// Index of the item, from 1
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) item: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) data: DataArgs,
}

/// The model whose prompt is shown.
#[derive(Clone, Debug)]
pub(crate) enum PromptModel {
    /// A model of an experiment.
    Experiment { file: PathBuf, model: String },
    /// A model without an experiment.
    Source(Source),
}

impl FromStr for PromptModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(".toml:") {
            Some((file, model)) => {
                let file = PathBuf::from(format!("{file}.toml"));
                Ok(PromptModel::Experiment { file, model: model.to_owned() })
            }
            None if text.ends_with(".toml") => {
                Err(format!("which model of {text}? write {text}:MODEL"))
            }
            None => {
                let source =
                    text.parse().map_err(|error: kad_backends::LoadError| error.to_string());
                source.map(PromptModel::Source)
            }
        }
    }
}
