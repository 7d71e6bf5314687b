//! Experiments that decode with several language models: tasks, decoders, statistics and reports.
//!
//! The library behind the program `kad`. An [`Experiment`] names models, decoders and tasks;
//! [`run()`] decodes every item with every decoder and returns the results:
//!
//! ```
//! use kad_eval::{Experiment, RunOptions};
//!
//! let experiment: Experiment = r#"
//!     name = "example"
//!
//!     [models.small]
//!     source = "nano:draft"
//!
//!     [sampling]
//!     max_new_tokens = 8
//!
//!     [[decoders]]
//!     name = "plain"
//!     kind = "single"
//!     model = "small"
//!
//!     [[tasks]]
//!     kind = "nano"
//!     items = 2
//! "#
//! .parse()?;
//! let out = std::env::temp_dir().join("kad-example");
//! let options = RunOptions { out, ..RunOptions::default() };
//! let summary = kad_eval::run(&experiment, &options)?;
//!
//! let result = &summary.results[0];
//! assert_eq!((result.decoder.as_str(), result.items), ("plain", 2));
//! assert!(result.accuracy_interval.low <= result.accuracy);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Tasks and answer extractors are in [`task`], statistics in [`stats`]; both work without models.

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
mod pipeline;
mod proof;
mod report;
mod run;
mod speed;
pub mod task;
mod toml_table;

use std::process::ExitCode;

use clap::Parser;

pub use analysis::stats;
pub use analysis::summary::{DecoderResult, Summary};
pub use config::Experiment;
pub use failure::{Error, ErrorKind};
pub use pipeline::RunOptions;
pub use toml_table::ConfigError;

/// The parts of a [`DecoderResult`].
pub mod results {
    pub use crate::analysis::summary::{
        Difference, Drafting, Group, LevelResult, Likelihood, Method, Time,
    };
    pub use crate::run::record::{Acceptance, LevelRecord, OriginCount};
}

/// Runs `experiment`, or continues it: finished items are read from the run's folder.
///
/// Loads data and models, decodes every item with every decoder, and writes records, summary and
/// report to the folder `out/NAME/RUN-ID`. Items that fail are left out; a warning of the summary
/// counts them and names the first; the next call tries them again, and `complete` is false until none is missing. Without
/// [`RunOptions::messages`] the call writes nothing to stderr, and neither does a call with them that
/// runs at the same time in another thread.
///
/// # Errors
/// [`ErrorKind::Request`] if the experiment cannot be run as written (no such model or data, models
/// that do not go together); [`ErrorKind::Work`] if the folder cannot be written, another process
/// works in it, or ten items fail before any succeeds.
///
/// See the [crate] for an example.
pub fn run(experiment: &Experiment, options: &RunOptions) -> Result<Summary, Error> {
    let run = || pipeline::run_all(experiment, options);
    Ok(if options.messages { run()? } else { output::without_notes(run)? })
}

/// The program `kad`: reads the arguments of the process and returns its exit code.
#[doc(hidden)]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
