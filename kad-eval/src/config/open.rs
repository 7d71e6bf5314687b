//! Experiments for Rust programs.

use std::path::Path;
use std::str::FromStr;

use anyhow::Context;

use super::{Experiment, read};
use crate::failure::{Error, Failure};

impl Experiment {
    /// Reads and checks the experiment in the file `path`. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// If the file cannot be read or is no experiment: the error shows the line.
    ///
    /// ```
    /// use kad_eval::Experiment;
    ///
    /// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../experiments/quickstart.toml");
    /// assert_eq!(Experiment::from_file(path)?.name(), "quickstart");
    /// # Ok::<(), kad_eval::Error>(())
    /// ```
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment {}", path.display()))
            .map_err(Failure::Request)?;
        checked(&path.display().to_string(), &text)
    }

    /// The experiment's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Experiment {
    type Err = Error;

    /// Checks the experiment in `toml`. Paths in it are relative to the current folder.
    ///
    /// # Errors
    /// If the text is no experiment: the error shows the line.
    fn from_str(toml: &str) -> Result<Self, Error> {
        checked("experiment.toml", toml)
    }
}

fn checked(name: &str, toml: &str) -> Result<Experiment, Error> {
    Ok(read(name, toml).map_err(Failure::request)?)
}
