//! `kad`: decoding with several language models at once, exactly.
//!
//! Arguments → request → models → run → report. Everything that prints, reads a clock or knows
//! TOML is in this crate.

mod bench;
mod cli;
mod commands;
mod compare;
mod config;
mod failure;
mod machine;
mod metric;
mod models;
mod output;
mod profile;
mod record;
mod report;
mod runner;
mod side_by_side;
mod stats;
mod summary;
mod table;
mod task;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
