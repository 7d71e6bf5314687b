//! `kad`: decoding with several language models at once, exactly.
//!
//! Arguments → request → models → run → report. Everything that prints, reads a clock or knows
//! TOML is in this crate.

mod analysis;
mod cli;
mod commands;
mod config;
mod failure;
mod files;
mod forecast;
mod interrupt;
mod machine;
mod models;
mod numbers;
mod output;
mod proof;
mod report;
mod run;
mod speed;
pub mod task;
mod toml_table;

pub use toml_table::ConfigError;

pub use analysis::stats;

use std::process::ExitCode;

use clap::Parser;

/// The `kad` program: reads the arguments of the process, does what they ask and says how it went.
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
