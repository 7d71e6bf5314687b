//! Mutation testing: each entry of `mutations.toml` introduces one defect into kad-core or
//! kad-polybasic and names the test that must fail.
//!
//! ```sh
//! cargo test -p kad-polybasic --test mutations -- --ignored --nocapture
//! KAD_MUTATIONS=bonus,room cargo test -p kad-polybasic --test mutations -- --ignored --nocapture
//! ```
//!
//! The second form runs the mutations whose name contains one of the words. `KAD_MUTATED_CRATES`
//! restricts them to crates: a mutation runs if it edits, or names a test of, one of them. The two
//! crates are copied to a temporary folder; the tree is not touched. All mutations and all
//! runs share one target folder.

// Helpers outside `#[test]` functions unwrap too; a panic fails the test.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

const CRATES: [&str; 2] = ["kad-core", "kad-polybasic"];
/// A mutated test may loop for ever. It is then stopped, which counts as an error.
const TEST_LIMIT: Duration = Duration::from_secs(300);
/// The first build includes the dependencies, which takes minutes on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// One defect.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    name: String,
    /// The package whose test must fail.
    package: String,
    /// `lib` or the name of an integration test.
    target: String,
    /// The full path of the test in that target.
    test: String,
    edit: Vec<Edit>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    /// Relative to the workspace.
    file: PathBuf,
    /// Must occur exactly once in the file.
    find: String,
    replace: String,
}

impl Mutation {
    /// True if it edits the crate or names a test of the crate.
    fn concerns(&self, name: &str) -> bool {
        self.package == name || self.edit.iter().any(|edit| edit.file.starts_with(name))
    }

    /// The changed files with their new text.
    fn apply(&self, root: &Path) -> Result<BTreeMap<PathBuf, String>, String> {
        let mut files = BTreeMap::new();
        for Edit { file, find, replace } in &self.edit {
            let read = || fs::read_to_string(root.join(file));
            let text = match files.remove(file) {
                Some(text) => text,
                None => read().map_err(|e| format!("{}: {}: {e}", self.name, file.display()))?,
            };
            match text.matches(find.as_str()).count() {
                1 => files.insert(file.clone(), text.replacen(find.as_str(), replace, 1)),
                n => return Err(format!("{}: {n} times in {}: {find}", self.name, file.display())),
            };
        }
        Ok(files)
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn mutations() -> Vec<Mutation> {
    let list: List = toml::from_str(include_str!("mutations.toml")).unwrap();
    let names: BTreeSet<_> = list.mutation.iter().map(|m| &m.name).collect();
    assert_eq!(names.len(), list.mutation.len(), "names are unique");
    list.mutation
}

/// Every quoted line occurs in the code, exactly once.
#[test]
fn every_mutation_applies() {
    let failures: Vec<_> =
        mutations().iter().filter_map(|mutation| mutation.apply(&workspace()).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
#[ignore = "builds the two crates once per mutation: several minutes"]
fn every_mutation_is_caught_by_its_test() {
    let wanted = std::env::var("KAD_MUTATIONS").unwrap_or_default();
    let wants = |m: &Mutation| wanted.split(',').any(|word| m.name.contains(word));
    let crates = std::env::var("KAD_MUTATED_CRATES").unwrap_or_else(|_| CRATES.join(","));
    let concerned = |m: &Mutation| crates.split(',').any(|name| m.concerns(name));
    let chosen: Vec<_> = mutations().into_iter().filter(wants).filter(concerned).collect();
    assert!(!chosen.is_empty(), "no mutation of {crates} is called `{wanted}`");
    let copy = Copy::of_workspace();
    copy.passes_unmutated(&chosen);
    let mut failures = Vec::new();
    for mutation in &chosen {
        let started = Instant::now();
        match copy.judge(mutation) {
            Ok(()) => println!(
                "caught: {} (by {}) {:.0} s",
                mutation.name,
                mutation.test,
                started.elapsed().as_secs_f64()
            ),
            Err(reason) => {
                println!("NOT CAUGHT: {}: {reason}", mutation.name);
                failures.push(format!("{}: {reason}", mutation.name));
            }
        }
    }
    assert!(failures.is_empty(), "not caught:\n{}", failures.join("\n"));
}

/// A copy of the two crates in a workspace of their own.
struct Copy {
    folder: tempfile::TempDir,
    offline: bool,
}

impl Copy {
    fn of_workspace() -> Self {
        let (from, folder) = (workspace(), tempfile::tempdir().unwrap());
        for name in CRATES {
            copy_folder(&from.join(name), &folder.path().join(name));
        }
        fs::copy(from.join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
        edit_manifest(&from.join("Cargo.toml"), &folder.path().join("Cargo.toml"), reduce);
        let member = folder.path().join("kad-polybasic/Cargo.toml");
        edit_manifest(&member, &member, drop_runner);
        let mut copy = Self { folder, offline: true };
        let (status, _) = copy.cargo(&["metadata", "--format-version", "1"]);
        copy.offline = status.success();
        copy
    }

    /// Runs cargo in the copy. Returns its exit status and output.
    fn cargo(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let log = self.folder.path().join("log");
        let out = File::create(&log).unwrap();
        let mut command = Command::new(std::env::var("CARGO").unwrap_or("cargo".to_owned()));
        command
            .args(self.offline.then_some("--offline"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations"))
            // A failing property is enough; its smallest example is not needed.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            // CI builds without incremental compilation; here one crate is built again and again.
            .env("CARGO_INCREMENTAL", "1")
            .env("RUST_BACKTRACE", "0")
            .stdout(out.try_clone().unwrap())
            .stderr(out);
        let limit = if arguments.contains(&"--no-run") { BUILD_LIMIT } else { TEST_LIMIT };
        let mut child = command.spawn().unwrap();
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > limit {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        (status, String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned())
    }

    fn test(&self, package: &str, target: &str, rest: &[&str]) -> (ExitStatus, String) {
        let target = if target == "lib" { vec!["--lib"] } else { vec!["--test", target] };
        self.cargo(&[&["test", "-p", package], &target[..], rest].concat())
    }

    /// Checks that every named test exists and passes without mutations.
    fn passes_unmutated(&self, mutations: &[Mutation]) {
        let mut targets = BTreeMap::<_, BTreeSet<&str>>::new();
        for m in mutations {
            targets.entry((&m.package, &m.target)).or_default().insert(&m.test);
        }
        for ((package, target), tests) in targets {
            let (built, printed) = self.test(package, target, &["--no-run"]);
            assert!(built.success(), "unmutated, {package} {target} does not compile:\n{printed}");
            let names: Vec<&str> = tests.iter().copied().collect();
            let run = [&["--", "--exact"], &names[..]].concat();
            let (status, printed) = self.test(package, target, &run);
            assert!(status.success(), "unmutated, {package} {target} fails:\n{printed}");
            for name in names {
                assert!(printed.contains(&format!("test {name} ... ok")), "no test {name}");
            }
        }
    }

    /// Applies a mutation, runs its test and undoes the mutation.
    fn judge(&self, mutation: &Mutation) -> Result<(), String> {
        let changed = mutation.apply(self.folder.path())?;
        let place = |file: &PathBuf| self.folder.path().join(file);
        let before: Vec<_> =
            changed.keys().map(|file| (file, fs::read_to_string(place(file)).unwrap())).collect();
        changed.iter().for_each(|(file, text)| fs::write(place(file), text).unwrap());
        let verdict = self.verdict(mutation);
        before.iter().for_each(|(file, text)| fs::write(place(file), text).unwrap());
        verdict
    }

    fn verdict(&self, mutation: &Mutation) -> Result<(), String> {
        let Mutation { package, target, test, .. } = mutation;
        let (built, printed) = self.test(package, target, &["--no-run"]);
        if !built.success() {
            return Err(format!("does not compile:\n{printed}"));
        }
        let (_, printed) = self.test(package, target, &["--", "--exact", test]);
        if printed.contains(&format!("test {test} ... FAILED")) {
            Ok(())
        } else if printed.contains(&format!("test {test} ... ok")) {
            Err(format!("survives {test}"))
        } else {
            Err(format!("{test} neither passed nor failed:\n{printed}"))
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() && name != "target" {
            copy_folder(&path, &to.join(name));
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

fn edit_manifest(from: &Path, to: &Path, edit: fn(&mut toml::Table)) {
    let mut manifest: toml::Table = fs::read_to_string(from).unwrap().parse().unwrap();
    edit(&mut manifest);
    fs::write(to, manifest.to_string()).unwrap();
}

/// Removes the crates that are not copied from the workspace. Dependencies are built with the
/// profile of the crates: optimising them takes longer than these tests.
fn reduce(manifest: &mut toml::Table) {
    let workspace = manifest["workspace"].as_table_mut().unwrap();
    workspace.insert("members".to_owned(), CRATES.to_vec().into());
    workspace.remove("default-members");
    let ours = |name: &str| !name.starts_with("kad-") || CRATES.contains(&name);
    workspace["dependencies"].as_table_mut().unwrap().retain(|name, _| ours(name));
    manifest["profile"]["dev"].as_table_mut().unwrap().remove("package");
}

/// Removes dependencies that only this runner needs, to save build time.
fn drop_runner(manifest: &mut toml::Table) {
    let needed = manifest["dev-dependencies"].as_table_mut().unwrap();
    needed.retain(|name, _| !["serde", "tempfile", "toml"].contains(&name));
}
