//! Runs `kad`, and small experiments in temporary folders.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

pub(crate) struct Ran {
    /// The command line and the change of the file, for the reader of a snapshot.
    case: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Adds a note to the case.
    pub(crate) fn about(self, note: &str) -> Self {
        Self { case: format!("{}, {}", self.case, one_line(note)), ..self }
    }

    /// Notes that `to` replaces `from` in the file of the case.
    pub(crate) fn with_change(self, from: &str, to: &str) -> Self {
        self.about(&change(from, to))
    }

    /// Asserts that stderr has all `facts`: numbers that the test computes, and paths and run IDs,
    /// for which a snapshot has placeholders.
    pub(crate) fn names(self, facts: &[&str]) -> Self {
        for fact in facts {
            assert!(self.stderr.contains(fact), "{fact:?} is not in: {}", self.stderr);
        }
        self
    }

    /// Asserts the exit code and that nothing panicked, and adds stderr to the snapshot of the test.
    pub(crate) fn refused(self, code: i32, refusals: &Refusals) {
        assert_eq!(self.code, code, "{}: {}", self.case, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}: {}", self.case, self.stderr);
        refusals.add(&format!("## {} (exit code {code})\n{}\n", self.case, self.stderr));
    }

    /// Asserts the exit code, all `words` on stderr, and that nothing panicked. For messages that
    /// are not the same on every machine; [`Self::refused`] pins the others as a whole.
    pub(crate) fn fails(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "stderr: {}", self.stderr);
        let ran = self.names(words);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
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
    let piped = if stdin.is_empty() { String::new() } else { format!(" <<< {}", one_line(stdin)) };
    ran(&output, format!("kad {}{piped}", command_line(args)))
}

pub(crate) fn command() -> Command {
    let mut command = Command::cargo_bin("kad").unwrap();
    // Tests must not depend on the environment.
    for name in ["KAD_DATA", "KAD_NANO", "CLICOLOR_FORCE", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command.env("COLUMNS", "100");
    command
}

fn ran(output: &Output, case: String) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        case,
        // A process killed by a signal has no code.
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn command_line(args: &[&str]) -> String {
    let quoted = |arg: &&str| {
        // A folder of this machine may have spaces.
        let arg = one_line(&portable(arg));
        if arg.is_empty() || arg.contains(char::is_whitespace) { format!("'{arg}'") } else { arg }
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// `text` in one line of at most 160 characters.
fn one_line(text: &str) -> String {
    let line = text.trim_end().replace('\n', "⏎");
    match line.chars().count() {
        0..=160 => line,
        _ => line.chars().take(160).chain(['…']).collect(),
    }
}

/// Messages of a test in their order, for `insta::assert_snapshot!` at its end.
pub(crate) struct Refusals {
    text: RefCell<String>,
    compared: Cell<bool>,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self { text: RefCell::default(), compared: Cell::new(false) }
    }

    fn add(&self, text: &str) {
        self.text.borrow_mut().push_str(&portable(text));
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.compared.set(true);
        f.write_str(&self.text.borrow())
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        let compared = self.compared.get() || std::thread::panicking();
        assert!(compared, "the test must end with `insta::assert_snapshot!(refusals)`");
    }
}

/// `text` without folders, digests and versions of this machine.
pub(crate) fn portable(text: &str) -> String {
    let temporary = regex::escape(std::env::temp_dir().to_str().unwrap());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.parent().unwrap().to_str().unwrap();
    let folders = format!(r"{}/?(\.tmp\w{{6}})?", temporary.trim_end_matches('/'));
    let folders = regex::Regex::new(&folders).unwrap();
    let without_root = |text: &str| {
        text.replace(&format!("{}/..", manifest.display()), "[KAD]").replace(root, "[KAD]")
    };
    // The inner folder first: each may be in the other.
    let text = match manifest.starts_with(std::env::temp_dir()) {
        true => folders.replace_all(&without_root(text), "[TMP]").into_owned(),
        false => without_root(&folders.replace_all(text, "[TMP]")),
    };
    let text = text.replace(concat!("kad ", env!("CARGO_PKG_VERSION")), "kad [VERSION]");
    let patterns = [
        (r"[ \t]+\n".to_owned(), "\n"),
        // Notes of a run on a slow or busy machine.
        (r"(?m)^.*(, \d+ tokens/s| items × decoders left: .*)\n".to_owned(), ""),
        // Versions and machines.
        (r"(?m)\bthen, .* now$".to_owned(), "then, [HERE] now"),
        // Sampled lengths depend on the last bits of logits, which differ between processors.
        (r"(texts cut off at `max_new_tokens`): .*\)".to_owned(), "$1: [N] of [M] ([DECODERS])"),
    ];
    let text = patterns.into_iter().fold(text, |text, (pattern, with)| {
        regex::Regex::new(&pattern).unwrap().replace_all(&text, with).into_owned()
    });
    let digests = regex::Regex::new(r"(?<folder>/)?\b[0-9a-f]{12,64}\b").unwrap();
    let without = digests.replace_all(&text, |found: &regex::Captures<'_>| {
        // The decimals of a number have no letter, and a number is no folder.
        let has = |kind: fn(&u8) -> bool| found[0].as_bytes().iter().any(kind);
        match found.name("folder") {
            Some(_) => "/[DIGEST]".to_owned(),
            None if has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) => {
                "[DIGEST]".to_owned()
            }
            None => found[0].to_owned(),
        }
    });
    without.into_owned()
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
    change: String,
}

impl Lab {
    pub(crate) fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("experiment.toml"), toml).unwrap();
        Self { folder, change: String::new() }
    }

    /// `toml` with `to` in place of `from`.
    pub(crate) fn changed(toml: &str, from: &str, to: &str) -> Self {
        assert!(toml.contains(from), "{from} is not in the experiment");
        Self { change: change(from, to), ..Self::new(&toml.replace(from, to)) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run(&self, extra: &[&str]) -> Ran {
        let ran = kad(&[&self.args()[..], extra].concat());
        let command = command_line(&[&["run", "experiment.toml"], extra].concat());
        let ran = Ran { case: format!("kad {command}"), ..ran };
        if self.change.is_empty() { ran } else { ran.about(&self.change) }
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

fn change(from: &str, to: &str) -> String {
    format!("{} → {}", one_line(from), one_line(to))
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
