//! Runs `kad`, and small experiments in temporary folders.

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Asserts the exit code, all `words` on stderr, and that nothing panicked.
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    /// Asserts success and returns stdout.
    pub(crate) fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "stderr: {}", self.stderr);
        self.stdout
    }
}

pub(crate) fn kad(args: &[&str]) -> Ran {
    kad_with_input(args, "")
}

pub(crate) fn kad_with_input(args: &[&str], stdin: &str) -> Ran {
    let output = command().args(args).write_stdin(stdin).output().unwrap();
    ran(&output)
}

pub(crate) fn command() -> Command {
    let mut command = Command::cargo_bin("kad").unwrap();
    // Tests must not depend on the environment.
    command.env_remove("KAD_DATA").env_remove("KAD_NANO");
    command
}

fn ran(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        // A process killed by a signal has no code.
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Sends Ctrl-C.
#[cfg(unix)]
pub(crate) fn interrupt(child: &std::process::Child) {
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// A temporary folder with an experiment file and its results.
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    pub(crate) fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("experiment.toml"), toml).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run(&self, extra: &[&str]) -> Ran {
        kad(&[&self.args()[..], extra].concat())
    }

    pub(crate) fn args(&self) -> [&str; 4] {
        let path = self.folder.path().to_str().unwrap();
        // Leaked: a few bytes per test, and the arguments stay plain `&str`.
        let file: &'static str = Box::leak(format!("{path}/experiment.toml").into_boxed_str());
        let out: &'static str = Box::leak(format!("{path}/results").into_boxed_str());
        ["run", file, "--out", out]
    }

    /// The folder of the only run.
    pub(crate) fn results(&self) -> std::path::PathBuf {
        let only = |folder: &Path| {
            let mut entries = std::fs::read_dir(folder).unwrap();
            let entry = entries.next().unwrap().unwrap().path();
            assert!(entries.next().is_none(), "one entry in {}", folder.display());
            entry
        };
        only(&only(&self.folder.path().join("results")))
    }

    /// The record file of a shard of the only run; `shard` is like `1-of-2`.
    pub(crate) fn shard_records(&self, shard: &str) -> std::path::PathBuf {
        let results = self.results();
        let run = results.file_name().unwrap().to_str().unwrap();
        results.join(format!("records.shard-{shard}.{run}.jsonl"))
    }
}

/// A small, valid experiment, which tests change in one place.
pub(crate) const SMALL: &str = r#"
name = "small"
seed = 3

[models.base]
source = "nano:small-base"

[models.aligned]
source = "nano:small-aligned"

[sampling]
temperature = 0.7
max_new_tokens = 40

[[decoders]]
name = "aligned alone"
kind = "single"
model = "aligned"

[[decoders]]
name = "KAD dual"
kind = "deferral"
base = "base"
aligned = "aligned"
rule = { kind = "kad-dual", threshold = [0.2, 0.5] }

[[tasks]]
kind = "nano"
items = 6
"#;
