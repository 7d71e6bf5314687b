//! The commands: one file or folder each.

mod bench;
mod explain;
mod generate;
mod models;
mod plan;
mod profile;
mod prove;
mod report;
mod rules;
mod run;
mod score;
mod shared;
mod tasks;

use clap::CommandFactory;
use kad_backends::ModelOptions;

use crate::cli::{Cli, Command};
use crate::config::ModelPlan;
use crate::failure::Failure;
use crate::output;

pub(crate) fn run(cli: Cli) -> Result<(), Failure> {
    output::set_quiet(cli.quiet);
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Generate(args) => generate::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Prove(args) => prove::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "kad", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(())
        }
        Command::Tasks(command) => tasks::run(&command),
        Command::Models(command) => models::run(&command),
    }
}

fn plan(source: &kad_backends::Source, engine: &crate::cli::EngineArgs) -> ModelPlan {
    ModelPlan {
        source: source.to_string(),
        backend: engine.backend,
        dtype: engine.dtype,
        options: ModelOptions { device: engine.device, ..ModelOptions::default() },
        optional: false,
        early_exit: None,
    }
}
